/** Joins and leaves without an answer. Pure. They survive a reconnect, and in the store a reload. */
import { MeanwhileError } from "./codes.js";

/** @typedef {{kind: "join"|"leave", stream: string, request: number|null}} Asked `request`: the app's promise, null after a reload */

export class Outbox {
  /** @type {Asked[]} */
  #asked = [];
  #sent = new Map(); // frame id → Asked

  load(stored = []) {
    this.#asked = stored.map(({ kind, stream }) => ({ kind, stream, request: null }));
    this.#sent.clear();
  }

  get unanswered() { return [...this.#asked]; }
  get saving() { return { effect: "save", outbox: this.#asked.map(({ kind, stream }) => ({ kind, stream })) }; }

  /** @param {Asked} asked */
  add(asked) { this.#asked.push(asked); }

  frame(asked, id) {
    this.#sent.set(id, asked);
    return { type: asked.kind, id, stream: asked.stream };
  }

  /** @returns {Asked|undefined} what this answers */
  answered(re) {
    const asked = this.#sent.get(re);
    this.#sent.delete(re);
    if (asked) this.#asked = this.#asked.filter((one) => one !== asked);
    return asked;
  }

  /** The connection is gone: each is sent again by the next. */
  forget() { this.#sent.clear(); }

  /** Another tab asks for what the app of this one waits for. @returns {object[]} */
  withdraw() {
    const own = this.#asked.length;
    this.#asked = this.#asked.filter(({ request }) => request === null);
    this.#sent.clear();
    return this.#asked.length < own ? [this.saving] : [];
  }

  /** No connection comes back by itself: the app is told. @returns {object[]} */
  refuse(code) {
    const told = this.#asked.filter(({ request }) => request !== null);
    this.#asked = this.#asked.filter(({ request }) => request === null);
    const error = new MeanwhileError(code);
    return told.length ? [...told.map(({ request }) => ({ effect: "answer", request, error })), this.saving] : [];
  }
}
