/**
 * Is the connection alive? Pure. Heard nothing for an interval: ping. Still nothing 10 s later: dead. On a return
 * (page shown, online, a jump of the clock) a probe asks at once, and waits 3 s only.
 *
 * A ping wants an answer: what the server says by itself proves that one direction lives, and puts the end off. (On a slow
 * line the answer waits behind it.) If the other is dead, the server falls silent when its window is full.
 */
export const PATIENCE = 10_000;
export const PROBE = 3_000;

export class Heartbeat {
  #interval;
  #heard;
  #asked = 0; // the id of the newest ping
  #patience = PATIENCE; // with it
  #deadline = null; // when a ping is out

  /** @param {number} now @param {number} interval ms */
  constructor(now, interval) {
    this.#heard = now;
    this.#interval = interval;
  }

  /** Something came. @param {number} now @param {number} [re] what it answers; Infinity: whatever was asked */
  heard(now, re = -1) {
    this.#heard = now;
    if (this.#deadline === null) return;
    this.#deadline = re >= this.#asked ? null : Math.max(this.#deadline, now + this.#patience);
  }

  /** A ping, or what has an answer as well, goes out with this id. @returns {number} ms until `check` is to be called */
  asks(id, now, patience) {
    this.#asked = id;
    this.#patience = patience;
    this.#deadline = Math.min(this.#deadline ?? Infinity, now + patience);
    return Math.max(0, this.#deadline - now);
  }

  /** @returns {{ping: number|null, dead: boolean, next: number}} `ping`: ask, with this patience; `next`: ms until the next check */
  check(now) {
    if (this.#deadline === null) {
      const left = this.#heard + this.#interval - now;
      return { ping: left > 0 ? null : PATIENCE, dead: false, next: left };
    }
    const left = this.#deadline - now;
    if (left > 0) return { ping: null, dead: false, next: left };
    if (left > -PROBE) return { ping: null, dead: true, next: 0 };
    // We slept through the deadline: the answer may lie unread.
    this.#deadline = null;
    return { ping: PROBE, dead: false, next: PROBE };
  }
}
