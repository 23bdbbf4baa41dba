/** Asks the server again and again: soon after something happened, else at leisure, and not while nobody looks. */

const EVERY_MS = 2000;
const SOON_MS = 120;

export class Asking {
  #ask;
  #failed;
  #timer = 0;
  #soon = false; // rather than at leisure
  #asking = false;
  #again = false;
  #seen = () => { if (!document.hidden) this.soon(); };

  /**
   * @param {() => Promise<unknown>} ask resolves with something true if there was news: then it is asked again soon
   * @param {(error: Error) => void} failed a server that is away is no failure: it is asked again anyway
   */
  constructor(ask, failed) {
    this.#ask = ask;
    this.#failed = failed;
    document.addEventListener("visibilitychange", this.#seen);
    this.#now();
  }

  /** Something just happened. */
  soon() {
    if (this.#asking) this.#again = true;
    else if (!this.#soon) this.#schedule(true);
  }

  #schedule(soon) {
    clearTimeout(this.#timer);
    this.#soon = soon;
    this.#timer = setTimeout(() => this.#now(), soon ? SOON_MS : EVERY_MS);
  }

  async #now() {
    this.#soon = false;
    if (document.hidden) return;
    this.#asking = true;
    this.#again = false;
    try {
      if (await this.#ask()) this.#again = true;
    } catch (error) {
      if (!(error instanceof TypeError)) this.#failed(error);
    }
    this.#asking = false;
    this.#schedule(this.#again);
  }
}
