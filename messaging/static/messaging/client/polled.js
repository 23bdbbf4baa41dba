/**
 * What pages tell, as frames. Pure. To the rest of the client polling is a connection that replays: after the welcome
 * everything not processed, then `caught_up`, then what is new.
 *
 * It keeps how far each stream was told and how far the server's cursor is: as long as they differ, a pull that waits
 * would be answered at once, with the same again.
 */

/** Another history in the middle of a connection: begin anew. */
export class HistoryChanged extends Error {
  code = "epoch_changed";
}

export class Polled {
  #streams = new Map(); // name → {epoch, told, processed, version, acked}
  #cuts = new Map(); // of the round under way

  /** @param {object[]} entries stream entries: where a round begins that tells everything not processed */
  begin(entries) {
    this.#streams = new Map(entries.map((entry) => [entry.stream, fresh(entry)]));
    this.#cuts.clear();
  }

  /** Whether something told is not through: not handled yet, or the server does not know. */
  get behind() {
    return [...this.#streams.values()].some(({ told, processed, version, acked }) => told > processed || version > acked);
  }

  /** @returns {{stream: string, epoch: string, after: number}[]} what to ask for while streams are behind: what is new alone */
  get places() {
    return [...this.#streams].map(([stream, { epoch, told, processed }]) => ({ stream, epoch, after: Math.max(told, processed) }));
  }

  /**
   * @param {object} page the body of `GET /pending`
   * @param {boolean} all the first page about all streams: one it does not name is not the device's any more
   * @returns {object[]} frames @throws {HistoryChanged|TypeError} TypeError: not a page
   */
  page({ streams, messages, gaps = [], latest = [], next = null }, all = false) {
    if (!all) [streams, messages, gaps] = this.#known(streams, messages, gaps);
    const frames = [];
    for (const [stream, entry] of Object.entries(streams)) frames.push(...this.#entry(stream, entry));
    for (const stream of all ? [...this.#streams.keys()] : []) {
      if (!Object.hasOwn(streams, stream)) frames.push(...this.left(stream));
    }
    frames.push(...inOrder(messages, gaps));
    for (const { stream, offset } of messages) this.#told(stream, offset);
    for (const { stream, to } of gaps) this.#told(stream, to);
    for (const value of latest) {
      const known = this.#streams.get(value.stream);
      known.version = Math.max(known.version, value.version);
      frames.push({ type: "latest", ...value });
    }
    return next === null ? [...frames, ...this.#caughtUp(streams)] : frames;
  }

  /** A join was answered. @param {object} entry the stream's */
  joined(entry) {
    if (!this.#streams.has(entry.stream)) this.#streams.set(entry.stream, fresh(entry));
  }

  left(stream) {
    return this.#streams.delete(stream) ? [{ type: "left", stream }] : [];
  }

  /** The server's cursor. */
  saved(stream, processed) {
    const known = this.#streams.get(stream);
    if (known) known.processed = Math.max(known.processed, processed);
  }

  ackedLatest(stream, version) {
    const known = this.#streams.get(stream);
    if (known) known.acked = Math.max(known.acked, version);
  }

  #entry(stream, entry) {
    const known = this.#streams.get(stream);
    if (known && known.epoch !== entry.epoch) throw new HistoryChanged(stream);
    this.#cuts.set(stream, entry.cut);
    this.saved(stream, entry.processed);
    if (known) return [];
    const joined = { received: entry.processed, ...entry, stream }; // a service put the device into a room
    this.#streams.set(stream, fresh(joined));
    return [{ type: "joined", ...joined }];
  }

  /** Without what is of streams that the device has left since the first page. */
  #known(streams, messages, gaps) {
    const known = ({ stream }) => this.#streams.has(stream);
    const named = Object.entries(streams).filter(([stream]) => this.#streams.has(stream));
    return [Object.fromEntries(named), messages.filter(known), gaps.filter(known)];
  }

  #told(stream, offset) {
    const known = this.#streams.get(stream);
    known.told = Math.max(known.told, offset);
  }

  #caughtUp(streams) {
    const cuts = [...this.#cuts];
    this.#cuts.clear();
    const closed = Object.entries(streams).filter(([, entry]) => entry.closed);
    return [
      ...cuts.filter(([stream]) => this.#streams.has(stream)).map(([stream, upto]) => ({ type: "caught_up", stream, upto })),
      ...closed.map(([stream, { head }]) => ({ type: "stream_closed", stream, head })),
    ];
  }
}

function fresh({ epoch, processed, latest_received: acked = 0 }) {
  return { epoch, told: processed, processed, version: acked, acked };
}

/** Each stream's gaps in their places among its messages. */
function inOrder(messages, gaps) {
  const waiting = [...gaps].sort((a, b) => a.from - b.from);
  const frames = [];
  for (const message of messages) {
    for (let index = 0; index < waiting.length;) {
      const before = waiting[index].stream === message.stream && waiting[index].to < message.offset;
      if (before) frames.push({ type: "gap", ...waiting.splice(index, 1)[0] });
      else index += 1;
    }
    frames.push({ type: "message", redelivered: false, ...message });
  }
  return [...frames, ...waiting.map((gap) => ({ type: "gap", ...gap }))];
}
