/**
 * Runs the app's handlers: per stream in order, one at a time; streams do not wait for each other.
 *
 * A message is through when its handler has returned, or its promise is settled: never before. A handler that throws
 * makes a `failed` outcome, and the stream goes on, or waits where the message says `on_failure: "stop"`.
 *
 * @typedef {{kind: "message", path: string, message: object} | {kind: "gap", gap: object} | {kind: "closed", head: number}} Item
 * @typedef {{status: "processed", value?: string} | {status: "failed", code: string, detail: string}} Outcome `value`: JSON text
 */
const CODE_MOST = 64;
const DETAIL_MOST = 1000;
const VALUE_MOST = 64 * 1024;
const DEPTH_MOST = 28; // the frame adds its own
/** How many items may wait per stream before a pull stops to ask for more. */
export const ROOM = 500;

export class Runner {
  #handlers;
  #onGap;
  #onClosed;
  #onHandled;
  #onError;
  #onBegin;
  #lanes = new Map();
  #waiting = [];
  #over = false;

  /**
   * @param {{handlers: Record<string, (message: object) => unknown>, onGap: (gap: object) => unknown,
   *   onClosed: (about: object) => unknown, onError: (error: unknown) => void,
   *   onHandled: (about: {stream: string, era: number, upto: number, outcome?: Outcome, stop?: true, error?: unknown}) => void,
   *   onBegin?: (kind: Item["kind"], value: object) => void}} parts `onBegin`: goes to the app now
   */
  constructor({ handlers, onGap, onClosed, onHandled, onError, onBegin = () => {} }) {
    this.#handlers = handlers;
    this.#onGap = onGap;
    this.#onClosed = onClosed;
    this.#onHandled = onHandled;
    this.#onError = onError;
    this.#onBegin = onBegin;
  }

  /** @param {{stream: string, era: number, item: Item}} about */
  run({ stream, era, item }) {
    let lane = this.#lanes.get(stream);
    if (!lane) this.#lanes.set(stream, (lane = { queue: [], running: false }));
    lane.queue.push({ era, item });
    if (!lane.running) this.#go(stream, lane);
  }

  /** Takes back what no handler has begun with. @returns {Record<string, number>} its first offset, by stream */
  takeBack() {
    const unstarted = {};
    for (const [stream, { queue }] of this.#lanes) {
      const from = queue.findIndex(({ item }) => firstOffset(item) !== null);
      if (from >= 0) unstarted[stream] = firstOffset(queue.splice(from)[0].item);
    }
    this.#roomy();
    return unstarted;
  }

  /** Forgets what no handler has begun with. */
  clear(stream) {
    this.#lanes.get(stream)?.queue.splice(0);
    this.#roomy();
  }

  /** @returns {number} items of the stream that no handler has begun with */
  waiting(stream) { return this.#lanes.get(stream)?.queue.length ?? 0; }

  /** Resolves when the stream has room for another page. */
  async room(stream) {
    while (this.waiting(stream) > ROOM && !this.#over) {
      await new Promise((resolve) => this.#waiting.push(resolve));
    }
  }

  /** Resolves when no handler runs any more. */
  async idle() {
    while ([...this.#lanes.values()].some(({ running }) => running)) {
      await new Promise((resolve) => this.#waiting.push(resolve));
    }
  }

  /** Nothing further begins; what runs finishes, and is reported. */
  dispose() {
    this.#over = true;
    this.takeBack();
  }

  async #go(stream, lane) {
    lane.running = true;
    await null; // the frame is taken in before the app's code runs
    while (lane.queue.length && !this.#over) {
      const { era, item } = lane.queue.shift();
      if (lane.queue.length <= ROOM) this.#roomy();
      await this.#through(stream, era, item);
    }
    lane.running = false;
    this.#roomy();
  }

  async #through(stream, era, item) {
    if (item.kind === "message") {
      const { offset } = item.message;
      this.#onBegin("message", { redelivered: false, ...item.message, path: item.path });
      const { error, ...outcome } = await this.#outcome(item);
      const stop = outcome.status === "failed" && item.message.on_failure === "stop";
      this.#onHandled({ stream, era, upto: offset, outcome, ...(stop ? { stop, error } : {}) });
    } else if (item.kind === "gap") {
      this.#onBegin("gap", item.gap);
      await this.#told(() => this.#onGap(item.gap));
      this.#onHandled({ stream, era, upto: item.gap.to });
    } else {
      this.#onBegin("closed", { stream, head: item.head });
      await this.#told(() => this.#onClosed({ stream, head: item.head }));
    }
  }

  /** @returns {Promise<Outcome & {error?: unknown}>} `error`: what was thrown */
  async #outcome({ message, path }) {
    const handlers = this.#handlers;
    const handler = Object.hasOwn(handlers, message.name) ? handlers[message.name] : handlers["*"];
    if (!handler) {
      const detail = `There is no handler for ${message.name}.`;
      return { status: "failed", code: "no_handler", detail, error: new Error(detail) };
    }
    try {
      const value = await handler({ redelivered: false, ...message, path });
      return { status: "processed", ...this.#value(value, message) };
    } catch (error) {
      this.#onError(error);
      return { status: "failed", ...described(error), error };
    }
  }

  /** A value that cannot be sent is left out: the message was handled all the same. */
  #value(value, { stream, offset }) {
    if (value === undefined) return {};
    try {
      const text = JSON.stringify(value);
      if (text === undefined) return {};
      const why = refusal(text);
      if (!why) return { value: text };
      throw new RangeError(why);
    } catch (cause) {
      this.#onError(new Error(`The value returned for ${stream} ${offset} is not reported: ${cause.message}`, { cause }));
      return {};
    }
  }

  async #told(tell) {
    try {
      await tell();
    } catch (error) {
      this.#onError(error);
    }
  }

  #roomy() {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

/** null: it comes from nowhere again, so it is not taken back */
function firstOffset(item) {
  if (item.kind === "message") return item.message.offset;
  return item.kind === "gap" && item.gap.reason !== "reset" ? item.gap.from : null;
}

function described(error) {
  const named = error instanceof Error || (typeof error === "object" && error !== null && "message" in error);
  const code = clean((named && error.name) || "Error");
  const detail = clean(named ? error.message : String(error));
  return { code: code.slice(0, CODE_MOST) || "Error", detail: [...detail].slice(0, DETAIL_MOST).join("") };
}

/** The server refuses lone surrogates and NUL. */
function clean(text) {
  const whole = String(text).replaceAll("\u0000", "\ufffd");
  return whole.toWellFormed ? whole.toWellFormed() : whole.replace(/\p{Surrogate}/gu, "\ufffd");
}

/** @returns {string|null} why the server would refuse this JSON text */
function refusal(text) {
  if (text.length > VALUE_MOST || new TextEncoder().encode(text).length > VALUE_MOST) return "it is too large";
  if (/(?<!\\)(\\\\)*\\u(d[89a-f]|0000)/i.test(text)) return "it holds a lone surrogate or U+0000";
  let depth = 0;
  for (const [bracket] of text.replace(/"(?:[^"\\]|\\.)*"/g, "").matchAll(/[[{\]}]/g)) {
    depth += bracket === "[" || bracket === "{" ? 1 : -1;
    if (depth > DEPTH_MOST) return "it is nested too deeply";
  }
  return null;
}
