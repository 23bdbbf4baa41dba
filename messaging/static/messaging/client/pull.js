/**
 * Pulls what is pending: one request at a time, page after page, a pull per stream. A page that fails is asked for again
 * until it comes, the server says that it never will, or nobody wants it any more.
 */
import { Backoff } from "./backoff.js";
import { TRIES, patiently, sleep, unless } from "./signals.js";

export const PAGE = 500;

/** How large a page is asked for: smaller where one did not come through in its time, until all of a pull has. */
export class Size {
  limit = PAGE;

  /** @param {Error} error of a page */
  failed({ begun }) {
    if (begun) this.limit = Math.ceil(this.limit / 4);
  }

  through() { this.limit = PAGE; }
}

/** How often in a row a stream may be told that its position is gone. More is a fault, and no reason to ask for ever. */
const GONE_MOST = 3;

export class Puller {
  #api;
  #clock;
  #on;
  #room;
  #pulls = new Map(); // stream → the AbortController of its pull
  #gone = new Map();
  #size = new Size();
  #turn = Promise.resolve();

  /**
   * @param {{api: {pending: Function}, clock: object, on: (event: object) => void, room: (stream: string) => Promise<void>}} parts
   *   `on`: page, gone, pull_failed, pull_delayed; `room`: resolves when another page may come
   */
  constructor({ api, clock, on, room }) {
    this.#api = api;
    this.#clock = clock;
    this.#on = on;
    this.#room = room;
  }

  /** @param {{stream: string, pull: number, after: number|null, until: number|null, epoch: string|null}} wanted */
  pull(wanted) {
    this.stop(wanted.stream);
    const controller = new AbortController();
    this.#pulls.set(wanted.stream, controller);
    this.#all(wanted, controller.signal).finally(() => {
      if (this.#pulls.get(wanted.stream) === controller) this.#pulls.delete(wanted.stream);
    });
  }

  /** @param {string} [stream] none: all */
  stop(stream) {
    for (const [name, controller] of this.#pulls) {
      if (stream !== undefined && name !== stream) continue;
      this.#pulls.delete(name);
      controller.abort();
    }
  }

  dispose() { this.stop(); }

  /** All pages of one pull. */
  async #all({ stream, pull, after, until, epoch }, signal) {
    const backoff = new Backoff(this.#clock.random);
    let query = { stream, after, until, epoch };
    while (!signal.aborted) {
      const answer = await this.#inTurn({ ...query, limit: this.#size.limit }, signal);
      if (signal.aborted) return;
      const { page, next, error } = answer.error ? answer : read(answer.body, stream, pull);
      if (error) {
        if (this.#final(error, stream, pull)) return;
        this.#size.failed(error);
        const wait = backoff.next((error.retryAfter ?? 0) * (1 + this.#clock.random() / 2)); // not all at once
        this.#on({ type: "pull_delayed", stream, error, retryInMs: wait });
        await sleep(this.#clock, wait, signal);
        continue;
      }
      this.#gone.delete(stream);
      backoff.reset();
      this.#on({ type: "page", stream, page });
      if (next === null) {
        this.#size.through();
        return;
      }
      query = { cursor: next };
      await unless(signal, this.#room(stream));
    }
  }

  /** @returns {boolean} whether it makes no sense to ask again */
  #final(error, stream, pull) {
    if (error.code === "position_gone") {
      const times = (this.#gone.get(stream) ?? 0) + 1;
      this.#gone.set(stream, times);
      const { epoch, processed } = error.problem;
      if (times <= GONE_MOST) this.#on({ type: "gone", stream, refusal: { pull, epoch, processed } });
      else this.#on({ type: "pull_failed", stream, error });
    } else if (error.temporary === false) this.#on({ type: "pull_failed", stream, error });
    else return false;
    return true;
  }

  /** @returns {Promise<{body?: object, error?: Error}>} one request at a time, whatever the stream */
  #inTurn(query, signal) {
    const turn = this.#turn.then(() => (signal.aborted ? {} : this.#ask(query, signal)));
    this.#turn = turn;
    return turn;
  }

  /** A request without an answer is given up, and counts as failed. */
  async #ask(query, signal) {
    try {
      return { body: await patiently({ clock: this.#clock, signal, tries: TRIES }, (...patience) => this.#api.pending(query, ...patience)) };
    } catch (error) {
      return { error };
    }
  }
}

/** @returns {{page?: import("./merge.js").Page & {latest: object[]}, next?: string|null, error?: Error}} */
function read(body, stream, pull) {
  try {
    const { streams: { [stream]: { epoch, processed, cut, complete } }, messages, gaps = [], latest = [], next = null } = body;
    const ours = (one) => one.stream === stream;
    const page = { pull, epoch, processed, cut, messages: messages.filter(ours), gaps: gaps.filter(ours), latest };
    return { page: { ...page, complete: complete || next === null }, next };
  } catch (error) {
    return { error }; // cut off on the way, or of something in between that is not the server
  }
}
