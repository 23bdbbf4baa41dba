/** Waiting that may be given up. */
import { MeanwhileError } from "./codes.js";

/** Until an answer begins, and from there until all of it is there (ms). A pool may hold several connections that are dead. */
const ANSWER_WITHIN = 8_000;
const BODY_WITHIN = 30_000;
/** Until the same is asked beside it, and until it is asked once more (ms). */
const AGAIN_AFTER = 3_000;
/** How often at once what may be said twice. */
export const TRIES = 3;

/** A controller that is aborted with `signal`, too. @returns {{signal: AbortSignal, abort(): void, release(): void}} release it when done */
export function within(signal) {
  const controller = new AbortController();
  const abort = () => controller.abort();
  if (signal.aborted) abort();
  signal.addEventListener("abort", abort);
  return { signal: controller.signal, abort, release: () => signal.removeEventListener("abort", abort) };
}

/** Resolves after so long, or when it is not wanted any more. */
export function sleep(clock, ms, signal) {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
      return;
    }
    const end = () => {
      clock.clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = clock.setTimeout(end, ms);
    signal.addEventListener("abort", end);
  });
}

/** Resolves when the promise does, or when it is not wanted any more. */
export function unless(signal, promise) {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
      return;
    }
    const end = () => {
      signal.removeEventListener("abort", end);
      resolve();
    };
    signal.addEventListener("abort", end);
    promise.then(end, end);
  });
}

/** As the promise, or rejected when it is not wanted any more: the app's `getToken` knows of no signal, and may hang. */
function heeding(signal, promise) {
  return new Promise((resolve, reject) => {
    const end = () => reject(Object.assign(new Error("Given up."), { name: "AbortError" }));
    if (signal.aborted) end();
    signal.addEventListener("abort", end);
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", end));
  });
}

/**
 * A request that is given up when its answer does not begin, or does not end, in time. The connection it went into may be
 * dead without anybody knowing: a pool keeps some of these, and giving one up costs its time. So the request is made again
 * beside it, in another connection, while no answer has begun; the first that begins counts, and the others are ended.
 * @template T
 * @param {{clock: object, signal: AbortSignal, wait?: number, tries?: number}} about `wait`: ms the server may take before
 *   it answers; `tries`: so many at once at most, of what may be said twice
 * @param {(signal: AbortSignal, begun: () => void) => Promise<T>} ask `begun`: to be called when the answer begins
 * @returns {Promise<T>} @throws {MeanwhileError} silent (`begun`: the answer had begun to come); or what one of them was
 *   refused with, which says more
 */
export async function patiently({ clock, signal, wait = 0, tries = 1 }, ask) {
  const patience = within(signal);
  const race = new Race({ clock, signal: patience.signal, ask, onBegun: () => {
    begun = true;
    clock.clearTimeout(timer);
    timer = clock.setTimeout(patience.abort, BODY_WITHIN);
  } });
  let begun = false;
  let timer = clock.setTimeout(patience.abort, wait + ANSWER_WITHIN);
  try {
    return await race.run(wait + AGAIN_AFTER, tries);
  } catch (error) {
    if (signal.aborted) throw error;
    throw race.refusal ?? (patience.signal.aborted ? Object.assign(new MeanwhileError("silent"), { begun }) : error);
  } finally {
    clock.clearTimeout(timer);
    patience.release();
  }
}

/** The same request, several times if need be, until one is answered. */
class Race {
  #clock;
  #signal;
  #ask;
  #onBegun;
  #running = new Set();
  #again = null;
  /** @type {MeanwhileError|null} perhaps for now only, of a server that has too much to do and says until when */
  refusal = null;

  /** @param {{clock: object, signal: AbortSignal, ask: Function, onBegun: () => void}} parts */
  constructor({ clock, signal, ask, onBegun }) {
    this.#clock = clock;
    this.#signal = signal;
    this.#ask = ask;
    this.#onBegun = onBegun;
  }

  /** @param {number} ms until the second @param {number} tries @returns {Promise<any>} the first answer; or the last failure */
  run(ms, tries) {
    return new Promise((resolve, reject) => this.#try({ ms, left: tries - 1, resolve, reject })).finally(() => this.#clock.clearTimeout(this.#again));
  }

  async #try({ ms, left, resolve, reject }) {
    const own = within(this.#signal);
    this.#running.add(own);
    if (left > 0) this.#again = this.#clock.setTimeout(() => this.#try({ ms: AGAIN_AFTER, left: left - 1, resolve, reject }), ms);
    try {
      resolve(await heeding(own.signal, this.#ask(own.signal, () => this.#begun(own))));
    } catch (error) {
      if (this.#running.delete(own) && error instanceof MeanwhileError) this.#refused(error);
      if (!this.#running.size) reject(error); // else another may be answered
    } finally {
      own.release();
    }
  }

  /** It is alive, and has heard us: asking once more would ask too much of it. */
  #refused(error) {
    this.refusal = error;
    this.#clock.clearTimeout(this.#again);
  }

  #begun(own) {
    if (!this.#running.has(own)) return;
    this.#clock.clearTimeout(this.#again);
    for (const other of this.#running) if (other !== own) other.abort();
    this.#running = new Set([own]);
    this.#onBegun();
  }
}
