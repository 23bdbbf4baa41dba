/** How what a phone got came to it, counted; and one absence in a sentence. Pure. */

import { count } from "../dom.js";

/** In the order they are shown. */
export const WAYS = ["live", "replayed", "pulled", "merged", "gap", "never"];

/** @typedef {{live: number, replayed: number, pulled: number, merged: number, gap: number, never: number}} Counts */
export class Tally {
  #counts = { live: 0, replayed: 0, pulled: 0, merged: 0, gap: 0 };
  #reasons = new Map();

  /** A message was handed over. @param {"live"|"replayed"|"pulled"|"merged"} path */
  came(path) { this.#counts[path] += 1; }

  /** @param {{from: number, to: number, reason: string}} gap */
  gap({ from, to, reason }) {
    const lost = to - from + 1;
    this.#counts.gap += lost;
    this.#reasons.set(reason, (this.#reasons.get(reason) ?? 0) + lost);
  }

  /** @param {number} never bullet chats that went by @returns {Counts} */
  with(never) { return { ...this.#counts, never }; }

  /** Of the gaps: "14 shed, 1 expired". */
  get reasons() { return [...this.#reasons].map(([reason, lost]) => `${lost} ${reason}`).join(", "); }
}

/** What an absence brought. @param {Counts} before @param {Counts} after @returns {string} */
export function sentence(before, after) {
  const brought = Object.fromEntries(WAYS.map((way) => [way, after[way] - before[way]]));
  const parts = ["replayed", "pulled", "merged"].filter((way) => brought[way]).map((way) => `${brought[way]} ${way}, in order`);
  if (brought.gap) parts.push(`${brought.gap} as a gap`);
  if (brought.never) parts.push(`${count(brought.never, "bullet chat")} never stored`);
  return `Back: ${parts.join("; ") || "nothing was missed"}.`;
}
