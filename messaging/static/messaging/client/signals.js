/** Waiting that may be given up. */
import { MeanwhileError } from "./codes.js";

/** Until an answer begins, and from there until all of it is there (ms). A pool may hold several connections that are dead. */
const ANSWER_WITHIN = 8_000;
const BODY_WITHIN = 30_000;

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

/**
 * A request that is given up when its answer does not begin, or does not end, in time. The connection it went into may be
 * dead without anybody knowing (a pool keeps some of these); giving it up ends that connection, and the next request has another.
 * @template T
 * @param {{clock: object, signal: AbortSignal, wait?: number}} about `wait`: ms the server may take before it answers
 * @param {(signal: AbortSignal, begun: () => void) => Promise<T>} ask `begun`: to be called when the answer begins
 * @returns {Promise<T>} @throws {MeanwhileError} silent
 */
export async function patiently({ clock, signal, wait = 0 }, ask) {
  const patience = within(signal);
  let timer = clock.setTimeout(patience.abort, wait + ANSWER_WITHIN);
  const begun = () => {
    clock.clearTimeout(timer);
    timer = clock.setTimeout(patience.abort, BODY_WITHIN);
  };
  try {
    return await ask(patience.signal, begun);
  } catch (error) {
    throw patience.signal.aborted && !signal.aborted ? new MeanwhileError("silent") : error;
  } finally {
    clock.clearTimeout(timer);
    patience.release();
  }
}
