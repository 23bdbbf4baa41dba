/** The list of messages: class, offset, name, where, path, result; between them the moments of the connection. */

import { appendFollowing, el } from "./dom.js";

const MOST = 200;
const WORDS = {
  buffered: "in the buffer", handling: "handling…", handled: "handled", processed: "processed ✓", failed: "failed", shown: "shown",
};

export class MessageLog {
  #list;
  #rows = new Map();

  /** @param {HTMLElement} list */
  constructor(list) {
    this.#list = list;
    list.append(el("li", { class: "hello" }, "Press a button of a service."));
  }

  /** A message of class `every`, or a change of its status. @param {import("./ledger.js").Entry} entry */
  entry({ stream, offset, name, path, status, code, data }) {
    const key = `${stream} ${offset}`;
    let row = this.#rows.get(key);
    // What was buffered is handed over later, after what was pulled: it moves to where it belongs.
    if (row?.dataset.status === "buffered" && status === "handling") row.remove();
    if (!row?.isConnected) {
      row = this.#row({ stream, name, shape: "every", place: offset, path, words: "", note: describe(name, data) });
      row.dataset.offset = offset;
      this.#rows.set(key, row);
      this.#append(row);
    }
    row.dataset.path = path;
    row.dataset.status = status;
    row.querySelector(".path").textContent = path;
    row.querySelector(".result").textContent = WORDS[status];
    if (code) row.querySelector(".what i").textContent = code;
  }

  /** @param {{stream: string, name: string, version: number, coalesced: number, data: any}} value */
  value({ stream, name, version, coalesced, data }) {
    const words = coalesced > 1 ? `for ${coalesced} updates` : WORDS.shown;
    const row = this.#row({ stream, name, shape: "latest", place: `v${version}`, path: "latest", words, note: describe(name, data) });
    Object.assign(row.dataset, { version, coalesced });
    this.#append(row);
  }

  /** @param {{stream: string, name: string, data: any}} message */
  passing({ stream, name, data }) {
    this.#append(this.#row({ stream, name, shape: "transient", place: "–", path: "live", words: "shown", note: describe(name, data) }));
  }

  /** @param {{stream: string, from: number, to: number, reason: string}} gap */
  gap({ stream, from, to, reason }) {
    const words = { reset: "the history begins anew", closed: "closed for good" };
    const text = `${stream}: ${words[reason] ?? `${from} to ${to} cannot be delivered (${reason})`}`;
    this.#append(el("li", { class: "gap", "data-testid": "gap", "data-stream": stream, "data-reason": reason }, text));
  }

  /** @param {string} text something that happened to the connection */
  moment(text) {
    this.#append(el("li", { class: "moment", "data-testid": "moment" }, text));
  }

  #append(row) {
    if (row.dataset.testid === "message") this.#list.querySelector(".hello")?.remove();
    appendFollowing(this.#list, row, MOST);
    if (this.#rows.size > 2 * MOST) {
      for (const [key, each] of this.#rows) if (!each.isConnected) this.#rows.delete(key);
    }
  }

  #row({ stream, name, shape, place, path, words, note }) {
    const attributes = {
      "data-testid": "message", "data-stream": stream, "data-name": name, "data-class": shape, "data-path": path, "data-status": "shown",
    };
    return el("li", attributes,
      el("span", { class: "shape", "data-class": shape, role: "img", "aria-label": shape, title: shape }),
      el("span", { class: "offset" }, String(place)),
      el("span", { class: "what" }, name, " ", el("i", {}, note)),
      el("span", { class: "where" }, stream.startsWith("device:") ? "device" : stream.replace(":", " ")),
      el("span", { class: "path" }, path),
      el("span", { class: "result" }, words));
  }
}

function describe(name, data) {
  if (name === "weather") return `${data?.sky}, ${data?.degrees}°`;
  if (name === "gift" && data?.from) return `from ${data.from}`;
  if (name === "chat") return `“${data?.text ?? data}”`;
  return "";
}
