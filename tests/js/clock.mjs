// A clock that only moves when told, and whose random numbers are chosen.

/** Lets everything happen that needs no time: promises, and what they lead to. */
export async function settled() {
  for (let turn = 0; turn < 60; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

export class FakeClock {
  #now = 1_000_000;
  #timers = new Map();
  #lastId = 0;
  random = () => 0.5;

  now = () => this.#now;

  setTimeout = (action, ms) => {
    this.#lastId += 1;
    this.#timers.set(this.#lastId, { at: this.#now + ms, action });
    return this.#lastId;
  };

  clearTimeout = (id) => this.#timers.delete(id);

  get waiting() { return this.#timers.size; }

  /** Time passes, timer by timer; whatever follows from one happens before the next. */
  async pass(ms) {
    const until = this.#now + ms;
    for (;;) {
      await settled();
      const due = [...this.#timers].filter(([, { at }]) => at <= until).sort(([a, x], [b, y]) => x.at - y.at || a - b);
      if (!due.length) break;
      const [id, { at, action }] = due[0];
      this.#timers.delete(id);
      this.#now = Math.max(this.#now, at);
      action();
    }
    this.#now = until;
    await settled();
  }

  /** The machine slept: time went by, and no timer ran. */
  jump(ms) { this.#now += ms; }
}
