// A handler fails on a message whose type says `on_failure: "stop"`: its stream waits, the others go on.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Meanwhile, MemoryStore, manualLifecycle } from "../../messaging/static/messaging/client/index.js";
import { FakeClock } from "./clock.mjs";
import { FakeServer } from "./fake_server.mjs";

const PHONE = "device:phone-1";
const LOBBY = "room:lobby";

/** A phone whose handler throws as long as `broken` says so. */
function aPhone(server, options = {}) {
  const clock = options.clock ?? new FakeClock();
  const seen = { tried: [], handled: [], stopped: [], gaps: [], closed: [], errors: [], broken: true };
  const phone = new Meanwhile({
    url: "http://server.test",
    getToken: async () => "good",
    handlers: {
      "*": ({ stream, offset, data }) => {
        const place = `${stream === PHONE ? "" : stream + " "}${offset}`;
        seen.tried.push(place);
        if (data === "bad" && seen.broken) throw new TypeError("no colour");
        seen.handled.push(place);
      },
    },
    onStopped: (about) => seen.stopped.push(about),
    onGap: (gap) => seen.gaps.push(gap),
    onStreamClosed: (about) => seen.closed.push(about),
    onError: (error) => seen.errors.push(error),
    storage: new MemoryStore(),
    lifecycle: manualLifecycle(),
    WebSocket: server.WebSocket,
    fetch: server.fetch,
    clock,
    ...options,
  });
  return { phone, clock, seen };
}

async function aPhoneThatIsLive(server, options) {
  const actors = aPhone(server, options);
  await actors.phone.start();
  await actors.clock.pass(100);
  return actors;
}

/** 1 is fine, 2 fails and stops, 3 lies behind it. */
async function aStoppedPhone(server, options) {
  const actors = await aPhoneThatIsLive(server, options);
  server.publish(PHONE, "fine");
  server.publish(PHONE, "bad", { stops: true });
  server.publish(PHONE, "behind");
  await actors.clock.pass(200);
  return actors;
}

test("a failure that stops is reported, and nothing behind it is handed over", async () => {
  const server = new FakeServer(PHONE);
  const { phone, seen } = await aStoppedPhone(server);

  assert.deepEqual(seen.tried, ["1", "2"]);
  assert.equal(server.stream(PHONE).processed, 1);
  const { upto, exceptions } = server.stream(PHONE).reports.at(-1);
  assert.deepEqual([upto, exceptions], [2, [{ offset: 2, status: "failed", code: "TypeError", detail: "no colour" }]]);
  assert.deepEqual(seen.stopped.map(({ stream, offset, error }) => [stream, offset, error.message]), [[PHONE, 2, "no colour"]]);
  const { done, stopped, processed } = phone.inspect().streams[PHONE];
  assert.deepEqual([done, stopped, processed], [1, 2, 1]);
  assert.equal(phone.inspect().state, "live");
});

test("it is reported once, not again and again", async () => {
  const server = new FakeServer(PHONE);
  const { clock } = await aStoppedPhone(server);
  const reports = server.stream(PHONE).reports.length;

  await clock.pass(30_000);

  assert.equal(server.stream(PHONE).reports.length, reports);
});

test("what comes while it waits is acknowledged and dropped; the other streams go on", async () => {
  const server = new FakeServer(PHONE, LOBBY);
  const { clock, seen } = await aStoppedPhone(server);

  server.publish(PHONE, "later");
  server.publish(LOBBY, "hello");
  await clock.pass(200);

  assert.deepEqual(seen.tried, ["1", "2", "room:lobby 1"]);
  assert.deepEqual([server.stream(PHONE).received, server.stream(PHONE).processed], [4, 1]);
  assert.equal(server.stream(LOBBY).processed, 1);
});

for (const resume of ["pull", "replay", "hold"]) {
  test(`back in the foreground it is handed over again, and what was dropped after it (${resume})`, async () => {
    const server = new FakeServer(PHONE);
    const { phone, clock, seen } = await aStoppedPhone(server, { resume });
    server.publish(PHONE, "later");
    await clock.pass(200);
    seen.broken = false;

    await phone.background();
    server.publish(PHONE, "meanwhile");
    await phone.foreground();
    await clock.pass(200);
    assert.deepEqual(seen.handled, ["1", "2", "3", "4", "5"], "nothing newer has to come");
    server.publish(PHONE, "live");
    await clock.pass(200);

    assert.deepEqual(seen.handled, ["1", "2", "3", "4", "5", "6"]);
    assert.equal(server.stream(PHONE).processed, 6);
    assert.equal(phone.inspect().streams[PHONE].stopped, undefined);
    assert.deepEqual(seen.gaps, []);
  });

  test(`a new connection hands it over again (${resume})`, async () => {
    const server = new FakeServer(PHONE);
    const { clock, seen } = await aStoppedPhone(server, { resume, polling: "never" });
    server.publish(PHONE, "later");
    await clock.pass(200);
    seen.broken = false;

    server.socket.lose();
    await clock.pass(5_000);

    assert.deepEqual(seen.handled, ["1", "2", "3", "4"]);
    assert.deepEqual(seen.gaps, []);
  });

  test(`by retry it is handed over again, at once (${resume})`, async () => {
    const server = new FakeServer(PHONE);
    const { phone, clock, seen } = await aStoppedPhone(server, { resume });
    server.publish(PHONE, "later");
    await clock.pass(200);
    seen.broken = false;

    await phone.retry(PHONE);
    server.publish(PHONE, "live");
    await clock.pass(200);

    assert.deepEqual(seen.handled, ["1", "2", "3", "4", "5"]);
    assert.equal(server.stream(PHONE).processed, 5);
  });
}

test("a retry that fails stops again, and is reported again", async () => {
  const server = new FakeServer(PHONE);
  const { phone, clock, seen } = await aStoppedPhone(server);

  await phone.retry(PHONE);
  await clock.pass(200);

  assert.deepEqual(seen.tried, ["1", "2", "2"]);
  assert.deepEqual(seen.stopped.map(({ offset }) => offset), [2, 2]);
  assert.equal(phone.inspect().streams[PHONE].stopped, 2);
});

test("after a reload it is handed over again", async () => {
  const server = new FakeServer(PHONE);
  const storage = new MemoryStore();
  const first = await aStoppedPhone(server, { storage });
  first.phone.stop();

  const handled = [];
  await aPhoneThatIsLive(server, { storage, clock: first.clock, handlers: { "*": ({ offset }) => { handled.push(offset); } } });
  await first.clock.pass(200);

  assert.deepEqual(handled, [2, 3]);
  assert.equal(server.stream(PHONE).processed, 3);
});

test("once the type goes on, the next report of the failure does, and nothing is handed over twice", async () => {
  const server = new FakeServer(PHONE);
  const { phone, clock, seen } = await aStoppedPhone(server);
  server.stops = () => false;

  await phone.retry(PHONE);
  await clock.pass(200);

  assert.deepEqual(seen.tried, ["1", "2", "2", "3"]);
  assert.equal(server.stream(PHONE).processed, 3);
  assert.equal(phone.inspect().streams[PHONE].stopped, undefined);
  assert.deepEqual(seen.gaps, []);
});

test("the type goes on, and the answer is lost: the next connection goes on behind the failure, without a gap", async () => {
  const server = new FakeServer(PHONE);
  const { phone, clock, seen } = await aStoppedPhone(server, { polling: "never" });
  server.stops = () => false;
  let lost = false;
  server.onFrame = ({ type }, socket) => {
    if (type === "results" && !lost) {
      lost = true;
      socket.lose(); // it is taken all the same
    }
    return false;
  };

  await phone.retry(PHONE);
  await clock.pass(5_000);

  assert.deepEqual(seen.tried, ["1", "2", "2", "3"]);
  assert.deepEqual(seen.gaps, []);
  assert.equal(server.stream(PHONE).processed, 3);
});

test("the type goes on, the answer is lost, and so is the page: it goes on behind the failure, without a gap", async () => {
  const server = new FakeServer(PHONE);
  const storage = new MemoryStore();
  const first = await aStoppedPhone(server, { polling: "never", storage });
  server.stops = () => false;
  server.onFrame = ({ type }, socket) => {
    if (type === "results") socket.lose(); // it is taken all the same
    return false;
  };
  await first.phone.retry(PHONE);
  await first.clock.pass(100);
  first.phone.stop();
  server.onFrame = () => false;

  const { seen, phone } = await aPhoneThatIsLive(server, { storage, clock: first.clock });
  await first.clock.pass(5_000);

  assert.deepEqual(seen.tried, ["3"]);
  assert.deepEqual(seen.gaps, []);
  assert.equal(server.stream(PHONE).processed, 3);
  assert.equal(phone.inspect().streams[PHONE].stopped, undefined);
});

test("a type that stops since this message came: the server waits, and so does the phone", async () => {
  const server = new FakeServer(PHONE);
  server.stops = ({ data }) => data === "bad";
  const { phone, clock, seen } = await aPhoneThatIsLive(server);
  for (const data of ["fine", "bad", "behind"]) server.publish(PHONE, data);
  await clock.pass(200);

  const { done, stopped } = phone.inspect().streams[PHONE];
  assert.deepEqual([done, stopped, server.stream(PHONE).processed], [1, 2, 1]);
  assert.deepEqual(seen.stopped.map(({ offset }) => offset), [2]);

  seen.broken = false;
  await phone.retry(PHONE);
  await clock.pass(200);

  assert.equal(server.stream(PHONE).processed, 3);
  assert.deepEqual(seen.tried, ["1", "2", "3", "2", "3"]);
});

test("what was purged or has expired meanwhile is a gap at the next return, and the stream goes on", async () => {
  const server = new FakeServer(PHONE);
  const { phone, clock, seen } = await aStoppedPhone(server);
  server.expire(PHONE, 2, 2);

  await phone.retry(PHONE);
  await clock.pass(200);

  assert.deepEqual(seen.gaps.map(({ from, to }) => [from, to]), [[2, 2]]);
  assert.deepEqual(seen.handled, ["1", "3"]);
  assert.equal(server.stream(PHONE).processed, 3);
});

test("a stream that was closed while it waits says so after its last message, once", async () => {
  const server = new FakeServer(LOBBY);
  const { phone, clock, seen } = await aPhoneThatIsLive(server);
  server.publish(LOBBY, "bad", { stops: true });
  server.publish(LOBBY, "last");
  server.socket.push({ type: "stream_closed", stream: LOBBY, head: 2 });
  await clock.pass(200);
  assert.deepEqual(seen.closed, []);
  seen.broken = false;

  await phone.retry(LOBBY);
  await clock.pass(200);

  assert.deepEqual(seen.handled, ["room:lobby 1", "room:lobby 2"]);
  assert.deepEqual(seen.closed, [{ stream: LOBBY, head: 2 }]);
});

test("a connection that is lost before the report: it is tried, and reported, again", async () => {
  const server = new FakeServer(PHONE);
  const { clock, seen } = await aPhoneThatIsLive(server, { polling: "never" });
  let lost = false;
  server.onFrame = ({ type }, socket) => {
    if (type !== "results" || lost) return false;
    lost = true;
    socket.lose();
    return true;
  };
  server.publish(PHONE, "bad", { stops: true });
  await clock.pass(5_000);

  assert.deepEqual(seen.tried, ["1", "1"]);
  assert.equal(server.stream(PHONE).reports.at(-1).exceptions[0].offset, 1);
  assert.equal(server.stream(PHONE).processed, 0);
});

test("while it polls, it waits and goes on in the same way", async () => {
  const server = new FakeServer(PHONE, LOBBY);
  const clock = new FakeClock();
  server.clock = clock;
  const { phone, seen } = await aStoppedPhone(server, { clock, polling: "always" });
  server.publish(LOBBY, "hello");
  await clock.pass(5_000);
  assert.deepEqual(seen.tried, ["1", "2", "room:lobby 1"]);
  assert.equal(server.stream(PHONE).processed, 1);
  seen.broken = false;

  await phone.retry(PHONE);
  await clock.pass(5_000);

  assert.deepEqual(seen.handled, ["1", "room:lobby 1", "2", "3"]);
  assert.equal(server.stream(PHONE).processed, 3);
});

test("without onStopped it is logged as an error", async (t) => {
  const logged = t.mock.method(console, "error", () => {});
  const server = new FakeServer(PHONE);

  await aStoppedPhone(server, { onStopped: undefined });

  assert.match(logged.mock.calls[0].arguments[0], /waits at a failure/);
});
