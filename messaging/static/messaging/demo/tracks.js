/** A stream as a tape of offsets, with the cursors on it: processed ≤ received ≤ cut ≤ head. */

import { count, el, svg } from "./dom.js";

const CELL = 13;
const LEAST = 3;
const EDGE = 8;
/** In the order they are painted: the inner labels over the outer lines. */
const CURSORS = ["head", "processed", "cut", "received"];

/**
 * @typedef {{processed: number, received: number, cut: number|null, head: number, buffered: number, waiting: number, values: number, updates: number}} Positions
 */
export class Track {
  #stream;
  #ledger;
  #tape = el("div", { class: "tape", role: "img" });
  #cells = svg("g", { class: "cells" });
  #note = el("span", { class: "note" });
  #buffered;
  #markers = {};
  #empty = el("p", { class: "empty" }, "No message here yet.");
  #last = null;

  /** @param {HTMLElement} parent @param {{stream: string, title: string}} named @param {import("./ledger.js").Ledger} ledger */
  constructor(parent, { stream, title }, ledger) {
    this.#stream = stream;
    this.#ledger = ledger;
    this.#buffered = el("span", { "data-testid": "cursor-buffered", "data-stream": stream });
    for (const cursor of CURSORS) {
      const value = el("b", { "data-testid": `cursor-${cursor}`, "data-stream": stream });
      const label = el("span", {}, `${cursor} `, value);
      this.#markers[cursor] = { value, label, element: el("div", { class: `marker ${cursor}` }, label) };
    }
    this.#tape.append(svg("svg", { "aria-hidden": "true" }, this.#cells), this.#empty, ...CURSORS.map((cursor) => this.#markers[cursor].element));
    const heading = el("h3", {}, title, el("code", {}, stream), this.#note);
    parent.append(el("section", { class: "track", "data-testid": "stream", "data-stream": stream }, heading, this.#tape));
    new ResizeObserver(() => this.#last && this.draw(this.#last)).observe(this.#tape);
  }

  /** @param {Positions} positions */
  draw(positions) {
    this.#last = positions;
    const { processed, received, cut, head, buffered } = positions;
    const room = this.#tape.clientWidth - 2 * EDGE;
    if (room <= 0) return;
    const span = Math.max(Math.floor(room / CELL), Math.min(head - processed + 6, Math.floor(room / LEAST)));
    const width = room / span;
    const first = Math.max(1, head - span + 1);
    const place = (offset) => EDGE + Math.max(0, Math.min(span, offset - first + 1)) * width;
    this.#drawCells(first, width, positions);
    for (const [cursor, at] of Object.entries({ processed, received, cut, head })) this.#mark(cursor, at, at === null ? 0 : place(at));
    this.#empty.hidden = head > 0;
    this.#note.replaceChildren(...this.#words(positions));
    this.#buffered.textContent = buffered;
    this.#tape.setAttribute("aria-label", `${this.#stream}: processed ${processed}, received ${received}, cut ${cut ?? "unknown"}, head ${head}, buffered ${buffered}`);
  }

  #drawCells(first, width, { processed, received, head }) {
    const known = new Map([...this.#cells.children].map((cell) => [Number(cell.dataset.offset), cell]));
    for (let offset = first; offset <= head; offset += 1) {
      const entry = this.#ledger.at(this.#stream, offset);
      const status = entry?.status ?? (offset <= processed ? "processed" : offset <= received ? "stored" : "waiting");
      const cell = known.get(offset) ?? svg("rect", { class: "cell", y: 2, height: 20, rx: 3, "data-offset": offset });
      if (!known.delete(offset)) this.#cells.append(cell);
      Object.assign(cell.dataset, { status, path: entry?.path ?? "" });
      cell.setAttribute("x", (offset - 1) * width + 1.5);
      cell.setAttribute("width", Math.max(1.5, width - 3));
    }
    for (const gone of known.values()) gone.remove();
    this.#cells.style.transform = `translateX(${EDGE - (first - 1) * width}px)`;
  }

  #mark(cursor, offset, x) {
    const { element, label, value } = this.#markers[cursor];
    value.textContent = offset ?? "–";
    element.style.transform = `translateX(${x}px)`;
    // The label is centred on its line, and stays on the tape.
    const half = label.offsetWidth / 2;
    const inside = Math.max(half, Math.min(this.#tape.clientWidth - half, x));
    label.style.transform = `translateX(${inside - x - half}px)`;
  }

  #words({ waiting, buffered, values, updates }) {
    const words = [];
    if (waiting) words.push(`${waiting} waiting`);
    if (values) words.push(`${count(values, "value")} for ${count(updates, "update")}`);
    const told = [words.join(" · ")];
    if (buffered) told.push(words.length ? " · " : "", this.#buffered, " buffered");
    else told.push(this.#buffered);
    this.#buffered.hidden = !buffered;
    return told;
  }
}
