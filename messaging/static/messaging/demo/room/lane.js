/** The room's log as one phone has it: a cell for each offset, in the colour of the way it came. */

import { el } from "../dom.js";

/** Cells go in blocks: a lane that moved with each message could not be read. */
const BLOCK = 120;
const BLOCKS = 3;
const SIGNS = { packet: "P", quiz: "?", command: "!" };

export class Lane {
  #root;
  #cells = new Map();

  /** @param {HTMLElement} root */
  constructor(root) { this.#root = root; }

  /**
   * @param {(offset: number) => import("../ledger.js").Entry|undefined} entryAt what this page saw of an offset
   * @param {{processed: number, received: number, head: number}} positions
   */
  draw(entryAt, { processed, received, head }) {
    const first = Math.max(0, Math.ceil(head / BLOCK) - BLOCKS) * BLOCK + 1;
    for (const [offset, cell] of this.#cells) if (offset < first || offset > head) this.#remove(offset, cell);
    let waiting = 0;
    for (let offset = first; offset <= head; offset += 1) {
      const entry = entryAt(offset);
      const status = entry?.status ?? (offset <= processed ? "processed" : offset <= received ? "stored" : "waiting");
      if (status === "waiting") waiting += 1;
      this.#draw(offset, { ...entry, status });
    }
    const missing = waiting ? `, ${waiting} of them not here yet` : "";
    this.#root.setAttribute("aria-label", head ? `Messages ${first} to ${head} of the room${missing}` : "No message yet");
  }

  #draw(offset, { name = "", path = "", status, code = "", turn = "", times = "" }) {
    const cell = this.#cells.get(offset) ?? this.#add(offset);
    const told = [name, path, status, code, turn, times].join();
    if (cell.told === told) return;
    cell.told = told;
    Object.assign(cell.element.dataset, { name, path, status, turn, times });
    cell.element.textContent = SIGNS[name] ?? "";
    cell.element.title = [offset, name, code || (status === "gap" ? "gap" : path || status)].filter(Boolean).join(" · ");
  }

  #add(offset) {
    const cell = { element: el("i", { "data-testid": "cell", "data-offset": offset }), told: null };
    this.#cells.set(offset, cell);
    this.#root.append(cell.element); // offsets come in ascending order
    return cell;
  }

  #remove(offset, { element }) {
    element.remove();
    this.#cells.delete(offset);
  }
}
