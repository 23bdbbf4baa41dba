/** What one return brought: told to the person in one sentence. Pure. */

import { count } from "./dom.js";

export class Homecoming {
  #before;
  #values = new Map();

  /** @param {Record<string, {done: number}>} streams where each stream stood when the return began */
  constructor(streams) {
    this.#before = Object.fromEntries(Object.entries(streams).map(([name, { done }]) => [name, done]));
  }

  /** A `latest` value; only the first of a key tells of the time away. @param {{stream: string, name: string, key: string, coalesced: number}} value */
  value({ stream, name, key, coalesced }) {
    const place = JSON.stringify([stream, name, key]);
    if (!this.#values.has(place)) this.#values.set(place, { name, coalesced });
  }

  /** True when everything up to the cuts was processed. @param {Record<string, {processed: number, cut: number|null}>} streams */
  complete(streams) {
    return Object.values(streams).every(({ processed, cut }) => processed >= (cut ?? 0));
  }

  /** @param {Record<string, {cut: number|null}>} streams @returns {{waited: number, values: number, updates: number}} */
  sum(streams) {
    const waited = Object.entries(streams)
      .map(([name, { cut }]) => Math.max(0, (cut ?? 0) - (this.#before[name] ?? cut ?? 0)))
      .reduce((all, one) => all + one, 0);
    const values = [...this.#values.values()];
    return { waited, values: values.length, updates: values.reduce((all, one) => all + one.coalesced, 0) };
  }
}

/** @param {{waited: number, values: number, updates: number}} sum @returns {string} */
export function sentence({ waited, values, updates }) {
  const parts = [];
  if (waited) parts.push(`${count(waited, "message")} waited and came in order`);
  if (values) parts.push(`${count(values, "weather value")} stood for ${count(updates, "update")}`);
  return `Meanwhile, ${parts.length ? parts.join("; ") : "nothing happened"}.`;
}
