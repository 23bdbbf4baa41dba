/** A tab that follows: its handlers and callbacks get copies of what the leader's get, and nobody hears what they make of it. */
export class Copies {
  #app;
  #runner = null;

  /** @param {import("./app.js").App} app */
  constructor(app) { this.#app = app; }

  begin() { this.#runner = this.#app.runner({ onHandled: () => {} }); }

  /** @param {string} what a tab of another version may say what this one does not know @param {object} value */
  take(what, value) {
    if (this.#runner && Object.hasOwn(this.#kinds, what)) this.#kinds[what](value);
  }

  dispose() { this.#runner?.dispose(); }

  #kinds = {
    message: ({ path, ...message }) => this.#run(message.stream, { kind: "message", path, message: { ...message, copy: true } }),
    gap: (gap) => this.#run(gap.stream, { kind: "gap", gap: { ...gap, copy: true } }),
    closed: ({ stream, head }) => this.#run(stream, { kind: "closed", head }),
    latest: (value) => this.#app.tell("latest", { ...value, copy: true }),
    transient: (value) => this.#app.tell("transient", { ...value, copy: true }),
  };

  #run(stream, item) { this.#runner.run({ stream, era: 0, item }); }
}
