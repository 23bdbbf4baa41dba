/** The edges to the network: a WebSocket, and the few requests a device makes over HTTP. */
import { MeanwhileError } from "./codes.js";

export const SUBPROTOCOL = "meanwhile.v1.json";

/** @param {string} base the server's address @returns {{socket: string, api: string}} */
export function addresses(base) {
  const url = new URL(base);
  const path = url.pathname.replace(/\/+$/, "");
  const socket = `${url.protocol === "https:" || url.protocol === "wss:" ? "wss:" : "ws:"}//${url.host}${path}/ws/device`;
  const api = `${url.protocol === "https:" || url.protocol === "wss:" ? "https:" : "http:"}//${url.host}${path}/api/v1`;
  return { socket, api };
}

/** One WebSocket at a time. What an older one says is not heard: its listeners are gone. */
export class Socket {
  #WebSocket;
  #url;
  #on;
  #socket = null;

  /** @param {{WebSocket: typeof WebSocket, url: string, on: (event: object) => void}} parts `on`: opened, frame, closed */
  constructor({ WebSocket, url, on }) {
    this.#WebSocket = WebSocket;
    this.#url = url;
    this.#on = on;
  }

  /** @param {number} connection goes with every event */
  open(connection) {
    this.close();
    let socket;
    try {
      socket = new this.#WebSocket(this.#url, [SUBPROTOCOL]);
    } catch (error) {
      this.#on({ type: "closed", connection, code: 1006, reason: error.message });
      return;
    }
    this.#socket = socket;
    socket.onopen = () => this.#on({ type: "opened", connection });
    const lost = (code, reason) => {
      this.close();
      this.#on({ type: "closed", connection, code, reason });
    };
    socket.onmessage = ({ data }) => {
      let frame;
      try {
        frame = JSON.parse(data);
      } catch {
        lost(1007, "not_json");
        return;
      }
      this.#on({ type: "frame", connection, frame });
    };
    socket.onerror = () => lost(1006, ""); // `close` should follow and says no more; on some platforms it does not
    socket.onclose = ({ code, reason }) => {
      this.#socket = null;
      this.#on({ type: "closed", connection, code, reason });
    };
  }

  send(frame) {
    if (this.#socket?.readyState === 1) this.#socket.send(JSON.stringify(frame));
  }

  close() {
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.onerror = () => {};
    socket.close(1000);
  }

  dispose() { this.close(); }
}

/** Requests with the device's token. */
export class Api {
  #fetch;
  #base;
  #token;

  /** @param {{fetch: typeof fetch, base: string, token: (stale?: string) => Promise<string>}} parts `token(stale)`: one that is not this */
  constructor({ fetch, base, token }) {
    this.#fetch = fetch;
    this.#base = base;
    this.#token = token;
  }

  /**
   * A page of what is pending.
   * @param {Record<string, string|number|null>} query @param {AbortSignal} [signal]
   * @param {() => void} [begun] called when the answer begins; so in the others
   * @returns {Promise<object>} @throws {MeanwhileError|TypeError}
   */
  pending(query, signal, begun) {
    const said = Object.entries(query).filter(([, value]) => value !== null && value !== undefined);
    return this.get(`/pending?${new URLSearchParams(said.map(([name, value]) => [name, String(value)]))}`, signal, begun);
  }

  /** @param {string} path @returns {Promise<object>} @throws {MeanwhileError|TypeError} */
  get(path, signal, begun) { return this.#ask(path, { cache: "no-store", signal }, begun); }

  /** @param {string} path @param {object} body @returns {Promise<object|null>} null: no content @throws {MeanwhileError|TypeError} */
  post(path, body, signal, begun) { return this.#ask(path, { ...posting(body), signal }, begun); }

  /** @param {"PUT"|"DELETE"} method of the device's own place in a room @returns {Promise<object|null>} @throws {MeanwhileError|TypeError} */
  membership(method, stream, signal, begun) { return this.#ask(`/me/streams/${encodeURIComponent(stream)}`, { method, signal }, begun); }

  /** The last word of a page that goes away: nobody waits for the answer. */
  async notice(notice, token) {
    await this.#request("/notices", { ...posting(notice), keepalive: true }, token);
  }

  /** Asks again with a new token once, if the token has expired. */
  async #ask(path, request, begun) {
    const token = await this.#token();
    try {
      return await this.#answer(path, request, token, begun);
    } catch (error) {
      if (error.code !== "token_expired") throw error;
      return await this.#answer(path, request, await this.#token(token), begun);
    }
  }

  async #answer(path, request, token, begun) {
    const response = await this.#request(path, request, token);
    if (!forNow(response)) begun?.(); // else the same asked earlier, or beside it, may still be answered
    if (response.ok) return response.status === 204 ? null : await response.json();
    throw await refusal(response);
  }

  #request(path, { headers, ...request }, token) {
    const said = { Accept: "application/json", Authorization: `Bearer ${token}`, ...headers };
    return this.#fetch(`${this.#base}${path}`, { credentials: "omit", ...request, headers: said });
  }
}

function posting(body) {
  return { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
}

/** Refused, and another time perhaps not. */
const forNow = ({ status }) => status >= 500 || status === 408 || status === 429;

/** @returns {Promise<MeanwhileError & {retryAfter: number|null, problem: object}>} */
async function refusal(response) {
  const problem = await response.json().catch(() => ({}));
  const temporary = problem.temporary ?? forNow(response);
  const error = new MeanwhileError(problem.code ?? `http_${response.status}`, { ...problem, temporary });
  const after = Number(response.headers.get("Retry-After") ?? NaN);
  return Object.assign(error, { problem, retryAfter: Number.isFinite(after) ? after * 1000 : null });
}
