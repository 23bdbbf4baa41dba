/**
 * When the app goes to the background and comes back. Any object with this interface will do.
 *
 * @typedef {{
 *   background: (about: {leaving: boolean}) => void, foreground: () => void, probe: (why: string) => void
 * }} Listener `leaving`: the page may be gone at once; `probe`: the connection may be dead, or possible again
 * @typedef {{state: "foreground"|"background", start(listener: Listener): void, dispose(): void}} Lifecycle
 */

const LOOK = 5_000;
/** A timer that is so late was asleep: on some phones nothing else tells. */
const JUMP = 10_000;

/** @implements {Lifecycle} A web page: hidden and shown, frozen and resumed, kept by the browser and shown again, offline and online. */
class PageLifecycle {
  #window;
  #document;
  #clock;
  #undo = [];
  #timer = null;

  constructor({ window, clock }) {
    this.#window = window;
    this.#document = window.document;
    this.#clock = clock;
  }

  get state() { return this.#document.visibilityState === "hidden" ? "background" : "foreground"; }

  start(listener) {
    this.dispose();
    const back = (why) => {
      if (this.state === "foreground") listener.foreground();
      else listener.probe(why);
    };
    this.#on(this.#document, "visibilitychange", () => {
      if (this.state === "foreground") listener.foreground();
      else listener.background({ leaving: false });
    });
    this.#on(this.#document, "freeze", () => listener.background({ leaving: true }));
    this.#on(this.#document, "resume", () => back("resume"));
    this.#on(this.#window, "pagehide", () => listener.background({ leaving: true }));
    // A page that the browser kept fires no visibilitychange.
    this.#on(this.#window, "pageshow", ({ persisted }) => persisted && back("pageshow"));
    this.#on(this.#window, "online", () => listener.probe("online"));
    this.#on(this.#window, "offline", () => listener.probe("offline"));
    this.#watch(this.#clock.now(), listener);
  }

  dispose() {
    for (const undo of this.#undo.splice(0)) undo();
    if (this.#timer !== null) this.#clock.clearTimeout(this.#timer);
    this.#timer = null;
  }

  #on(target, name, listener) {
    target.addEventListener(name, listener);
    this.#undo.push(() => target.removeEventListener(name, listener));
  }

  #watch(before, listener) {
    this.#timer = this.#clock.setTimeout(() => {
      const now = this.#clock.now();
      if (Math.abs(now - before) > LOOK + JUMP && this.state === "foreground") listener.probe("clock");
      this.#watch(now, listener);
    }, LOOK);
  }
}

/** @implements {Lifecycle} For tests, and where the app itself is told: React Native's AppState, Electron, Node. */
class ManualLifecycle {
  #listener = null;

  /** @param {"foreground"|"background"} state */
  constructor(state) { this.state = state; }

  start(listener) { this.#listener = listener; }
  dispose() { this.#listener = null; }

  background({ leaving = false } = {}) {
    this.state = "background";
    this.#listener?.background({ leaving });
  }

  foreground() {
    this.state = "foreground";
    this.#listener?.foreground();
  }

  probe(why = "manual") { this.#listener?.probe(why); }
}

/** The clock of the page, or one of a test. */
export const systemClock = {
  now: () => Date.now(),
  setTimeout: (action, ms) => setTimeout(action, ms),
  clearTimeout: (timer) => clearTimeout(timer),
  random: () => Math.random(),
};

/** @param {{window?: Window, clock?: object}} [parts] @returns {Lifecycle} */
export function pageLifecycle({ window = globalThis.window, clock = systemClock } = {}) {
  return new PageLifecycle({ window, clock });
}

/** @param {"foreground"|"background"} [state] @returns {Lifecycle & {background(about?: object): void, foreground(): void, probe(why?: string): void}} */
export function manualLifecycle(state = "foreground") {
  return new ManualLifecycle(state);
}
