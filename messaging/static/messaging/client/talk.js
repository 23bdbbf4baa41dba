/**
 * What is said over a connection once it was welcomed: notices, pings, receipts and results, joins and leaves, and what
 * the answers mean. Pure: it emits effects, for the session's timers `heartbeat`, `notice`, `flush` and `latest`.
 */
import { MeanwhileError } from "./codes.js";
import { Heartbeat, PROBE } from "./heartbeat.js";
import { Outbox } from "./outbox.js";
import { Pace } from "./pace.js";
import { NOTICE_AGAIN } from "./presence.js";

/** Errors of frames that could not be read, so that the error cannot say which one it was. */
const UNREAD = new Set(["bad_json", "too_deep", "too_large", "invalid"]);

export class Talk {
  #streams;
  #presence;
  #emit;
  #outbox = new Outbox();
  #pace = new Pace();
  #heartbeat = null; // of the connection
  #lastId = 0;
  /** When what is told happens (ms). */
  now = 0;

  /** @param {{streams: import("./streams.js").Streams, presence: import("./presence.js").Presence, emit: (...effects: object[]) => void}} parts */
  constructor({ streams, presence, emit }) {
    this.#streams = streams;
    this.#presence = presence;
    this.#emit = emit;
  }

  /** Whether there is a connection, and its welcome has come. */
  get open() { return this.#heartbeat !== null; }

  /** @param {object} stored */
  load({ outbox, stateSeq = 0 }, state) {
    this.#outbox.load(outbox);
    this.#presence.load(stateSeq, state);
  }

  id() { return (this.#lastId += 1); }

  /** @param {object} welcome @param {string} mode how to catch up @param {boolean} polled */
  begin(welcome, mode, polled) {
    this.#heartbeat = new Heartbeat(this.now, welcome.ping_interval_ms);
    this.#timer("heartbeat", welcome.ping_interval_ms);
    this.#emit(...this.#streams.welcome(welcome.streams, mode, polled));
    const agreed = welcome.state === this.#presence.wanted; // it may have changed while the hello was under way
    if (agreed && this.#presence.foreground) this.#emit(...this.#streams.begin(welcome.streams, this.now));
    if (!agreed) this.#notify(welcome.state_seq);
    for (const asked of this.#outbox.unanswered) this.#request(asked);
  }

  /** The connection is gone. */
  end() {
    this.#heartbeat = null;
    this.#pace.forget();
    this.#presence.forget();
    this.#outbox.forget();
  }

  // --- foreground and background ---

  /** The app went to the background, or came back. */
  changed() {
    this.#emit({ effect: "save", stateSeq: this.#presence.seq });
    if (this.open) this.#sendNotice();
    else this.#emit({ effect: "noticed" }); // the hello says it
  }

  /** The server has another state than we: say it again with a higher number. */
  #notify(above) {
    this.#presence.outbid(above);
    this.changed();
  }

  #sendNotice() {
    if (this.#presence.foreground) this.#streams.expect();
    this.#send(this.#presence.notice(this.id()));
    this.#timer("notice", NOTICE_AGAIN);
  }

  #noticeSaved(frame) {
    const answer = this.#presence.answered(frame);
    if (answer === "differs") this.#notify(frame.state_seq);
    if (answer !== "agreed") return;
    this.#emit({ effect: "cancel", name: "notice" });
    if (this.#presence.foreground) this.#emit(...this.#streams.resume(frame.streams, this.now));
    this.#emit({ effect: "noticed" });
  }

  // --- is it alive? ---

  ping(patience = PROBE) {
    this.#send({ type: "ping", id: this.id() });
    this.expectAnswer(patience);
  }

  /** What was sent last has an answer: without it the connection is dead. */
  expectAnswer(patience = PROBE) { this.#timer("heartbeat", this.#heartbeat.asks(this.#lastId, this.now, patience)); }

  /** @returns {boolean} whether the connection is alive, as far as one knows */
  heartbeat() {
    const { ping, dead, next } = this.#heartbeat.check(this.now);
    if (ping !== null) this.ping(ping);
    else if (!dead) this.#timer("heartbeat", next);
    return !dead;
  }

  // --- what the server says ---

  /** @returns {boolean} whether it was for us */
  frame(frame) {
    if (!this.open) return false;
    this.#heartbeat.heard(this.now, frame.re ?? (frame.type === "pong" ? Infinity : undefined)); // polling's pong answers all
    const out = this.#streams.frame(frame, this.#presence.foreground);
    if (out) this.#emit(...out);
    else if (Object.hasOwn(this.#frames, frame.type)) this.#frames[frame.type](frame);
    else return false;
    return true;
  }

  #frames = {
    notice_saved: (frame) => this.#noticeSaved(frame),
    results_saved: (frame) => this.#emit(...this.#streams.reported(frame, this.now, this.#presence.foreground)),
    joined: (frame) => {
      if (this.#presence.foreground) this.#emit(...this.#streams.begin([frame], this.now));
      this.#answered(frame.re, { value: frame });
    },
    left: (frame) => {
      this.#emit(...this.#streams.remove(frame.stream));
      this.#answered(frame.re, { value: frame });
    },
  };

  /** A refusal of something we said. @returns {boolean} whether somebody waited for it */
  refused({ re, code, title, detail, temporary, stream }) {
    const error = new MeanwhileError(code, { title, detail, temporary });
    if (this.#answered(re, { error })) return true;
    if (re !== undefined || UNREAD.has(code) || stream) this.#emit(...this.#streams.refused(re, error, this.now, stream));
    if (code !== "epoch_changed" && code !== "token_expired") this.#emit({ effect: "error", error }); // a gap, a new token
    return false;
  }

  // --- joins and leaves ---

  /** @param {import("./outbox.js").Asked} asked */
  ask(asked) {
    this.#outbox.add(asked);
    this.#emit(this.#outbox.saving);
    if (this.open) this.#request(asked);
  }

  #request(asked) {
    if (asked.kind === "join" && this.#presence.foreground) this.#streams.expect(asked.stream);
    this.#send(this.#outbox.frame(asked, this.id()));
  }

  #answered(re, answer) {
    const asked = this.#outbox.answered(re);
    if (!asked) return false;
    const { kind, stream, request } = asked;
    this.#emit(this.#outbox.saving);
    if (answer.error && kind === "join") this.#emit(...this.#streams.abandon(stream));
    if (request !== null) this.#emit({ effect: "answer", request, ...answer });
    else if (answer.error) this.#emit({ effect: "error", error: answer.error });
    return true;
  }

  /** Another tab asks for what the app of this one waits for. */
  withdraw() { this.#emit(...this.#outbox.withdraw()); }

  /** No connection comes back by itself: the app is told. */
  refuse(why) { this.#emit(...this.#outbox.refuse(why)); }

  /** Without a connection, or in the background, the return does it. */
  retry(stream, request) {
    if (this.open && this.#presence.foreground) this.#emit(...this.#streams.retry(stream));
    this.#emit({ effect: "answer", request });
  }

  // --- receipts and results ---

  /** Sets the timers for what follows from where things stand. */
  settle() {
    const latest = this.#pace.latestIn(this.#streams.owesLatest);
    if (latest !== null) this.#timer("latest", latest);
    const flush = this.#pace.flushIn(this.now, this.#streams.nextFlush(this.now, this.#presence.foreground));
    if (flush !== null) this.#timer("flush", flush);
  }

  timers = {
    notice: () => this.#sendNotice(),
    latest: () => {
      this.#pace.latestFlushed();
      this.#send(...this.#streams.flushLatest());
    },
    flush: () => {
      const frames = this.#streams.flush({ now: this.now, foreground: this.#presence.foreground, id: () => this.id() });
      this.#send(...frames);
      this.#pace.flushed(this.now, frames.length);
    },
  };

  #timer(name, ms) { this.#emit({ effect: "timer", name, ms }); }
  #send(...frames) { this.#emit(...frames.map((frame) => ({ effect: "send", frame }))); }
}
