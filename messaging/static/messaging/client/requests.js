/** What the app waits for: promises by number, until they are answered or somebody else sees to them. */
export class Requests {
  #open = new Map();
  #last = 0;

  /** @param {object} about what is asked for @param {(request: number) => void} ask @returns {Promise<object>} */
  make(about, ask) {
    return new Promise((resolve, reject) => {
      const request = (this.#last += 1);
      this.#open.set(request, { ...about, resolve, reject });
      ask(request);
    });
  }

  /** @param {{request: number, value?: object, error?: Error}} answer */
  answer({ request, value, error }) {
    const { resolve, reject } = this.#open.get(request) ?? {};
    this.#open.delete(request);
    if (error) reject?.(error);
    else resolve?.(value);
  }

  /** All that is open goes another way. @param {(about: object) => Promise<object>} way */
  handOver(way) {
    const open = [...this.#open.values()];
    this.#open.clear();
    for (const { resolve, reject, ...about } of open) way(about).then(resolve, reject);
  }
}
