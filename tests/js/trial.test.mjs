// A socket that is tried beside the polling.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Trial } from "../../messaging/static/messaging/client/trial.js";
import { Ways } from "../../messaging/static/messaging/client/ways.js";

const trial = (options) => new Trial(new Ways({ random: () => 0.5, ...options }));

test("the first try comes within 5 to 15 s, the later ones are rarer", () => {
  const tried = trial();
  const waits = Array.from({ length: 3 }, () => tried.later()[0].ms);

  assert.deepEqual(waits, [10_000, 15_000, 25_000]);
});

test("where there is no socket to be had at all none is tried", () => {
  assert.deepEqual(trial({ socket: false }).later(), []);
  assert.deepEqual(trial({ polling: "always" }).later(), []);
});

test("one at a time, with an end, and known by its number", () => {
  const tried = trial();

  assert.deepEqual(tried.begin(7), [
    { effect: "cancel", name: "socket" }, { effect: "timer", name: "try", ms: 15_000 }, { effect: "try", connection: 7 },
  ]);

  assert.deepEqual([tried.underWay, tried.is(7), tried.is(6), tried.is(undefined)], [true, true, false, false]);
});

test("given up it is closed, once", () => {
  const tried = trial();
  tried.begin(7);

  assert.deepEqual(tried.giveUp(), [{ effect: "cancel", name: "try" }, { effect: "untry" }]);
  assert.deepEqual(tried.giveUp(), []);
  assert.equal(tried.is(7), false);
});

test("a trial that won is not closed by what ends the polling", () => {
  const tried = trial();
  tried.begin(7);

  tried.won();

  assert.deepEqual(tried.giveUp(), []);
});
