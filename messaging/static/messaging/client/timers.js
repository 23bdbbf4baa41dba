/** Timers by name: set again, the older is void. */
export class Timers {
  #clock;
  #on;
  #set = new Map();

  /** @param {{setTimeout: Function, clearTimeout: Function}} clock @param {(name: string) => void} on */
  constructor(clock, on) {
    this.#clock = clock;
    this.#on = on;
  }

  set(name, ms) {
    this.cancel(name);
    const timer = this.#clock.setTimeout(() => {
      this.#set.delete(name);
      this.#on(name);
    }, ms);
    this.#set.set(name, timer);
  }

  cancel(name) {
    if (this.#set.has(name)) this.#clock.clearTimeout(this.#set.get(name));
    this.#set.delete(name);
  }

  dispose() {
    for (const name of [...this.#set.keys()]) this.cancel(name);
  }
}
