/**
 * The connection and the return: event in, effects out. Pure: time, random and what the store held are arguments. What is
 * said once the connection was welcomed is in talk.js.
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
import { PROBE } from "./heartbeat.js";
import { Presence } from "./presence.js";
import { Streams } from "./streams.js";
import { Talk } from "./talk.js";
import { Trial } from "./trial.js";
import { Ways } from "./ways.js";

const CLIENT = "meanwhile-js/1";
const HELLO_ROOM = 4096 - 512; // a hello may have 4 KiB
const WELCOME_WITHIN = 15_000;
const QUIET = 60_000;
const LATE_HELLO = 10_000; // one we gave up may still arrive: a server waits 5 s for it, and its answer takes its time
const TIMERS = ["welcome", "heartbeat", "quiet", "notice", "flush", "latest", "backoff", "socket", "try", "return"];
/** Errors of a pull after which no connection would be taken either. */
const HOPELESS = new Set(["bad_token", "device_revoked", "forced_off"]);

export class Session {
  #resume;
  #backoff;
  #ways;
  #way = "socket";
  #trial;
  #streams = new Streams();
  #presence = new Presence();
  #talk = new Talk({ streams: this.#streams, presence: this.#presence, emit: (...effects) => this.#emit(...effects) });
  #state = "idle";
  #connection = 0;
  #connections = 0;
  #since = 0; // when the connection was begun
  #generation = 0;
  #device = null;
  #token = null;
  #greeted = false; // whether a hello went out on this connection
  #unheard = -Infinity; // when we gave up a connection whose hello was not answered
  #retryAt = null;
  #now = 0;
  #out = [];

  /** @param {{resume?: "pull"|"replay"|"hold", random?: () => number, polling?: string, socket?: boolean, attempts?: number}} [options] see ways.js */
  constructor({ resume = "pull", random = Math.random, ...ways } = {}) {
    this.#resume = resume;
    this.#backoff = new Backoff(random);
    this.#ways = new Ways({ random, ...ways });
    this.#trial = new Trial(this.#ways);
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
    this.#now = this.#talk.now = now;
    const { connection } = event;
    if (this.#trial.is(connection)) this.#ofTrial(event);
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
    retry: ({ stream, request }) => this.#talk.retry(stream, request),
  };

  // --- connecting ---

  #start(stored = {}, state = "foreground") {
    if (!["idle", "closed", "follower"].includes(this.#state)) return;
    this.#streams.load(stored);
    this.#talk.load(stored, state);
    this.#backoff.reset();
    this.#connect();
  }

  #connect() {
    this.#cancel("backoff");
    this.#retryAt = null;
    this.#begin((this.#connections += 1), this.#ways.next());
    if (this.#token === null) this.#emit({ effect: "token", connection: this.#connection });
    else this.#open();
  }

  #begin(connection, way) {
    this.#connection = connection;
    this.#way = way;
    this.#since = this.#now;
    this.#become("connecting", { attempt: this.#backoff.attempt });
    this.#timer("welcome", WELCOME_WITHIN);
  }

  #open() { this.#emit({ effect: this.#way === "socket" ? "open" : "poll", connection: this.#connection }); }

  #tokenGiven(token) {
    this.#tokenRenewed(token);
    if (!this.#welcomed) this.#open();
  }

  #tokenRenewed(token) {
    this.#token = token;
    if (this.#welcomed) this.#send({ type: "refresh", id: this.#talk.id(), token });
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
    const hello = { type: "hello", id: this.#talk.id(), token: this.#token, state, state_seq, resume: this.#resume };
    this.#send({ ...hello, positions, client: CLIENT });
  }

  #welcome(frame) {
    if (this.#welcomed) return;
    if (frame.generation < this.#generation) {
      this.#generation = 0; // if the server lost its memory, the next welcome is taken as it is
      this.#lost("old_generation");
      return;
    }
    this.#device = frame.device;
    this.#generation = frame.generation;
    this.#cancel("welcome");
    this.#cancel("return");
    this.#timer("quiet", QUIET);
    this.#ways.welcomed(this.#way);
    this.#talk.begin(frame, frame.resume ?? this.#resume, this.#polling);
    if (this.#polling) this.#emit(...this.#trial.later());
  }

  // --- polling, and back to the socket ---

  get #welcomed() { return this.#talk.open; }
  get #polling() { return this.#way === "polling"; }

  /** Beside the polling, which goes on. In the background nobody would gain by it. */
  #try() {
    if (!this.#polling || !this.#welcomed || this.#ways.onlyPolling || this.#trial.underWay || !this.#presence.foreground) return;
    this.#emit(...this.#trial.begin((this.#connections += 1)));
  }

  #tryAgain() { this.#emit(...this.#trial.giveUp(), ...this.#trial.later()); }

  #ofTrial({ type, connection }) {
    if (type !== "opened") return this.#tryAgain();
    this.#trial.won();
    this.#drop();
    this.#begin(connection, "socket");
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
    this.#talk.refuse(why);
    this.#become("closed", { why, ...detail });
  }

  /** Another tab of this browser has the connection, or will have. */
  #follow() {
    if (this.#state === "follower") return;
    this.#drop();
    this.#retryAt = null;
    this.#talk.withdraw();
    this.#become("follower", {});
  }

  #drop() {
    this.#connection = this.#connections += 1;
    this.#emit(...this.#trial.giveUp());
    if (this.#greeted && !this.#welcomed) this.#unheard = this.#now;
    this.#greeted = false;
    this.#talk.end();
    for (const name of TIMERS) this.#cancel(name);
    this.#emit({ effect: "close" }, ...this.#streams.away(), { effect: "noticed" });
  }

  // --- foreground and background ---

  #background({ unstarted = {}, leaving = false }) {
    const changed = this.#presence.become("background");
    this.#emit(...this.#streams.away(unstarted));
    if (changed) this.#talk.changed();
    if (leaving) this.#emit({ effect: "beacon", state: "background", state_seq: this.#presence.seq });
  }

  #foreground() {
    if (this.#presence.become("foreground")) {
      this.#talk.changed();
      if (this.#welcomed) this.#talk.expectAnswer(); // the notice is a probe, too
      this.#try();
    } else this.#probe();
    if (!this.#welcomed) this.#return();
  }

  /** A hint that the connection may be dead, or possible again: find out at once. */
  #probe() {
    if (!this.#welcomed) return this.#return();
    this.#talk.ping();
    this.#try();
  }

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
    if (this.#talk.frame(frame)) return;
    if (Object.hasOwn(this.#frames, frame.type)) this.#frames[frame.type](frame);
  }

  #frames = {
    welcome: (frame) => this.#welcome(frame),
    bye: (frame) => this.#bye(frame),
    error: (frame) => this.#error(frame),
  };

  #error(frame) {
    const answered = this.#talk.refused(frame);
    if (!answered && frame.code === "token_expired") this.#emit({ effect: "token", connection: this.#connection });
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
    this.#talk.ask(asked);
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
    try: () => this.#tryAgain(),
    quiet: () => this.#backoff.reset(),
    heartbeat: () => this.#talk.heartbeat() || this.#lost("silent"),
    ...this.#talk.timers,
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
    this.#talk.settle();
  }

  #become(state, detail) {
    if (state === this.#state) return;
    this.#state = state;
    this.#emit({ effect: "state", state, detail });
  }

  #send(...frames) { this.#emit(...frames.map((frame) => ({ effect: "send", frame }))); }
  #emit(...effects) { this.#out.push(...effects); }
}
