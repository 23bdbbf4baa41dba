// What is said over a welcomed connection, without the session around it.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Presence } from "../../messaging/static/messaging/client/presence.js";
import { Streams } from "../../messaging/static/messaging/client/streams.js";
import { Talk } from "../../messaging/static/messaging/client/talk.js";

const PHONE = { stream: "device:phone", epoch: "e1", processed: 0, received: 0, cut: 0, head: 0, tail: 1 };
const WELCOME = { type: "welcome", ping_interval_ms: 25_000, state: "foreground", state_seq: 1, streams: [PHONE] };

class Bench {
  out = [];
  presence = new Presence();
  talk = new Talk({ streams: new Streams(), presence: this.presence, emit: (...effects) => this.out.push(...effects) });

  welcome(about = {}) {
    this.talk.begin({ ...WELCOME, ...about }, "pull", false);
    return this.taken();
  }

  taken() { return this.out.splice(0); }
  sent() { return this.taken().filter(({ effect }) => effect === "send").map(({ frame }) => frame); }
}

test("before the welcome nothing is said: the hello says it", () => {
  const bench = new Bench();
  bench.presence.become("background");

  bench.talk.changed();
  bench.talk.ask({ kind: "join", stream: "room:a", request: 1 });

  assert.deepEqual(bench.sent(), []);
  assert.equal(bench.talk.frame({ type: "pong" }), false);
});

test("a join that was asked for before the connection is sent with the welcome, and again by the next connection", () => {
  const bench = new Bench();
  bench.talk.ask({ kind: "join", stream: "room:a", request: 1 });
  bench.welcome();
  bench.talk.end();
  bench.talk.begin(WELCOME, "pull", false);

  assert.deepEqual(bench.sent(), [{ type: "join", id: 2, stream: "room:a" }]);
});

test("the app went to the background while the hello was under way: the notice follows, with a higher number", () => {
  const bench = new Bench();
  bench.presence.become("background");

  bench.talk.begin({ ...WELCOME, state_seq: 9 }, "pull", false);

  assert.deepEqual(bench.sent(), [{ type: "notice", id: 1, state: "background", state_seq: 10 }]);
});

test("whoever waits for a refused join is answered; a refusal nobody waits for is an error", () => {
  const bench = new Bench();
  bench.welcome();
  bench.talk.ask({ kind: "join", stream: "room:a", request: 5 });
  const [{ id }] = bench.sent();

  assert.equal(bench.talk.refused({ re: id, code: "not_allowed" }), true);
  const answer = bench.taken().find(({ effect }) => effect === "answer");
  assert.deepEqual([answer.request, answer.error.code], [5, "not_allowed"]);
  assert.equal(bench.talk.refused({ code: "rate_limited" }), false);
  assert.deepEqual(bench.taken().map(({ effect, error }) => [effect, error.code]), [["error", "rate_limited"]]);
});

test("an answer keeps the connection alive, silence ends it", () => {
  const bench = new Bench();
  bench.welcome();
  bench.talk.now = 25_000;
  assert.equal(bench.talk.heartbeat(), true);
  const [ping] = bench.sent();
  bench.talk.frame({ type: "pong", re: ping.id });
  bench.talk.now = 35_000;
  assert.equal(bench.talk.heartbeat(), true);

  bench.talk.ping();
  bench.talk.now = 38_000;

  assert.equal(bench.talk.heartbeat(), false);
});
