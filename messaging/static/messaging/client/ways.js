/**
 * By socket, or by polling? Pure. A socket where one is to be had; after some attempts in a row that never got a welcome
 * (a proxy, a captive network), polling, with an eye on the socket: it is tried beside the polling, which goes on
 * until the socket opens.
 */
import { Backoff } from "./backoff.js";

/** @typedef {"socket"|"polling"} Way */

/** Between tries of the socket while polling (ms); full jitter, and a pause at least. */
const TRY = { floor: 10_000, ceiling: 300_000 };
const PAUSE = 5_000;

export class Ways {
  #polling;
  #socket;
  #attempts;
  #tries;
  #failed = 0; // sockets in a row without a welcome
  #last = null; // what failed last

  /** @param {{polling?: "auto"|"never"|"always", socket?: boolean, attempts?: number, random: () => number}} about `socket`: the platform has one */
  constructor({ polling = "auto", socket = true, attempts = 2, random }) {
    this.#polling = polling;
    this.#socket = socket;
    this.#attempts = attempts;
    this.#tries = new Backoff(random, TRY);
  }

  /** No socket, ever. */
  get onlyPolling() { return this.#polling === "always" || (!this.#socket && this.#polling !== "never"); }

  /** @returns {Way} for the next attempt. Where both fail (the server is down), they take turns */
  next() {
    if (this.onlyPolling) return "polling";
    if (this.#polling === "never" || this.#failed < this.#attempts) return "socket";
    return this.#last === "polling" ? "socket" : "polling";
  }

  /** An attempt got no welcome. @param {Way} way */
  failed(way) {
    this.#last = way;
    if (way === "socket") this.#failed += 1;
  }

  /** @param {Way} way */
  welcomed(way) {
    this.#last = null;
    if (way === "polling") return;
    this.#failed = 0;
    this.#tries.reset();
  }

  /** Another network, perhaps: the socket is worth an attempt. */
  hope() { this.#failed = Math.min(this.#failed, this.#attempts - 1); }

  /** @returns {number} ms until the socket is to be tried beside the polling; Infinity: never */
  untilTry() { return this.onlyPolling ? Infinity : PAUSE + this.#tries.next(); }
}
