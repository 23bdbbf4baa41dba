/** The page's own logic, without a page. Run by test_page_logic.py. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Homecoming, sentence } from "../../messaging/static/messaging/demo/homecoming.js";
import { Ledger } from "../../messaging/static/messaging/demo/ledger.js";
import { Said } from "../../messaging/static/messaging/demo/room/said.js";
import { Tally, sentence as backSentence } from "../../messaging/static/messaging/demo/room/tally.js";

const PHONE = "device:phone";

test("a return is told as what waited up to the cut, and the first value of each key", () => {
  const homecoming = new Homecoming({ [PHONE]: { done: 5 }, "room:lobby": { done: 2 } });

  homecoming.value({ stream: "room:lobby", name: "weather", key: "sky", coalesced: 5 });
  homecoming.value({ stream: "room:lobby", name: "weather", key: "sky", coalesced: 1 }); // live again
  const sum = homecoming.sum({ [PHONE]: { cut: 25 }, "room:lobby": { cut: 2 } });

  assert.deepEqual(sum, { waited: 20, values: 1, updates: 5 });
  assert.equal(sentence(sum), "Meanwhile, 20 messages waited and came in order; 1 weather value stood for 5 updates.");
});

test("a return is complete when the server knows the results up to every cut", () => {
  const homecoming = new Homecoming({ [PHONE]: { done: 5 } });

  assert.equal(homecoming.complete({ [PHONE]: { processed: 24, cut: 25 } }), false);
  assert.equal(homecoming.complete({ [PHONE]: { processed: 25, cut: 25 } }), true);
  assert.equal(homecoming.complete({ [PHONE]: { processed: 0, cut: null } }), true);
});

test("a stream that was joined meanwhile had nothing waiting", () => {
  const homecoming = new Homecoming({});

  const sum = homecoming.sum({ "room:lobby": { cut: 7 } });

  assert.deepEqual(sum, { waited: 0, values: 0, updates: 0 });
  assert.equal(sentence(sum), "Meanwhile, nothing happened.");
});

test("one is not many", () => {
  assert.equal(
    sentence({ waited: 1, values: 1, updates: 1 }),
    "Meanwhile, 1 message waited and came in order; 1 weather value stood for 1 update.",
  );
});

test("a handled message is processed when the server says so, a failed one stays failed", () => {
  const told = [];
  const ledger = new Ledger(({ offset, status }) => told.push(`${offset} ${status}`));
  ledger.put({ stream: PHONE, offset: 1, name: "walk", path: "live", status: "handled" });
  ledger.put({ stream: PHONE, offset: 2, name: "walk", path: "live", status: "failed" });
  ledger.put({ stream: PHONE, offset: 3, name: "walk", path: "live", status: "handled" });
  told.length = 0;

  ledger.settle(PHONE, 2);

  assert.deepEqual(told, ["1 processed"]);
  assert.equal(ledger.at(PHONE, 2).status, "failed");
  assert.equal(ledger.at(PHONE, 3).status, "handled");
});

test("the ledger is bounded", () => {
  const ledger = new Ledger(() => {});

  for (let offset = 1; offset <= 600; offset += 1) ledger.put({ stream: PHONE, offset, status: "handled" });

  assert.equal(ledger.at(PHONE, 100), undefined);
  assert.equal(ledger.at(PHONE, 101).status, "handled");
});

// --- the live room ---

test("a bullet chat that others saw is missed by who was away, after a moment in which it may still come", () => {
  const said = new Said(["a", "b", "c"]);

  said.tell("hello", 0, "a");
  said.tell("hello", 400, "c");

  assert.deepEqual(["a", "b", "c"].map((phone) => said.missed(phone, 999)), [0, 0, 0]);
  assert.deepEqual(["a", "b", "c"].map((phone) => said.missed(phone, 1000)), [0, 1, 0]);
});

test("what the show said and nobody saw is missed by all, and a late one by nobody", () => {
  const said = new Said(["a", "b"]);

  said.tell("hello", 0);
  assert.deepEqual([said.missed("a", 2000), said.missed("b", 2000)], [1, 1]);
  said.tell("hello", 2000, "a");

  assert.deepEqual([said.missed("a", 3000), said.missed("b", 3000)], [0, 1]);
});

test("who saw what is kept for the newest thousand, the count of the missed for ever", () => {
  const said = new Said(["a", "b"]);

  for (let n = 1; n <= 2500; n += 1) said.tell(`chat ${n}`, 0, "a");

  assert.deepEqual([said.missed("a", 1000), said.missed("b", 1000)], [0, 2500]);
});

test("an absence is told as what it brought, and what it cost", () => {
  const tally = new Tally();
  tally.came("live");
  const before = tally.with(2);

  for (let n = 0; n < 103; n += 1) tally.came("replayed");
  tally.gap({ from: 110, to: 113, reason: "shed" });
  tally.gap({ from: 120, to: 120, reason: "expired" });
  const after = tally.with(52);

  assert.deepEqual(after, { live: 1, replayed: 103, pulled: 0, merged: 0, gap: 5, never: 52 });
  assert.equal(tally.reasons, "4 shed, 1 expired");
  assert.equal(backSentence(before, after), "Back: 103 replayed, in order; 5 as a gap; 50 bullet chats never stored.");
  assert.equal(backSentence(after, after), "Back: nothing was missed.");
});
