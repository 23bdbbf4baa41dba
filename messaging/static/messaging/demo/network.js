/**
 * The device's network, which can be cut: its sockets die and its requests fail, as on a train in a tunnel.
 * The services beside it keep theirs.
 */

const SLOW_MS = 1500;

export class Network {
  #cut = false;
  #ends = new Set(); // what to call when the network is cut
  slow = false;

  get isCut() { return this.#cut; }

  cut() {
    this.#cut = true;
    for (const end of [...this.#ends]) end();
  }

  restore() {
    this.#cut = false;
    // what a browser says when its network is back
    window.dispatchEvent(new Event("online"));
  }

  /** As `fetch`; rejects while the network is cut. With `slow`, answers arrive late. */
  fetch = async (input, init = {}) => {
    if (this.#cut) throw new TypeError("The network is cut.");
    const abort = new AbortController();
    const end = () => abort.abort(new TypeError("The network is cut."));
    init.signal?.addEventListener("abort", () => abort.abort(init.signal.reason), { once: true });
    this.#ends.add(end);
    try {
      const response = await fetch(input, { ...init, signal: abort.signal });
      if (this.slow) await late(abort.signal);
      return response;
    } finally {
      this.#ends.delete(end);
    }
  };

  /** A WebSocket class on this network. */
  get WebSocket() {
    const network = this;
    return class extends CuttableSocket {
      constructor(url, protocols) { super(url, protocols, network); }
    };
  }

  /** @param {() => void} end @returns {() => void} forgets it */
  onCut(end) {
    this.#ends.add(end);
    return () => this.#ends.delete(end);
  }
}

const late = (signal) => new Promise((resolve, reject) => {
  const timer = setTimeout(resolve, SLOW_MS);
  signal.addEventListener("abort", () => { clearTimeout(timer); reject(signal.reason); }, { once: true });
});

/** A WebSocket that dies with its network: the page is told 1006 at once, the server loses the connection. */
class CuttableSocket extends EventTarget {
  static CONNECTING = 0;
  static OPEN = 1;
  static CLOSING = 2;
  static CLOSED = 3;
  #socket = null;
  #dead = false;
  #forget = () => {};
  onopen = null;
  onmessage = null;
  onerror = null;
  onclose = null;

  constructor(url, protocols, network) {
    super();
    if (network.isCut) {
      queueMicrotask(() => this.#die());
      return;
    }
    this.#socket = new WebSocket(url, protocols);
    this.#forget = network.onCut(() => this.#die());
    for (const type of ["open", "message", "error", "close"]) {
      this.#socket.addEventListener(type, (event) => this.#pass(event));
    }
  }

  get readyState() { return this.#dead ? 3 : this.#socket?.readyState ?? 0; }
  get bufferedAmount() { return this.#socket?.bufferedAmount ?? 0; }
  get protocol() { return this.#socket?.protocol ?? ""; }
  get url() { return this.#socket?.url ?? ""; }

  send(data) { if (!this.#dead) this.#socket.send(data); }

  close(code, reason) {
    if (this.#socket) this.#socket.close(code, reason);
    else this.#dead = true;
  }

  #pass(event) {
    if (this.#dead) return;
    if (event.type === "close") this.#end();
    const { type } = event;
    const copy = type === "message" ? new MessageEvent(type, { data: event.data })
      : type === "close" ? new CloseEvent(type, event) : new Event(type);
    this.#tell(copy);
  }

  #die() {
    if (this.#dead) return;
    this.#end();
    this.#socket?.close();
    this.#tell(new Event("error"));
    this.#tell(new CloseEvent("close", { code: 1006, wasClean: false }));
  }

  #end() {
    this.#dead = true;
    this.#forget();
  }

  #tell(event) {
    this[`on${event.type}`]?.(event);
    this.dispatchEvent(event);
  }
}
