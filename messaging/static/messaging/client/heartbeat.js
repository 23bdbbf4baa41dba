/**
 * Is the connection alive? Pure. Heard nothing for an interval: ping. Still nothing 10 s later: dead. On a return
 * (page shown, online, a jump of the clock) a probe asks at once, and waits 3 s only.
 */
export const PATIENCE = 10_000;
export const PROBE = 3_000;

export class Heartbeat {
  #interval;
  #heard;
  #deadline = null; // when a ping is out

  /** @param {number} now @param {number} interval ms */
  constructor(now, interval) {
    this.#heard = now;
    this.#interval = interval;
  }

  /** Something came, whatever it was. */
  heard(now) {
    this.#heard = now;
    this.#deadline = null;
  }

  /** @returns {{ping: boolean, dead: boolean, next: number}} `next`: ms until it wants to be asked again */
  check(now) {
    if (this.#deadline === null) {
      const left = this.#heard + this.#interval - now;
      if (left > 0) return { ping: false, dead: false, next: left };
      this.#deadline = now + PATIENCE;
      return { ping: true, dead: false, next: PATIENCE };
    }
    const left = this.#deadline - now;
    if (left > 0) return { ping: false, dead: false, next: left };
    if (left > -PROBE) return { ping: false, dead: true, next: 0 };
    // We slept through the deadline: the answer may lie unread.
    this.#deadline = now + PROBE;
    return { ping: true, dead: false, next: PROBE };
  }

  /** The caller pings. @returns {number} ms until it wants to be asked */
  probe(now) {
    this.#deadline = Math.min(this.#deadline ?? Infinity, now + PROBE);
    return Math.max(0, this.#deadline - now);
  }
}
