/**
 * When receipts and results go out. Pure. What falls due within some ms goes as one frame a stream, and frames go no faster
 * than a server takes them. Nobody waits for the receipts of `latest` values: they go together, later.
 */
const TOGETHER = 20;
const PER_FRAME = 20; // ms a frame costs: at most 50 a second, where the server takes 100
const LATEST_TOGETHER = 200;

export class Pace {
  #at = null; // when the timer rings
  #from = 0; // not earlier, for the frames before
  #latest = false; // whether their timer is set

  /** @param {number} now @param {number} wait ms until something is due @returns {number|null} what to set the timer to (ms); null: leave it */
  flushIn(now, wait) {
    const at = Math.max(this.#from, now + Math.max(TOGETHER, wait));
    if (wait === Infinity || (this.#at !== null && this.#at <= at)) return null;
    this.#at = at;
    return at - now;
  }

  /** The timer rang, and so many frames went out. */
  flushed(now, frames) {
    this.#at = null;
    this.#from = now + frames * PER_FRAME;
  }

  /** @param {boolean} owed whether values were handed over that are not acknowledged @returns {number|null} as above */
  latestIn(owed) {
    if (!owed || this.#latest) return null;
    this.#latest = true;
    return LATEST_TOGETHER;
  }

  latestFlushed() { this.#latest = false; }

  /** The connection is gone, and the timers with it. */
  forget() {
    this.#at = null;
    this.#latest = false;
  }
}
