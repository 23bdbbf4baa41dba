// The small parts of the client: tokens, what the app waits for, copies of another tab, the ways to the server.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { App } from "../../messaging/static/messaging/client/app.js";
import { Copies } from "../../messaging/static/messaging/client/copies.js";
import { Links } from "../../messaging/static/messaging/client/links.js";
import { Requests } from "../../messaging/static/messaging/client/requests.js";
import { ROOM } from "../../messaging/static/messaging/client/runner.js";
import { Tokens } from "../../messaging/static/messaging/client/tokens.js";
import { settled } from "./clock.mjs";

describe("tokens", () => {
  const tokens = (given, renewed = []) => new Tokens({ getToken: async () => given.shift(), onRenewed: (token) => renewed.push(token) });

  test("the token serves until it is called stale; then another is asked for, and told", async () => {
    const renewed = [];
    const own = tokens(["first", "second"], renewed);

    assert.deepEqual([await own.but(), await own.but(), await own.but("first"), await own.but("first")], ["first", "first", "second", "second"]);
    assert.deepEqual(renewed, ["first", "second"]);
  });

  test("what was asked for is not told again, and what is no token is none", async () => {
    const renewed = [];
    const own = tokens(["first", ""], renewed);

    await own.ask();
    await assert.rejects(own.ask(), TypeError);
    assert.deepEqual([own.current, renewed], ["first", []]);
  });
});

describe("requests", () => {
  test("each is answered once, or refused", async () => {
    const requests = new Requests();
    const first = requests.make({}, (request) => requests.answer({ request, value: "joined" }));
    const second = requests.make({}, (request) => requests.answer({ request, error: new Error("no") }));

    assert.equal(await first, "joined");
    await assert.rejects(second, /no/);
    requests.answer({ request: 1, value: "again" }); // nobody waits
  });

  test("what is open goes another way, and the first way is closed to it", async () => {
    const requests = new Requests();
    const asked = [];
    const open = requests.make({ type: "join", stream: "room:a" }, () => {});

    requests.handOver(async (about) => { asked.push(about); return "by another tab"; });
    requests.answer({ request: 1, value: "by this one" });

    assert.equal(await open, "by another tab");
    assert.deepEqual(asked, [{ type: "join", stream: "room:a" }]);
  });
});

describe("copies", () => {
  test("handlers run in order with copies; what this version does not know is left out", async () => {
    const told = [];
    const tell = (what) => ({ stream, offset = null, copy }) => { told.push([what, stream, offset, copy]); };
    const app = new App({ handlers: { "*": tell("message") }, onGap: tell("gap"), onLatest: tell("latest") });
    const copies = new Copies(app);
    copies.take("message", { stream: "early", offset: 1 });

    copies.begin();
    copies.take("message", { stream: "room:a", offset: 1, name: "gift", path: "live" });
    copies.take("gap", { stream: "room:a", from: 2, to: 3 });
    copies.take("of the future", {});
    copies.take("toString", {});
    await settled();
    copies.take("latest", { stream: "room:a", name: "weather" });
    copies.dispose();
    copies.take("message", { stream: "room:a", offset: 4, name: "gift", path: "live" });
    await settled();

    assert.deepEqual(told, [["message", "room:a", 1, true], ["gap", "room:a", null, true], ["latest", "room:a", null, true]]);
  });
});

describe("copies nobody takes", () => {
  const copy = (offset) => ["message", { stream: "room:a", offset, name: "gift", path: "live" }];

  test("a handler that hangs lets as many wait as a leader would; the rest is a gap, in its place", async () => {
    const told = [];
    let go;
    const held = new Promise((resolve) => { go = resolve; });
    const handle = async ({ offset }) => { told.push(offset); await held; };
    const copies = new Copies(new App({ handlers: { "*": handle }, onGap: ({ from, to, reason, copy }) => { told.push([from, to, reason, copy]); } }));
    copies.begin();

    for (let offset = 1; offset <= 50_000; offset += 1) copies.take(...copy(offset));
    await settled();
    assert.ok(copies.waiting("room:a") <= ROOM + 1);
    go();
    await settled();
    copies.take(...copy(50_001));
    await settled();

    const messages = told.filter((one) => typeof one === "number");
    const gaps = told.filter((one) => typeof one !== "number");
    assert.deepEqual(gaps, [[ROOM + 1, 50_000, "overflow", true]]);
    assert.deepEqual(messages, [...Array(ROOM).keys()].map((index) => index + 1).concat(50_001));
    assert.deepEqual(told[ROOM], gaps[0]);
  });
});

describe("links", () => {
  test("a socket is tried while the polling is used; when it is switched to, the polling is not closed by what closes it", async () => {
    const sockets = [];
    class FakeSocket {
      readyState = 1;
      sent = [];
      constructor() { sockets.push(this); }
      send(text) { this.sent.push(JSON.parse(text)); }
      close() { this.closed = true; }
    }
    const polled = [];
    const polling = { open: (connection) => polled.push(connection), send: (frame) => polled.push(frame.type), close: () => polled.push("closed") };
    const heard = [];
    const links = new Links({ WebSocket: FakeSocket, url: "ws://server", on: (event) => heard.push(event), polling });

    links.poll(1);
    links.try(2);
    links.send({ type: "hello" });
    links.close();
    links.switch();
    links.send({ type: "ping" });
    sockets[0].onmessage({ data: '{"type":"pong"}' });
    links.close();
    await settled();

    assert.deepEqual(polled, [1, "hello", "closed"]);
    assert.deepEqual([sockets.length, sockets[0].sent, sockets[0].closed], [1, [{ type: "ping" }], true]);
    assert.deepEqual(heard, [{ type: "frame", connection: 2, frame: { type: "pong" } }]);
  });
});
