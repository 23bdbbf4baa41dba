// The whole client against a server in the same process: nothing of ours is faked but the edges.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Meanwhile, MemoryStore, manualLifecycle } from "../../messaging/static/messaging/client/index.js";
import { FakeClock } from "./clock.mjs";
import { FakeServer, onASlowLine, problem, silence } from "./fake_server.mjs";

const PHONE = "device:phone-1";

/** A phone with an app that notes what it sees. */
function aPhone(server, options = {}) {
  const clock = options.clock ?? new FakeClock();
  const seen = { messages: [], gaps: [], latest: [], transient: [], states: [], errors: [], closed: [], events: [] };
  const phone = new Meanwhile({
    url: "http://server.test",
    getToken: async () => "good",
    handlers: { "*": (message) => { seen.messages.push(message); } },
    onGap: (gap) => seen.gaps.push(gap),
    onLatest: (value) => seen.latest.push(value),
    onTransient: (value) => seen.transient.push(value),
    onState: (state, detail) => seen.states.push([state, detail]),
    onStreamClosed: (about) => seen.closed.push(about),
    onError: (error) => seen.errors.push(error),
    onEvent: (event) => seen.events.push(event),
    storage: new MemoryStore(),
    lifecycle: manualLifecycle(),
    WebSocket: server.WebSocket,
    fetch: server.fetch,
    clock,
    ...options,
  });
  return { phone, clock, seen };
}

const offsets = (messages) => messages.map(({ offset }) => offset);
const paths = (messages) => messages.map(({ offset, path }) => `${offset} ${path}`);

async function aPhoneThatIsLive(server, options) {
  const actors = aPhone(server, options);
  await actors.phone.start();
  await actors.clock.pass(100);
  assert.equal(actors.phone.inspect().state, "live");
  return actors;
}

test("a live message is stored, acknowledged, handled and reported", async () => {
  const server = new FakeServer(PHONE);
  const { clock, seen } = await aPhoneThatIsLive(server);

  server.publish(PHONE, { x: 1 });
  await clock.pass(100);

  const { path, redelivered, ...message } = seen.messages[0];
  assert.deepEqual(message, { stream: PHONE, offset: 1, name: "turn", time: "2026-11-22T10:00:00.000Z", service: "game", data: { x: 1 } });
  assert.equal(path, "live");
  assert.equal(redelivered, false);
  assert.deepEqual(server.heard("ack"), [{ type: "ack", stream: PHONE, epoch: "e1", upto: 1 }]);
  const [{ id, ...results }] = server.heard("results");
  assert.deepEqual(results, { type: "results", stream: PHONE, epoch: "e1", upto: 1, exceptions: [], values: [] });
  assert.equal(server.stream(PHONE).processed, 1);
  assert.deepEqual(seen.errors, []);
});

test("away and back: pulled, merged with what came meanwhile, reported in one", async () => {
  const server = new FakeServer(PHONE);
  server.pageSize = 2;
  const { phone, clock, seen } = await aPhoneThatIsLive(server);
  await phone.background();
  for (const turn of [1, 2, 3, 4, 5]) server.publish(PHONE, turn);
  await clock.pass(100);
  assert.deepEqual(seen.messages, []);
  assert.deepEqual(server.heard("ack"), []);
  let pages = 0;
  server.onPending = async () => {
    pages += 1;
    if (pages === 1) server.publish(PHONE, 6);
    if (pages === 3) server.publish(PHONE, 7);
    return null;
  };

  await phone.foreground();
  await clock.pass(100);
  server.publish(PHONE, 8);
  await clock.pass(100);

  assert.deepEqual(paths(seen.messages), ["1 pulled", "2 pulled", "3 pulled", "4 pulled", "5 pulled", "6 merged", "7 merged", "8 live"]);
  assert.deepEqual(server.stream(PHONE).reports.map(({ upto }) => upto), [7, 8]);
  assert.equal(phone.inspect().state, "live");
  assert.equal(phone.inspect().unsavedResults, 0);
});

test("in the background nothing is handed over; a handler that runs finishes and reports", async () => {
  const server = new FakeServer(PHONE);
  const finish = [];
  const begun = [];
  const { phone, clock } = await aPhoneThatIsLive(server, {
    handlers: { turn: (message) => { begun.push(message.offset); return new Promise((resolve) => finish.push(resolve)); } },
  });
  server.publish(PHONE, 1);
  server.publish(PHONE, 2);
  await clock.pass(100);
  assert.deepEqual(begun, [1]);

  await phone.background();
  server.publish(PHONE, 3);
  finish[0]("done");
  await clock.pass(100);

  assert.deepEqual(begun, [1], "2 was taken back");
  assert.deepEqual(server.stream(PHONE).reports.map(({ upto, values }) => [upto, values]), [[1, [{ offset: 1, value: "done" }]]]);

  await phone.foreground();
  await clock.pass(100);
  finish[1]();
  await clock.pass(100);
  finish[2]();
  await clock.pass(100);

  assert.deepEqual(begun, [1, 2, 3]);
  assert.equal(server.stream(PHONE).processed, 3);
});

test("a lost connection comes back by itself and takes up where it was", async () => {
  const server = new FakeServer(PHONE);
  const { phone, clock, seen } = await aPhoneThatIsLive(server, { polling: "never" });
  server.publish(PHONE, 1);
  await clock.pass(100);
  server.refuseConnections = 2;

  server.socket.lose();
  server.publish(PHONE, 2);
  await clock.pass(5000);

  assert.deepEqual(paths(seen.messages), ["1 live", "2 pulled"]);
  assert.deepEqual(seen.states.map(([state]) => state), [
    "connecting", "live", "waiting", "connecting", "waiting", "connecting", "waiting", "connecting", "resuming", "live",
  ]);
  assert.deepEqual(server.heard("hello").at(-1).positions, { [PHONE]: { epoch: "e1", processed: 1 } });
  assert.equal(phone.inspect().generation, 2);
});

test("replay: what was missed comes over the socket, then the live messages", async () => {
  const server = new FakeServer(PHONE);
  for (const turn of [1, 2, 3]) server.publish(PHONE, turn);
  const { clock, seen } = await aPhoneThatIsLive(server, { resume: "replay" });
  server.publish(PHONE, 4);
  await clock.pass(100);

  assert.deepEqual(paths(seen.messages), ["1 replayed", "2 replayed", "3 replayed", "4 live"]);
  assert.equal(server.requests.length, 0);
  assert.equal(server.stream(PHONE).processed, 4);
});

test("replay: a dead connection is found on return; what was missed is replayed, nothing twice", async () => {
  const server = new FakeServer(PHONE);
  const lifecycle = manualLifecycle();
  const { clock, seen } = await aPhoneThatIsLive(server, { resume: "replay", lifecycle });
  for (const turn of [1, 2]) server.publish(PHONE, turn);
  await clock.pass(100);
  const dead = server.socket;
  dead.readyState = 2; // half open: nothing arrives, nothing goes out
  for (const turn of [3, 4, 5]) server.publish(PHONE, turn);
  await clock.pass(100);

  lifecycle.probe("online");
  await clock.pass(2_999);
  assert.equal(server.heard("hello").length, 1);
  await clock.pass(1_000);

  assert.deepEqual(server.heard("hello").at(-1).positions, { [PHONE]: { epoch: "e1", processed: 2 } });
  assert.deepEqual(paths(seen.messages), ["1 live", "2 live", "3 replayed", "4 replayed", "5 replayed"]);
  assert.equal(server.requests.length, 0);
  assert.equal(server.stream(PHONE).processed, 5);
});

test("killed between the ack and the result: pulled again, once per store from then on", async () => {
  const server = new FakeServer(PHONE);
  const storage = new MemoryStore();
  const first = await aPhoneThatIsLive(server, { storage, handlers: { turn: () => new Promise(() => {}) } });
  server.publish(PHONE, 1);
  await first.clock.pass(100);
  assert.equal(server.stream(PHONE).received, 1);
  assert.equal(server.stream(PHONE).processed, 0);
  server.socket.lose(); // the app is killed: nothing of it goes on

  const second = await aPhoneThatIsLive(server, { storage });

  assert.deepEqual(paths(second.seen.messages), ["1 pulled"]);
  assert.equal(server.stream(PHONE).processed, 1);
});

test("results that were not confirmed survive a reload, and are sent again", async () => {
  const server = new FakeServer(PHONE);
  const storage = new MemoryStore();
  const first = await aPhoneThatIsLive(server, {
    storage,
    handlers: { turn: ({ data }) => { if (data === 2) throw new RangeError("too far"); return { took: data }; } },
  });
  server.onFrame = (frame) => frame.type === "results"; // swallowed on the way
  for (const turn of [1, 2, 3]) server.publish(PHONE, turn);
  await first.clock.pass(200);
  assert.equal(first.phone.inspect().unsavedResults, 3);
  assert.equal(server.stream(PHONE).processed, 0);
  server.socket.lose();
  server.onFrame = () => false;

  const second = await aPhoneThatIsLive(server, { storage });

  assert.deepEqual(second.seen.messages, []);
  const [{ upto, exceptions, values }] = server.stream(PHONE).reports;
  assert.equal(upto, 3);
  assert.deepEqual(exceptions, [{ offset: 2, status: "failed", code: "RangeError", detail: "too far" }]);
  assert.deepEqual(values, [{ offset: 1, value: { took: 1 } }, { offset: 3, value: { took: 3 } }]);
  assert.equal(second.phone.inspect().unsavedResults, 0);
  assert.deepEqual((await storage.load()).results, []);
});

test("a message nobody handles is a failure, and does not stop the stream", async () => {
  const server = new FakeServer(PHONE);
  const { clock } = await aPhoneThatIsLive(server, { handlers: { turn: () => {} } });

  server.publish(PHONE, 1, { type: "dance" });
  server.publish(PHONE, 2);
  await clock.pass(100);

  const [{ upto, exceptions }] = server.stream(PHONE).reports;
  assert.equal(upto, 2);
  assert.deepEqual(exceptions, [{ offset: 1, status: "failed", code: "no_handler", detail: "There is no handler for dance." }]);
});

test("an expired range is told before the next message, and does not come again", async () => {
  const server = new FakeServer(PHONE);
  for (const turn of [1, 2, 3, 4]) server.publish(PHONE, turn);
  server.expire(PHONE, 1, 3);

  const { phone, seen } = await aPhoneThatIsLive(server);

  assert.deepEqual(seen.gaps, [{ stream: PHONE, from: 1, to: 3, reason: "expired" }]);
  assert.deepEqual(offsets(seen.messages), [4]);
  assert.equal(server.stream(PHONE).processed, 4);
  assert.equal(phone.inspect().streams[PHONE].done, 4);
});

test("a gap without onGap is logged as an error", async (t) => {
  const server = new FakeServer(PHONE);
  server.publish(PHONE, 1);
  server.expire(PHONE, 1, 1);
  const log = t.mock.method(console, "error", () => {});

  await aPhoneThatIsLive(server, { onGap: undefined });

  assert.equal(log.mock.callCount(), 1);
  assert.deepEqual(log.mock.calls[0].arguments[1], { stream: PHONE, from: 1, to: 1, reason: "expired" });
});

test("history that was lost is told as a reset, and the rest is taken from the server's position", async () => {
  const server = new FakeServer(PHONE);
  const { clock, seen, phone } = await aPhoneThatIsLive(server);
  for (const turn of [1, 2, 3]) server.publish(PHONE, turn);
  await clock.pass(100);
  const stream = server.stream(PHONE);
  Object.assign(stream, { epoch: "e2", head: 2, processed: 1 });
  stream.log.delete(3);

  server.socket.lose();
  await clock.pass(5000);

  assert.deepEqual(seen.gaps, [{ stream: PHONE, from: 1, to: 1, reason: "reset" }]);
  assert.deepEqual(offsets(seen.messages), [1, 2, 3, 2]);
  assert.equal(phone.inspect().streams[PHONE].epoch, "e2");
  assert.equal(stream.processed, 2);
});

test("results of another history are refused, and the pull finds out", async () => {
  const server = new FakeServer(PHONE);
  const { clock, seen, phone } = await aPhoneThatIsLive(server);
  server.publish(PHONE, 1);
  Object.assign(server.stream(PHONE), { epoch: "e2" }); // while the connection stays open
  await clock.pass(5000);

  assert.equal(phone.inspect().streams[PHONE].epoch, "e2");
  assert.deepEqual(seen.gaps, [{ stream: PHONE, from: 1, to: 0, reason: "reset" }]);
  assert.deepEqual(offsets(seen.messages), [1, 1]);
  assert.deepEqual(seen.errors, []);
  assert.equal(server.stream(PHONE).processed, 1);
});

test("latest: the newest value per key, acknowledged together; in the background none", async () => {
  const server = new FakeServer(PHONE);
  const { phone, clock, seen } = await aPhoneThatIsLive(server);
  server.latest(PHONE, "vienna", 20);
  server.latest(PHONE, "graz", 22);
  await clock.pass(1000);
  assert.deepEqual(server.heard("ack_latest"), [{ type: "ack_latest", stream: PHONE, version: 2 }]);

  await phone.background();
  server.latest(PHONE, "vienna", 21);
  server.latest(PHONE, "vienna", 23);
  await clock.pass(1000);
  assert.deepEqual(seen.latest.map(({ data }) => data), [20, 22]);
  await phone.foreground();
  await clock.pass(1000);

  assert.deepEqual(seen.latest.map(({ data }) => data), [20, 22, 23]);
  assert.equal(server.stream(PHONE).latestReceived, 4);
});

test("a handler of that name gets latest and transient messages", async () => {
  const server = new FakeServer(PHONE);
  const got = [];
  const { clock, seen } = await aPhoneThatIsLive(server, { handlers: { weather: ({ data }) => got.push(data), cheer: ({ data }) => got.push(data) } });

  server.latest(PHONE, "vienna", 20);
  server.socket.push({ type: "transient", stream: PHONE, name: "cheer", data: "hey" });
  server.socket.push({ type: "transient", stream: PHONE, name: "boo", data: "oh" });
  await clock.pass(100);

  assert.deepEqual(got, [20, "hey"]);
  assert.deepEqual(seen.latest, []);
  assert.deepEqual(seen.transient.map(({ data }) => data), ["oh"]);
});

test("a token that has expired is asked for again", async () => {
  const server = new FakeServer(PHONE);
  const given = ["expired", "good"];
  const { phone, clock } = aPhone(server, { getToken: () => given.shift() });

  await phone.start();
  await clock.pass(2000);

  assert.equal(phone.inspect().state, "live");
  assert.deepEqual(given, []);
});

test("a pull whose token has expired is made again with a new one, and the socket gets it, too", async () => {
  const server = new FakeServer(PHONE);
  const given = ["old", "good"];
  server.tokens.add("old");
  server.publish(PHONE, 1);
  server.onPending = async () => {
    if (!server.tokens.delete("old")) return null;
    return problem(401, "token_expired");
  };
  const { phone, clock, seen } = aPhone(server, { getToken: () => given.shift() });

  await phone.start();
  await clock.pass(1000);

  assert.deepEqual(offsets(seen.messages), [1]);
  assert.deepEqual(server.heard("refresh").map(({ token }) => token), ["good"]);
});

test("a getToken that never answers does not hold up the pulls for ever", async () => {
  const server = new FakeServer(PHONE);
  let asked = 0;
  const getToken = async () => {
    asked += 1;
    return asked === 2 ? new Promise(() => {}) : "good";
  };
  const { phone, clock, seen } = await aPhoneThatIsLive(server, { getToken });
  phone.background();
  await clock.pass(100);
  server.publish(PHONE, 1);
  server.onPending = async () => (asked === 1 ? problem(401, "token_expired") : null);

  phone.foreground();
  await clock.pass(60_000);

  assert.equal(asked, 2);
  assert.deepEqual(offsets(seen.messages), [1]);
});

test("a token that is not valid is final", async () => {
  const server = new FakeServer(PHONE);
  const { phone, clock, seen } = aPhone(server, { getToken: () => "forged" });

  await phone.start();
  await clock.pass(60_000);

  assert.deepEqual(seen.states.at(-1), ["closed", { why: "bad_token", reason: "bad_token" }]);
  assert.equal(server.sockets.length, 1);
  assert.equal(clock.waiting, 0);
});

test("a newer connection of this device takes over: this one does not come back", async () => {
  const server = new FakeServer(PHONE);
  const { clock, seen } = await aPhoneThatIsLive(server);

  server.socket.push({ type: "bye", code: "superseded", reason: "A newer connection of this device took over.", reconnect: false, retry_after_ms: 0 });
  await clock.pass(60_000);

  assert.equal(seen.states.at(-1)[0], "closed");
  assert.equal(seen.states.at(-1)[1].why, "superseded");
  assert.equal(server.sockets.length, 1);
});

test("bye: comes back when the server said, not earlier", async () => {
  const server = new FakeServer(PHONE);
  const { phone, clock } = await aPhoneThatIsLive(server);

  server.socket.push({ type: "bye", code: "restart", reason: "", reconnect: true, retry_after_ms: 7000 });
  await clock.pass(6900);
  assert.equal(phone.inspect().state, "waiting");
  await clock.pass(200);

  assert.equal(phone.inspect().state, "live");
});

test("nothing is heard: ping, then give up and connect anew", async () => {
  const server = new FakeServer(PHONE);
  const { clock, phone, seen } = await aPhoneThatIsLive(server);
  server.onFrame = (frame) => frame.type === "ping";

  await clock.pass(34_000);
  assert.equal(server.heard("ping").length, 1);
  assert.equal(phone.inspect().state, "live");
  await clock.pass(2000);

  assert.ok(seen.states.some(([state, { why }]) => state === "waiting" && why === "silent"));
  assert.equal(phone.inspect().generation, 2);
});

test("a pull in a dead connection is asked for again beside it, after 3 s", async () => {
  const server = new FakeServer(PHONE);
  for (const turn of [1, 2, 3]) server.publish(PHONE, turn);
  let asked = 0;
  server.onPending = (url, signal) => ((asked += 1) === 1 ? silence(signal) : null);
  const { phone, clock, seen } = aPhone(server);
  await phone.start();

  await clock.pass(2_900);
  assert.deepEqual(offsets(seen.messages), []);
  await clock.pass(200);

  assert.deepEqual(offsets(seen.messages), [1, 2, 3]);
});

test("a server with too much to do refuses the second try: the first is answered all the same", async () => {
  const server = new FakeServer(PHONE);
  server.publish(PHONE, 1);
  let asked = 0;
  const { phone, clock, seen } = aPhone(server);
  server.onPending = async (url) => {
    if ((asked += 1) > 1) return problem(503, "overloaded", {}, { "Retry-After": "1" });
    await new Promise((resolve) => clock.setTimeout(resolve, 5_000));
    return server.pending(url.searchParams);
  };
  await phone.start();

  await clock.pass(5_500);

  assert.deepEqual(offsets(seen.messages), [1]);
  assert.deepEqual(seen.events.filter(({ kind }) => kind === "delayed"), []);
});

test("four dead connections in the pool cost 12 s, not 32", async () => {
  const server = new FakeServer(PHONE);
  server.publish(PHONE, 1);
  let asked = 0;
  server.onPending = (url, signal) => ((asked += 1) <= 4 ? silence(signal) : null);
  const { phone, clock, seen } = aPhone(server);
  await phone.start();

  await clock.pass(12_000);

  assert.deepEqual(offsets(seen.messages), [1]);
});

test("a pull that is not answered in 8 s is given up, and asked for again", async () => {
  const server = new FakeServer(PHONE);
  for (const turn of [1, 2, 3]) server.publish(PHONE, turn);
  let asked = 0;
  server.onPending = (url, signal) => ((asked += 1) <= 3 ? silence(signal) : null);
  const { phone, clock, seen } = aPhone(server);
  await phone.start();

  await clock.pass(7_000);
  assert.deepEqual(offsets(seen.messages), []);
  await clock.pass(2_000);

  assert.deepEqual(offsets(seen.messages), [1, 2, 3]);
  assert.deepEqual(seen.events.filter(({ kind }) => kind === "delayed").map(({ code }) => code), ["silent"]);
});

test("a line on which a whole page takes too long: smaller pages are asked for", async () => {
  const server = new FakeServer(PHONE);
  server.pageSize = 500;
  for (let offset = 1; offset <= 400; offset += 1) server.publish(PHONE, offset);
  const clock = new FakeClock();
  const { phone, seen } = aPhone(server, { clock, fetch: onASlowLine(server, clock) });
  await phone.start();

  await clock.pass(120_000);

  assert.deepEqual(offsets(seen.messages), Array.from({ length: 400 }, (_, index) => index + 1));
});

test("a page that has begun to come may take longer than that", async () => {
  const server = new FakeServer(PHONE);
  const { clock, ...actors } = aPhone(server);
  server.publish(PHONE, 1);
  server.onPending = async ({ searchParams }, signal) => {
    const answer = server.pending(searchParams);
    const slow = { ok: true, status: 200, json: () => new Promise((resolve, reject) => {
      clock.setTimeout(() => resolve(answer.json()), 25_000);
      signal.addEventListener("abort", () => reject(new DOMException("aborted", "AbortError")));
    }) };
    return slow;
  };
  await actors.phone.start();

  await clock.pass(26_000);

  assert.deepEqual(offsets(actors.seen.messages), [1]);
  assert.equal(server.requests.length, 1);
});

test("on return a connection that does not answer in 3 s is given up", async () => {
  const server = new FakeServer(PHONE);
  const lifecycle = manualLifecycle();
  const { clock, phone } = await aPhoneThatIsLive(server, { lifecycle });
  server.onFrame = (frame) => frame.type === "ping";

  lifecycle.probe("online");
  await clock.pass(2900);
  assert.equal(phone.inspect().generation, 1);
  await clock.pass(1000);

  assert.equal(phone.inspect().generation, 2);
});

test("online again: no waiting for the back-off", async () => {
  const server = new FakeServer(PHONE);
  const lifecycle = manualLifecycle();
  const { clock, phone } = await aPhoneThatIsLive(server, { lifecycle, polling: "never" });
  server.refuseConnections = 4;
  server.socket.lose();
  await clock.pass(2500);
  assert.equal(phone.inspect().state, "waiting");
  server.refuseConnections = 0;

  lifecycle.probe("online");
  await clock.pass(10);

  assert.equal(phone.inspect().state, "live");
});

test("a pull that is told to wait waits, and then goes on", async () => {
  const server = new FakeServer(PHONE);
  for (const turn of [1, 2]) server.publish(PHONE, turn);
  let asked = 0;
  server.onPending = async () => {
    asked += 1;
    if (asked === 1) return problem(503, "overloaded", {}, { "Retry-After": "2" });
    if (asked === 2) throw new TypeError("network");
    if (asked === 3) return new Response('{"streams": {', { status: 200 });
    return null;
  };
  const { phone, clock, seen } = aPhone(server);

  await phone.start();
  await clock.pass(1900);
  assert.equal(asked, 1);
  await clock.pass(10_000);

  assert.deepEqual(offsets(seen.messages), [1, 2]);
  assert.equal(phone.inspect().state, "live");
});

test("one pull at a time, also with several streams", async () => {
  const names = [PHONE, "user:u1", "room:lobby"];
  const server = new FakeServer(...names);
  for (const name of names) server.publish(name, name);
  let open = 0;
  let most = 0;
  server.onPending = async () => {
    open += 1;
    most = Math.max(most, open);
    await new Promise((resolve) => setImmediate(resolve));
    open -= 1;
    return null;
  };

  const { seen } = await aPhoneThatIsLive(server);

  assert.equal(most, 1);
  assert.deepEqual(seen.messages.map(({ data }) => data).sort(), [...names].sort());
});

test("a slow handler holds back the acks, and with them the server's window", async () => {
  const server = new FakeServer(PHONE);
  const { clock } = await aPhoneThatIsLive(server, { handlers: { turn: () => new Promise(() => {}) } });

  for (let turn = 1; turn <= 400; turn += 1) server.publish(PHONE, turn);
  await clock.pass(100);

  assert.equal(server.stream(PHONE).received, 256);
});

test("many pages wait for slow handlers", async () => {
  const server = new FakeServer(PHONE);
  server.pageSize = 500;
  for (let turn = 1; turn <= 3000; turn += 1) server.publish(PHONE, turn);
  const finish = [];
  const { phone, clock } = aPhone(server, { handlers: { turn: ({ offset }) => (offset === 1 ? new Promise((resolve) => finish.push(resolve)) : undefined) } });

  await phone.start();
  await clock.pass(1000);
  assert.equal(server.requests.length, 2);
  finish[0]();
  await clock.pass(1000);

  assert.equal(server.requests.length, 6);
  assert.equal(server.stream(PHONE).processed, 3000);
});

test("join and leave answer, and survive a lost connection", async () => {
  const server = new FakeServer(PHONE);
  const { phone, clock, seen } = await aPhoneThatIsLive(server);
  server.onFrame = (frame) => frame.type === "join";
  const joined = phone.join("room:lobby");
  await clock.pass(100);
  server.onFrame = () => false;
  server.socket.lose();
  await clock.pass(5000);

  assert.equal((await joined).stream, "room:lobby");
  server.publish("room:lobby", "hello");
  await clock.pass(100);
  assert.deepEqual(seen.messages.map(({ data }) => data), ["hello"]);

  await phone.leave("room:lobby");
  assert.deepEqual(Object.keys(phone.inspect().streams), [PHONE]);
});

test("a join that is refused is an error of the join", async () => {
  const server = new FakeServer(PHONE);
  const { phone } = await aPhoneThatIsLive(server);
  server.onFrame = (frame, socket) => {
    if (frame.type !== "join") return false;
    socket.push({ type: "error", re: frame.id, code: "not_allowed", title: "This is not allowed.", temporary: false });
    return true;
  };

  await assert.rejects(phone.join("room:vip"), { code: "not_allowed", temporary: false });
  assert.deepEqual(Object.keys(phone.inspect().streams), [PHONE]);
  assert.equal(phone.inspect().state, "live");
});

test("a room that is closed says so after its last message", async () => {
  const server = new FakeServer("room:lobby");
  const order = [];
  const { clock } = await aPhoneThatIsLive(server, {
    handlers: { "*": ({ offset }) => order.push(offset) }, onStreamClosed: (about) => order.push(about),
  });
  server.publish("room:lobby", 1, { push: false });
  server.stream("room:lobby").closed = true;

  server.socket.push({ type: "stream_closed", stream: "room:lobby", head: 1 });
  await clock.pass(100);

  assert.deepEqual(order, [1, { stream: "room:lobby", head: 1 }]);
});

test("going away for good: a notice that outlives the page", async () => {
  const server = new FakeServer(PHONE);
  const lifecycle = manualLifecycle();
  const { clock } = await aPhoneThatIsLive(server, { lifecycle });

  lifecycle.background({ leaving: true });
  await clock.pass(10);

  const { method, path, body, keepalive, headers } = server.requests.at(-1);
  assert.deepEqual([method, path, keepalive], ["POST", "/api/v1/notices", true]);
  assert.deepEqual(body, { state: "background", state_seq: server.heard("notice")[0].state_seq });
  assert.equal(headers.Authorization, "Bearer good");
});

test("started in the background, nothing is pulled before the app comes to the foreground", async () => {
  const server = new FakeServer(PHONE);
  server.publish(PHONE, 1);
  const { phone, clock, seen } = aPhone(server, { lifecycle: manualLifecycle("background") });
  await phone.start();
  await clock.pass(100);
  assert.equal(phone.inspect().state, "background");
  assert.equal(server.heard("hello")[0].state, "background");
  assert.equal(server.requests.length, 0);

  await phone.foreground();
  await clock.pass(100);

  assert.deepEqual(offsets(seen.messages), [1]);
});

test("stopped, nothing goes on; started again, it takes up where it was", async () => {
  const server = new FakeServer(PHONE);
  const { phone, clock, seen } = await aPhoneThatIsLive(server);
  server.publish(PHONE, 1);
  await clock.pass(100);
  phone.stop();
  await clock.pass(100);
  assert.equal(phone.inspect().state, "closed");
  assert.equal(clock.waiting, 0);
  assert.equal(server.socket, null);
  server.publish(PHONE, 2);

  await phone.start();
  await clock.pass(100);

  assert.deepEqual(offsets(seen.messages), [1, 2]);
});

test("stopped before it has started: it does not start", async () => {
  const server = new FakeServer(PHONE);
  const { phone, clock } = aPhone(server);

  const starting = phone.start();
  phone.stop();
  await starting;
  await clock.pass(1000);

  assert.equal(server.sockets.length, 0);
  assert.equal(phone.inspect().state, "closed");
  await assert.rejects(phone.join("room:lobby"), { code: "stopped" });
  await phone.background();

  phone.start();
  phone.stop();
  await phone.start();
  await clock.pass(100);
  assert.equal(phone.inspect().state, "live");
});

test("a store that fails: nothing is acknowledged that is not stored", async () => {
  const server = new FakeServer(PHONE);
  const storage = new MemoryStore();
  const { clock, seen } = await aPhoneThatIsLive(server, { storage });
  const save = storage.save.bind(storage);
  storage.save = async () => { throw new DOMException("full", "QuotaExceededError"); };
  server.publish(PHONE, 1);
  await clock.pass(500);
  assert.deepEqual(server.heard("ack"), []);
  assert.deepEqual(server.heard("results"), []);
  assert.equal(seen.errors[0].name, "QuotaExceededError");

  storage.save = save;
  await clock.pass(3000);

  assert.equal(server.stream(PHONE).processed, 1);
});

test("a store that cannot be read is replaced by memory", async () => {
  const server = new FakeServer(PHONE);
  const storage = { load: async () => { throw new DOMException("no", "SecurityError"); }, save: async () => {}, close() {} };

  const { clock, seen } = await aPhoneThatIsLive(server, { storage });
  server.publish(PHONE, 1);
  await clock.pass(100);

  assert.equal(server.stream(PHONE).processed, 1);
  assert.equal(seen.errors[0].name, "SecurityError");
});

test("a frame that makes no sense does not stop the client", async () => {
  const server = new FakeServer(PHONE);
  const { phone, clock, seen } = await aPhoneThatIsLive(server);

  server.socket.push({ type: "messages", items: "none" });
  server.socket.push({ type: "toString" });
  await clock.pass(3000);
  server.publish(PHONE, 1);
  await clock.pass(100);

  assert.equal(phone.inspect().state, "live");
  assert.deepEqual(offsets(seen.messages), [1]);
  assert.ok(seen.errors.length >= 1);
});

test("a room closed with messages under way: taken back in the background, told after them on return", async () => {
  const server = new FakeServer("room:lobby");
  const order = [];
  const finish = [];
  const { phone, clock } = await aPhoneThatIsLive(server, {
    handlers: { "*": ({ offset }) => { order.push(offset); return new Promise((resolve) => finish.push(resolve)); } },
    onStreamClosed: ({ head }) => order.push(`closed ${head}`),
  });
  server.publish("room:lobby", 1);
  server.publish("room:lobby", 2);
  server.stream("room:lobby").closed = true;
  server.socket.push({ type: "stream_closed", stream: "room:lobby", head: 2 });
  await clock.pass(10);

  await phone.background();
  finish[0]();
  await clock.pass(100);
  await phone.foreground();
  await clock.pass(100);
  finish[1]();
  await clock.pass(100);

  assert.deepEqual(order, [1, 2, "closed 2"]);
});

test("started again while a handler of before still runs: it waits, and no message is handled twice", async () => {
  const server = new FakeServer(PHONE);
  const begun = [];
  const finish = [];
  const { phone, clock } = await aPhoneThatIsLive(server, {
    handlers: { turn: ({ offset }) => { begun.push(offset); return new Promise((resolve) => finish.push(resolve)); } },
  });
  server.publish(PHONE, 1);
  await clock.pass(10);
  phone.stop();
  const again = phone.start();
  await clock.pass(100);
  assert.equal(phone.inspect().state, "closed");

  finish[0]();
  await again;
  await clock.pass(100);

  assert.deepEqual(begun, [1]);
  assert.equal(server.stream(PHONE).processed, 1);
});

for (const when of ["connecting", "live"]) {
  test(`what the app does in a callback waits its turn: stopped when ${when}`, async () => {
    const server = new FakeServer(PHONE);
    const { phone, clock, seen } = aPhone(server, { onState: (state) => { if (state === when) phone.stop(); } });

    await phone.start();
    await clock.pass(60_000);

    assert.equal(phone.inspect().state, "closed");
    assert.equal(clock.waiting, 0);
    assert.equal(server.socket, null);
    assert.deepEqual(seen.errors, []);
  });
}

test("tokens are in no event", async () => {
  const server = new FakeServer(PHONE);
  const { seen } = await aPhoneThatIsLive(server);

  assert.ok(!JSON.stringify(seen.events).includes("good"));
});
