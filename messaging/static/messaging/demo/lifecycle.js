/** The page's own lifecycle, and over it a hand: sent to the background by the button, the app stays there until Return. */

import { pageLifecycle } from "../client/index.js";

export class HeldLifecycle {
  #page = pageLifecycle();
  #held;

  /** @param {() => boolean} held whether the button holds the app in the background */
  constructor(held) { this.#held = held; }

  get state() { return this.#held() ? "background" : this.#page.state; }

  start(listener) {
    this.#page.start({
      background: (about) => listener.background(about),
      foreground: () => (this.#held() ? listener.probe("shown") : listener.foreground()),
      probe: (why) => listener.probe(why),
    });
  }

  dispose() { this.#page.dispose(); }
}
