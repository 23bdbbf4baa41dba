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
  #asked = null; // {id, upto, until, stop}: the frame that waits for its answer
  #stop = null; // the failure at which the stream waits, until the server has heard of it
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

  /** The stream waits at this failure: told beyond `done`. @param {{offset: number, status: "failed", code: string, detail: string}} row */
  stop(row) { this.#stop = row; }

  /** A new connection: whatever was asked before is unanswered for good. */
  begin(processed) {
    this.#asked = null;
    this.#notBefore = 0;
    this.#refused = Math.min(this.#refused, 2);
    this.saved(processed, 0);
  }

  /** @returns {number} ms until there is something to send; 0: now; Infinity: nothing */
  due(done, now) {
    if (done <= this.processed && !this.#stopsAt(done)) return Infinity;
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
    const stop = upto === done && this.#stopsAt(done);
    if (stop) {
      const { offset, status, code, detail } = this.#stop;
      upto = offset;
      exceptions.push({ offset, status, ...(this.#refused > 1 ? {} : { code }), ...(this.#refused ? {} : { detail }) });
    }
    this.#asked = { id, upto, until: now + ANSWER_WITHIN, stop };
    return { type: "results", id, stream, ...(epoch === null ? {} : { epoch }), upto, exceptions, values };
  }

  #stopsAt(done) { return this.#stop !== null && this.#stop.offset === done + 1; }

  /** Whether the answer to `re` says that the stream waits at an offset which this side had taken for done. */
  contradicted(re, stopped) { return stopped !== undefined && this.#asked?.id === re && !(this.#asked.stop && this.#asked.upto === stopped); }

  /** The server's cursor is at `processed`, and waits at `stopped`; `re`: the frame this answers. @returns {boolean} whether it is news */
  saved(processed, now, re, stopped) {
    const asked = this.#asked;
    if (asked && (re === asked.id || processed >= asked.upto)) {
      this.#asked = null;
      this.#refused = 0;
      const told = asked.stop && stopped === asked.upto;
      if (told && this.#stop?.offset === stopped) this.#stop = null;
      this.#notBefore = processed < asked.upto && !told ? now + RETRY_AFTER : 0;
    }
    if (this.#stop && processed >= this.#stop.offset) this.#stop = null;
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
