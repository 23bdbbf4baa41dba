/**
 * The unsaved results of one stream. Pure. Kept until the server confirms them, sent as one cumulative frame, one at a
 * time; the next waits for the answer and takes along what has come meanwhile.
 *
 * @typedef {{stream: string, epoch: string|null, offset: number, status: "processed"|"failed", code?: string, detail?: string, value?: string}} Row
 *   one per handler that failed or returned a value (`value` is JSON text); all others are covered by `upto`
 */

/** Well below the frame limit of 256 KiB. */
export const FRAME_ROOM = 128 * 1024;
export const ANSWER_WITHIN = 10_000;
export const RETRY_AFTER = 1_000;

export class Reports {
  processed; // the server's cursor, as far as it was told
  #rows;
  #asked = null; // {id, upto, until}: the frame that waits for its answer
  #notBefore = 0;
  #refused = 0; // how often this frame was refused for good: first without values and details, then without rows

  /** @param {number} processed @param {Row[]} [rows] */
  constructor(processed, rows = []) {
    this.processed = processed;
    this.#rows = rows.filter((row) => row.offset > processed).sort((a, b) => a.offset - b.offset);
  }

  get asked() { return this.#asked; }

  /** @param {Row} row */
  add(row) { this.#rows.push(row); }

  /** A new connection: whatever was asked before is unanswered for good. */
  begin(processed) {
    this.#asked = null;
    this.#notBefore = 0;
    this.#refused = Math.min(this.#refused, 2);
    this.saved(processed, 0);
  }

  /** @returns {number} ms until there is something to send; 0: now; Infinity: nothing */
  due(done, now) {
    if (done <= this.processed) return Infinity;
    const wait = (this.#asked ? this.#asked.until : this.#notBefore) - now;
    return Math.max(0, wait);
  }

  /** @returns {object} the `results` frame for what is stored up to `done`, cut short where it would be too large */
  frame({ id, stream, epoch, done, now }) {
    const exceptions = [];
    const values = [];
    let upto = done;
    let room = FRAME_ROOM;
    for (const { offset, status, code, detail, value } of this.#refused > 1 ? [] : this.#rows) {
      if (offset > done) break;
      room -= 256 + (value?.length ?? 0) * 3 + (detail?.length ?? 0) * 3; // UTF-8 at its widest
      if (room < 0 && exceptions.length + values.length) {
        upto = offset - 1;
        break;
      }
      if (status === "failed") exceptions.push({ offset, status, code, ...(this.#refused ? {} : { detail }) });
      else if (!this.#refused) values.push({ offset, value: JSON.parse(value) });
    }
    this.#asked = { id, upto, until: now + ANSWER_WITHIN };
    return { type: "results", id, stream, ...(epoch === null ? {} : { epoch }), upto, exceptions, values };
  }

  /** The server's cursor is at `processed`; `re`: the frame this answers. @returns {boolean} whether it is news */
  saved(processed, now, re) {
    const asked = this.#asked;
    if (asked && (re === asked.id || processed >= asked.upto)) {
      this.#asked = null;
      this.#refused = 0;
      this.#notBefore = processed < asked.upto ? now + RETRY_AFTER : 0;
    }
    if (processed <= this.processed) return false;
    this.processed = processed;
    this.#rows = this.#rows.filter((row) => row.offset > processed);
    return true;
  }

  /** Refused. Temporary: the same again, later. For good: less of it, and at last not before the next connection. */
  refused({ code, temporary }, now) {
    this.#asked = null;
    const foreign = code === "epoch_changed"; // of another history: the merge finds out, and begins anew
    this.#refused += temporary || foreign ? 0 : 1;
    this.#notBefore = foreign || this.#refused > 2 ? Infinity : now + RETRY_AFTER;
  }
}
