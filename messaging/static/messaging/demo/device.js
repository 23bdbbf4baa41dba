/** The device: the SDK as an app would use it, with what the page's controls may do to it. */

import { IndexedDBStore, Meanwhile } from "../client/index.js";
import { HeldLifecycle } from "./lifecycle.js";

/** What a message takes, so that an eye can follow the catching up. */
const PACE_MS = 90;
const STILL = matchMedia("(prefers-reduced-motion: reduce)").matches;
const SLOW_MS = 1000;

/** What a handler throws when it is told to fail. */
class Stumbled extends Error {
  name = "Stumbled";
}

/** One store for one client after the other: the next loads only when the last one's writes are in. */
class HandedOnStore extends IndexedDBStore {
  #last = null;

  save(changes) {
    this.#last = super.save(changes);
    return this.#last;
  }

  async load() {
    for (let seen; seen !== this.#last; await new Promise((resolve) => setTimeout(resolve))) {
      seen = this.#last;
      await seen?.catch(() => {});
    }
    return super.load();
  }
}

export class Device {
  #network;
  #ledger;
  #tell;
  #token;
  #url;
  #pace;
  #store;
  #client = null;
  #running = new Set();
  #arrived = new Map(); // what a buffered offset is
  #held = false;
  slow = false;
  failNext = false;

  /**
   * @param {{name: string, token: () => Promise<string>, network: import("./network.js").Network, url?: string, pace?: number,
   *   ledger: import("./ledger.js").Ledger, tell: {
   *   perform: (message: object) => void, value: (value: object) => void, passing: (message: object) => void,
   *   gap: (gap: object) => void, state: (state: string, detail: object) => void, changed: () => void,
   *   error: (error: Error) => void, stumbled?: () => void}}} options url: the server's address; pace: ms a message takes
   */
  constructor({ name, token, network, url = location.origin, pace = PACE_MS, ledger, tell }) {
    this.#token = token;
    this.#url = url;
    this.#pace = STILL ? 0 : pace;
    this.#network = network;
    this.#ledger = ledger;
    this.#tell = tell;
    this.#store = new HandedOnStore(`meanwhile-demo-${name}`);
  }

  /** Connects; again with another way to return. @param {"pull"|"hold"|"replay"|"polling"} way polling: as without WebSockets */
  async open(way) {
    this.#client?.stop();
    await Promise.allSettled(this.#running);
    const { value, passing, gap, state, error } = this.#tell;
    this.#client = new Meanwhile({
      url: this.#url,
      getToken: this.#token,
      handlers: { "*": (message) => this.#handle(message) },
      onLatest: value,
      onTransient: passing,
      onGap: gap,
      onState: state,
      onStreamClosed: ({ stream }) => gap({ stream, reason: "closed" }),
      onError: error,
      onEvent: (event) => this.#event(event),
      resume: way === "polling" ? "pull" : way,
      polling: way === "polling" ? "always" : "auto",
      storage: this.#store,
      lifecycle: new HeldLifecycle(() => this.#held),
      WebSocket: this.#network.WebSocket,
      fetch: this.#network.fetch,
    });
    await this.#client.start();
  }

  /** Whether the button sent it to the background. */
  get held() { return this.#held; }

  background() {
    this.#held = true;
    return this.#client.background();
  }

  foreground() {
    this.#held = false;
    return this.#client.foreground();
  }

  inspect() { return this.#client?.inspect() ?? { state: "idle", streams: {} }; }

  #event({ kind, stream, offset, frame }) {
    if (kind === "received") this.#note(frame.type === "messages" ? frame.items : [frame]);
    if (kind === "buffered" && offset) {
      this.#ledger.put({ ...this.#arrived.get(`${stream} ${offset}`), stream, offset, path: "merged", status: "buffered" });
    }
    this.#tell.changed();
  }

  #note(messages) {
    this.#arrived.clear();
    for (const { stream, offset, name, data } of messages) this.#arrived.set(`${stream} ${offset}`, { name, data });
  }

  #handle(message) {
    const running = this.#handleOne(message).finally(() => this.#running.delete(running));
    this.#running.add(running);
    return running;
  }

  async #handleOne(message) {
    const { stream, offset, name, path, data } = message;
    this.#ledger.put({ stream, offset, name, path, data, status: "handling" });
    const ms = this.slow ? SLOW_MS : this.#pace;
    if (ms) await new Promise((resolve) => setTimeout(resolve, ms));
    if (this.failNext) {
      this.failNext = false;
      this.#ledger.put({ stream, offset, status: "failed", code: "Stumbled" });
      this.#tell.stumbled();
      throw new Stumbled(`The handler was told to fail on ${name}.`);
    }
    this.#tell.perform(message);
    this.#ledger.put({ stream, offset, status: "handled" });
  }
}
