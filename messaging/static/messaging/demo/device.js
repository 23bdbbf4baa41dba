/** The device: the SDK as an app would use it, with what the page's controls may do to it. */

import { IndexedDBStore, Meanwhile } from "../client/index.js";
import * as backend from "./backend.js";

/** What a move takes, so that an eye can follow the catching up. */
const PACE_MS = matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 90;
const SLOW_MS = 1000;

/** What a handler throws when it is told to fail. */
class Stumbled extends Error {
  name = "Stumbled";
}

export class Device {
  #name;
  #network;
  #ledger;
  #tell;
  #client = null;
  slow = false;
  failNext = false;

  /**
   * @param {{name: string, network: import("./network.js").Network, ledger: import("./ledger.js").Ledger, tell: {
   *   perform: (message: object) => void, value: (value: object) => void, passing: (message: object) => void,
   *   gap: (gap: object) => void, state: (state: string, detail: object) => void, changed: () => void,
   *   error: (error: Error) => void, stumbled: () => void}}} options
   */
  constructor({ name, network, ledger, tell }) {
    this.#name = name;
    this.#network = network;
    this.#ledger = ledger;
    this.#tell = tell;
  }

  /** Connects; again with another way to return. @param {"pull"|"hold"|"replay"} resume */
  async open(resume) {
    await this.#client?.stop();
    const { value, passing, gap, state, error } = this.#tell;
    this.#client = new Meanwhile({
      url: location.origin,
      getToken: async () => (await backend.register(this.#name, this.#network.fetch)).token,
      handlers: { "*": (message) => this.#handle(message) },
      onLatest: value,
      onTransient: passing,
      onGap: gap,
      onState: state,
      onStreamClosed: ({ stream }) => gap({ stream, from: 0, to: 0, reason: "closed" }),
      onError: error,
      onEvent: (event) => this.#event(event),
      resume,
      storage: new IndexedDBStore(`meanwhile-demo-${this.#name}`),
      WebSocket: this.#network.WebSocket,
      fetch: this.#network.fetch,
    });
    await this.#client.start();
  }

  background() { return this.#client.background(); }

  foreground() { return this.#client.foreground(); }

  inspect() { return this.#client?.inspect() ?? { state: "idle", streams: {} }; }

  #event(event) {
    if (event.kind === "buffered" && event.offset) {
      const { stream, offset, name = "" } = event;
      this.#ledger.put({ stream, offset, name, path: "merged", status: "buffered" });
    }
    this.#tell.changed();
  }

  async #handle(message) {
    const { stream, offset, name, path, data } = message;
    this.#ledger.put({ stream, offset, name, path, data, status: "handling" });
    const ms = this.slow ? SLOW_MS : PACE_MS;
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
