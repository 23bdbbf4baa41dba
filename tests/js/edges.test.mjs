// The edges: the page's lifecycle, addresses, the socket and the registry of codes.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { CODES, MeanwhileError, pageLifecycle } from "../../messaging/static/messaging/client/index.js";
import { nameOfClose } from "../../messaging/static/messaging/client/codes.js";
import { Socket, addresses } from "../../messaging/static/messaging/client/transport.js";
import { FakeClock } from "./clock.mjs";

describe("the page's lifecycle", () => {
  function aPage() {
    const document = Object.assign(new EventTarget(), { visibilityState: "visible" });
    const window = Object.assign(new EventTarget(), { document });
    const clock = new FakeClock();
    const said = [];
    const lifecycle = pageLifecycle({ window, clock });
    lifecycle.start({
      background: ({ leaving }) => said.push(leaving ? "leaving" : "background"),
      foreground: () => said.push("foreground"),
      probe: (why) => said.push(`probe ${why}`),
    });
    const show = (state) => {
      document.visibilityState = state;
      document.dispatchEvent(new Event("visibilitychange"));
    };
    return { document, window, clock, said, lifecycle, show };
  }

  test("hidden and shown", () => {
    const { said, show, lifecycle } = aPage();
    assert.equal(lifecycle.state, "foreground");

    show("hidden");
    assert.equal(lifecycle.state, "background");
    show("visible");

    assert.deepEqual(said, ["background", "foreground"]);
  });

  test("left, and kept by the browser: the return fires no visibilitychange", () => {
    const { said, window } = aPage();

    window.dispatchEvent(new Event("pagehide"));
    window.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
    window.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: false }));

    assert.deepEqual(said, ["leaving", "foreground"]);
  });

  test("frozen and resumed", () => {
    const { said, document } = aPage();

    document.dispatchEvent(new Event("freeze"));
    document.dispatchEvent(new Event("resume"));
    document.visibilityState = "hidden";
    document.dispatchEvent(new Event("resume"));

    assert.deepEqual(said, ["leaving", "foreground", "probe resume"]);
  });

  test("offline and online are looked into", () => {
    const { said, window } = aPage();

    window.dispatchEvent(new Event("offline"));
    window.dispatchEvent(new Event("online"));

    assert.deepEqual(said, ["probe offline", "probe online"]);
  });

  test("a jump of the clock tells that the machine slept; its normal pace does not", async () => {
    const { said, clock } = aPage();
    await clock.pass(60_000);
    assert.deepEqual(said, []);

    clock.jump(600_000);
    await clock.pass(5_000);

    assert.deepEqual(said, ["probe clock"]);
  });

  test("disposed, it hears and times nothing", () => {
    const { said, clock, window, show, lifecycle } = aPage();

    lifecycle.dispose();
    show("hidden");
    window.dispatchEvent(new Event("online"));

    assert.deepEqual(said, []);
    assert.equal(clock.waiting, 0);
  });
});

describe("addresses", () => {
  for (const [base, socket, api] of [
    ["http://127.0.0.1:8000", "ws://127.0.0.1:8000/ws/device", "http://127.0.0.1:8000/api/v1"],
    ["https://live.example.com/", "wss://live.example.com/ws/device", "https://live.example.com/api/v1"],
    ["https://example.com/meanwhile/", "wss://example.com/meanwhile/ws/device", "https://example.com/meanwhile/api/v1"],
    ["wss://example.com", "wss://example.com/ws/device", "https://example.com/api/v1"],
  ]) {
    test(base, () => assert.deepEqual(addresses(base), { socket, api }));
  }
});

describe("the socket", () => {
  function aSocket() {
    const made = [];
    class FakeWebSocket {
      readyState = 0;
      sent = [];
      constructor(url, protocols) { made.push(Object.assign(this, { url, protocols })); }
      send(text) { this.sent.push(text); }
      close(code) { this.closedWith = code; }
    }
    const heard = [];
    return { made, heard, socket: new Socket({ WebSocket: FakeWebSocket, url: "ws://server.test/ws/device", on: (event) => heard.push(event) }) };
  }

  test("offers the subprotocol, and no token in the address", () => {
    const { made, socket } = aSocket();

    socket.open(1);

    assert.deepEqual([made[0].url, made[0].protocols], ["ws://server.test/ws/device", ["meanwhile.v1.json"]]);
  });

  test("what the one before still says is not heard", () => {
    const { made, heard, socket } = aSocket();
    socket.open(1);
    socket.open(2);

    made[0].onopen?.();
    made[0].onclose?.({ code: 1006, reason: "" });
    made[1].onopen();

    assert.equal(made[0].closedWith, 1000);
    assert.deepEqual(heard, [{ type: "opened", connection: 2 }]);
  });

  test("what is not JSON ends the connection", () => {
    const { made, heard, socket } = aSocket();
    socket.open(1);

    made[0].onmessage({ data: "<html>" });

    assert.deepEqual(heard, [{ type: "closed", connection: 1, code: 1007, reason: "not_json" }]);
  });

  test("an error is a lost connection, whether `close` follows or not", () => {
    const { made, heard, socket } = aSocket();
    socket.open(1);

    made[0].onerror();
    made[0].onclose?.({ code: 1006, reason: "" });

    assert.deepEqual(heard, [{ type: "closed", connection: 1, code: 1006, reason: "" }]);
  });

  test("an address that cannot be opened is a lost connection", () => {
    const heard = [];
    class Refusing { constructor() { throw new DOMException("insecure", "SecurityError"); } }

    new Socket({ WebSocket: Refusing, url: "ws://x", on: (event) => heard.push(event) }).open(3);

    assert.deepEqual(heard, [{ type: "closed", connection: 3, code: 1006, reason: "insecure" }]);
  });

  test("nothing is sent into a socket that is not open", () => {
    const { made, socket } = aSocket();
    socket.send({ type: "ping" });
    socket.open(1);
    socket.send({ type: "ping" });
    made[0].readyState = 1;
    socket.send({ type: "ping" });

    assert.deepEqual(made[0].sent, ['{"type":"ping"}']);
  });
});

describe("codes", () => {
  test("close codes have names", () => {
    assert.equal(nameOfClose(4509), "superseded");
    assert.equal(nameOfClose(4005), "token_expired");
    assert.equal(nameOfClose(1006), null);
    assert.equal(nameOfClose(undefined), null);
  });

  test("temporary errors come back, the others are final", () => {
    for (const { close, temporary } of Object.values(CODES)) if (close !== null) assert.equal(close < 4500, temporary);
  });

  test("an error says what the registry says", () => {
    const error = new MeanwhileError("overloaded");

    assert.deepEqual([error.name, error.code, error.temporary, error.message], ["MeanwhileError", "overloaded", true, CODES.overloaded.title]);
  });
});
