/**
 * Writes to the store one after the other: what is asked for meanwhile becomes the next write, in one transaction.
 * A store that fails is asked again: nothing is acknowledged that is not stored.
 */
const AGAIN = 1_000;

export class Writer {
  #store;
  #clock;
  #onSaved;
  #onError;
  #waiting = null;
  #writing = false;
  #timer = null;
  #idle = [];

  /** @param {{store: import("./store.js").Store, clock: object, onSaved: (changes: object) => void, onError: (error: Error) => void}} parts */
  constructor({ store, clock, onSaved, onError }) {
    this.#store = store;
    this.#clock = clock;
    this.#onSaved = onSaved;
    this.#onError = onError;
  }

  /** @param {import("./store.js").Changes} changes */
  save(changes) {
    this.#waiting = this.#waiting ? together(this.#waiting, changes) : changes;
    if (!this.#writing && this.#timer === null) this.#write();
  }

  /** Resolves when all that was asked for is stored. */
  idle() {
    if (!this.#writing && !this.#waiting) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  async #write() {
    this.#writing = true;
    while (this.#waiting) {
      const changes = this.#waiting;
      this.#waiting = null;
      try {
        await this.#store.save(changes);
      } catch (error) {
        this.#waiting = this.#waiting ? together(changes, this.#waiting) : changes;
        this.#onError(error);
        this.#timer = this.#clock.setTimeout(() => {
          this.#timer = null;
          this.#write();
        }, AGAIN);
        break;
      }
      this.#onSaved(changes);
    }
    this.#writing = false;
    if (!this.#waiting) for (const resolve of this.#idle.splice(0)) resolve();
  }

  /** Stops trying. What is not stored was not acknowledged either. */
  dispose() {
    if (this.#timer !== null) this.#clock.clearTimeout(this.#timer);
    this.#timer = null;
    for (const resolve of this.#idle.splice(0)) resolve();
  }
}

/** Two changes as one; the later wins, and what it forgets of the earlier is not written at all. */
function together(first, second) {
  const forget = second.forget ?? [];
  const forgotten = ({ stream, offset }) => forget.some((one) => one.stream === stream && offset <= (one.upto ?? Infinity));
  return {
    ...first,
    ...second,
    streams: { ...first.streams, ...second.streams },
    results: [...(first.results ?? []).filter((row) => !forgotten(row)), ...(second.results ?? [])],
    forget: [...(first.forget ?? []), ...forget],
  };
}
