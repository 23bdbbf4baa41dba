/**
 * A connection made of requests, where no WebSocket is to be had. It takes and gives the frames of the device socket:
 * `hello` is answered with a welcome, notices, receipts and results are posted, and a pull that waits brings the rest.
 * In the background it asks for nothing.
 */
import { MeanwhileError } from "./codes.js";
import { Mailbox, spread } from "./mailbox.js";
import { Polled } from "./polled.js";
import { Size } from "./pull.js";
import { TRIES, patiently, sleep, unless, within } from "./signals.js";

/** Seconds a pull waits for news. */
export const WAIT = 25;
/** Above what a pull waits: an answer is a sign of life. */
const PING_INTERVAL = 45_000;
/** While handlers have not come through, what is new is asked for in between (ms). */
const BEHIND = 2_000;
const FINAL = new Set(["bad_token", "device_revoked", "forced_off", "not_allowed"]);
/** Refusals of a join or a leave that are about the connection, not about the room. */
const OF_CONNECTION = new Set(["bad_token", "token_expired", "device_revoked", "forced_off", "silent", "restart"]);

/** One line at a time; the same interface as the `Socket`. */
export class Polling {
  #parts;
  #line = null;
  #size = new Size();

  /** @param {{api: import("./transport.js").Api, clock: object, on: (event: object) => void, room: (stream: string) => Promise<void>}} parts */
  constructor(parts) { this.#parts = parts; }

  /** @param {number} connection goes with every event */
  open(connection) {
    this.close();
    const { on, ...parts } = this.#parts;
    const line = new Line({ ...parts, size: this.#size, on: (event) => this.#line === line && on({ ...event, connection }) });
    this.#line = line;
    on({ type: "opened", connection });
  }

  send(frame) { this.#line?.send(frame); }

  close() {
    this.#line?.dispose();
    this.#line = null;
  }

  dispose() { this.close(); }
}

class Line {
  #api;
  #clock;
  #on;
  #room;
  #size;
  #polled = new Polled();
  #mailbox;
  #over = new AbortController();
  #turn = null; // of one time in the foreground
  #waiting = null; // of a pull that waits
  #last = Promise.resolve(); // page or join: one at a time, or a page would not know what the join did
  #news = () => {};

  constructor({ api, clock, on, room, size }) {
    this.#api = api;
    this.#clock = clock;
    this.#on = on;
    this.#room = room;
    this.#size = size; // beyond this line, which ends with a page that does not come through
    this.#mailbox = new Mailbox({ api, clock, signal: this.#over.signal, on: (event) => this.#posted(event) });
  }

  send(frame) { this.#frames[frame.type]?.(frame); }

  dispose() {
    this.#over.abort();
    this.#turn?.abort();
  }

  // --- frames of the device ---

  #frames = {
    hello: (frame) => this.#try(() => this.#hello(frame)),
    notice: (frame) => this.#try(() => this.#notice(frame)),
    join: (frame) => this.#try(() => this.#move("PUT", frame)),
    leave: (frame) => this.#try(() => this.#move("DELETE", frame)),
    ping: () => this.#ping(),
    ack: (frame) => this.#mailbox.put(frame),
    ack_latest: (frame) => this.#mailbox.put(frame),
    results: (frame) => this.#mailbox.put(frame),
  };

  async #hello({ id, state }) {
    const me = await this.#request((...patience) => this.#api.get("/me", ...patience), this.#over.signal);
    const there = me.presence ?? {};
    const known = (there.state ?? "offline") === "offline" ? state : there.state;
    this.#say({
      type: "welcome", re: id, device: me.device, generation: there.generation ?? 0, ping_interval_ms: PING_INTERVAL,
      resume: "replay", state: known, state_seq: there.state_seq ?? 0, streams: me.streams,
    });
    if (state === "foreground" && known === state) this.#begin(me.streams); // else a notice follows
  }

  /** In the foreground the pulls are the presence; a device that was silent for long is told as offline until then. */
  async #notice({ id, state, state_seq: seq }) {
    this.#turn?.abort();
    const { signal } = (this.#turn = new AbortController());
    const saved = await this.#request((...patience) => this.#api.post("/notices", { state, state_seq: seq }, ...patience), signal);
    const back = state === "foreground";
    const { streams } = back && !saved.streams.length ? await this.#request((...patience) => this.#api.get("/me", ...patience), signal) : saved;
    if (signal.aborted) return;
    const agreed = saved.state === "offline" || saved.state === state;
    const frame = { type: "notice_saved", re: id, state: agreed ? state : saved.state, state_seq: saved.state_seq };
    this.#say({ ...frame, streams: back ? streams : [] });
    if (back && agreed) this.#begin(streams);
  }

  /** Into a room or out of it. The pull that waits is given up: what it would tell is of before. */
  async #move(method, { id, stream }) {
    const { signal } = this.#over;
    this.#waiting?.abort();
    await this.#alone(async () => {
      let entry;
      try {
        entry = await this.#request((...patience) => this.#api.membership(method, stream, ...patience), signal, { tries: 1 });
      } catch (error) {
        if (!(error instanceof MeanwhileError) || OF_CONNECTION.has(error.code)) throw error;
        const { code, title, detail, temporary } = error;
        this.#say({ type: "error", re: id, code, title, detail, temporary });
        return;
      }
      if (method === "PUT") this.#polled.joined(entry);
      else this.#polled.left(stream);
      this.#say(method === "PUT" ? { type: "joined", re: id, ...entry } : { type: "left", re: id, stream });
    });
  }

  /** The network may be another one: what waits is given up, and asked for anew, at once. */
  #ping() {
    if (this.#turn === null || this.#turn.signal.aborted || this.#waiting === null) this.#say({ type: "pong" });
    else this.#waiting.abort();
  }

  // --- what is new ---

  #begin(streams) {
    this.#turn?.abort();
    const { signal } = (this.#turn = new AbortController());
    this.#polled.begin(streams);
    this.#try(() => this.#poll(signal));
  }

  async #poll(signal) {
    await this.#round({}, signal, true);
    while (!signal.aborted) {
      if (this.#polled.behind) await this.#meanwhile(signal);
      else await this.#await(signal);
    }
  }

  /** The pull that waits; the first page may come at once. Given up for a ping, it is asked again without a wait. */
  async #await(signal) {
    const waiting = (this.#waiting = within(signal));
    try {
      await this.#round({ wait: WAIT }, waiting.signal, true);
    } catch (error) {
      if (signal.aborted || !waiting.signal.aborted) throw error;
      await this.#round({}, signal, true);
    } finally {
      this.#waiting = null;
      waiting.release();
    }
  }

  /**
   * Handlers are at work, or results under way: what is new is asked for by its place, without what they have.
   * LIMIT: so it goes on, a request a stream every 2 s, as long as a stream waits at a failure.
   */
  async #meanwhile(signal) {
    const through = new Promise((resolve) => { this.#news = () => this.#polled.behind || resolve(); });
    const enough = within(signal);
    await Promise.race([through, sleep(this.#clock, BEHIND, enough.signal)]);
    enough.abort();
    enough.release();
    if (!this.#polled.behind) return;
    for (const place of this.#polled.places) {
      if (signal.aborted) return;
      await this.#round(place, signal).catch((error) => {
        if (error.code !== "unknown_stream") throw error;
        for (const frame of this.#polled.left(place.stream)) this.#say(frame);
      });
    }
  }

  /** All pages of one pull; the next is asked for when there is room. */
  async #round(query, signal, all = false) {
    let asked = query;
    for (let first = true; !signal.aborted; first = false) {
      const page = await this.#alone(() => this.#page(asked, signal, all && first));
      if (signal.aborted || (page.next ?? null) === null) return;
      asked = { cursor: page.next };
      for (const stream of Object.keys(page.streams)) await unless(signal, this.#room(stream));
    }
  }

  async #page(asked, signal, all) {
    const query = { ...asked, limit: this.#size.limit };
    const page = await this.#request((...patience) => this.#api.pending(query, ...patience), signal, { wait: asked.wait }).catch((error) => {
      this.#size.failed(error);
      throw error;
    });
    if ((page.next ?? null) === null) this.#size.through();
    if (signal.aborted) return page;
    for (const frame of this.#polled.page(page, all)) this.#say(frame);
    this.#say({ type: "pong" });
    return page;
  }

  /** One request after the other, with what follows from its answer. */
  #alone(work) {
    const done = this.#last.then(work);
    this.#last = done.catch(() => {});
    return done;
  }

  // --- the mailbox ---

  #posted({ type, frame, answer, error, latest }) {
    if (type === "saved") {
      this.#polled.saved(frame.stream, answer.processed);
      this.#say({ type: "results_saved", re: frame.id, ...answer });
    } else if (type === "refused") {
      this.#say({ type: "error", re: frame.id, stream: frame.stream, code: error.code, title: error.title, detail: error.detail, temporary: error.temporary });
    } else if (type === "acked") {
      for (const { stream, version } of latest) this.#polled.ackedLatest(stream, version);
    } else this.#failed(error);
    this.#news();
  }

  // --- requests ---

  /** A request without an answer is given up, and counts as a lost connection. One that waits is not made twice. */
  #request(ask, signal, { wait = 0, tries = wait ? 1 : TRIES } = {}) {
    return patiently({ clock: this.#clock, signal, wait: wait * 1000, tries }, ask);
  }

  async #try(action) {
    const { signal } = this.#over;
    try {
      await action();
    } catch (error) {
      if (!signal.aborted && error.name !== "AbortError") this.#failed(error);
    }
  }

  #failed(error) {
    if (error instanceof MeanwhileError) {
      const { code, title } = error;
      const reconnect = !FINAL.has(code);
      this.#say({ type: "bye", code, reason: title, reconnect, retry_after_ms: reconnect ? spread(error, this.#clock) : 0 });
    } else this.#on({ type: "closed", code: 1006, reason: error.code ?? "" });
  }

  #say(frame) { this.#on({ type: "frame", frame }); }
}
