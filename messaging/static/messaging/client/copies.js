/**
 * A tab that follows: its handlers and callbacks get copies of what the leader's get, and nobody hears what they make of it.
 * Nor does the leader wait for them: of what is too much for a handler the app is told as a gap.
 */
import { ROOM } from "./runner.js";

export class Copies {
  #app;
  #runner = null;
  #missed = new Map(); // stream → the gap that waits, and grows

  /** @param {import("./app.js").App} app */
  constructor(app) { this.#app = app; }

  begin() {
    const onBegin = (kind, value) => { if (this.#missed.get(value.stream) === value) this.#missed.delete(value.stream); };
    this.#runner = this.#app.runner({ onBegin, onHandled: () => {} });
    this.#missed.clear();
  }

  /** @param {string} stream @returns {number} how many copies no handler has begun with */
  waiting(stream) { return this.#runner?.waiting(stream) ?? 0; }

  /** @param {string} what a tab of another version may say what this one does not know @param {object} value */
  take(what, value) {
    if (this.#runner && Object.hasOwn(this.#kinds, what)) this.#kinds[what](value);
  }

  dispose() {
    this.#runner?.dispose();
    this.#runner = null;
    this.#missed.clear();
  }

  #kinds = {
    message: ({ path, ...message }) => {
      const { stream, offset } = message;
      if (!this.#miss(stream, offset, offset)) this.#run(stream, { kind: "message", path, message: { ...message, copy: true } });
    },
    gap: (gap) => {
      if (!this.#miss(gap.stream, gap.from, gap.to)) this.#run(gap.stream, { kind: "gap", gap: { ...gap, copy: true } });
    },
    closed: ({ stream, head }) => this.#run(stream, { kind: "closed", head }),
    latest: (value) => this.#app.tell("latest", { ...value, copy: true }),
    transient: (value) => this.#app.tell("transient", { ...value, copy: true }),
  };

  /** @returns {boolean} whether it is too much */
  #miss(stream, from, to) {
    const missed = this.#missed.get(stream);
    if (missed) missed.to = Math.max(missed.to, to);
    else if (this.waiting(stream) < ROOM) return false;
    else {
      const gap = { stream, from, to, reason: "overflow", copy: true };
      this.#missed.set(stream, gap);
      this.#run(stream, { kind: "gap", gap });
    }
    return true;
  }

  #run(stream, item) { this.#runner.run({ stream, era: 0, item }); }
}
