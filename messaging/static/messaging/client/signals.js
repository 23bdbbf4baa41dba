/** Waiting that may be given up. */

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
