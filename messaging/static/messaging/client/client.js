/**
 * The device's side of Meanwhile. The only part that knows all the others: it hands events to the session, and does
 * what the session says.
 */
import { App } from "./app.js";
import { Copies } from "./copies.js";
import { Requests } from "./requests.js";
import { Session } from "./session.js";
import { IndexedDBStore, MemoryStore } from "./store.js";
import { manualLifecycle, pageLifecycle, systemClock } from "./lifecycle.js";
import { Links } from "./links.js";
import { Polling } from "./polling.js";
import { Puller } from "./pull.js";
import { FencedStore, Tabs } from "./tabs.js";
import { Timers } from "./timers.js";
import { Tokens } from "./tokens.js";
import { Api, addresses } from "./transport.js";
import { Writer } from "./writer.js";

/**
 * @typedef {{stream: string, offset: number, name: string, time: string, service: string|null, data: unknown,
 *   redelivered: boolean, on_failure?: "stop", path: "live"|"replayed"|"pulled"|"merged", copy?: true}} Message `copy`: another tab handles it
 * @typedef {{stream: string, from: number, to: number, reason: string}} Gap
 * @typedef {{stream: string, name: string, key: string, version: number, coalesced: number, time: string,
 *   service: string|null, data: unknown}} LatestValue
 * @typedef {object} Options
 * @property {string} [url] the server's address; default: where the page comes from
 * @property {() => Promise<string>|string} getToken the device's token; asked again when one has expired
 * @property {Record<string, (message: Message) => unknown>} [handlers] by message type; "*" for all others. Per stream in
 *   order, one at a time. What one returns is reported as its value; what one throws, as its failure
 * @property {(value: LatestValue) => unknown} [onLatest] for types without a handler
 * @property {(value: object) => unknown} [onTransient] for types without a handler
 * @property {(gap: Gap) => unknown} [onGap] something can no longer be delivered; without it, it is logged as an error
 * @property {(state: string, detail: object) => void} [onState]
 * @property {(about: {stream: string, head: number}) => unknown} [onStreamClosed]
 * @property {(about: {stream: string, offset: number, error: unknown}) => unknown} [onStopped] a handler failed on a message
 *   with `on_failure: "stop"`: its stream waits until the next return, or `retry`; without it, it is logged as an error
 * @property {(error: unknown) => void} [onError]
 * @property {(event: {kind: string}) => void} [onEvent] everything that happens, for diagnosis
 * @property {"pull"|"replay"|"hold"} [resume]
 * @property {"auto"|"never"|"always"} [polling] auto: where no WebSocket is to be had
 * @property {number} [attempts] of a socket without a welcome, before it polls
 * @property {"own"|"share"} [tabs] share: the tabs of a browser are one device, through one that leads
 * @property {import("./store.js").Store} [storage] default: IndexedDB where there is one
 * @property {import("./lifecycle.js").Lifecycle} [lifecycle] default: the page's, where there is one
 */

/** How long (ms) what runs may take to come through when another tab wants to lead. */
const YIELD_WITHIN = 2_000;

export class Meanwhile {
  #options;
  #app;
  #clock;
  #lifecycle;
  #storage;
  #store;
  #tabs = null;
  #copies;
  #leader = null; // the state of the tab that leads
  #session;
  #runner;
  #writer;
  #timers;
  #links;
  #api;
  #puller;
  #tokens;
  #events = [];
  #requests = new Requests();
  #noticed = [];
  #starting = null;
  #life = 0; // counts the stops

  /** @param {Options & {WebSocket?: Function|null, fetch?: Function, clock?: object}} options */
  constructor(options) {
    if (typeof options?.getToken !== "function") throw new TypeError("getToken is missing");
    this.#options = options;
    this.#app = new App(options);
    this.#copies = new Copies(this.#app);
    this.#tokens = new Tokens({ getToken: () => options.getToken(), onRenewed: (token) => this.#handle({ type: "token_renewed", token }) });
    this.#clock = options.clock ?? systemClock;
    this.#lifecycle = options.lifecycle ?? (globalThis.document ? pageLifecycle({ clock: this.#clock }) : manualLifecycle());
    this.#store = this.#storage = options.storage ?? (globalThis.indexedDB ? new IndexedDBStore() : new MemoryStore());
    const WebSocket = options.WebSocket === undefined ? globalThis.WebSocket : options.WebSocket;
    const { resume, attempts } = options;
    this.#session = new Session({ resume, polling: options.polling, attempts, socket: Boolean(WebSocket), random: this.#clock.random });
    const { socket, api } = addresses(options.url ?? globalThis.location.origin);
    this.#timers = new Timers(this.#clock, (name) => this.#handle({ type: "timer", name }));
    this.#api = new Api({
      fetch: options.fetch ?? globalThis.fetch.bind(globalThis), base: api, token: (stale) => this.#tokens.but(stale),
    });
    const room = (stream) => this.#runner.room(stream);
    const on = (event) => this.#heard(event);
    const polling = new Polling({ api: this.#api, clock: this.#clock, on, room });
    this.#links = new Links({ WebSocket, url: socket, on, polling });
    this.#puller = new Puller({ api: this.#api, clock: this.#clock, on: (event) => this.#pulled(event), room });
    this.#assemble();
    if (options.tabs === "share") this.#share();
  }

  // --- for the app ---

  /** Loads the store and connects, or follows the tab that does. Resolves when that is under way; how it goes, `onState` says. */
  async start() {
    while (this.#starting) await this.#starting; // perhaps stopped meanwhile
    if (this.#running) return;
    if (this.#tabs) {
      this.#follow();
      return;
    }
    this.#starting = this.#start().finally(() => { this.#starting = null; });
    await this.#starting;
  }

  /** Closes the connection and stays away. Handlers that run finish, and what they did is stored. */
  stop() {
    this.#life += 1;
    this.#handle({ type: "stop" });
  }

  /** The app is in the background. Resolves when the server knows, or when there is nobody to tell. */
  background() { return this.#notice(() => this.#background({ leaving: false })); }

  /** The app is back. Resolves when the server has answered with what was missed, or when there is nobody to ask. */
  foreground() { return this.#notice(() => this.#foreground()); }

  /** @param {string} stream a room the token allows @returns {Promise<object>} @throws {import("./codes.js").MeanwhileError} */
  join(stream) { return this.#request("join", stream); }

  /** @param {string} stream the position in it is forgotten */
  leave(stream) { return this.#request("leave", stream); }

  /** What the stream waits at, after a failure that stopped it, is handed over again. @param {string} stream */
  async retry(stream) { await this.#request("retry", stream); }

  /** Where everything stands, for people. */
  inspect() {
    const now = this.#session.inspect(this.#clock.now());
    return now.state === "follower" ? { ...now, leader: this.#leader } : now;
  }

  get #follows() { return this.#session.state === "follower"; }
  get #running() { return !["idle", "closed"].includes(this.#session.state); }

  // --- tabs ---

  /** Without Web Locks each tab is a device of its own. */
  #share() {
    const { locks = globalThis.navigator?.locks, BroadcastChannel = globalThis.BroadcastChannel } = this.#options;
    if (!locks || !BroadcastChannel) return;
    const device = {
      lead: () => this.#lead(),
      yield: () => this.#yield(),
      leave: () => this.#leave(),
      copied: (what, value) => this.#copies.take(what, value),
      leader: (state, detail) => {
        this.#leader = state;
        if (this.#follows) this.#effects.state({ state: "follower", detail: { leader: state, ...detail } });
      },
      ask: async (type, stream) => {
        await this.#starting;
        return await this.#request(type, stream);
      },
    };
    const inFront = () => this.#lifecycle.state === "foreground";
    this.#tabs = new Tabs({ name: this.#storage.name ?? "", locks, BroadcastChannel, clock: this.#clock, inFront, device });
  }

  #follow() {
    this.#handle({ type: "follow" });
    this.#copies.begin();
    this.#watch();
    this.#tabs.start();
  }

  #lead() {
    this.#store = new FencedStore(this.#storage);
    this.#starting = this.#start().finally(() => { this.#starting = null; });
  }

  /** Hands on: what runs comes through and is stored, if that is soon. */
  async #yield() {
    this.#standDown();
    const through = this.#runner.idle().then(() => this.#writer.idle());
    let timer;
    const enough = new Promise((resolve) => { timer = this.#clock.setTimeout(resolve, YIELD_WITHIN); });
    await Promise.race([through, enough]);
    this.#clock.clearTimeout(timer);
    this.#store.shut();
  }

  #leave() {
    this.#standDown();
    this.#store.shut();
  }

  #standDown() {
    this.#life += 1;
    this.#runner.takeBack();
    if (this.#running) this.#handle({ type: "follow" });
    this.#requests.handOver(({ type, stream }) => this.#tabs.ask(type, stream));
  }

  // --- parts ---

  #assemble() {
    this.#runner = this.#app.runner({
      onBegin: (kind, value) => this.#tabs?.copy(kind, value),
      onHandled: (about) => {
        this.#app.event({ kind: "handled", stream: about.stream, offset: about.upto, ...about.outcome });
        this.#handle({ type: "handled", ...about });
      },
    });
    this.#writer = new Writer({
      store: this.#store,
      clock: this.#clock,
      onError: (error) => this.#app.error(error),
      onSaved: ({ streams }) => {
        this.#app.event({ kind: "stored", streams });
        this.#handle({ type: "saved", streams });
      },
    });
  }

  async #start() {
    const life = this.#life;
    await this.#runner.idle(); // of a life before this one
    await this.#writer.idle();
    this.#assemble();
    const stored = await this.#load();
    if (life !== this.#life) return; // stopped meanwhile
    if (!this.#tabs) this.#watch();
    this.#handle({ type: "start", stored, state: this.#lifecycle.state });
  }

  #watch() {
    this.#lifecycle.start({
      background: ({ leaving }) => this.#background({ leaving }),
      foreground: () => this.#foreground(),
      probe: () => {
        if (this.#follows) this.#tabs.claim();
        else this.#handle({ type: "probe" });
      },
    });
  }

  /** A store that cannot be read (private mode, no room) is replaced by memory, and the app is told. */
  async #load() {
    try {
      return await this.#store.load();
    } catch (error) {
      this.#app.error(error);
      this.#store = new FencedStore(new MemoryStore());
      this.#assemble();
      return await this.#store.load();
    }
  }

  #background({ leaving }) {
    if (!this.#follows) this.#handle({ type: "background", leaving, unstarted: this.#runner.takeBack() });
    if (leaving) this.#tabs?.leave();
    else this.#tabs?.hidden();
  }

  #foreground() {
    if (this.#follows) this.#tabs.claim();
    else this.#handle({ type: "foreground" });
  }

  #notice(say) {
    return new Promise((resolve) => {
      this.#noticed.push(resolve);
      say();
      if (!this.#running || this.#follows) this.#effects.noticed();
    });
  }

  #request(type, stream) {
    if (this.#follows) return this.#tabs.ask(type, stream);
    return this.#requests.make({ type, stream }, (request) => this.#handle({ type, stream, request }));
  }

  // --- events in, effects out ---

  #heard(event) {
    if (event.type === "frame") this.#app.event({ kind: "received", frame: event.frame });
    this.#handle(event);
  }

  #pulled(event) {
    if (event.type === "pull_delayed") {
      this.#app.event({ kind: "delayed", stream: event.stream, code: event.error.code, retryInMs: event.retryInMs });
    } else this.#handle(event);
  }

  /** One event at a time, each with all its effects: what the app does in a callback waits its turn. */
  #handle(event) {
    this.#events.push(event);
    if (this.#events.length > 1) return;
    while (this.#events.length) {
      for (const effect of this.#decide(this.#events[0])) this.#effects[effect.effect](effect);
      this.#events.shift();
    }
  }

  #decide(event) {
    const now = this.#clock.now();
    try {
      return this.#session.handle(event, now);
    } catch (error) {
      this.#app.error(error);
      if (event.type !== "frame") return [];
      // a frame that is not of the protocol: begin anew
      return this.#session.handle({ type: "closed", connection: event.connection, code: 4000, reason: "not_understood" }, now);
    }
  }

  #effects = {
    token: ({ connection }) => this.#fetchToken(connection),
    open: ({ connection }) => this.#links.open(connection),
    poll: ({ connection }) => this.#links.poll(connection),
    close: () => this.#links.close(),
    try: ({ connection }) => this.#links.try(connection),
    untry: () => this.#links.untry(),
    switch: () => this.#links.switch(),
    send: ({ frame }) => {
      this.#app.event({ kind: "sent", frame: frame.token === undefined ? frame : { ...frame, token: "…" } });
      this.#links.send(frame);
    },
    timer: ({ name, ms }) => this.#timers.set(name, ms),
    cancel: ({ name }) => this.#timers.cancel(name),
    pull: ({ effect, ...wanted }) => {
      this.#app.event({ kind: "pull", ...wanted });
      this.#puller.pull(wanted);
    },
    stop_pulls: ({ stream }) => this.#puller.stop(stream),
    run: (about) => this.#runner.run(about),
    clear: ({ stream }) => this.#runner.clear(stream),
    save: ({ effect, ...changes }) => this.#writer.save(changes),
    latest: ({ value }) => this.#tell("latest", value),
    transient: ({ value }) => this.#tell("transient", value),
    stopped: ({ effect, ...about }) => this.#app.stopped(about),
    note: ({ effect, ...event }) => this.#app.event(event),
    state: ({ state, detail }) => {
      if (state === "closed") {
        this.#lifecycle.dispose();
        this.#runner.dispose();
        this.#copies.dispose();
        this.#tabs?.dispose();
      }
      this.#tabs?.tell(state, detail);
      this.#app.state(state, detail);
    },
    noticed: () => { for (const resolve of this.#noticed.splice(0)) resolve(); },
    answer: ({ effect, ...answer }) => this.#requests.answer(answer),
    beacon: ({ effect, ...notice }) => {
      const token = this.#tokens.current;
      if (token !== null) this.#api.notice(notice, token).catch(() => {}); // a hint only
    },
    error: ({ error }) => this.#app.error(error),
  };

  #tell(kind, value) {
    this.#tabs?.copy(kind, value);
    this.#app.tell(kind, value);
  }

  // --- tokens ---

  async #fetchToken(connection) {
    try {
      this.#handle({ type: "token", connection, token: await this.#tokens.ask() });
    } catch (error) {
      this.#handle({ type: "token_failed", connection, error });
    }
  }
}
