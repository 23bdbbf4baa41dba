// A server in the same process: streams, one device, WebSocket and fetch. It keeps the contract of
// docs/reference/protocol.md as far as a device can see it, and misbehaves when told to.
const soon = () => new Promise((resolve) => setImmediate(resolve));

class Stream {
  epoch = "e1";
  head = 0;
  processed = 0;
  received = 0;
  latestReceived = 0;
  version = 0;
  log = new Map();
  values = new Map();
  gaps = [];
  closed = false;
  reports = [];

  constructor(name) { this.name = name; }

  entry() {
    const { epoch, processed, received, head, latestReceived: latest_received } = this;
    return { stream: this.name, epoch, processed, received, cut: head, head, tail: 1, latest_received };
  }

  /** What lies above `after`, in order: messages, and gaps. */
  told(after, until) {
    const told = [];
    for (let offset = after + 1; offset <= until; offset += 1) {
      const gap = this.gaps.find(({ from, to }) => from <= offset && offset <= to);
      if (gap) {
        told.push({ type: "gap", stream: this.name, ...gap, from: offset });
        offset = gap.to;
      } else if (this.log.has(offset)) told.push({ type: "message", ...this.log.get(offset) });
    }
    return told;
  }
}

export class FakeServer {
  streams = new Map();
  generation = 0;
  state = null;
  stateSeq = 0;
  sockets = [];
  requests = []; // every HTTP request, in order
  frames = []; // every frame heard
  pageSize = 100;
  tokens = new Set(["good"]);
  refuseConnections = 0;
  /** May answer a POST of results itself. */
  onResults = null;
  onAcks = null;
  /** May answer a join or a leave itself. */
  onMembership = null;
  /** Sockets neither open nor close: a proxy swallows them. */
  swallowConnections = false;
  /** Ends the waiting of pulls; without one they wait for news alone. */
  clock = null;
  online = true;
  /** What the type says now. */
  stops = (message) => message?.on_failure === "stop";
  /** Replace one to misbehave: return true for "dealt with". */
  onFrame = () => false;
  /** Called before a page is answered; may return a Response of its own, or wait. */
  onPending = async () => null;

  constructor(...names) { for (const name of names) this.stream(name); }

  stream(name) {
    if (!this.streams.has(name)) this.streams.set(name, new Stream(name));
    return this.streams.get(name);
  }

  get socket() { return this.sockets.find((socket) => socket.device) ?? null; }

  /** The frames of one type the device sent. */
  heard(type) { return this.frames.filter((frame) => frame.type === type); }

  // --- publishing ---

  publish(name, data, { type = "turn", push = true, stops = false } = {}) {
    const stream = this.stream(name);
    stream.head += 1;
    const message = { stream: name, offset: stream.head, name: type, time: "2026-11-22T10:00:00.000Z", service: "game", ...(stops ? { on_failure: "stop" } : {}), data };
    stream.log.set(stream.head, message);
    if (push) this.push(name, stream.head);
    this.#wake();
    return stream.head;
  }

  push(name, offset) { this.socket?.push({ type: "message", ...this.stream(name).log.get(offset) }); }

  latest(name, key, data, type = "weather") {
    const stream = this.stream(name);
    stream.version += 1;
    const value = { stream: name, name: type, key, version: stream.version, coalesced: 1, time: "2026-11-22T10:00:00.000Z", service: "sky", data };
    stream.values.set(key, value);
    if (this.state === "foreground") this.socket?.push({ type: "latest", ...value });
    this.#wake();
  }

  expire(name, from, to) {
    const stream = this.stream(name);
    for (let offset = from; offset <= to; offset += 1) stream.log.delete(offset);
    stream.gaps.push({ from, to, reason: "expired" });
  }

  // --- HTTP ---

  fetch = async (address, { method = "GET", headers, body, signal, keepalive } = {}) => {
    const url = new URL(address);
    this.requests.push({ method, path: url.pathname, query: Object.fromEntries(url.searchParams), body: body && JSON.parse(body), keepalive, headers });
    await soon();
    if (signal?.aborted) throw new DOMException("aborted", "AbortError");
    if (!this.online) throw new TypeError("fetch failed");
    const token = headers.Authorization.replace("Bearer ", "");
    if (!this.tokens.has(token)) return problem(401, token === "expired" ? "token_expired" : "bad_token");
    if (url.pathname.endsWith("/notices")) return this.#heardNotice(JSON.parse(body));
    if (url.pathname.endsWith("/me")) return Response.json({ device: "phone-1", presence: this.presence, streams: this.entries() });
    if (url.pathname.endsWith("/results")) return this.onResults?.(signal) ?? Response.json({ items: JSON.parse(body).map((report) => this.#reported(report)) });
    if (url.pathname.endsWith("/acks")) return this.onAcks?.() ?? this.#acked(JSON.parse(body));
    if (url.pathname.includes("/me/streams/")) return (await this.onMembership?.(url)) ?? this.#moved(method, decodeURIComponent(url.pathname.split("/").at(-1)));
    const own = await this.onPending(url, signal);
    if (signal?.aborted) throw new DOMException("aborted", "AbortError");
    if (own) return own;
    if (url.searchParams.has("stream") || url.searchParams.get("cursor")?.startsWith("{")) return this.pending(url.searchParams);
    return await this.#polled(url.searchParams, signal);
  };

  // --- HTTP for clients that poll ---

  /** Pulls that wait. */
  waiting = new Set();

  get presence() { return { state: this.socket ? this.state : this.polling ? this.state : "offline", state_seq: this.stateSeq, generation: this.generation }; }
  polling = false;

  #wake() { for (const resolve of [...this.waiting]) resolve(); }

  async #polled(query, signal) {
    if (query.has("wait")) {
      if (!this.polling && !this.socket) this.state = "foreground";
      this.polling = true;
      if (!this.#news()) await this.#newsComes(Number(query.get("wait")) * 1000, signal);
    }
    return this.#pageOfAll(query.get("cursor"), this.#pageOf(query));
  }

  #news() {
    return [...this.streams.values()].some(({ head, processed, version, latestReceived }) => head > processed || version > latestReceived);
  }

  #newsComes(ms, signal) {
    return new Promise((resolve, reject) => {
      const end = () => { this.waiting.delete(end); resolve(); };
      this.waiting.add(end);
      this.clock?.setTimeout(end, ms);
      signal?.addEventListener("abort", () => { this.waiting.delete(end); reject(new DOMException("aborted", "AbortError")); });
    });
  }

  #pageOf(query) { return Math.min(this.pageSize, Number(query.get("limit") ?? Infinity)); }

  #pageOfAll(cursor, size) {
    const places = cursor ? JSON.parse(cursor) : [...this.streams.values()].map(({ name, processed, head }) => [name, processed, head]);
    const told = places.flatMap(([name, after, cut]) => this.stream(name).told(after, cut));
    const page = told.slice(0, size);
    const rest = places.map(([name, after, cut]) => {
      const last = page.findLast(({ stream }) => stream === name);
      const all = told.filter(({ stream }) => stream === name).length === page.filter(({ stream }) => stream === name).length;
      return all ? null : [name, last?.to ?? last?.offset ?? after, cut];
    }).filter(Boolean);
    const values = cursor ? [] : [...this.streams.values()].flatMap(({ values: all, latestReceived }) => [...all.values()].filter(({ version }) => version > latestReceived));
    const streams = Object.fromEntries(places.map(([name, , cut]) => {
      const { stream, received, ...entry } = this.stream(name).entry();
      return [name, { ...entry, cut, complete: !rest.some(([other]) => other === name), ...(this.stream(name).closed ? { closed: true } : {}) }];
    }));
    return Response.json({
      streams, latest: values, next: rest.length ? JSON.stringify(rest) : null,
      messages: page.filter(({ type }) => type === "message").map(plain),
      gaps: page.filter(({ type }) => type === "gap").map(plain),
    });
  }

  #reported(report) {
    let item = null;
    const answer = (type, { code, title, ...saved }) => {
      item = type === "results_saved" ? saved : { problem: { code, title, temporary: false } };
    };
    const stream = this.streams.get(report.stream);
    if (stream) this.#results(stream, report, answer);
    return item ?? { problem: { code: "unknown_stream", title: "", temporary: false } };
  }

  #acked({ acks, latest }) {
    if ([...acks, ...latest].some(({ stream }) => !this.streams.has(stream))) return problem(404, "unknown_stream");
    for (const { stream: name, upto } of acks) this.stream(name).received = Math.max(this.stream(name).received, upto);
    for (const { stream: name, version } of latest) this.stream(name).latestReceived = Math.max(this.stream(name).latestReceived, version);
    return new Response(null, { status: 204 });
  }

  #moved(method, name) {
    if (method === "PUT") {
      const entry = this.stream(name).entry();
      this.#wake();
      return Response.json(entry);
    }
    this.streams.delete(name);
    this.#wake();
    return new Response(null, { status: 204 });
  }

  pending(query) {
    const asked = query.has("cursor") ? JSON.parse(query.get("cursor")) : {
      stream: query.get("stream"), epoch: query.get("epoch"),
      after: query.has("after") ? Number(query.get("after")) : null,
      until: query.has("until") ? Number(query.get("until")) : null,
    };
    const stream = this.streams.get(asked.stream);
    if (!stream) return problem(404, "unknown_stream");
    if ((asked.epoch && asked.epoch !== stream.epoch) || asked.after > stream.head) {
      return problem(410, "position_gone", { stream: stream.name, epoch: stream.epoch, processed: stream.processed, head: stream.head });
    }
    const after = Math.max(asked.after ?? 0, query.has("cursor") ? 0 : stream.processed);
    const cut = Math.min(asked.until ?? stream.head, stream.head);
    const all = stream.told(after, cut);
    const page = all.slice(0, this.#pageOf(query));
    const more = all.length > page.length;
    const last = page.at(-1);
    const next = more ? JSON.stringify({ stream: stream.name, after: last.to ?? last.offset, until: cut, epoch: stream.epoch }) : null;
    return Response.json({
      streams: { [stream.name]: { ...stream.entry(), cut, complete: !more } },
      messages: page.filter(({ type }) => type === "message").map(plain),
      gaps: page.filter(({ type }) => type === "gap").map(plain),
      latest: [], next,
    });
  }

  #heardNotice({ state, state_seq: seq }) {
    const here = this.socket || this.polling;
    if (here && seq > this.stateSeq) [this.state, this.stateSeq] = [state, seq];
    const streams = here && this.state === "foreground" && state === "foreground" ? this.entries() : [];
    return Response.json({ state: here ? this.state : "offline", state_seq: this.stateSeq, streams });
  }

  // --- the socket ---

  get WebSocket() {
    const server = this;
    return class FakeWebSocket {
      readyState = 0;
      device = false;

      constructor(url, protocols) {
        Object.assign(this, { url, protocols });
        server.sockets.push(this);
        queueMicrotask(() => {
          if (this.readyState !== 0 || server.swallowConnections) return;
          if (server.refuseConnections > 0) {
            server.refuseConnections -= 1;
            this.lose(1006);
            return;
          }
          this.readyState = 1;
          this.onopen?.();
        });
      }

      send(text) {
        const frame = JSON.parse(text);
        queueMicrotask(() => { if (this.readyState === 1) server.hear(this, frame); });
      }

      close() { this.readyState = 3; this.device = false; }

      /** Server to device. */
      push(frame) {
        const data = JSON.stringify(frame);
        queueMicrotask(() => { if (this.readyState === 1) this.onmessage?.({ data }); });
      }

      /** The connection breaks, or the server closes it. */
      lose(code = 1006, reason = "") {
        this.readyState = 3;
        this.device = false;
        this.onclose?.({ code, reason });
      }
    };
  }

  hear(socket, frame) {
    this.frames.push(frame);
    if (this.onFrame(frame, socket)) return;
    const answer = (type, members) => socket.push({ type, ...(frame.id === undefined ? {} : { re: frame.id }), ...members });
    const stream = this.streams.get(frame.stream);
    switch (frame.type) {
      case "hello": this.#hello(socket, frame, answer); break;
      case "ping": answer("pong", {}); break;
      case "ack": stream.received = Math.max(stream.received, Math.min(frame.upto, stream.head)); break;
      case "ack_latest": stream.latestReceived = Math.max(stream.latestReceived, frame.version); break;
      case "refresh": answer("refreshed", { expires_at: "2026-11-22T11:00:00.000Z" }); break;
      case "results": this.#results(stream, frame, answer); break;
      case "join": {
        const joined = this.stream(frame.stream);
        answer("joined", joined.entry());
        break;
      }
      case "leave":
        this.streams.delete(frame.stream);
        answer("left", { stream: frame.stream });
        break;
      case "notice": {
        if (frame.state_seq > this.stateSeq) [this.state, this.stateSeq] = [frame.state, frame.state_seq];
        const here = this.state === "foreground" && frame.state === "foreground";
        answer("notice_saved", { state: this.state, state_seq: this.stateSeq, streams: here ? this.entries() : [] });
        if (here) this.#resumed(socket);
        break;
      }
      default: answer("error", { code: "unknown_type", title: "There is no frame of this type.", temporary: false });
    }
  }

  #resumed(socket) {
    for (const stream of socket.resume === "replay" ? this.streams.values() : []) this.#replay(socket, stream, stream.received);
    this.#unread(socket);
  }

  #replay(socket, stream, after) {
    for (const one of stream.told(after, stream.head)) socket.push(one);
    socket.push({ type: "caught_up", stream: stream.name, upto: stream.head });
  }

  entries() { return [...this.streams.values()].map((stream) => stream.entry()); }

  #hello(socket, frame, answer) {
    if (!this.tokens.has(frame.token)) {
      const [code, close] = frame.token === "expired" ? ["token_expired", 4005] : ["bad_token", 4500];
      socket.push({ type: "bye", code, reason: code, reconnect: close < 4500, retry_after_ms: 0 });
      queueMicrotask(() => socket.lose(close, code));
      return;
    }
    for (const other of this.sockets) other.device = false;
    Object.assign(socket, { device: true, resume: frame.resume });
    this.generation += 1;
    [this.state, this.stateSeq] = [frame.state, frame.state_seq];
    answer("welcome", {
      device: "phone-1", generation: this.generation, server_time: "2026-11-22T10:00:00.000Z", ping_interval_ms: 25_000,
      window: 64, state: this.state, state_seq: this.stateSeq, resume: frame.resume, streams: this.entries(),
    });
    for (const stream of this.streams.values()) {
      const stated = frame.positions[stream.name];
      const reset = stated && (stated.epoch !== stream.epoch || stated.processed > stream.head);
      if (reset) socket.push({ type: "gap", stream: stream.name, from: 1, to: stream.processed, reason: "reset" });
      if (frame.resume === "replay") this.#replay(socket, stream, Math.max(stream.processed, reset ? 0 : stated?.processed ?? 0));
      if (stream.closed) socket.push({ type: "stream_closed", stream: stream.name, head: stream.head });
    }
    if (this.state === "foreground") this.#unread(socket);
  }

  #unread(socket) {
    for (const stream of this.streams.values()) {
      for (const value of stream.values.values()) if (value.version > stream.latestReceived) socket.push({ type: "latest", ...value });
    }
  }

  #results(stream, frame, answer) {
    if (frame.epoch !== undefined && frame.epoch !== stream.epoch) {
      answer("error", { code: "epoch_changed", title: "", temporary: false, stream: stream.name, epoch: stream.epoch, processed: stream.processed });
      return;
    }
    stream.reports.push(frame);
    const stopped = frame.exceptions.map(({ offset }) => offset)
      .find((offset) => offset > stream.processed && this.stops(stream.log.get(offset)));
    const upto = stopped === undefined ? frame.upto : stopped - 1;
    stream.processed = Math.max(stream.processed, Math.min(upto, stream.head));
    stream.received = Math.max(stream.received, stream.processed);
    answer("results_saved", { stream: stream.name, processed: stream.processed, ...(stopped === undefined ? {} : { stopped }) });
  }
}

/** Of a connection that is dead: no answer, and no word that there is none. */
export function silence(signal) {
  return new Promise((_, reject) => signal.addEventListener("abort", () => reject(new DOMException("aborted", "AbortError"))));
}

/** `fetch` over a line that brings ten messages a second. */
export function onASlowLine(server, clock) {
  return async (url, request) => {
    const answer = await server.fetch(url, request);
    if (!new URL(url).pathname.endsWith("/pending") || !answer.ok) return answer;
    const page = await answer.json();
    const json = () => new Promise((resolve, reject) => {
      clock.setTimeout(() => resolve(page), page.messages.length * 100);
      request.signal.addEventListener("abort", () => reject(new DOMException("aborted", "AbortError")));
    });
    return { ok: true, status: 200, headers: answer.headers, json };
  };
}

export function problem(status, code, about = {}, headers = {}) {
  const temporary = status >= 500 || code === "token_expired";
  return new Response(JSON.stringify({ type: "about:blank", title: code, status, code, temporary, ...about }), {
    status, headers: { "Content-Type": "application/problem+json", ...headers },
  });
}

function plain({ type, ...one }) { return one; }
