// The session alone: events in, effects out; the clock is a number.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Session } from "../../messaging/static/messaging/client/session.js";

const PHONE = "device:phone-1";
const entry = (about = {}) => ({ stream: PHONE, epoch: "e1", processed: 0, received: 0, cut: 0, head: 0, tail: 1, latest_received: 0, ...about });

/** A session with hands: what it wants done is noted, nothing is done. */
class Bench {
  now = 0;
  effects = [];

  constructor({ stored, state, ...options } = {}) {
    this.session = new Session({ random: () => 0.5, ...options });
    this.do({ type: "start", stored: stored ?? {}, state: state ?? "foreground" });
  }

  do(event, after = 0) {
    this.now += after;
    this.effects = this.session.handle(event, this.now);
    const opened = this.effects.find(({ effect }) => effect === "open" || effect === "token");
    if (opened) this.connection = opened.connection;
    return this;
  }

  of(kind) { return this.effects.filter(({ effect }) => effect === kind); }
  get sent() { return this.of("send").map(({ frame }) => frame); }
  get states() { return this.of("state").map(({ state }) => state); }
  timer(name) { return this.of("timer").findLast((timer) => timer.name === name)?.ms; }

  frame(frame, after = 0) { return this.do({ type: "frame", connection: this.connection, frame }, after); }
  connect() { return this.do({ type: "token", connection: this.connection, token: "t" }).do({ type: "opened", connection: this.connection }); }
  welcome(streams = [entry()], about = {}) {
    return this.frame({
      type: "welcome", device: "phone-1", generation: 1, ping_interval_ms: 25_000, window: 64, resume: "pull",
      state: "foreground", state_seq: 1, streams, ...about,
    });
  }
  message(offset, about = {}, after = 0) { return this.frame({ type: "message", stream: PHONE, offset, name: "turn", data: offset, ...about }, after); }
  /** What was handed over is handled and stored. */
  handled(upto, outcome = { status: "processed" }) {
    this.do({ type: "handled", stream: PHONE, era: this.era ?? 1, upto, outcome });
    return this.stored();
  }
  stored() {
    const { streams } = this.of("save").reduce((all, save) => ({ streams: { ...all.streams, ...save.streams } }), {});
    return this.do({ type: "saved", streams });
  }
}

describe("connecting", () => {
  test("first a token, then a socket, then the hello, with positions and a number that grows", () => {
    const bench = new Bench({ stored: { stateSeq: 7, streams: { [PHONE]: { epoch: "e1", done: 4, received: 5, processed: 3 } } } });
    assert.deepEqual(bench.of("token"), [{ effect: "token", connection: 1 }]);

    bench.do({ type: "token", connection: 1, token: "t" });
    assert.deepEqual(bench.of("open"), [{ effect: "open", connection: 1 }]);
    bench.do({ type: "opened", connection: 1 });

    assert.deepEqual(bench.sent, [{
      type: "hello", id: 1, token: "t", state: "foreground", state_seq: 8, resume: "pull",
      positions: { [PHONE]: { epoch: "e1", processed: 4 } }, client: "meanwhile-js/1",
    }]);
    assert.deepEqual(bench.of("save"), [{ effect: "save", stateSeq: 8 }]);
  });

  test("a hello has no more positions than fit", () => {
    const streams = Object.fromEntries(Array.from({ length: 200 }, (_, index) => [`room:number-${index}`, { epoch: "0123456789abcdef", done: index, received: index, processed: 0 }]));
    const bench = new Bench({ stored: { stateSeq: 0, streams } }).do({ type: "token", connection: 1, token: "t".repeat(400) });

    bench.do({ type: "opened", connection: 1 });

    assert.ok(JSON.stringify(bench.sent[0]).length <= 4096);
    assert.ok(Object.keys(bench.sent[0].positions).length > 20);
  });

  test("the same token serves the next connection, unless it has expired", () => {
    const bench = new Bench().connect().welcome();
    bench.do({ type: "closed", connection: bench.connection, code: 1006 }).do({ type: "timer", name: "backoff" });
    assert.equal(bench.of("token").length, 0);
    assert.equal(bench.of("open").length, 1);

    bench.do({ type: "closed", connection: bench.connection, code: 4005 }).do({ type: "timer", name: "backoff" });
    assert.equal(bench.of("token").length, 1);
  });

  test("no welcome in 15 s: another connection", () => {
    const bench = new Bench().connect().do({ type: "timer", name: "welcome" }, 15_000);

    assert.deepEqual(bench.states, ["waiting"]);
    assert.equal(bench.of("close").length, 1);
  });

  test("a token that cannot be had is asked for again, later", () => {
    const error = new Error("offline");
    const bench = new Bench().do({ type: "token_failed", connection: 1, error });

    assert.deepEqual(bench.of("error"), [{ effect: "error", error }]);
    assert.deepEqual(bench.states, ["waiting"]);
    assert.equal(bench.do({ type: "timer", name: "backoff" }).of("token").length, 1);
  });

  test("what an older connection still says is dropped", () => {
    const bench = new Bench().connect().welcome();
    const old = bench.connection;
    bench.do({ type: "closed", connection: old, code: 1006 }).do({ type: "timer", name: "backoff" });

    bench.do({ type: "frame", connection: old, frame: { type: "message", stream: PHONE, offset: 1 } });
    assert.deepEqual(bench.effects.map(({ effect }) => effect), ["note"]);
    bench.do({ type: "closed", connection: old, code: 4509 });
    assert.equal(bench.session.state, "connecting");
  });

  test("a welcome of an older generation is dropped, and the next is taken", () => {
    const bench = new Bench().connect().welcome([], { generation: 5 });
    bench.do({ type: "closed", connection: bench.connection, code: 1006 }).do({ type: "timer", name: "backoff" });
    bench.do({ type: "opened", connection: bench.connection });

    bench.welcome([], { generation: 4 });
    assert.deepEqual(bench.states, ["waiting"]);
    bench.do({ type: "timer", name: "backoff" }).do({ type: "opened", connection: bench.connection }).welcome([], { generation: 4 });
    assert.deepEqual(bench.states, ["live"]);
  });
});

describe("losing it", () => {
  test("full jitter from 0.5 s to 20 s, and back to the start after a minute of quiet", () => {
    const bench = new Bench({ random: () => 0.999999, polling: "never" }).connect().welcome();
    const waits = [];
    for (let times = 0; times < 8; times += 1) {
      bench.do({ type: "closed", connection: bench.connection, code: 1006 });
      waits.push(bench.timer("backoff"));
      bench.do({ type: "timer", name: "backoff" }).do({ type: "opened", connection: bench.connection });
    }
    assert.deepEqual(waits, [500, 1000, 2000, 4000, 8000, 16_000, 20_000, 20_000]);

    bench.welcome([], { generation: 2 }).do({ type: "timer", name: "quiet" }, 60_000);
    bench.do({ type: "closed", connection: bench.connection, code: 1006 });
    assert.equal(bench.timer("backoff"), 500);
  });

  test("the jitter begins at zero", () => {
    const bench = new Bench({ random: () => 0 }).connect().welcome();

    assert.equal(bench.do({ type: "closed", connection: bench.connection, code: 1006 }).timer("backoff"), 0);
  });

  test("superseded by a hello of our own that was late, on a connection given up: back, once", () => {
    const bench = new Bench().connect().do({ type: "timer", name: "welcome" }, 15_000).do({ type: "timer", name: "backoff" }, 500);
    bench.do({ type: "opened", connection: bench.connection }).welcome();
    const superseded = { type: "bye", code: "superseded", reason: "", reconnect: false, retry_after_ms: 0 };

    bench.frame(superseded, 1_000);
    assert.deepEqual(bench.states, ["waiting"]);
    bench.do({ type: "timer", name: "backoff" }).do({ type: "opened", connection: bench.connection }).welcome();
    bench.frame(superseded, 1_000);

    assert.deepEqual(bench.states, ["closed"]);
  });

  test("superseded long after a connection was given up: by somebody else", () => {
    const bench = new Bench().connect().do({ type: "timer", name: "welcome" }, 15_000).do({ type: "timer", name: "backoff" }, 500);
    bench.do({ type: "opened", connection: bench.connection }).welcome();

    bench.do({ type: "closed", connection: bench.connection, code: 4509, reason: "superseded" }, 10_000);

    assert.deepEqual(bench.states, ["closed"]);
  });

  for (const [code, why] of [[4500, "bad_token"], [4501, "not_the_protocol"], [4503, "forced_off"], [4507, "not_allowed"], [4509, "superseded"], [4999, "connection_lost"]]) {
    test(`${code} is final`, () => {
      const bench = new Bench().connect().welcome().do({ type: "closed", connection: 1, code });

      assert.deepEqual(bench.of("state"), [{ effect: "state", state: "closed", detail: { why, code } }]);
      assert.equal(bench.of("timer").length, 0);
    });
  }

  test("which of several with one close code, the server says as the reason", () => {
    const bench = new Bench().connect().welcome().do({ type: "closed", connection: 1, code: 4503, reason: "device_revoked" });

    assert.equal(bench.of("state")[0].detail.why, "device_revoked");
  });

  for (const code of [1000, 1001, 1005, 1006, 1012, 4001, 4008, 4012, 4013, 4029, 4499, 5000]) {
    test(`${code} comes back`, () => {
      const bench = new Bench().connect().welcome().do({ type: "closed", connection: 1, code });

      assert.deepEqual(bench.states, ["waiting"]);
    });
  }

  test("bye says when", () => {
    const bench = new Bench().connect().welcome();

    bench.frame({ type: "bye", code: "restart", reason: "", reconnect: true, retry_after_ms: 4321 });

    assert.equal(bench.timer("backoff"), 4321);
    assert.equal(bench.session.inspect(bench.now + 321).retryInMs, 4000);
  });

  test("everything that was timed is cancelled", () => {
    const bench = new Bench().connect().welcome().message(1).do({ type: "stop" });

    assert.deepEqual(bench.of("cancel").map(({ name }) => name), ["welcome", "heartbeat", "quiet", "notice", "flush", "latest", "backoff", "socket", "try", "return"]);
    assert.deepEqual(bench.states, ["closed"]);
  });
});

describe("heartbeat", () => {
  test("ping after an interval of silence, gone 10 s later", () => {
    const bench = new Bench().connect().welcome();
    assert.equal(bench.timer("heartbeat"), 25_000);

    bench.do({ type: "timer", name: "heartbeat" }, 25_000);
    assert.equal(bench.sent[0].type, "ping");
    assert.equal(bench.timer("heartbeat"), 10_000);
    bench.do({ type: "timer", name: "heartbeat" }, 10_000);

    assert.deepEqual(bench.of("state").map(({ detail }) => detail.why), ["silent"]);
  });

  test("whatever is heard counts, and no ping is sent meanwhile", () => {
    const bench = new Bench().connect().welcome();
    bench.do({ type: "frame", connection: 1, frame: { type: "transient", stream: PHONE, name: "cheer" } }, 20_000);

    bench.do({ type: "timer", name: "heartbeat" }, 5_000);

    assert.deepEqual(bench.sent, []);
    assert.equal(bench.timer("heartbeat"), 20_000);
  });

  test("the machine slept through the deadline: asked again, with 3 s", () => {
    const bench = new Bench().connect().welcome().do({ type: "timer", name: "heartbeat" }, 25_000);

    bench.do({ type: "timer", name: "heartbeat" }, 3_600_000);
    assert.equal(bench.sent[0].type, "ping");
    assert.equal(bench.timer("heartbeat"), 3_000);

    bench.do({ type: "timer", name: "heartbeat" }, 3_000);
    assert.deepEqual(bench.states, ["waiting"]);
  });

  test("a probe asks at once, with 3 s; the answer calms it", () => {
    const bench = new Bench().connect().welcome().do({ type: "probe" }, 1000);
    const [{ type, id }] = bench.sent;
    assert.deepEqual([type, bench.timer("heartbeat")], ["ping", 3_000]);

    bench.frame({ type: "pong", re: id }, 500).do({ type: "timer", name: "heartbeat" }, 2_500);

    assert.deepEqual(bench.states, []);
    assert.equal(bench.timer("heartbeat"), 22_500);
  });

  test("what the server says by itself puts the end off, and is no answer: our words may not arrive any more", () => {
    const bench = new Bench().connect().welcome().do({ type: "probe" }, 1000);

    bench.message(1, {}, 2_000).do({ type: "timer", name: "heartbeat" }, 1_000);
    assert.equal(bench.timer("heartbeat"), 2_000);
    bench.do({ type: "timer", name: "heartbeat" }, 2_000);

    assert.deepEqual(bench.of("state").map(({ detail }) => detail.why), ["silent"]);
  });

  test("an answer to what was asked before the ping is none", () => {
    const bench = new Bench().connect().welcome().message(1).handled(1).do({ type: "timer", name: "flush" }, 20);
    const [{ id }] = bench.sent.filter(({ type }) => type === "results");
    bench.do({ type: "probe" });

    bench.frame({ type: "results_saved", re: id, stream: PHONE, processed: 1 }).do({ type: "timer", name: "heartbeat" }, 3_000);

    assert.deepEqual(bench.states, ["waiting"]);
  });

  test("a foreground notice is a ping, too", () => {
    const bench = new Bench({ state: "background" }).connect().welcome([entry()], { state: "background" }).do({ type: "foreground" }, 1000);
    bench.message(1);

    bench.do({ type: "timer", name: "heartbeat" }, 3_000);

    assert.deepEqual(bench.states, ["waiting"]);
  });
});

describe("foreground and background", () => {
  const live = () => new Bench().connect().welcome();

  test("a notice is repeated until it is answered", () => {
    const bench = live().do({ type: "background" });
    assert.deepEqual(bench.sent, [{ type: "notice", id: 2, state: "background", state_seq: 2 }]);
    assert.deepEqual(bench.states, ["background"]);

    bench.do({ type: "timer", name: "notice" }, 3_000);
    assert.deepEqual(bench.sent, [{ type: "notice", id: 3, state: "background", state_seq: 2 }]);
    bench.frame({ type: "notice_saved", re: 2, state: "background", state_seq: 2, streams: [] });

    assert.ok(bench.of("cancel").some(({ name }) => name === "notice"));
    assert.equal(bench.of("noticed").length, 1);
  });

  test("the answer to an overtaken notice does not count", () => {
    const bench = live().do({ type: "background" }).do({ type: "foreground" });

    bench.frame({ type: "notice_saved", re: 2, state: "background", state_seq: 2, streams: [] });
    assert.equal(bench.of("noticed").length, 0);
    assert.equal(bench.session.state, "resuming");

    bench.frame({ type: "notice_saved", re: 3, state: "foreground", state_seq: 3, streams: [entry()] });
    assert.deepEqual(bench.states, ["live"]);
  });

  test("a server that has a higher number is outbid", () => {
    const bench = live().do({ type: "background" });

    bench.frame({ type: "notice_saved", re: 2, state: "foreground", state_seq: 90, streams: [] });

    assert.deepEqual(bench.sent, [{ type: "notice", id: 3, state: "background", state_seq: 91 }]);
    assert.deepEqual(bench.of("save"), [{ effect: "save", stateSeq: 91 }]);
  });

  test("the state changed while the hello was under way: the welcome is followed by a notice", () => {
    const bench = new Bench().connect().do({ type: "background" });
    assert.deepEqual(bench.sent, []);

    bench.welcome();
    assert.equal(bench.sent[0].state, "background");
    assert.deepEqual(bench.of("pull"), []);
    assert.deepEqual(bench.states, ["background"]);
  });

  test("and the other way round: nothing is handed over before the notice's answer", () => {
    const bench = new Bench({ state: "background" }).connect().do({ type: "foreground" });

    bench.welcome([entry({ cut: 1, head: 1 })], { state: "background" }).message(2);
    assert.deepEqual(bench.effects.map(({ kind }) => kind), ["buffered"]);
    bench.frame({ type: "notice_saved", re: 2, state: "foreground", state_seq: 3, streams: [entry({ cut: 1, head: 1 })] });

    assert.deepEqual(bench.of("pull").map(({ after, until }) => [after, until]), [[0, 1]]);
  });

  test("an answer without streams: all there is is pulled", () => {
    const bench = live().do({ type: "background" }).do({ type: "foreground" });

    bench.frame({ type: "notice_saved", re: 3, state: "foreground", state_seq: 3, streams: [] });

    assert.deepEqual(bench.of("pull"), [{ effect: "pull", stream: PHONE, pull: 1, after: 0, until: null, epoch: "e1" }]);
  });

  test("said twice, it is noticed once", () => {
    const bench = live().do({ type: "background" }).do({ type: "background", leaving: true });

    assert.deepEqual(bench.sent, []);
    assert.deepEqual(bench.of("beacon"), [{ effect: "beacon", state: "background", state_seq: 2 }]);
  });

  test("back while waiting: at once", () => {
    const bench = live().do({ type: "background" }).do({ type: "closed", connection: 1, code: 1006 });

    bench.do({ type: "foreground" });

    assert.deepEqual(bench.states, ["connecting"]);
  });

  test("back while an attempt to connect hangs: begun anew after 3 s, not before", () => {
    const bench = new Bench().do({ type: "token", connection: 1, token: "t" });

    bench.do({ type: "probe" }, 2_000);
    assert.equal(bench.of("open").length, 0);
    bench.do({ type: "probe" }, 1_000);
    assert.equal(bench.of("open").length, 1);
    assert.equal(bench.of("close").length, 1);
  });

  test("back while an attempt to connect is young: it has its 3 s, and is begun anew", () => {
    const bench = new Bench().do({ type: "token", connection: 1, token: "t" });

    bench.do({ type: "probe" }, 2_000);
    assert.equal(bench.timer("return"), 1_000);
    bench.do({ type: "timer", name: "return" }, 1_000);

    assert.equal(bench.of("open").length, 1);
    assert.equal(bench.of("close").length, 1);
  });

  test("back while an attempt to connect is young: a welcome in time is taken", () => {
    const bench = new Bench().connect().do({ type: "probe" }, 2_000).welcome();

    assert.ok(bench.of("cancel").some(({ name }) => name === "return"));
    assert.ok(["live", "resuming"].includes(bench.session.state));
  });

  test("back while waiting, where it would poll: the socket is worth an attempt first", () => {
    const bench = new Bench().do({ type: "token", connection: 1, token: "t" });
    bench.do({ type: "closed", connection: 1, code: 1006 }).do({ type: "timer", name: "backoff" });
    bench.do({ type: "closed", connection: bench.connection, code: 1006 });

    bench.do({ type: "probe" });
    assert.equal(bench.of("open").length, 1);
    bench.do({ type: "closed", connection: bench.connection, code: 1006 }).do({ type: "timer", name: "backoff" });
    assert.equal(bench.of("poll").length, 1);
  });

  test("in the background: no acks, no values, but results of what was still running", () => {
    const bench = live().message(1).stored().do({ type: "background", unstarted: {} });
    bench.frame({ type: "latest", stream: PHONE, name: "weather", key: "", version: 1 });
    assert.deepEqual(bench.of("latest"), []);
    bench.frame({ type: "transient", stream: PHONE, name: "cheer" });
    assert.deepEqual(bench.of("transient"), []);

    bench.handled(1).do({ type: "timer", name: "flush" }, 20);

    assert.deepEqual(bench.sent.map(({ type }) => type), ["results"]);
  });
});

describe("receipts and results", () => {
  const live = () => new Bench().connect().welcome();

  test("an ack follows the store", () => {
    const bench = live().message(1);
    assert.deepEqual(bench.of("save"), [{ effect: "save", streams: { [PHONE]: { epoch: "e1", done: 0, received: 1, processed: 0 } } }]);
    bench.do({ type: "timer", name: "flush" }, 20);
    assert.deepEqual(bench.sent, []);

    bench.do({ type: "saved", streams: { [PHONE]: { epoch: "e1", done: 0, received: 1, processed: 0 } } });
    assert.equal(bench.timer("flush"), 20);
    bench.do({ type: "timer", name: "flush" }, 20);

    assert.deepEqual(bench.sent, [{ type: "ack", stream: PHONE, epoch: "e1", upto: 1 }]);
  });

  describe("what a replay sends again is acknowledged again: the window of this connection waits for it", () => {
    const again = { received: 200, processed: 0, cut: 200, head: 200 };
    const replayed = (stored) => new Bench({ stored: { streams: { [PHONE]: { epoch: "e1", processed: 0, ...stored } } }, resume: "replay" })
      .connect().welcome([entry(again)], { resume: "replay" });

    test("after a reload, as far as it came", () => {
      const bench = replayed({ done: 0, received: 200 });
      assert.deepEqual(bench.of("timer").map(({ name }) => name).filter((name) => name === "flush"), []);

      for (let offset = 1; offset <= 64; offset += 1) bench.message(offset, { redelivered: true });
      bench.do({ type: "timer", name: "flush" }, 20);

      assert.deepEqual(bench.sent, [{ type: "ack", stream: PHONE, epoch: "e1", upto: 64 }]);
    });

    test("where the hello had no room for the position: at once, with all of it", () => {
      const bench = replayed({ done: 150, received: 200 }).do({ type: "timer", name: "flush" }, 20);

      assert.deepEqual(bench.sent.filter(({ type }) => type === "ack").map(({ upto }) => upto), [150]);
    });

    test("where the stream waits at a failure, too", () => {
      const bench = replayed({ done: 0, received: 200 }).message(1, { on_failure: "stop" });
      bench.do({ type: "handled", stream: PHONE, era: 0, upto: 1, outcome: { status: "failed", code: "A", detail: "" }, stop: true, error: new Error("A") });
      bench.stored().do({ type: "timer", name: "flush" }, 20);

      for (let offset = 2; offset <= 64; offset += 1) bench.message(offset, { redelivered: true });
      bench.do({ type: "timer", name: "flush" }, 40);

      assert.deepEqual(bench.sent.filter(({ type }) => type === "ack").map(({ upto }) => upto), [64]);
    });

    test("a pull needs none: what it owns fills no window", () => {
      const bench = new Bench({ stored: { streams: { [PHONE]: { epoch: "e1", done: 0, received: 200, processed: 0 } } } }).connect().welcome([entry(again)]);
      const messages = Array.from({ length: 64 }, (_, index) => ({ stream: PHONE, offset: index + 1, name: "turn" }));
      bench.do({ type: "page", stream: PHONE, page: { pull: 1, epoch: "e1", processed: 0, cut: 200, messages, complete: false } });
      bench.do({ type: "timer", name: "flush" }, 20);

      assert.deepEqual(bench.sent, []);
    });
  });

  test("what is not stored yet is neither acknowledged nor reported", () => {
    const bench = live().message(1).handled(1, { status: "failed", code: "A", detail: "" }).message(2);
    bench.do({ type: "handled", stream: PHONE, era: 1, upto: 2, outcome: { status: "failed", code: "B", detail: "" } });

    bench.do({ type: "timer", name: "flush" }, 20);

    const [ack, results] = bench.sent;
    assert.equal(ack.upto, 1);
    assert.deepEqual([results.upto, results.exceptions.map(({ code }) => code)], [1, ["A"]]);
  });

  test("results without an answer are sent again at once by the next connection", () => {
    const bench = live().message(1).handled(1).do({ type: "timer", name: "flush" }, 20);
    bench.do({ type: "closed", connection: 1, code: 1006 }).do({ type: "timer", name: "backoff" });
    bench.do({ type: "opened", connection: bench.connection }).welcome([entry({ cut: 1, head: 1, received: 1 })], { generation: 2 });
    assert.equal(bench.timer("flush"), 40);

    bench.do({ type: "timer", name: "flush" }, 40);

    assert.deepEqual(bench.sent.map(({ type, upto }) => [type, upto]), [["results", 1]]);
  });

  test("a server that takes less than was reported is not asked in a loop", () => {
    const bench = live().message(1).handled(1).do({ type: "timer", name: "flush" }, 20);

    bench.frame({ type: "results_saved", re: bench.sent.at(-1).id, stream: PHONE, processed: 0 }).do({ type: "timer", name: "flush" }, 20);

    assert.deepEqual(bench.sent, []);
    assert.equal(bench.timer("flush"), 980);
  });

  test("unsaved results of another history are not taken from the store", () => {
    const row = (epoch, offset) => ({ stream: PHONE, epoch, offset, status: "failed", code: epoch, detail: "" });
    const stored = { streams: { [PHONE]: { epoch: "e1", done: 2, received: 2, processed: 0 } }, results: [row("e0", 1), row("e1", 2)] };
    const bench = new Bench({ stored }).connect().welcome([entry({ cut: 2, head: 2, received: 2 })]);

    bench.do({ type: "timer", name: "flush" }, 20);

    assert.deepEqual(bench.sent[0].exceptions.map(({ code }) => code), ["e1"]);
  });

  test("a write that ends after a reset does not count for the new history", () => {
    const bench = live().message(1).message(2);
    const late = { epoch: "e1", done: 2, received: 2, processed: 0 };
    bench.frame({ type: "gap", stream: PHONE, from: 1, to: 0, reason: "reset", epoch: "e2" }).do({ type: "saved", streams: { [PHONE]: late } });
    assert.equal(bench.timer("flush"), undefined);

    bench.do({ type: "page", stream: PHONE, page: { pull: 1, epoch: "e2", processed: 0, cut: 0, messages: [], complete: true } });
    bench.do({ type: "saved", streams: { [PHONE]: { ...late, epoch: "e2" } } }).do({ type: "timer", name: "flush" }, 20);

    assert.deepEqual(bench.sent, []);
  });

  test("after a reset the values of the keys count anew", () => {
    const bench = live();
    const value = { type: "latest", stream: PHONE, name: "weather", key: "vienna", data: 1 };
    bench.frame({ ...value, version: 9 });

    bench.frame({ type: "gap", stream: PHONE, from: 1, to: 0, reason: "reset", epoch: "e2" });

    assert.equal(bench.frame({ ...value, version: 1 }).of("latest").length, 1);
  });

  test("a reset that names no epoch learns it later, and forgets nothing for it", () => {
    const bench = new Bench({ resume: "replay" }).connect().welcome([entry()], { resume: "replay" });
    bench.frame({ type: "gap", stream: PHONE, from: 1, to: 3, reason: "reset" }).message(4).stored();
    bench.do({ type: "closed", connection: 1, code: 1006 }).do({ type: "timer", name: "backoff" }).do({ type: "opened", connection: bench.connection });
    bench.welcome([entry({ epoch: "e2", processed: 3, received: 3, cut: 4, head: 4 })], { generation: 2, resume: "replay" });
    bench.frame({ type: "caught_up", stream: PHONE, upto: 4 });
    bench.era = 2;

    bench.handled(4).do({ type: "timer", name: "flush" }, 40);

    assert.deepEqual(bench.sent.filter(({ type }) => type === "results").map(({ epoch, upto }) => [epoch, upto]), [["e2", 4]]);
  });

  test("results are cumulative, one frame at a time", () => {
    const bench = live().message(1).handled(1).do({ type: "timer", name: "flush" }, 20);
    const [first] = bench.sent.filter(({ type }) => type === "results");
    assert.equal(first.upto, 1);
    for (const offset of [2, 3]) bench.message(offset).handled(offset).do({ type: "timer", name: "flush" }, 40);
    assert.deepEqual(bench.sent.filter(({ type }) => type === "results"), []);

    bench.frame({ type: "results_saved", re: first.id, stream: PHONE, processed: 1 }).do({ type: "timer", name: "flush" }, 40);

    assert.deepEqual(bench.sent.map(({ upto }) => upto), [3]);
  });

  test("an unanswered frame is sent again after 10 s", () => {
    const bench = live().message(1).handled(1).do({ type: "timer", name: "flush" }, 20);
    assert.equal(bench.timer("flush"), 10_000);

    bench.do({ type: "timer", name: "flush" }, 10_000);

    assert.deepEqual(bench.sent.map(({ type, upto }) => [type, upto]), [["results", 1]]);
  });

  test("a refusal for now is repeated, a refusal for good says less", () => {
    const bench = live().message(1).handled(1, { status: "failed", code: "Odd", detail: "very" }).do({ type: "timer", name: "flush" }, 20);
    const refuse = (code, temporary) => {
      const { id } = bench.sent.find(({ type }) => type === "results");
      bench.frame({ type: "error", re: id, code, title: "", temporary }).do({ type: "timer", name: "flush" }, 1_000);
      return bench.sent.find(({ type }) => type === "results");
    };

    assert.deepEqual(refuse("overloaded", true).exceptions, [{ offset: 1, status: "failed", code: "Odd", detail: "very" }]);
    assert.deepEqual(refuse("invalid", false).exceptions, [{ offset: 1, status: "failed", code: "Odd" }]);
    assert.deepEqual(refuse("invalid", false).exceptions, []);
    assert.equal(refuse("invalid", false), undefined);
    assert.equal(bench.session.inspect(bench.now).unsavedResults, 1);
  });

  test("an error that cannot say which frame it was is taken for the results'", () => {
    const bench = live().message(1).handled(1, { status: "processed", value: '{"deep":1}' }).do({ type: "timer", name: "flush" }, 20);
    assert.deepEqual(bench.sent.at(-1).values, [{ offset: 1, value: { deep: 1 } }]);

    bench.frame({ type: "error", code: "too_deep", title: "", temporary: false }).do({ type: "timer", name: "flush" }, 1_000);

    assert.deepEqual(bench.sent.at(-1).values, []);
  });

  test("no more than 50 frames a second", () => {
    const names = Array.from({ length: 10 }, (_, index) => `room:r${index}`);
    const bench = new Bench().connect().welcome(names.map((stream) => entry({ stream })));
    for (const stream of names) bench.frame({ type: "message", stream, offset: 1, name: "turn" }).stored();
    bench.do({ type: "timer", name: "flush" }, 20);
    assert.equal(bench.sent.length, 10);

    bench.frame({ type: "message", stream: names[0], offset: 2, name: "turn" }).stored();

    assert.equal(bench.timer("flush"), 200);
  });

  test("results too large for one frame go in several", () => {
    const bench = live();
    for (let offset = 1; offset <= 8; offset += 1) bench.message(offset).handled(offset, { status: "processed", value: JSON.stringify("x".repeat(20_000)) });

    bench.do({ type: "timer", name: "flush" }, 20);
    const [results] = bench.sent.filter(({ type }) => type === "results");
    assert.deepEqual([results.upto, results.values.length], [2, 2]);
    bench.frame({ type: "results_saved", re: results.id, stream: PHONE, processed: 2 }).do({ type: "timer", name: "flush" }, 40);

    assert.deepEqual(bench.sent.map(({ upto }) => upto), [4]);
  });

  test("a return is reported in one, when all of it was handled", () => {
    const bench = new Bench().connect().welcome([entry({ cut: 2, head: 2 })]).message(3);
    const messages = [1, 2].map((offset) => ({ stream: PHONE, offset, name: "turn" }));
    bench.do({ type: "page", stream: PHONE, page: { pull: 1, epoch: "e1", processed: 0, cut: 2, messages, complete: true } }).stored();
    bench.handled(1).handled(2).do({ type: "timer", name: "flush" }, 100);
    assert.deepEqual(bench.sent.filter(({ type }) => type === "results"), []);

    bench.handled(3).do({ type: "timer", name: "flush" }, 20);

    assert.deepEqual(bench.sent.filter(({ type }) => type === "results").map(({ upto }) => upto), [3]);
  });

  test("but not later than after 5 s", () => {
    const bench = new Bench().connect().welcome([entry({ cut: 2, head: 2 })]);
    const messages = [1, 2].map((offset) => ({ stream: PHONE, offset, name: "turn" }));
    bench.do({ type: "page", stream: PHONE, page: { pull: 1, epoch: "e1", processed: 0, cut: 2, messages, complete: true } }).stored();
    bench.handled(1);
    assert.equal(bench.timer("flush") > 4_000 || bench.timer("flush") === undefined, true);

    bench.do({ type: "timer", name: "flush" }, 5_000);

    assert.deepEqual(bench.sent.filter(({ type }) => type === "results").map(({ upto }) => upto), [1]);
  });

  test("what was handled of another history is not reported", () => {
    const bench = live().message(1);
    bench.frame({ type: "gap", stream: PHONE, from: 1, to: 0, reason: "reset" });
    assert.deepEqual(bench.of("clear"), [{ effect: "clear", stream: PHONE }]);

    bench.handled(1);

    assert.deepEqual(bench.of("save"), []);
  });

  test("values are acknowledged together, although they never stop", () => {
    const bench = live();
    const timers = [];
    for (let version = 1; version <= 3; version += 1) {
      bench.frame({ type: "latest", stream: PHONE, name: "weather", key: `k${version}`, version, data: 1 }, 100);
      timers.push(bench.timer("latest"));
    }
    assert.deepEqual(timers, [200, undefined, undefined]);

    bench.do({ type: "timer", name: "latest" });
    assert.deepEqual(bench.sent, [{ type: "ack_latest", stream: PHONE, version: 3 }]);
  });

  test("an older value of a key is dropped", () => {
    const bench = live();
    const value = { type: "latest", stream: PHONE, name: "weather", key: "vienna", data: 1 };

    assert.equal(bench.frame({ ...value, version: 2 }).of("latest").length, 1);
    assert.equal(bench.frame({ ...value, version: 1 }).of("latest").length, 0);
    assert.equal(bench.frame({ ...value, version: 2 }).of("latest").length, 0);
    assert.equal(bench.frame({ ...value, key: "graz", version: 1 }).of("latest").length, 1);
  });
});

describe("streams", () => {
  test("a stream that the welcome does not name is forgotten", () => {
    const stored = { stateSeq: 1, streams: { "room:old": { epoch: "e1", done: 4, received: 4, processed: 4 } } };
    const bench = new Bench({ stored }).connect().welcome();

    assert.ok(bench.of("save").some(({ streams }) => streams?.["room:old"] === null));
    assert.deepEqual(Object.keys(bench.session.inspect(0).streams), [PHONE]);
  });

  test("a stream nobody announced is pulled", () => {
    const bench = new Bench().connect().welcome([]);

    bench.message(7);

    assert.deepEqual(bench.of("pull"), [{ effect: "pull", stream: PHONE, pull: 1, after: null, until: null, epoch: null }]);
  });

  test("a service puts the device into a room: no request of ours, and it begins", () => {
    const bench = new Bench().connect().welcome([]);

    bench.frame({ type: "joined", ...entry({ stream: "room:lobby", processed: 5, cut: 5, head: 5 }) });
    bench.frame({ type: "message", stream: "room:lobby", offset: 6, name: "turn" });

    assert.deepEqual(bench.of("run").map(({ item }) => [item.message.offset, item.path]), [[6, "live"]]);
  });

  test("a pull of a stream that is none is the end of the stream", () => {
    const bench = new Bench().connect().welcome();
    const error = Object.assign(new Error(), { code: "unknown_stream", temporary: false });

    bench.do({ type: "pull_failed", stream: PHONE, error });

    assert.deepEqual(bench.session.inspect(0).streams, {});
  });

  test("a pull with a token that is not valid is the end", () => {
    const bench = new Bench().connect().welcome();
    const error = Object.assign(new Error(), { code: "bad_token", temporary: false });

    bench.do({ type: "pull_failed", stream: PHONE, error });

    assert.deepEqual(bench.states, ["closed"]);
  });

  test("joins without an answer are asked again, and survive a reload", () => {
    const bench = new Bench({ stored: { stateSeq: 1, outbox: [{ kind: "join", stream: "room:a" }] } }).connect();

    bench.welcome();
    assert.deepEqual(bench.sent.map(({ type, stream }) => [type, stream]), [["join", "room:a"]]);
    bench.do({ type: "join", stream: "room:b", request: 1 });
    assert.deepEqual(bench.of("save"), [{ effect: "save", outbox: [{ kind: "join", stream: "room:a" }, { kind: "join", stream: "room:b" }] }]);
    bench.frame({ type: "joined", re: bench.sent[0].id, ...entry({ stream: "room:b" }) });

    assert.deepEqual(bench.of("save").filter(({ outbox }) => outbox), [{ effect: "save", outbox: [{ kind: "join", stream: "room:a" }] }]);
    assert.deepEqual(bench.of("answer").map(({ request, error }) => [request, error]), [[1, undefined]]);
  });
});
