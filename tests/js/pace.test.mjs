// When receipts and results go out.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Pace } from "../../messaging/static/messaging/client/pace.js";

test("what falls due now goes 20 ms later, and what comes until then goes along", () => {
  const pace = new Pace();

  assert.equal(pace.flushIn(1000, 0), 20);
  assert.equal(pace.flushIn(1010, 0), null);
});

test("what is due later waits, until something is due earlier", () => {
  const pace = new Pace();

  assert.equal(pace.flushIn(1000, 5000), 5000);
  assert.equal(pace.flushIn(1000, 6000), null);
  assert.equal(pace.flushIn(1100, 0), 20);
});

test("each frame costs 20 ms: a hundred streams do not flood the server", () => {
  const pace = new Pace();
  pace.flushIn(1000, 0);

  pace.flushed(1020, 100);

  assert.equal(pace.flushIn(1021, 0), 1999);
});

test("where nothing is due no timer is set", () => {
  assert.equal(new Pace().flushIn(1000, Infinity), null);
});

test("receipts of values go together, once in 200 ms", () => {
  const pace = new Pace();

  assert.deepEqual([pace.latestIn(false), pace.latestIn(true), pace.latestIn(true)], [null, 200, null]);
  pace.latestFlushed();
  assert.equal(pace.latestIn(true), 200);
});

test("a new connection sets its timers anew, but not faster than the last one spoke", () => {
  const pace = new Pace();
  pace.flushIn(1000, 0);
  pace.flushed(1020, 10);
  pace.flushIn(1020, 0);
  pace.latestIn(true);

  pace.forget();

  assert.equal(pace.flushIn(1030, 0), 190);
  assert.equal(pace.latestIn(true), 200);
});
