// Requests that may go into a connection that is dead.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { MeanwhileError } from "../../messaging/static/messaging/client/codes.js";
import { patiently } from "../../messaging/static/messaging/client/signals.js";
import { FakeClock, settled } from "./clock.mjs";

let clock;
let asked; // one by one: {signal, begin, answer, fail}
let over;

/** Asks, and says how it ended. */
function ask(about = {}) {
  const result = { at: null };
  const one = (signal, begun) => new Promise((resolve, reject) => {
    signal.addEventListener("abort", () => reject(new DOMException("aborted", "AbortError")));
    asked.push({ signal, begin: begun, answer: (value) => { begun(); resolve(value); }, fail: reject });
  });
  const ended = (what) => (value) => Object.assign(result, { [what]: value, at: clock.now() - begin });
  const begin = clock.now();
  patiently({ clock, signal: over.signal, tries: 3, ...about }, one).then(ended("value"), ended("error"));
  return result;
}

beforeEach(() => {
  clock = new FakeClock();
  asked = [];
  over = new AbortController();
});

test("what does not listen when it is given up is not waited for", async () => {
  let error;
  patiently({ clock, signal: over.signal }, () => new Promise(() => {})).catch((why) => { error = why; });

  await clock.pass(8_000);
  assert.equal(error.code, "silent");

  patiently({ clock, signal: over.signal }, () => new Promise(() => {})).catch((why) => { error = why; });
  over.abort();
  await settled();
  assert.equal(error.name, "AbortError");
  assert.equal(clock.waiting, 0);
});

test("what is answered soon is asked once", async () => {
  const result = ask();
  await clock.pass(2_900);
  asked[0].answer("page");
  await clock.pass(60_000);

  assert.deepEqual([result.value, result.at, asked.length], ["page", 2_900, 1]);
  assert.equal(clock.waiting, 0);
});

test("two dead connections cost 6 s: the same is asked beside them, and what is answered ends them", async () => {
  const result = ask();
  await clock.pass(6_000);
  assert.equal(asked.length, 3);

  asked[2].answer("page");
  await settled();

  assert.deepEqual([result.value, result.at], ["page", 6_000]);
  assert.deepEqual(asked.map(({ signal }) => signal.aborted), [true, true, false]);
  assert.equal(clock.waiting, 0);
});

test("a first one that is slow counts, too, and is not cut off by those beside it", async () => {
  const result = ask();
  await clock.pass(6_000);

  asked[0].begin();
  await clock.pass(20_000);
  asked[1].answer("too late");
  asked[0].answer("page");
  await settled();

  assert.deepEqual([result.value, asked.length], ["page", 3]);
});

test("nothing at all in 8 s: all are given up, as silent", async () => {
  const result = ask();
  await clock.pass(8_000);

  assert.deepEqual([result.error.code, result.at, asked.length], ["silent", 8_000, 3]);
  assert.ok(asked.every(({ signal }) => signal.aborted));
  assert.equal(clock.waiting, 0);
});

test("an answer that does not end is given up 30 s after it began", async () => {
  const result = ask();
  await clock.pass(1_000);
  asked[0].begin();
  await clock.pass(30_000);

  assert.deepEqual([result.error.code, result.at], ["silent", 31_000]);
});

test("what fails at once has failed; with others under way it has not", async () => {
  const first = ask();
  asked[0].fail(new TypeError("refused"));
  await settled();
  assert.equal(first.error.message, "refused");

  const second = ask();
  await clock.pass(3_000);
  asked[1].fail(new TypeError("reset"));
  await settled();
  assert.equal(second.at, null);
  asked[2].answer("page");
  await settled();
  assert.equal(second.value, "page");
});

test("a server that refuses for now is not asked once more beside it, and what it said counts if nothing better comes", async () => {
  const result = ask();
  await clock.pass(3_000);
  asked[1].fail(Object.assign(new MeanwhileError("rate_limited", { temporary: true }), { retryAfter: 30_000 }));
  await clock.pass(4_999);
  assert.deepEqual([result.at, asked.length], [null, 2]);

  await clock.pass(1);

  assert.deepEqual([result.error.code, result.error.retryAfter, result.at, asked.length], ["rate_limited", 30_000, 8_000, 2]);
  assert.equal(clock.waiting, 0);
});

test("of a refusal for now and a lost connection the refusal is what is known", async () => {
  const result = ask();
  await clock.pass(3_000);
  asked[1].fail(new MeanwhileError("restart", { temporary: true }));
  asked[0].fail(new TypeError("reset"));
  await settled();

  assert.equal(result.error.code, "restart");
});

test("given up from outside after a refusal, it is given up", async () => {
  const result = ask();
  await clock.pass(3_000);
  asked[1].fail(new MeanwhileError("restart", { temporary: true }));
  over.abort();
  await settled();

  assert.equal(result.error.name, "AbortError");
});

test("what may not be said twice is said once, and a pull that waits has its time", async () => {
  const result = ask({ tries: 1, wait: 25_000 });
  await clock.pass(32_900);
  assert.deepEqual([result.at, asked.length], [null, 1]);

  await clock.pass(100);
  assert.equal(result.error.code, "silent");
});

test("given up from outside, all are, and nothing is asked again", async () => {
  const result = ask();
  await clock.pass(3_500);
  over.abort();
  await clock.pass(60_000);

  assert.deepEqual([result.error.name, asked.length], ["AbortError", 2]);
  assert.equal(clock.waiting, 0);
});
