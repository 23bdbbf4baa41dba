// The runner: the app's handlers, in order, one at a time per stream.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Runner } from "../../messaging/static/messaging/client/runner.js";
import { settled } from "./clock.mjs";

const PHONE = "device:phone-1";
const LOBBY = "room:lobby";

function aRunner(handlers, parts = {}) {
  const seen = { handled: [], errors: [], gaps: [], closed: [] };
  const runner = new Runner({
    handlers,
    onGap: (gap) => { seen.gaps.push(gap); },
    onClosed: (about) => { seen.closed.push(about); },
    onHandled: (about) => seen.handled.push(about),
    onError: (error) => seen.errors.push(error),
    ...parts,
  });
  const message = (offset, { stream = PHONE, name = "turn", data = offset, path = "live" } = {}) =>
    runner.run({ stream, era: 1, item: { kind: "message", path, message: { stream, offset, name, data } } });
  const gap = (from, to, reason = "expired") => runner.run({ stream: PHONE, era: 1, item: { kind: "gap", gap: { stream: PHONE, from, to, reason } } });
  const closed = (head) => runner.run({ stream: PHONE, era: 1, item: { kind: "closed", head } });
  return { runner, seen, message, gap, closed };
}

const outcomes = (seen) => seen.handled.map(({ upto, outcome }) => [upto, outcome]);

/** A handler whose ends are chosen. */
function held() {
  const begun = [];
  const handler = ({ offset }) => new Promise((resolve, reject) => begun.push({ offset, resolve, reject }));
  return { begun, handler };
}

test("one at a time per stream, and nothing is reported before its handler returned", async () => {
  const { begun, handler } = held();
  const { seen, message } = aRunner({ turn: handler });
  message(1);
  message(2);
  await settled();
  assert.deepEqual(begun.map(({ offset }) => offset), [1]);
  assert.deepEqual(seen.handled, []);

  begun[0].resolve();
  await settled();

  assert.deepEqual(begun.map(({ offset }) => offset), [1, 2]);
  assert.deepEqual(seen.handled, [{ stream: PHONE, era: 1, upto: 1, outcome: { status: "processed" } }]);
});

test("streams do not wait for each other", async () => {
  const { begun, handler } = held();
  const { message } = aRunner({ turn: handler });

  message(1);
  message(1, { stream: LOBBY });
  await settled();

  assert.equal(begun.length, 2);
});

test("what is thrown is a failure with the error's name, and the stream goes on", async () => {
  const { seen, message } = aRunner({
    turn: ({ data }) => {
      if (data === "error") throw new RangeError("too far");
      if (data === "text") throw "just text";
      if (data === "dom") throw new DOMException("gone", "NotFoundError");
      return Promise.reject(Object.assign(new Error("later"), { name: "PaymentError" }));
    },
  });

  ["error", "text", "dom", "promise"].forEach((data, index) => message(index + 1, { data }));
  await settled();

  assert.deepEqual(outcomes(seen), [
    [1, { status: "failed", code: "RangeError", detail: "too far" }],
    [2, { status: "failed", code: "Error", detail: "just text" }],
    [3, { status: "failed", code: "NotFoundError", detail: "gone" }],
    [4, { status: "failed", code: "PaymentError", detail: "later" }],
  ]);
  assert.equal(seen.errors.length, 4);
});

test("what is returned is the value", async () => {
  const values = [undefined, null, 0, "", { a: [1] }, () => 1];
  const { seen, message } = aRunner({ turn: ({ data }) => values[data] });

  values.forEach((_, index) => message(index + 1, { data: index }));
  await settled();

  assert.deepEqual(outcomes(seen).map(([, { value }]) => value), [undefined, "null", "0", '""', '{"a":[1]}', undefined]);
});

test("a value the server would refuse is left out, and the message counts as processed", async () => {
  const deep = Array.from({ length: 40 }).reduce((inner) => [inner], 1);
  const round = {};
  round.self = round;
  const values = [round, 1n, "x".repeat(70_000), "\ud800", "a\u0000b", { "\udc00": 1 }, deep];
  const { seen, message } = aRunner({ turn: ({ data }) => values[data] });

  values.forEach((_, index) => message(index + 1, { data: index }));
  await settled();

  assert.deepEqual(outcomes(seen).map(([, outcome]) => outcome), values.map(() => ({ status: "processed" })));
  assert.equal(seen.errors.length, values.length);
});

test("text that only looks like trouble is no trouble", async () => {
  const values = ["\\ud800", "\\\\u0000", "\ud83d\ude00", "[".repeat(100), '"[[[['];
  const { seen, message } = aRunner({ turn: ({ data }) => values[data] });

  values.forEach((_, index) => message(index + 1, { data: index }));
  await settled();

  assert.deepEqual(outcomes(seen).map(([, { value }]) => JSON.parse(value)), values);
});

test("code and detail of a failure are what the server takes", async () => {
  const { seen, message } = aRunner({
    turn: () => { throw Object.assign(new Error(`\u0000\ud800${"😀".repeat(2000)}`), { name: "N".repeat(200) }); },
  });

  message(1);
  await settled();

  const [[, { code, detail }]] = outcomes(seen);
  assert.equal(code.length, 64);
  assert.equal([...detail].length, 1000);
  assert.ok(detail.startsWith("\ufffd\ufffd😀"));
});

test("a handler by name, or the one for all others, or none", async () => {
  const { seen, message } = aRunner({ turn: () => "turn", "*": ({ name }) => `any ${name}` });
  message(1);
  message(2, { name: "dance" });
  message(3, { name: "toString" });
  await settled();
  assert.deepEqual(outcomes(seen).map(([, { value }]) => JSON.parse(value)), ["turn", "any dance", "any toString"]);

  const none = aRunner({ turn: () => {} });
  none.message(1, { name: "toString" });
  await settled();
  assert.equal(none.seen.handled[0].outcome.code, "no_handler");
});

test("the message says how it came and whether it came before", async () => {
  const got = [];
  const { message } = aRunner({ turn: (one) => { got.push(one); } });

  message(1, { path: "merged" });
  await settled();

  assert.deepEqual(got, [{ stream: PHONE, offset: 1, name: "turn", data: 1, redelivered: false, path: "merged" }]);
});

test("gaps and the closing keep their place", async () => {
  const order = [];
  const { seen, message, gap, closed } = aRunner({ turn: ({ offset }) => { order.push(offset); } }, {
    onGap: async ({ from, to }) => {
      await new Promise((resolve) => setImmediate(resolve));
      order.push(`${from}-${to}`);
    },
    onClosed: ({ head }) => order.push(`closed ${head}`),
  });

  message(1);
  gap(2, 4);
  message(5);
  closed(5);
  await settled();

  assert.deepEqual(order, [1, "2-4", 5, "closed 5"]);
  assert.deepEqual(seen.handled.map(({ upto }) => upto), [1, 4, 5]);
});

test("an onGap that throws does not stop the stream", async () => {
  const { seen, message, gap } = aRunner({ turn: () => {} }, { onGap: () => { throw new Error("oh"); } });

  gap(1, 2);
  message(3);
  await settled();

  assert.deepEqual(seen.handled.map(({ upto }) => upto), [2, 3]);
  assert.equal(seen.errors.length, 1);
});

test("taken back is what no handler began with; a reset is not taken back, since it is told once only", async () => {
  const { begun, handler } = held();
  const { runner, seen, message, gap } = aRunner({ turn: handler });
  message(1);
  await settled();
  message(2);
  gap(3, 4);
  message(1, { stream: LOBBY });

  assert.deepEqual(runner.takeBack(), { [PHONE]: 2, [LOBBY]: 1 });
  begun[0].resolve();
  await settled();
  assert.deepEqual(seen.handled.map(({ upto }) => upto), [1]);

  gap(1, 0, "reset");
  message(1);
  assert.deepEqual(runner.takeBack(), { [PHONE]: 1 });
  await settled();
  assert.deepEqual(seen.gaps.map(({ reason }) => reason), ["reset"]);
});

test("disposed, it begins with nothing more; what runs is reported", async () => {
  const { begun, handler } = held();
  const { runner, seen, message } = aRunner({ turn: handler });
  message(1);
  message(2);
  await settled();
  runner.dispose();
  const idle = runner.idle();

  begun[0].resolve();
  await idle;
  message(3);
  await settled();

  assert.deepEqual(seen.handled.map(({ upto }) => upto), [1]);
  assert.equal(begun.length, 1);
});

test("room comes back when the queue is short", async () => {
  const { begun, handler } = held();
  const { runner, message } = aRunner({ turn: ({ offset }) => (offset === 1 ? handler({ offset }) : undefined) });
  for (let offset = 1; offset <= 600; offset += 1) message(offset);
  await settled();
  let roomy = false;
  runner.room(PHONE).then(() => { roomy = true; });
  await settled();
  assert.equal(roomy, false);

  begun[0].resolve();
  await settled();
  assert.equal(roomy, true);
});
