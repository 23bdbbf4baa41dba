/**
 * One stream as this device knows it: its merge, and how far things have come. Pure.
 *
 *   handed over (merge.done) ≥ done (the handler returned) ≥ stored.done (it is in the store) ≥ processed (the server knows)
 *
 * `received` is what may be acknowledged: it follows the hand-over, but keeps at most ACK_AHEAD messages before the
 * handlers, so that the server's window holds back what they cannot take.
 */
import { Merge } from "./merge.js";
import { Reports } from "./reports.js";

export const ACK_AHEAD = 256;

/**
 * @typedef {{epoch: string|null, done: number, received: number, processed: number, stopped?: number}} Position as it lies in
 *   the store; `stopped`: the offset the app failed on, where its stream waits
 */

export class Track {
  era = 0; // counts resets: what was handed over before is not of this history
  closedAt = null;
  closing = null; // the head, once the server has said that it is closed
  halt = null; // {offset, waits}: the app failed on it; waits: nothing is handed over until the next return, or a retry
  settleUntil = null; // a return is reported in one frame, but not later than this
  #acked = 0; // on this connection
  #passed = 0; // the highest offset that was dropped while it waited
  #versions = new Map(); // newest version handed over, by type and key
  #latest = { seen: 0, acked: 0 };

  /** @param {string} name @param {Position} [position] @param {object[]} [rows] unsaved results */
  constructor(name, position, rows = []) {
    this.name = name;
    this.merge = position ? new Merge({ epoch: position.epoch, done: position.done }) : new Merge();
    this.done = position?.done ?? 0;
    this.received = position?.received ?? 0;
    this.stored = { done: this.done, received: this.received };
    this.reports = new Reports(position?.processed ?? 0, rows);
    if (position?.stopped) this.halt = { offset: position.stopped, waits: false }; // the server may be beyond it by now
  }

  get epoch() { return this.merge.epoch; }
  /** The offset it waits at, or null. */
  get stopped() { return this.halt?.waits ? this.halt.offset : null; }

  /** @returns {Position} */
  get position() {
    const { epoch, done, received, halt } = this;
    return { epoch, done, received, processed: this.reports.processed, ...(halt && { stopped: halt.offset }) };
  }

  // --- in ---

  /**
   * The merge took over a position of the server.
   * @returns {boolean} whether it is another history: what was handed over before does not count
   */
  adopt(done, before) {
    if (before.placed && before.epoch === null && before.done === done) return false; // only its name was missing
    this.era += 1;
    this.done = this.received = this.#acked = this.#passed = done;
    this.stored = { done: 0, received: 0 };
    this.reports = new Reports(done);
    this.#versions.clear();
    this.#latest = { seen: 0, acked: 0 };
    this.halt = null;
    return true;
  }

  // --- a failure that stops ---

  /**
   * The stream waits before `offset`: what was handed over behind it is taken back.
   * @param {object} [row] the failure; none: the server has it, and knew alone that the type stops
   */
  stop(offset, row) {
    this.halt = { offset, waits: true };
    if (this.done >= offset) {
      this.era += 1;
      this.done = offset - 1;
      this.stored.done = Math.min(this.stored.done, this.done);
      this.reports = new Reports(this.reports.processed);
    }
    this.merge.away(offset - 1);
    if (this.closedAt !== null) this.merge.closed({ head: this.closedAt });
    this.closedAt = null;
    if (row) this.reports.stop(row);
  }

  /** Next time what it waits at is handed over again. */
  again() {
    if (this.halt) this.halt.waits = false;
  }

  /** The server's cursor has gone beyond the failure: so does this side. */
  goOn(upto) {
    this.era += 1;
    this.halt = null;
    this.merge = new Merge({ epoch: this.epoch, done: upto });
    if (this.closing !== null) this.merge.closed({ head: this.closing });
    this.done = Math.max(this.done, upto);
    this.received = Math.max(this.received, this.done);
  }

  /** While it waits: acknowledged and dropped. @returns {boolean} whether `received` moved */
  pass(upto) {
    this.#passed = Math.max(this.#passed, upto);
    if (upto <= this.received) return false;
    this.received = upto;
    return true;
  }

  /**
   * The server told where it stands. `fresh`: on a new connection, so what was asked before is unanswered for good.
   * `again`: what it has not processed is sent again on it, and acknowledged again, or the window would stay full.
   */
  entry({ epoch, processed, received = 0, latest_received: latest = 0 }, { fresh = false, again = false } = {}) {
    if (epoch !== this.epoch) { // it counts another history: `merge.begin` takes that over
      if (this.epoch !== null) this.reports.refused({ code: "epoch_changed" }, 0);
      return;
    }
    if (fresh) this.reports.begin(processed);
    else this.reports.saved(processed, 0);
    if (fresh) this.#acked = again ? Math.min(received, processed) : received;
    this.#latest.acked = fresh ? latest : Math.max(this.#latest.acked, latest); // a receipt may have been lost
  }

  /** @returns {boolean} whether `received` moved: store it, then acknowledge it */
  receive() {
    const upto = Math.min(this.merge.done, this.done + ACK_AHEAD);
    if (upto <= this.received) return false;
    this.received = upto;
    return true;
  }

  /** The runner is through with everything up to `upto`. */
  handled(upto, row) {
    this.done = Math.max(this.done, upto);
    this.received = Math.max(this.received, this.done);
    if (this.halt && this.done >= this.halt.offset) this.halt = null;
    this.receive();
    if (row) this.reports.add(row);
  }

  /** The store holds this position now. */
  saved({ epoch, done, received }) {
    if (epoch !== this.epoch) return;
    this.stored = { done: Math.min(done, this.done), received: Math.min(received, this.received) };
  }

  /** @returns {boolean} whether this value is newer than what was handed over of its key */
  news({ name, key, version }) {
    const place = JSON.stringify([name, key]);
    if (version <= (this.#versions.get(place) ?? 0)) return false;
    this.#versions.set(place, version);
    this.#latest.seen = Math.max(this.#latest.seen, version);
    return true;
  }

  // --- out ---

  /** @returns {number} ms until its results are to be sent; Infinity: there are none */
  due(now, foreground) {
    const settled = (this.merge.state === "live" || this.stopped !== null) && this.stored.done >= this.merge.done;
    if (settled || now >= this.settleUntil || !foreground) this.settleUntil = null;
    const due = this.reports.due(this.stored.done, now);
    return this.settleUntil === null ? due : Math.max(due, this.settleUntil - now);
  }

  /** Up to where it may be acknowledged: it is stored, and came, or need not come. */
  get #taken() { return Math.min(this.stored.received, Math.max(this.merge.done, this.#passed)); }
  get unacked() { return this.#taken > this.#acked; }

  /** @returns {object|null} an `ack` frame */
  ack() {
    if (!this.unacked) return null;
    this.#acked = this.#taken;
    return { type: "ack", stream: this.name, ...(this.epoch === null ? {} : { epoch: this.epoch }), upto: this.#acked };
  }

  /** Whether values were handed over that are not acknowledged; a receipt may have been lost with a connection. */
  get owesLatest() { return this.#latest.seen > this.#latest.acked; }

  /** @returns {object|null} an `ack_latest` frame */
  ackLatest() {
    if (!this.owesLatest) return null;
    this.#latest.acked = this.#latest.seen;
    return { type: "ack_latest", stream: this.name, version: this.#latest.acked };
  }

  inspect() {
    const { epoch, cut, head, buffered, state } = this.merge;
    return {
      epoch, processed: this.reports.processed, done: this.done, received: this.received, cut, head, buffered,
      resuming: state === "resuming", ...(this.stopped === null ? {} : { stopped: this.stopped }),
    };
  }
}
