/** When to come back. Pure: full jitter between 0 and a ceiling that doubles from 0.5 s to 20 s. */
export class Backoff {
  #random;
  #floor;
  #ceiling;
  #attempt = 0;

  /** @param {() => number} random 0 ≤ x < 1 */
  constructor(random, { floor = 500, ceiling = 20_000 } = {}) {
    this.#random = random;
    this.#floor = floor;
    this.#ceiling = ceiling;
  }

  get attempt() { return this.#attempt; }

  /** @param {number} [retryAfter] what the server asked for (ms): it has spread the returns already */
  next(retryAfter = 0) {
    const most = Math.min(this.#ceiling, this.#floor * 2 ** this.#attempt);
    this.#attempt += 1;
    return retryAfter > 0 ? retryAfter : Math.round(this.#random() * most);
  }

  /** After a minute of quiet. */
  reset() { this.#attempt = 0; }
}
