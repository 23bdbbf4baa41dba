/**
 * What survives a reload. Two stores with one interface; `save` is atomic, and what it resolves for is stored: only then
 * may it be acknowledged.
 *
 * @typedef {import("./track.js").Position} Position
 * @typedef {import("./reports.js").Row} Row
 * @typedef {{stateSeq: number, streams: Record<string, Position>, results: Row[], outbox: {kind: string, stream: string}[]}} Stored
 * @typedef {{stateSeq?: number, streams?: Record<string, Position|null>, results?: Row[], outbox?: object[],
 *   forget?: {stream: string, upto?: number}[]}} Changes `forget` comes before `results`; without `upto`: all of the stream
 * @typedef {{load(): Promise<Stored>, save(changes: Changes): Promise<void>, close(): void}} Store
 */

/** @implements {Store} Lives as long as the page. Hand the same one to a second client, and it goes on where the first was. */
export class MemoryStore {
  #stored = { stateSeq: 0, streams: {}, results: [], outbox: [] };

  async load() {
    return structuredClone(this.#stored);
  }

  async save(changes) {
    this.#stored = applied(this.#stored, structuredClone(changes));
  }

  close() {}
}

/** @param {Stored} stored @param {Changes} changes @returns {Stored} */
function applied(stored, { stateSeq, streams = {}, results = [], outbox, forget = [] }) {
  const kept = { ...stored.streams, ...streams };
  for (const [name, position] of Object.entries(streams)) if (position === null) delete kept[name];
  const forgotten = ({ stream, offset }) => forget.some((one) => one.stream === stream && offset <= (one.upto ?? Infinity));
  return {
    stateSeq: stateSeq ?? stored.stateSeq,
    streams: kept,
    results: [...stored.results.filter((row) => !forgotten(row)), ...results],
    outbox: outbox ?? stored.outbox,
  };
}

const VERSION = 1;

/**
 * @implements {Store} In the browser's IndexedDB. One name per device: two clients with one store would each believe
 * that what the other handled was handled by itself.
 */
export class IndexedDBStore {
  #name;
  #factory;
  #opened = null;

  get name() { return this.#name; }

  /** @param {string} [name] @param {IDBFactory} [factory] */
  constructor(name = "meanwhile", factory = globalThis.indexedDB) {
    this.#name = name;
    this.#factory = factory;
  }

  async load() {
    const db = await this.#open();
    const transaction = db.transaction(["streams", "results", "facts"], "readonly");
    const [names, positions, results, stateSeq, outbox] = await Promise.all([
      answer(transaction.objectStore("streams").getAllKeys()),
      answer(transaction.objectStore("streams").getAll()),
      answer(transaction.objectStore("results").getAll()),
      answer(transaction.objectStore("facts").get("stateSeq")),
      answer(transaction.objectStore("facts").get("outbox")),
    ]);
    const streams = Object.fromEntries(names.map((name, index) => [name, positions[index]]));
    return { stateSeq: stateSeq ?? 0, streams, results, outbox: outbox ?? [] };
  }

  async save({ stateSeq, streams = {}, results = [], outbox, forget = [] }) {
    const db = await this.#open();
    const transaction = db.transaction(["streams", "results", "facts"], "readwrite");
    const done = finished(transaction);
    for (const [name, position] of Object.entries(streams)) {
      if (position === null) transaction.objectStore("streams").delete(name);
      else transaction.objectStore("streams").put(position, name);
    }
    for (const { stream, upto = Infinity } of forget) {
      transaction.objectStore("results").delete(IDBKeyRange.bound([stream, 0], [stream, upto]));
    }
    for (const row of results) transaction.objectStore("results").put(row);
    if (stateSeq !== undefined) transaction.objectStore("facts").put(stateSeq, "stateSeq");
    if (outbox !== undefined) transaction.objectStore("facts").put(outbox, "outbox");
    await done;
  }

  close() {
    this.#opened?.then((db) => db.close(), () => {});
    this.#opened = null;
  }

  #open() {
    this.#opened ??= this.#openNow().catch((error) => {
      this.#opened = null;
      throw error;
    });
    return this.#opened;
  }

  async #openNow() {
    const request = this.#factory.open(this.#name, VERSION);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("streams");
      request.result.createObjectStore("results", { keyPath: ["stream", "offset"] });
      request.result.createObjectStore("facts");
    };
    const db = await answer(request);
    db.onversionchange = () => this.close(); // somebody deletes it, or a newer version of the SDK wants it
    db.onclose = () => { this.#opened = null; }; // the browser took it away: open it again
    return db;
  }
}

/** @param {IDBRequest} request */
function answer(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** @param {IDBTransaction} transaction */
function finished(transaction) {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error ?? new DOMException("The transaction was aborted", "AbortError"));
  });
}
