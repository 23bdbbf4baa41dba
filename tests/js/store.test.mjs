// The stores have one contract; IndexedDB itself is tested in the browser (tests/browser).
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { MemoryStore } from "../../messaging/static/messaging/client/index.js";
import { Writer } from "../../messaging/static/messaging/client/writer.js";
import { FakeClock, settled } from "./clock.mjs";

const row = (stream, offset) => ({ stream, epoch: "e1", offset, status: "failed", code: "Odd", detail: "" });
const position = (done) => ({ epoch: "e1", done, received: done, processed: 0 });

describe("the memory store", () => {
  test("is empty at first", async () => {
    assert.deepEqual(await new MemoryStore().load(), { stateSeq: 0, streams: {}, results: [], outbox: [] });
  });

  test("keeps what was saved, and leaves alone what was not", async () => {
    const store = new MemoryStore();
    await store.save({ stateSeq: 3, streams: { a: position(1), b: position(2) }, results: [row("a", 1)], outbox: [{ kind: "join", stream: "c" }] });
    await store.save({ streams: { a: position(4) }, results: [row("a", 4)] });

    assert.deepEqual(await store.load(), {
      stateSeq: 3, streams: { a: position(4), b: position(2) }, results: [row("a", 1), row("a", 4)], outbox: [{ kind: "join", stream: "c" }],
    });
  });

  test("forgets results up to an offset, or all of a stream", async () => {
    const store = new MemoryStore();
    await store.save({ results: [row("a", 1), row("a", 2), row("b", 1), row("b", 9)] });

    await store.save({ forget: [{ stream: "a", upto: 1 }, { stream: "b" }], results: [row("b", 3)], streams: { b: position(3) } });
    assert.deepEqual((await store.load()).results, [row("a", 2), row("b", 3)]);

    await store.save({ streams: { b: null } });
    assert.deepEqual((await store.load()).streams, {});
  });

  test("hands out copies", async () => {
    const store = new MemoryStore();
    const saved = { streams: { a: position(1) } };
    await store.save(saved);
    saved.streams.a.done = 99;
    (await store.load()).streams.a.done = 98;

    assert.equal((await store.load()).streams.a.done, 1);
  });
});

describe("the writer", () => {
  /** A store whose writes end when told. */
  function aSlowStore() {
    const writes = [];
    return { writes, save: (changes) => new Promise((resolve, reject) => writes.push({ changes, resolve, reject })) };
  }

  function aWriter(store) {
    const clock = new FakeClock();
    const seen = { saved: [], errors: [] };
    const writer = new Writer({ store, clock, onSaved: (changes) => seen.saved.push(changes), onError: (error) => seen.errors.push(error) });
    return { writer, clock, seen };
  }

  test("what is asked for during a write becomes one write, and nothing is saved before it is", async () => {
    const store = aSlowStore();
    const { writer, seen } = aWriter(store);
    writer.save({ streams: { a: position(1) } });
    writer.save({ streams: { a: position(2), b: position(1) }, results: [row("a", 2)] });
    writer.save({ streams: { a: position(3) }, stateSeq: 4 });
    assert.deepEqual(seen.saved, []);

    store.writes[0].resolve();
    await settled();

    assert.equal(seen.saved.length, 1);
    assert.equal(store.writes.length, 2);
    const { streams, results, stateSeq } = store.writes[1].changes;
    assert.deepEqual([streams, results, stateSeq], [{ a: position(3), b: position(1) }, [row("a", 2)], 4]);
  });

  test("what is forgotten later is not written before", async () => {
    const store = aSlowStore();
    const { writer } = aWriter(store);
    writer.save({});
    writer.save({ results: [row("a", 1), row("a", 2)] });
    writer.save({ forget: [{ stream: "a", upto: 1 }] });
    writer.save({ results: [row("a", 3)] });

    store.writes[0].resolve();
    await settled();

    const { results, forget } = store.writes[1].changes;
    assert.deepEqual([results, forget], [[row("a", 2), row("a", 3)], [{ stream: "a", upto: 1 }]]);
  });

  test("a write that fails is made again, with what came meanwhile", async () => {
    const store = aSlowStore();
    const { writer, clock, seen } = aWriter(store);
    writer.save({ streams: { a: position(1), b: position(1) } });
    store.writes[0].reject(new Error("full"));
    await settled();
    writer.save({ streams: { a: position(2) } });
    assert.equal(store.writes.length, 1);

    await clock.pass(1_000);
    store.writes[1].resolve();
    await writer.idle();

    assert.deepEqual(seen.saved.map(({ streams }) => streams), [{ a: position(2), b: position(1) }]);
    assert.equal(seen.errors.length, 1);
  });

  test("disposed, it stops trying", async () => {
    const store = aSlowStore();
    const { writer, clock } = aWriter(store);
    writer.save({ streams: { a: position(1) } });
    store.writes[0].reject(new Error("gone"));
    await settled();

    writer.dispose();
    await clock.pass(10_000);

    assert.equal(store.writes.length, 1);
    assert.equal(clock.waiting, 0);
  });
});
