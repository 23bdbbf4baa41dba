/**
 * A socket that is tried beside the polling, which goes on until the socket opens. Pure: effects out, for the session's
 * timers `socket` (the next try) and `try` (the end of this one).
 */
const OPEN_WITHIN = 15_000;

export class Trial {
  #ways;
  #connection = null;

  /** @param {import("./ways.js").Ways} ways say when */
  constructor(ways) { this.#ways = ways; }

  get underWay() { return this.#connection !== null; }

  /** @param {number|undefined} connection @returns {boolean} whether it is the one that is tried */
  is(connection) { return this.underWay && connection === this.#connection; }

  /** The next try, in its time. */
  later() {
    const wait = this.#ways.untilTry();
    return wait < Infinity ? [{ effect: "timer", name: "socket", ms: wait }] : [];
  }

  begin(connection) {
    this.#connection = connection;
    return [
      { effect: "cancel", name: "socket" },
      { effect: "timer", name: "try", ms: OPEN_WITHIN },
      { effect: "try", connection },
    ];
  }

  giveUp() {
    if (!this.underWay) return [];
    this.#connection = null;
    return [{ effect: "cancel", name: "try" }, { effect: "untry" }];
  }

  /** It opened: it is the connection now. */
  won() { this.#connection = null; }
}
