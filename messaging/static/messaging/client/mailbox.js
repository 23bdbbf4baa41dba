/**
 * Receipts and results on their way by HTTP. One request after the other; what is asked for meanwhile goes with the
 * next, the newest of each stream. What fails for now is sent again.
 */
import { Backoff } from "./backoff.js";
import { TRIES, patiently, sleep } from "./signals.js";

export class Mailbox {
  #api;
  #clock;
  #signal;
  #on;
  #results = new Map(); // stream → frame
  #acks = new Map();
  #latest = new Map();
  #posting = false;
  #backoff;

  /**
   * @param {{api: import("./transport.js").Api, clock: object, signal: AbortSignal, on: (event: object) => void}} parts
   *   `on`: saved {frame, answer}, refused {frame, error}, acked {latest}, failed {error} (for good, whatever is sent)
   */
  constructor({ api, clock, signal, on }) {
    this.#api = api;
    this.#clock = clock;
    this.#signal = signal;
    this.#on = on;
    this.#backoff = new Backoff(clock.random);
  }

  /** @param {object} frame ack, ack_latest or results */
  put(frame) {
    const box = { results: this.#results, ack: this.#acks, ack_latest: this.#latest }[frame.type];
    box.set(frame.stream, frame);
    if (!this.#posting) this.#post();
  }

  async #post() {
    this.#posting = true;
    await null; // what one decision sends goes together
    while (!this.#signal.aborted && this.#results.size + this.#acks.size + this.#latest.size) {
      try {
        await this.#postResults(taken(this.#results));
        await this.#postAcks(taken(this.#acks), taken(this.#latest));
        this.#backoff.reset();
      } catch (error) {
        if (this.#signal.aborted) break;
        if (error.temporary === false) this.#on({ type: "failed", error });
        else await sleep(this.#clock, this.#backoff.next(spread(error, this.#clock)), this.#signal);
      }
    }
    this.#posting = false;
  }

  /** What is not answered is sent again, also beside: all of it is cumulative. */
  #send(path, body) {
    return patiently({ clock: this.#clock, signal: this.#signal, tries: TRIES }, (...patience) => this.#api.post(path, body, ...patience));
  }

  async #postResults(frames) {
    if (!frames.length) return;
    try {
      const { items } = await this.#send("/results", frames.map(({ type, id, ...body }) => body));
      frames.forEach((frame, index) => {
        const { problem, ...answer } = items[index];
        this.#on(problem ? { type: "refused", frame, error: problem } : { type: "saved", frame, answer });
      });
    } catch (error) {
      for (const frame of frames) if (!this.#results.has(frame.stream)) this.#results.set(frame.stream, frame);
      throw error;
    }
  }

  /** All are taken or none: where one is refused (its stream is gone, or another), each goes by itself. */
  async #postAcks(acks, latest) {
    if (!acks.length && !latest.length) return;
    try {
      await this.#send("/acks", { acks: acks.map(plain), latest: latest.map(plain) });
      this.#on({ type: "acked", latest });
    } catch (error) {
      if (error.code !== "unknown_stream" && error.code !== "epoch_changed") {
        for (const ack of acks) if (!this.#acks.has(ack.stream)) this.#acks.set(ack.stream, ack);
        for (const ack of latest) if (!this.#latest.has(ack.stream)) this.#latest.set(ack.stream, ack);
        throw error;
      }
      if (acks.length + latest.length === 1) return;
      for (const ack of acks) await this.#postAcks([ack], []);
      for (const ack of latest) await this.#postAcks([], [ack]);
    }
  }
}

/** What the server asked for (ms), not all at once. */
export function spread(error, clock) {
  return (error.retryAfter ?? 0) * (1 + clock.random() / 2);
}

function taken(box) {
  const all = [...box.values()];
  box.clear();
  return all;
}

function plain({ type, ...ack }) { return ack; }
