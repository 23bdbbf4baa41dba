/** The phone around the scene: its state, what waits while it sleeps, and the caption of a return. */

import { byTestId, count, el } from "./dom.js";

const CAPTION_MS = 15_000;
export const AWAY = new Set(["background", "waiting"]);
export const HOME = new Set(["live", "polling"]);
export const WORDS = {
  idle: "not connected", connecting: "connecting", resuming: "resuming", live: "live", background: "in the background",
  waiting: "offline", polling: "live, by polling", closed: "closed",
};

export class Phone {
  #pill = byTestId("state");
  #phone = document.getElementById("phone");
  #clock = document.getElementById("clock");
  #badge = byTestId("waiting");
  #wait = document.getElementById("wait");
  #summary = byTestId("summary");
  #timer = 0;
  #state = "idle";
  #told = { state: "idle", at: performance.now() };
  #away = false;

  /** @param {string} state @returns {boolean} whether it is another than before */
  show(state) {
    if (state === this.#state) return false;
    this.#state = state;
    if (AWAY.has(state)) {
      this.#away = true;
      this.#summary.hidden = true;
    }
    this.#pill.textContent = WORDS[state] ?? state;
    this.#pill.dataset.state = this.#phone.dataset.state = state;
    return true;
  }

  /** The change in words, for the log; with how long the state before it lasted. Null for one attempt among many. */
  words(detail) {
    if (this.#state === "connecting" || this.#state === this.#told.state) return null;
    const { state: before, at } = this.#told;
    this.#told = { state: this.#state, at: performance.now() };
    const why = detail?.why ? ` (${detail.why.replaceAll("_", " ")})` : "";
    const lasted = before === "idle" ? "" : `, after ${duration(this.#told.at - at)} ${WORDS[before]}`;
    return `${WORDS[this.#state]}${why}${lasted}`;
  }

  /** @param {boolean} asleep whether the app is in the background, with a connection or without */
  sleep(asleep) {
    if (this.#phone.dataset.asleep === String(asleep)) return;
    this.#phone.dataset.asleep = asleep;
    this.#clock.textContent = new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });
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

  /** What a return brought. @param {{waited: number, values: number, updates: number}} sum @param {string} text @returns {boolean} whether there was something to tell */
  caption(sum, text) {
    const was = this.#away;
    this.#away = false;
    if (!was && !sum.waited) return false; // the page was opened, and nothing had waited
    Object.assign(this.#summary.dataset, sum);
    const [head, rest] = [text.slice(0, 10), text.slice(10)];
    this.#summary.replaceChildren(el("b", {}, head), rest);
    this.#summary.hidden = false;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => { this.#summary.hidden = true; }, CAPTION_MS);
    return sum.waited + sum.values > 0;
  }
}

const duration = (ms) => (ms < 1000 ? `${Math.max(1, Math.round(ms))} ms` : `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`);
