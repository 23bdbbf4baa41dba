/** The phone around the scene: its state, what waits while it sleeps, and the caption of a return. */

import { byTestId, count, el } from "./dom.js";

const CAPTION_MS = 15_000;
const WORDS = {
  idle: "not connected", connecting: "connecting", resuming: "resuming", live: "live", background: "in the background",
  waiting: "offline, trying again", polling: "live, by polling", closed: "closed",
};

export class Phone {
  #pill = byTestId("state");
  #phone = document.getElementById("phone");
  #clock = document.getElementById("clock");
  #badge = byTestId("waiting");
  #wait = document.getElementById("wait");
  #summary = byTestId("summary");
  #timer = 0;
  #since = performance.now();
  #state = "idle";
  #before = "idle";

  get state() { return this.#state; }

  /** @param {string} state @returns {boolean} whether it is another than before */
  show(state) {
    if (state === this.#state) return false;
    [this.#before, this.#state] = [this.#state, state];
    this.#pill.textContent = WORDS[state] ?? state;
    this.#pill.dataset.state = this.#phone.dataset.state = state;
    if (state === "background") this.#clock.textContent = new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    return true;
  }

  /** The change in words, for the log; with how long the state before it lasted. */
  words(detail) {
    const now = performance.now();
    const lasted = now - this.#since;
    this.#since = now;
    const before = this.#before === "idle" || this.#before === "connecting" ? "" : `, after ${duration(lasted)} ${WORDS[this.#before] ?? this.#before}`;
    const why = detail?.code ? ` (${detail.code})` : "";
    return `${WORDS[this.#state] ?? this.#state}${why}${before}`;
  }

  network(works) {
    this.#phone.dataset.network = works ? "" : "cut";
  }

  /** @param {number} waiting messages @param {{values: number, updates: number}[]} streams */
  wait(waiting, streams) {
    const values = streams.reduce((sum, stream) => sum + stream.values, 0);
    const updates = streams.reduce((sum, stream) => sum + stream.updates, 0);
    this.#badge.dataset.count = this.#badge.textContent = waiting;
    const words = [];
    if (waiting) words.push(`${count(waiting, "message")} ${waiting === 1 ? "waits" : "wait"} on the server.`);
    if (values) words.push(`${count(updates, "change")} of weather: only the newest ${values === 1 ? "one" : values} will come.`);
    this.#wait.textContent = words.join(" ") || "The app sleeps. The server keeps what is for it.";
  }

  /** @param {{waited: number, values: number, updates: number}} sum @param {string} text */
  caption(sum, text) {
    if (!sum.waited && !sum.values && !["background", "waiting"].includes(this.#away)) return;
    Object.assign(this.#summary.dataset, sum);
    const [head, rest] = [text.slice(0, 10), text.slice(10)];
    this.#summary.replaceChildren(el("b", {}, head), rest);
    this.#summary.hidden = false;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => { this.#summary.hidden = true; }, CAPTION_MS);
  }

  get #away() { return this.#before; }
}

const duration = (ms) => (ms < 1000 ? `${Math.max(1, Math.round(ms))} ms` : `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`);
