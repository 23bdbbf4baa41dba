// Without WebSockets: the whole client against a server in the same process that speaks HTTP alone.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Meanwhile, MemoryStore, manualLifecycle } from "../../messaging/static/messaging/client/index.js";
import { Polled } from "../../messaging/static/messaging/client/polled.js";
import { Ways } from "../../messaging/static/messaging/client/ways.js";
import { FakeClock } from "./clock.mjs";
import { FakeServer, onASlowLine, problem, silence } from "./fake_server.mjs";

const PHONE = "device:phone-1";
const LOBBY = "room:lobby";

/** A server behind a proxy that lets no WebSocket through. */
function aServerBehindAProxy(...names) {
  const server = new FakeServer(PHONE, ...names);
  server.refuseConnections = Infinity;
  server.clock = new FakeClock();
  return server;
}

function aPhone(server, options = {}) {
  const seen = { messages: [], states: [], latest: [], gaps: [], errors: [], closed: [] };
  const lifecycle = manualLifecycle();
  const phone = new Meanwhile({
    url: "http://server.test",
    getToken: () => "good",
    handlers: { "*": (message) => { seen.messages.push(message); } },
    onGap: (gap) => seen.gaps.push(gap),
    onLatest: (value) => seen.latest.push(value),
    onState: (state, detail) => seen.states.push([state, detail]),
    onStreamClosed: (about) => seen.closed.push(about),
    onError: (error) => seen.errors.push(error),
    storage: new MemoryStore(),
    WebSocket: server.WebSocket,
    fetch: server.fetch,
    clock: server.clock,
    lifecycle,
    ...options,
  });
  return { phone, clock: server.clock, lifecycle, seen };
}

async function aPhoneThatPolls(server, options) {
  const actors = aPhone(server, options);
  await actors.phone.start();
  await actors.clock.pass(5000);
  assert.equal(actors.phone.inspect().state, "polling");
  return actors;
}

const paths = (messages) => messages.map(({ offset, path }) => `${offset} ${path}`);
const offsets = (messages) => messages.map(({ offset }) => offset);
const asked = (server, end) => server.requests.filter(({ path }) => path.endsWith(end));

test("a line on which a whole page takes too long: smaller pages are asked for", async () => {
  const server = aServerBehindAProxy();
  server.pageSize = 500;
  for (let offset = 1; offset <= 400; offset += 1) server.publish(PHONE, offset);
  const { phone, clock, seen } = aPhone(server, { fetch: onASlowLine(server, server.clock) });
  await phone.start();

  await clock.pass(180_000);

  assert.deepEqual(offsets(seen.messages), Array.from({ length: 400 }, (_, index) => index + 1));
});

test("two sockets without a welcome, and it polls; messages come in order, and their results go back", async () => {
  const server = aServerBehindAProxy();
  for (const turn of [1, 2, 3]) server.publish(PHONE, turn);

  const handled = [];
  const handlers = { turn: (message) => { handled.push(message); return { took: message.data }; } };
  const { phone, clock, seen } = await aPhoneThatPolls(server, { handlers });
  server.publish(PHONE, 4);
  await clock.pass(100);

  assert.deepEqual(seen.states.map(([state]) => state).slice(0, 5), ["connecting", "waiting", "connecting", "waiting", "connecting"]);
  assert.deepEqual(paths(handled), ["1 pulled", "2 pulled", "3 pulled", "4 pulled"]);
  assert.equal(server.stream(PHONE).processed, 4);
  assert.deepEqual(server.stream(PHONE).reports.flatMap(({ values }) => values).map(({ offset, value }) => [offset, value.took]), [[1, 1], [2, 2], [3, 3], [4, 4]]);
  assert.equal(phone.inspect().way, "polling");
  assert.equal(phone.inspect().unsavedResults, 0);
  assert.deepEqual(seen.errors, []);
  phone.stop();
});

test("a socket that is swallowed without a word counts after its 15 s", async () => {
  const server = aServerBehindAProxy();
  server.refuseConnections = 0;
  server.swallowConnections = true;
  const { phone, clock } = aPhone(server);

  await phone.start();
  await clock.pass(32_000);

  assert.equal(phone.inspect().state, "polling");
  phone.stop();
});

for (const [what, options] of [["asked for", { polling: "always" }], ["no WebSocket at all", { WebSocket: null }]]) {
  test(`polling at once, and no try of a socket: ${what}`, async () => {
    const server = aServerBehindAProxy();
    const { phone, clock } = aPhone(server, options);

    await phone.start();
    await clock.pass(600_000);

    assert.equal(phone.inspect().state, "polling");
    assert.equal(server.sockets.length, 0);
    assert.equal((await joining(phone, clock)).stream, LOBBY);
    phone.stop();
  });
}

/** A join, with the time it takes. */
async function joining(phone, clock) {
  const joined = phone.join(LOBBY);
  await clock.pass(100);
  return await joined;
}

test("a room is joined and left while it polls: what is published in between comes, and nothing after", async () => {
  const server = aServerBehindAProxy();
  const { phone, clock, seen } = await aPhoneThatPolls(server, { polling: "always" });

  const joined = await joining(phone, clock);
  server.publish(LOBBY, "hello");
  await clock.pass(100);
  const between = [phone.inspect().state, offsets(seen.messages), server.stream(LOBBY).processed];
  const left = phone.leave(LOBBY);
  await clock.pass(100);
  server.publish(LOBBY, "nobody hears");
  server.streams.delete(LOBBY);
  await clock.pass(30_000);

  assert.deepEqual([joined.type, joined.stream, joined.cut], ["joined", LOBBY, 0]);
  assert.deepEqual(between, ["polling", [1], 1]);
  assert.deepEqual(await left, { type: "left", re: (await left).re, stream: LOBBY });
  assert.deepEqual(offsets(seen.messages), [1]);
  assert.deepEqual(Object.keys(phone.inspect().streams), [PHONE]);
  assert.deepEqual(asked(server, encodeURIComponent(LOBBY)).map(({ method }) => method), ["PUT", "DELETE"]);
  assert.deepEqual(seen.errors, []);
  phone.stop();
});

test("a join is not held up by a pull that waits, nor by a handler that waits for the join", async () => {
  const server = aServerBehindAProxy();
  server.pageSize = 1;
  for (let turn = 1; turn <= 3; turn += 1) server.publish(PHONE, turn);
  const handled = [];
  let phone = null;
  const handlers = { turn: async ({ stream, offset }) => {
    if (stream === PHONE && offset === 1) await phone.join(LOBBY);
    handled.push(`${stream} ${offset}`);
  } };
  const actors = aPhone(server, { handlers, polling: "always" });
  ({ phone } = actors);

  await phone.start();
  await actors.clock.pass(5000);
  server.publish(LOBBY, 1);
  await actors.clock.pass(5000);

  assert.deepEqual(handled, [`${PHONE} 1`, `${PHONE} 2`, `${PHONE} 3`, `${LOBBY} 1`]);
  assert.equal(phone.inspect().state, "polling");
  phone.stop();
});

test("a page that was on its way when the room was joined does not take it away again", async () => {
  const server = aServerBehindAProxy();
  let release;
  server.onPending = async () => { // a slow page of before the join
    server.onPending = async () => null;
    const page = { streams: { [PHONE]: { ...server.stream(PHONE).entry(), complete: true } }, messages: [], next: null };
    await new Promise((resolve) => { release = resolve; });
    return Response.json(page);
  };
  const { phone, clock, seen } = aPhone(server, { polling: "always" });
  await phone.start();
  await clock.pass(100);
  const told = [];
  phone.join(LOBBY).then(({ stream }) => told.push(stream));
  await clock.pass(1000);
  const early = [...told];
  release();
  await clock.pass(100);
  server.publish(LOBBY, 1);
  await clock.pass(100);

  assert.deepEqual([early, told], [[], [LOBBY]]);
  assert.deepEqual(Object.keys(phone.inspect().streams), [PHONE, LOBBY]);
  assert.deepEqual(offsets(seen.messages), [1]);
  assert.equal(seen.errors.length, 0);
  phone.stop();
});

test("a join that the server refuses is an error of the join; the polling goes on", async () => {
  const server = aServerBehindAProxy();
  server.onMembership = () => problem(403, "not_allowed", { title: "This is not allowed." });
  const { phone, clock, seen } = await aPhoneThatPolls(server, { polling: "always" });

  const refused = assert.rejects(phone.join(LOBBY), { code: "not_allowed", temporary: false });
  await clock.pass(100);
  await refused;

  assert.equal(phone.inspect().state, "polling");
  assert.deepEqual(Object.keys(phone.inspect().streams), [PHONE]);
  assert.deepEqual(seen.errors, []);
  phone.stop();
});

test("a join whose answer is lost with the network is asked again", async () => {
  const server = aServerBehindAProxy();
  const { phone, clock } = await aPhoneThatPolls(server, { polling: "always" });
  server.online = false;

  const joined = phone.join(LOBBY);
  await clock.pass(100);
  server.online = true;
  await clock.pass(60_000);

  assert.equal((await joined).stream, LOBBY);
  phone.stop();
});

test("a join that waits when the socket is there again is asked for over the socket", async () => {
  const server = aServerBehindAProxy();
  const { phone, clock } = await aPhoneThatPolls(server);
  let release;
  server.onMembership = () => new Promise((resolve) => { release = resolve; });

  const joined = phone.join(LOBBY);
  server.refuseConnections = 0;
  await clock.pass(20_000);
  release?.(problem(503, "unavailable"));

  assert.equal((await joined).stream, LOBBY);
  assert.equal(server.heard("join").length, 1);
  assert.equal(phone.inspect().way, "socket");
  phone.stop();
});

test("polling: never", async () => {
  const server = aServerBehindAProxy();
  const { phone, clock } = aPhone(server, { polling: "never" });

  await phone.start();
  await clock.pass(120_000);

  assert.equal(server.requests.length, 0);
  phone.stop();
});

test("a pull waits, one after the other; nothing else is asked while nothing happens", async () => {
  const server = aServerBehindAProxy();
  const { phone, clock } = await aPhoneThatPolls(server, { polling: "always" });
  server.requests.length = 0;

  await clock.pass(100_000);

  assert.deepEqual(server.requests.map(({ path, query }) => [path, query]), Array(4).fill(["/api/v1/pending", { wait: "25", limit: "500" }]));
  assert.equal(server.waiting.size, 1);
  phone.stop();
  await clock.pass(0);
  assert.equal(server.waiting.size, 0);
});

test("back to the socket by itself: nothing lost, nothing twice", async () => {
  const server = aServerBehindAProxy(LOBBY);
  const { phone, clock, seen } = await aPhoneThatPolls(server);
  for (let turn = 1; turn <= 60; turn += 1) {
    if (turn === 20) server.refuseConnections = 0;
    server.publish(turn % 2 ? PHONE : LOBBY, turn, { push: turn % 3 > 0 });
    await clock.pass(700);
  }
  await clock.pass(60_000);
  server.publish(PHONE, 61);
  server.publish(LOBBY, 62);
  await clock.pass(1000);

  assert.equal(phone.inspect().way, "socket");
  assert.equal(phone.inspect().state, "live");
  for (const name of [PHONE, LOBBY]) {
    const expected = Array.from({ length: 31 }, (_, index) => index + 1);
    assert.deepEqual(offsets(seen.messages.filter(({ stream }) => stream === name)), expected);
    assert.equal(server.stream(name).processed, 31);
  }
  assert.equal(server.waiting.size, 0);
  phone.stop();
});

test("the socket is tried beside the polling, rarer and rarer; the polling goes on", async () => {
  const server = aServerBehindAProxy();
  const { phone, clock, seen } = await aPhoneThatPolls(server);
  const before = server.sockets.length;
  seen.states.length = 0;

  await clock.pass(60_000);
  const first = server.sockets.length - before;
  await clock.pass(600_000);
  const then = server.sockets.length - before - first;
  server.publish(PHONE, 1);
  await clock.pass(100);

  assert.ok(first >= 2 && first <= 8, `${first}`);
  assert.ok(then <= 10, `${then} in ten minutes`);
  assert.deepEqual(seen.states, []);
  assert.deepEqual(paths(seen.messages), ["1 pulled"]);
  phone.stop();
});

test("a try that opens and gets no welcome: polling again", async () => {
  const server = aServerBehindAProxy();
  const { phone, clock, seen } = await aPhoneThatPolls(server);
  server.onFrame = () => true; // swallowed
  server.refuseConnections = 0;
  await clock.pass(20_000);
  server.publish(PHONE, 1);
  await clock.pass(40_000);

  assert.deepEqual(paths(seen.messages), ["1 pulled"]);
  assert.equal(phone.inspect().streams[PHONE].done, 1);
  phone.stop();
});

test("in the background it stops polling, says so, and finishes what runs; on return it brings all", async () => {
  const server = aServerBehindAProxy();
  let finish;
  const handled = [];
  const handlers = { turn: ({ offset }) => { handled.push(offset); return offset === 1 ? new Promise((resolve) => { finish = resolve; }) : undefined; } };
  const { phone, clock } = await aPhoneThatPolls(server, { handlers, polling: "always" });
  server.publish(PHONE, 1);
  server.publish(PHONE, 2);
  await clock.pass(100);

  await phone.background();
  server.publish(PHONE, 3);
  finish();
  server.requests.length = 0;
  await clock.pass(300_000);
  assert.deepEqual([server.state, phone.inspect().state], ["background", "background"]);
  assert.deepEqual(server.requests.map(({ path, body }) => [path, body[0].upto]), [["/api/v1/results", 1]]);
  assert.deepEqual(handled, [1]);

  await phone.foreground();
  await clock.pass(100);
  assert.deepEqual(handled, [1, 2, 3]);
  assert.equal(server.state, "foreground");
  assert.equal(phone.inspect().state, "polling");
  phone.stop();
});

test("back after so long that the server counts the device as offline", async () => {
  const server = aServerBehindAProxy();
  const { phone, clock, seen } = await aPhoneThatPolls(server, { polling: "always" });
  await phone.background();
  server.polling = false;
  server.publish(PHONE, 1);

  await phone.foreground();
  await clock.pass(100);

  assert.deepEqual(paths(seen.messages), ["1 pulled"]);
  assert.equal(phone.inspect().state, "polling");
  phone.stop();
});

test("a slow handler does not make it ask for the same again and again, nor holds up other streams", async () => {
  const server = aServerBehindAProxy(LOBBY);
  const handled = [];
  const handlers = { "*": ({ stream, offset }) => { handled.push(`${stream} ${offset}`); return stream === PHONE ? new Promise(() => {}) : undefined; } };
  const { phone, clock } = await aPhoneThatPolls(server, { handlers, polling: "always" });
  server.publish(PHONE, 1);
  await clock.pass(100);
  server.requests.length = 0;
  server.publish(LOBBY, 1);
  await clock.pass(10_000);

  assert.deepEqual(handled, [`${PHONE} 1`, `${LOBBY} 1`]);
  assert.ok(server.requests.length <= 14, `${server.requests.length} requests in 10 s`);
  assert.ok(asked(server, "/pending").every(({ query }) => query.stream !== PHONE || query.after === "1"), "what it has is not asked for");
  assert.equal(server.stream(PHONE).received, 1);
  assert.equal(server.stream(LOBBY).processed, 1);
  phone.stop();
});

test("latest values are acknowledged, and come again only when they are newer", async () => {
  const server = aServerBehindAProxy();
  const { phone, clock, seen } = await aPhoneThatPolls(server, { polling: "always" });
  server.latest(PHONE, "vienna", 20);
  await clock.pass(1000);
  server.requests.length = 0;
  await clock.pass(20_000);
  assert.deepEqual(server.requests, []);
  server.latest(PHONE, "vienna", 21);
  await clock.pass(1000);

  assert.deepEqual(seen.latest.map(({ data }) => data), [20, 21]);
  assert.equal(server.stream(PHONE).latestReceived, 2);
  phone.stop();
});

test("a receipt of values that was lost is given again by the next connection", async () => {
  const server = aServerBehindAProxy();
  const { phone, clock, seen } = await aPhoneThatPolls(server, { polling: "always" });
  server.onAcks = () => new Response("{}", { status: 200 }); // taken by something in between
  server.latest(PHONE, "vienna", 20);
  await clock.pass(3000);
  server.onAcks = null;
  server.online = false;
  await clock.pass(40_000);
  server.online = true;
  await clock.pass(40_000);

  assert.deepEqual(seen.latest.map(({ data }) => data), [20]);
  assert.equal(server.stream(PHONE).latestReceived, 1);
  phone.stop();
});

test("many pages wait for slow handlers", async () => {
  const server = aServerBehindAProxy();
  server.pageSize = 200;
  for (let turn = 0; turn < 3000; turn += 1) server.publish(PHONE, turn);
  const { phone, clock } = aPhone(server, { polling: "always", handlers: { "*": () => new Promise(() => {}) } });
  await phone.start();
  await clock.pass(60_000);

  assert.equal(phone.inspect().state, "resuming");
  assert.ok(asked(server, "/pending").length <= 5, `${asked(server, "/pending").length} pages`);
  phone.stop();
});

test("many pages, gaps in their places, a room that is closed", async () => {
  const server = aServerBehindAProxy(LOBBY);
  server.pageSize = 2;
  for (const turn of [1, 2, 3, 4, 5, 6, 7]) server.publish(PHONE, turn);
  server.expire(PHONE, 3, 5);
  server.publish(LOBBY, "bye");
  server.stream(LOBBY).closed = true;
  const order = [];
  const { phone, seen } = await aPhoneThatPolls(server, {
    handlers: { turn: ({ stream, offset }) => { order.push(stream === PHONE ? offset : "lobby"); } }, onGap: ({ from, to }) => order.push([from, to]),
  });

  assert.deepEqual(order.filter((one) => one !== "lobby"), [1, 2, [3, 5], 6, 7]);
  assert.deepEqual(seen.closed, [{ stream: LOBBY, head: 1 }]);
  assert.equal(server.stream(PHONE).processed, 7);
  phone.stop();
});

test("a service puts the device into a room, and takes it out", async () => {
  const server = aServerBehindAProxy();
  const { phone, clock, seen } = await aPhoneThatPolls(server, { polling: "always" });
  server.publish(LOBBY, "hello");
  await clock.pass(100);
  assert.deepEqual(seen.messages.map(({ stream, offset }) => [stream, offset]), [[LOBBY, 1]]);

  server.streams.delete(LOBBY);
  server.publish(PHONE, 1);
  await clock.pass(100);
  assert.deepEqual(Object.keys(phone.inspect().streams), [PHONE]);
  phone.stop();
});

test("history that was lost is told as a reset", async () => {
  const server = aServerBehindAProxy();
  const { phone, clock, seen } = await aPhoneThatPolls(server, { polling: "always" });
  server.publish(PHONE, 1);
  await clock.pass(100);
  Object.assign(server.stream(PHONE), { epoch: "e2", processed: 0, received: 0 });
  server.publish(PHONE, 2);
  await clock.pass(10_000);

  assert.deepEqual(seen.gaps, [{ stream: PHONE, from: 1, to: 0, reason: "reset" }]);
  assert.deepEqual(offsets(seen.messages), [1, 1, 2]);
  assert.equal(phone.inspect().state, "polling");
  phone.stop();
});

for (const [status, code] of [[503, "overloaded"], [429, "rate_limited"]]) {
  test(`${status} with Retry-After: not asked again before`, async () => {
    const server = aServerBehindAProxy();
    const { phone, clock, seen } = await aPhoneThatPolls(server, { polling: "always" });
    let times = 1;
    server.onPending = async () => (times-- > 0 ? problem(status, code, { temporary: true }, { "Retry-After": "30" }) : null);
    server.publish(PHONE, 1); // ends the pull that waits; its answer was on the way
    await clock.pass(3000);
    assert.equal(phone.inspect().state, "waiting");
    server.requests.length = 0;
    await clock.pass(26_000);
    assert.deepEqual(server.requests, []);

    await clock.pass(20_000);
    assert.equal(phone.inspect().state, "polling");
    assert.deepEqual(offsets(seen.messages), [1]);
    assert.deepEqual(seen.states.findLast(([state]) => state === "waiting")[1].why, code);
    phone.stop();
  });
}

test("results that are refused for now are sent again", async () => {
  const server = aServerBehindAProxy();
  const { phone, clock } = await aPhoneThatPolls(server, { polling: "always" });
  let times = 3;
  server.onResults = () => (times-- > 0 ? problem(503, "overloaded", {}, { "Retry-After": "2" }) : null);
  server.publish(PHONE, 1);
  await clock.pass(20_000);

  assert.ok(times < 0, "refused three times");
  assert.equal(server.stream(PHONE).processed, 1);
  assert.equal(phone.inspect().unsavedResults, 0);
  phone.stop();
});

test("a token that expires is asked for again; one that is not valid is final", async () => {
  const server = aServerBehindAProxy();
  const given = ["old", "good", "bad"];
  server.tokens.add("old");
  const { phone, clock, seen } = await aPhoneThatPolls(server, { polling: "always", getToken: () => given.shift() });
  server.onPending = async () => (server.tokens.delete("old") ? problem(401, "token_expired") : null);
  server.publish(PHONE, 1);
  await clock.pass(30_000);
  server.publish(PHONE, 2);
  await clock.pass(1000);
  assert.deepEqual(offsets(seen.messages), [1, 2]);
  assert.deepEqual(given, ["bad"]);

  server.tokens.clear();
  server.publish(PHONE, 3);
  await clock.pass(30_000);
  assert.equal(phone.inspect().state, "closed");
  assert.equal(seen.states.at(-1)[1].why, "bad_token");
});

test("the network is gone and comes back: found within 3 s on a return, and nothing is missed", async () => {
  const server = aServerBehindAProxy();
  const { phone, clock, seen, lifecycle } = await aPhoneThatPolls(server, { polling: "always" });
  server.online = false;
  server.publish(PHONE, 1, { push: false });
  lifecycle.probe("offline");
  await clock.pass(3100);
  assert.ok(["waiting", "connecting"].includes(phone.inspect().state));

  server.online = true;
  lifecycle.probe("online");
  await clock.pass(100);
  assert.equal(phone.inspect().state, "polling");
  assert.deepEqual(offsets(seen.messages), [1]);
  phone.stop();
});

test("killed while polling: what was not confirmed is reported by the next life, and nothing is handled twice", async () => {
  const server = aServerBehindAProxy();
  const storage = new MemoryStore();
  const first = await aPhoneThatPolls(server, { storage, polling: "always" });
  server.onResults = () => problem(503, "overloaded");
  server.publish(PHONE, 1);
  await first.clock.pass(500);
  assert.equal(server.stream(PHONE).processed, 0);
  first.phone.stop();
  server.onResults = null;

  const second = await aPhoneThatPolls(server, { storage });

  assert.deepEqual([offsets(first.seen.messages), offsets(second.seen.messages)], [[1], []]);
  assert.equal(server.stream(PHONE).processed, 1);
  second.phone.stop();
});

describe("which way", () => {
  const random = () => 0.5;

  test("where both fail they take turns, and the socket counts when it worked", () => {
    const ways = new Ways({ random });
    const taken = [];
    for (let times = 0; times < 6; times += 1) {
      taken.push(ways.next());
      ways.failed(taken.at(-1));
    }
    assert.deepEqual(taken, ["socket", "socket", "polling", "socket", "polling", "socket"]);

    ways.welcomed("polling");
    assert.equal(ways.next(), "polling");
    ways.hope();
    assert.equal(ways.next(), "socket");
    ways.failed("socket");
    assert.equal(ways.next(), "polling");
    ways.welcomed("socket");
    ways.failed("socket");
    assert.equal(ways.next(), "socket");
  });
});

describe("pages as frames", () => {
  const entry = (about = {}) => ({ epoch: "e1", processed: 0, cut: 4, head: 4, tail: 1, latest_received: 0, complete: true, ...about });
  const message = (offset, stream = PHONE) => ({ stream, offset, name: "turn", data: offset });

  test("gaps stand in their places, the end of a round is the caught_up", () => {
    const polled = new Polled();
    polled.begin([{ stream: PHONE, ...entry() }]);

    const frames = polled.page({ streams: { [PHONE]: entry() }, messages: [message(1), message(4)], gaps: [{ stream: PHONE, from: 2, to: 3, reason: "expired" }], next: null });

    assert.deepEqual(frames.map(({ type, offset, to, upto }) => [type, offset ?? to ?? upto]), [["message", 1], ["gap", 3], ["message", 4], ["caught_up", 4]]);
    assert.equal(polled.behind, true);
    polled.saved(PHONE, 4);
    assert.equal(polled.behind, false);
  });

  test("a later page tells nothing of a stream that was left since the first", () => {
    const polled = new Polled();
    polled.begin([{ stream: PHONE, ...entry() }, { stream: LOBBY, ...entry() }]);
    const streams = { [PHONE]: entry(), [LOBBY]: entry() };
    polled.page({ streams, messages: [message(1)], next: "2" }, true);
    polled.left(LOBBY);

    const frames = polled.page({ streams, messages: [{ ...message(1), stream: LOBBY }, message(2)], gaps: [{ stream: LOBBY, from: 2, to: 3, reason: "expired" }], next: null });

    assert.deepEqual(frames.map(({ type, stream }) => [type, stream]), [["message", PHONE], ["caught_up", PHONE]]);
  });

  test("another history in the middle is no page of this connection", () => {
    const polled = new Polled();
    polled.begin([{ stream: PHONE, ...entry() }]);

    assert.throws(() => polled.page({ streams: { [PHONE]: entry({ epoch: "e2" }) }, messages: [] }), { code: "epoch_changed" });
  });
});

test("results that are not answered in 8 s, nor those sent beside them, are posted again", async () => {
  const server = aServerBehindAProxy();
  let posted = 0;
  server.onResults = (signal) => ((posted += 1) <= 3 ? silence(signal) : undefined);
  const { clock } = await aPhoneThatPolls(server);

  server.publish(PHONE, 1);
  await clock.pass(7_000);
  assert.equal(server.stream(PHONE).processed, 0);
  await clock.pass(3_000);

  assert.equal(server.stream(PHONE).processed, 1);
});
