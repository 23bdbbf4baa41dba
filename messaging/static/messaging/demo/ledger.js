/** What became of each message the device met, by stream and offset. Pure; the newest few of each stream. */

export const MOST = 500;

/**
 * @typedef {"buffered"|"handling"|"handled"|"processed"|"failed"|"gap"} Status handled: the handler returned, the server
 *   does not know yet; processed: it does.
 * @typedef {{stream: string, offset: number, name: string, path: string, status: Status, code?: string, data?: unknown}} Entry
 */
export class Ledger {
  #streams = new Map();
  #changed;

  /** @param {(entry: Entry) => void} changed */
  constructor(changed) { this.#changed = changed; }

  /** @returns {Entry|undefined} */
  at(stream, offset) { return this.#streams.get(stream)?.get(offset); }

  /** @param {Partial<Entry> & {stream: string, offset: number}} told */
  put(told) {
    const entries = this.#streams.get(told.stream) ?? new Map();
    this.#streams.set(told.stream, entries);
    const entry = Object.assign(entries.get(told.offset) ?? { name: "", path: "" }, told);
    entries.set(told.offset, entry);
    if (entries.size > MOST) entries.delete(entries.keys().next().value);
    this.#changed(entry);
  }

  /** The server has the results up to `processed`. */
  settle(stream, processed) {
    for (const entry of this.#streams.get(stream)?.values() ?? []) {
      if (entry.status === "handled" && entry.offset <= processed) this.put({ ...entry, status: "processed" });
    }
  }
}
