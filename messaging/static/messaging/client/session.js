/**
 * The connection and the return: event in, effects out. Pure: time, random and what the store held are arguments.
 *
 *   idle → connecting → resuming → live or polling ⇄ background; waiting (back-off), closed; follower: another tab does it
 *
 * Events: start {stored, state}, stop, follow, background {unstarted, leaving}, foreground, probe, timer {name}, saved {streams},
 *   handled {stream, era, upto, outcome}, page {stream, page}, gone {stream, refusal}, pull_failed {stream, error},
 *   join, leave and retry {stream, request}, token_renewed {token}; of one connection: token {token}, token_failed {error}, opened, frame {frame},
 *   closed {code, reason}, each with its `connection`: whatever an older one still says is dropped.
 *   Polling speaks the same frames. While it does, a socket is tried beside it: opened and closed of that `connection`.
 *
 * Effects, besides those of streams.js: token {connection}, open {connection}, poll {connection}, close, try {connection},
 *   untry, switch (to the socket that was tried), send {frame}, timer {name, ms},
 *   cancel {name}, state {state, detail}, answer {request, value | error}, noticed, beacon {state, state_seq}, error {error}
 */
import { Backoff } from "./backoff.js";
import { FINAL, MeanwhileError, nameOfClose } from "./codes.js";
import { Heartbeat, PROBE } from "./heartbeat.js";
import { Outbox } from "./outbox.js";
import { NOTICE_AGAIN, Presence } from "./presence.js";
import { Streams } from "./streams.js";
import { Ways } from "./ways.js";

const CLIENT = "meanwhile-js/1";
const HELLO_ROOM = 4096 - 512; // a hello may have 4 KiB
const WELCOME_WITHIN = 15_000;
const QUIET = 60_000;
const LATE_HELLO = 10_000; // one we gave up may still arrive: a server waits 5 s for it, and its answer takes its time
const TOGETHER = 20; // receipts and results of so many ms go out as one frame a stream
const PER_FRAME = 20; // ms a frame costs: at most 50 a second, where the server takes 100
const LATEST_TOGETHER = 200;
const TIMERS = ["welcome", "heartbeat", "quiet", "notice", "flush", "latest", "backoff", "socket", "try", "return"];
/** Errors of frames that could not be read, so that the error cannot say which one it was. */
const UNREAD = new Set(["bad_json", "too_deep", "too_large", "invalid"]);
/** Errors of a pull after which no connection would be taken either. */
const HOPELESS = new Set(["bad_token", "device_revoked", "forced_off"]);

export class Session {
  #resume;
  #backoff;
  #ways;
  #way = "socket";
  #streams = new Streams();
  #presence = new Presence();
  #outbox = new Outbox();
  #heartbeat = null;
  #state = "idle";
  #connection = 0;
  #connections = 0;
  #tried = null; // the connection of a socket that is tried while polling
  #since = 0; // when the connection was begun
  #generation = 0;
  #device = null;
  #token = null;
  #welcomed = false;
  #greeted = false; // whether a hello went out on this connection
  #unheard = -Infinity; // when we gave up a connection whose hello was not answered
  #lastId = 0;
  #retryAt = null;
  #flushAt = null;
  #flushFrom = 0;
  #latestWaits = false;
  #now = 0;
  #out = [];

  /** @param {{resume?: "pull"|"replay"|"hold", random?: () => number, polling?: string, socket?: boolean, attempts?: number}} [options] see ways.js */
  constructor({ resume = "pull", random = Math.random, ...ways } = {}) {
    this.#resume = resume;
    this.#backoff = new Backoff(random);
    this.#ways = new Ways({ random, ...ways });
  }

  get state() { return this.#state; }

  inspect(now) {
    return {
      state: this.#state,
      way: this.#welcomed ? this.#way : null,
      device: this.#device,
      generation: this.#generation || null,
      streams: this.#streams.inspect(),
      unsavedResults: this.#streams.unsaved,
      attempt: this.#backoff.attempt,
      retryInMs: this.#retryAt === null ? null : Math.max(0, this.#retryAt - now),
    };
  }

  /** @param {object} event @param {number} now ms @returns {object[]} effects, in order */
  handle(event, now) {
    this.#out = [];
    this.#now = now;
    const { connection } = event;
    if (connection !== undefined && connection === this.#tried) this.#ofTried(event);
    else if (connection !== undefined && connection !== this.#connection) {
      this.#emit({ effect: "note", kind: "dropped", why: "old_connection", event: event.type });
    } else this.#events[event.type](event);
    this.#settle();
    return this.#out;
  }

  #events = {
    start: ({ stored, state }) => this.#start(stored, state),
    stop: () => this.#end("stopped"),
    follow: () => this.#follow(),
    background: (event) => this.#background(event),
    foreground: () => this.#foreground(),
    probe: () => this.#probe(),
    timer: ({ name }) => this.#timers[name](),
    token: ({ token }) => this.#tokenGiven(token),
    token_renewed: ({ token }) => this.#tokenRenewed(token),
    token_failed: ({ error }) => this.#tokenFailed(error),
    opened: () => this.#hello(),
    frame: ({ frame }) => this.#frame(frame),
    closed: ({ code, reason }) => this.#closed(code, reason),
    saved: ({ streams }) => this.#streams.saved(streams),
    handled: (event) => this.#emit(...this.#streams.handled(event)),
    page: ({ stream, page }) => this.#emit(...this.#streams.page(stream, page)),
    gone: ({ stream, refusal }) => this.#emit(...this.#streams.gone(stream, refusal)),
    pull_failed: ({ stream, error }) => this.#pullFailed(stream, error),
    join: ({ stream, request }) => this.#ask({ kind: "join", stream, request }),
    leave: ({ stream, request }) => this.#ask({ kind: "leave", stream, request }),
    retry: ({ stream, request }) => this.#retry(stream, request),
  };

  // --- connecting ---

  #start(stored = {}, state = "foreground") {
    if (!["idle", "closed", "follower"].includes(this.#state)) return;
    this.#streams.load(stored);
    this.#outbox.load(stored.outbox);
    this.#presence.load(stored.stateSeq ?? 0, state);
    this.#backoff.reset();
    this.#connect();
  }

  #connect() {
    this.#cancel("backoff");
    this.#retryAt = null;
    this.#connection = this.#connections += 1;
    this.#way = this.#ways.next();
    this.#since = this.#now;
    this.#become("connecting", { attempt: this.#backoff.attempt });
    this.#timer("welcome", WELCOME_WITHIN);
    if (this.#token === null) this.#emit({ effect: "token", connection: this.#connection });
    else this.#open();
  }

  #open() { this.#emit({ effect: this.#way === "socket" ? "open" : "poll", connection: this.#connection }); }

  #tokenGiven(token) {
    this.#tokenRenewed(token);
    if (!this.#welcomed) this.#open();
  }

  #tokenRenewed(token) {
    this.#token = token;
    if (this.#welcomed) this.#send({ type: "refresh", id: this.#id(), token });
  }

  #tokenFailed(error) {
    this.#emit({ effect: "error", error });
    if (!this.#welcomed) this.#lost("no_token");
  }

  #hello() {
    this.#greeted = true;
    this.#presence.outbid(0);
    this.#emit({ effect: "save", stateSeq: this.#presence.seq });
    const { wanted: state, seq: state_seq } = this.#presence;
    const positions = this.#streams.positions(HELLO_ROOM - this.#token.length);
    const hello = { type: "hello", id: this.#id(), token: this.#token, state, state_seq, resume: this.#resume };
    this.#send({ ...hello, positions, client: CLIENT });
  }

  #welcome(frame) {
    if (this.#welcomed) return;
    if (frame.generation < this.#generation) {
      this.#generation = 0; // if the server lost its memory, the next welcome is taken as it is
      this.#lost("old_generation");
      return;
    }
    this.#welcomed = true;
    this.#device = frame.device;
    this.#generation = frame.generation;
    this.#heartbeat = new Heartbeat(this.#now, frame.ping_interval_ms);
    this.#cancel("welcome");
    this.#cancel("return");
    this.#timer("heartbeat", frame.ping_interval_ms);
    this.#timer("quiet", QUIET);
    this.#ways.welcomed(this.#way);
    this.#emit(...this.#streams.welcome(frame.streams, frame.resume ?? this.#resume, this.#polling));
    const agreed = frame.state === this.#presence.wanted; // it may have changed while the hello was under way
    if (agreed && this.#presence.foreground) this.#emit(...this.#streams.begin(frame.streams, this.#now));
    if (!agreed) this.#notify(frame.state_seq);
    if (this.#polling) this.#tryLater();
    for (const asked of this.#outbox.unanswered) this.#request(asked);
  }

  // --- polling, and back to the socket ---

  get #polling() { return this.#way === "polling"; }

  #tryLater() {
    const wait = this.#ways.untilTry();
    if (wait < Infinity) this.#timer("socket", wait);
  }

  /** Beside the polling, which goes on. In the background nobody would gain by it. */
  #try() {
    if (!this.#polling || !this.#welcomed || this.#ways.onlyPolling || this.#tried !== null || !this.#presence.foreground) return;
    this.#tried = this.#connections += 1;
    this.#cancel("socket");
    this.#timer("try", WELCOME_WITHIN);
    this.#emit({ effect: "try", connection: this.#tried });
  }

  #giveUpTry() {
    if (this.#tried === null) return;
    this.#tried = null;
    this.#cancel("try");
    this.#emit({ effect: "untry" });
  }

  #ofTried({ type }) {
    const connection = this.#tried;
    if (type !== "opened") {
      this.#giveUpTry();
      this.#tryLater();
      return;
    }
    this.#tried = null;
    this.#drop();
    this.#connection = connection;
    this.#way = "socket";
    this.#since = this.#now;
    this.#become("connecting", { attempt: this.#backoff.attempt });
    this.#timer("welcome", WELCOME_WITHIN);
    this.#emit({ effect: "switch" });
    this.#hello();
  }

  // --- losing it ---

  #closed(code, reason) {
    const why = nameOfClose(code, reason) ?? (reason || "connection_lost");
    if (!this.#welcomed && !(code >= 4000 && code < 5000)) this.#ways.failed(this.#way); // those a server says
    if (code >= FINAL && code < 5000) this.#refused(why, { code });
    else this.#lost(why, { code });
  }

  #bye({ code, reason, reconnect, retry_after_ms: retryAfter }) {
    if (this.#polling && !this.#welcomed) this.#ways.failed("polling");
    if (reconnect === false) this.#refused(code, { reason });
    else this.#lost(code, { reason }, retryAfter);
  }

  /** For good; unless the connection that took over may be one of our own, given up, whose hello was late. Once each. */
  #refused(why, detail) {
    const own = why === "superseded" && this.#now - this.#unheard < LATE_HELLO;
    this.#unheard = -Infinity;
    if (own) this.#lost(why, detail);
    else this.#end(why, detail);
  }

  /** Comes back by itself. */
  #lost(why, detail = {}, retryAfter = 0) {
    this.#drop();
    if (why === "token_expired") this.#token = null;
    const wait = this.#backoff.next(retryAfter);
    this.#retryAt = this.#now + wait;
    this.#timer("backoff", wait);
    this.#become("waiting", { why, ...detail, retryInMs: wait });
  }

  /** Does not. */
  #end(why, detail = {}) {
    this.#drop();
    this.#token = null;
    this.#retryAt = null;
    this.#emit(...this.#outbox.refuse(why));
    this.#become("closed", { why, ...detail });
  }

  /** Another tab of this browser has the connection, or will have. */
  #follow() {
    if (this.#state === "follower") return;
    this.#drop();
    this.#retryAt = null;
    this.#emit(...this.#outbox.withdraw());
    this.#become("follower", {});
  }

  #drop() {
    this.#connection = this.#connections += 1;
    this.#giveUpTry();
    if (this.#greeted && !this.#welcomed) this.#unheard = this.#now;
    this.#welcomed = this.#greeted = false;
    this.#heartbeat = null;
    this.#flushAt = null;
    this.#latestWaits = false;
    this.#presence.forget();
    this.#outbox.forget();
    for (const name of TIMERS) this.#cancel(name);
    this.#emit({ effect: "close" }, ...this.#streams.away(), { effect: "noticed" });
  }

  // --- foreground and background ---

  #background({ unstarted = {}, leaving = false }) {
    const changed = this.#presence.become("background");
    this.#emit(...this.#streams.away(unstarted));
    if (changed) this.#changed();
    if (leaving) this.#emit({ effect: "beacon", state: "background", state_seq: this.#presence.seq });
  }

  #foreground() {
    if (this.#presence.become("foreground")) {
      this.#changed();
      if (this.#welcomed) this.#await(PROBE); // the notice is a probe, too
      this.#try();
    } else this.#probe();
    if (!this.#welcomed) this.#return();
  }

  #changed() {
    this.#emit({ effect: "save", stateSeq: this.#presence.seq });
    if (this.#welcomed) this.#sendNotice();
    else this.#emit({ effect: "noticed" }); // the hello says it
  }

  /** The server has another state than we: say it again with a higher number. */
  #notify(above) {
    this.#presence.outbid(above);
    this.#changed();
  }

  #sendNotice() {
    if (this.#presence.foreground) this.#streams.expect();
    this.#send(this.#presence.notice(this.#id()));
    this.#timer("notice", NOTICE_AGAIN);
  }

  #noticeSaved(frame) {
    const answer = this.#presence.answered(frame);
    if (answer === "differs") this.#notify(frame.state_seq);
    if (answer !== "agreed") return;
    this.#cancel("notice");
    if (this.#presence.foreground) this.#emit(...this.#streams.resume(frame.streams, this.#now));
    this.#emit({ effect: "noticed" });
  }

  /** A hint that the connection may be dead, or possible again: find out at once. */
  #probe() {
    if (!this.#welcomed) return this.#return();
    this.#ping(PROBE);
    this.#try();
  }

  #ping(patience) {
    this.#send({ type: "ping", id: this.#id() });
    this.#await(patience);
  }

  /** What was sent last has an answer: without it the connection is dead. */
  #await(patience) { this.#timer("heartbeat", this.#heartbeat.asks(this.#lastId, this.#now, patience)); }

  #return() {
    if (this.#state === "connecting") { // begun in another network, perhaps
      const left = this.#since + PROBE - this.#now;
      if (left > 0) return this.#timer("return", left);
      this.#drop();
    } else if (this.#state !== "waiting") return;
    this.#ways.hope();
    this.#connect();
  }

  // --- frames ---

  #frame(frame) {
    this.#heartbeat?.heard(this.#now, frame.re ?? (frame.type === "pong" ? Infinity : undefined)); // polling's pong answers all
    const out = this.#welcomed ? this.#streams.frame(frame, this.#presence.foreground) : null;
    if (out) this.#emit(...out);
    else if (Object.hasOwn(this.#frames, frame.type)) this.#frames[frame.type](frame);
  }

  #frames = {
    welcome: (frame) => this.#welcome(frame),
    bye: (frame) => this.#bye(frame),
    error: (frame) => this.#error(frame),
    notice_saved: (frame) => this.#noticeSaved(frame),
    results_saved: (frame) => this.#emit(...this.#streams.reported(frame, this.#now, this.#presence.foreground)),
    joined: (frame) => {
      if (this.#presence.foreground) this.#emit(...this.#streams.begin([frame], this.#now));
      this.#answered(frame.re, { value: frame });
    },
    left: (frame) => {
      this.#emit(...this.#streams.remove(frame.stream));
      this.#answered(frame.re, { value: frame });
    },
  };

  #error({ re, code, title, detail, temporary, stream }) {
    const error = new MeanwhileError(code, { title, detail, temporary });
    if (this.#answered(re, { error })) return;
    if (re !== undefined || UNREAD.has(code) || stream) this.#emit(...this.#streams.refused(re, error, this.#now, stream));
    if (code === "token_expired") this.#emit({ effect: "token", connection: this.#connection });
    else if (code !== "epoch_changed") this.#emit({ effect: "error", error }); // that one becomes a gap
  }

  #pullFailed(stream, error) {
    this.#emit({ effect: "error", error });
    if (error.code === "unknown_stream") this.#emit(...this.#streams.remove(stream));
    else if (HOPELESS.has(error.code)) this.#end(error.code);
    else if (this.#welcomed) this.#lost("pull_failed");
  }

  // --- joins and leaves ---

  #ask(asked) {
    if (this.#state === "closed") {
      this.#emit({ effect: "answer", request: asked.request, error: new MeanwhileError("stopped") });
      return;
    }
    this.#outbox.add(asked);
    this.#emit(this.#outbox.saving);
    if (this.#welcomed) this.#request(asked);
  }

  #request(asked) {
    if (asked.kind === "join" && this.#presence.foreground) this.#streams.expect(asked.stream);
    this.#send(this.#outbox.frame(asked, this.#id()));
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

  /** Without a connection, or in the background, the return does it. */
  #retry(stream, request) {
    if (this.#welcomed && this.#presence.foreground) this.#emit(...this.#streams.retry(stream));
    this.#emit({ effect: "answer", request });
  }

  // --- timers ---

  #timers = {
    backoff: () => this.#connect(),
    return: () => this.#return(),
    welcome: () => {
      if (this.#token !== null) this.#ways.failed(this.#way);
      this.#lost("no_welcome");
    },
    socket: () => this.#try(),
    try: () => {
      this.#giveUpTry();
      this.#tryLater();
    },
    quiet: () => this.#backoff.reset(),
    notice: () => this.#sendNotice(),
    latest: () => {
      this.#latestWaits = false;
      this.#send(...this.#streams.flushLatest());
    },
    flush: () => {
      this.#flushAt = null;
      const { foreground } = this.#presence;
      const frames = this.#streams.flush({ now: this.#now, foreground, id: () => this.#id() });
      this.#send(...frames);
      this.#flushFrom = this.#now + frames.length * PER_FRAME;
    },
    heartbeat: () => {
      const { ping, dead, next } = this.#heartbeat.check(this.#now);
      if (dead) this.#lost("silent");
      else if (ping !== null) this.#ping(ping);
      else this.#timer("heartbeat", next);
    },
  };

  #timer(name, ms) { this.#emit({ effect: "timer", name, ms }); }
  #cancel(name) { this.#emit({ effect: "cancel", name }); }

  // --- after every event ---

  /** What follows from where things stand: the state the app sees, and when to flush. */
  #settle() {
    if (!this.#welcomed) return;
    const { foreground, pending } = this.#presence;
    if (!foreground) this.#become("background", {});
    else if (!this.#streams.live || pending) this.#become("resuming", {});
    else this.#become(this.#polling ? "polling" : "live", {});
    if (!this.#latestWaits && this.#streams.owesLatest) {
      this.#latestWaits = true;
      this.#timer("latest", LATEST_TOGETHER);
    }
    const wait = this.#streams.nextFlush(this.#now, foreground);
    const at = Math.max(this.#flushFrom, this.#now + Math.max(TOGETHER, wait));
    if (wait === Infinity || (this.#flushAt !== null && this.#flushAt <= at)) return;
    this.#flushAt = at;
    this.#timer("flush", at - this.#now);
  }

  #become(state, detail) {
    if (state === this.#state) return;
    this.#state = state;
    this.#emit({ effect: "state", state, detail });
  }

  #id() { return (this.#lastId += 1); }
  #send(...frames) { this.#emit(...frames.map((frame) => ({ effect: "send", frame }))); }
  #emit(...effects) { this.#out.push(...effects); }
}
