/**
 * All streams of this device: frames, pages and handled messages in, effects out. Pure.
 *
 * Effects:
 *   pull {stream, pull, after, until, epoch}, stop_pulls {stream?}
 *   run {stream, era, item}      to the runner, in order: a message, a gap, or the closing of the stream
 *   clear {stream}               what the runner has not begun with is void: it was of another history
 *   save {streams?, results?, forget?}   to the store, atomically; comes back as the event `saved`
 *   latest {value}, transient {value}    to the app, at once
 *   stopped {stream, offset, error}      the stream waits at a failure
 *   note {kind, …}               for diagnosis only
 */
import { Track } from "./track.js";

export const SETTLE_WITHIN = 5_000;

const NOTES = { hand: "handed", gap: "gap", buffer: "buffered", drop: "dropped" };

export class Streams {
  /** @type {Map<string, Track>} */
  #tracks = new Map();
  #mode = "pull";
  #polled = false;

  /** @param {{streams?: object, results?: object[]}} stored */
  load({ streams = {}, results = [] }) {
    this.#tracks.clear();
    for (const [name, position] of Object.entries(streams)) {
      const rows = results.filter((row) => row.stream === name && row.epoch === position.epoch);
      this.#tracks.set(name, new Track(name, position, rows));
    }
  }

  get #all() { return [...this.#tracks.values()]; }
  /** Whether nothing is missing. A room whose join is not answered yet is none of ours. */
  get live() { return this.#all.every(({ merge, stopped }) => merge.state === "live" || !merge.placed || stopped !== null); }
  get unsaved() { return this.#all.reduce((sum, { done, reports }) => sum + Math.max(0, done - reports.processed), 0); }
  inspect() { return Object.fromEntries(this.#all.map((track) => [track.name, track.inspect()])); }

  /** For a hello: as many positions as fit. LIMIT: a replay of the others begins at the server's cursor; doubles are dropped. */
  positions(room) {
    const positions = {};
    for (const { name, merge } of this.#all) {
      if (!merge.placed || merge.epoch === null) continue;
      const position = { epoch: merge.epoch, processed: merge.done };
      room -= JSON.stringify([name, position]).length;
      if (room >= 0) positions[name] = position;
    }
    return positions;
  }

  // --- where the streams stand ---

  /** A welcome lists all streams there are: what it does not name is over. */
  welcome(entries, mode, polled = false) {
    this.#mode = mode;
    this.#polled = polled;
    const named = new Set(entries.map(({ stream }) => stream));
    for (const entry of entries) this.#track(entry.stream).entry(entry, { fresh: true, again: mode === "replay" && !polled });
    return this.#all.filter(({ name }) => !named.has(name)).flatMap(({ name }) => this.remove(name));
  }

  /** From here on the socket brings what is above the cut. */
  begin(entries, now) {
    return entries.flatMap((entry) => {
      const track = this.#track(entry.stream);
      const { halt } = track;
      track.again();
      if (halt && entry.epoch === track.epoch && entry.processed > track.merge.done) track.goOn(entry.processed);
      // a replay on the same connection leaves out what was acknowledged while it waited: a hole, which is pulled
      const out = this.#apply(track, (merge) => merge.begin(entry, this.#mode));
      track.entry(entry);
      track.settleUntil = now + SETTLE_WITHIN;
      return out;
    });
  }

  /** The answer to a foreground notice. Of what it does not name all there is is pulled. */
  resume(entries, now) {
    const named = new Set(entries.map(({ stream }) => stream));
    const others = this.#all.filter(({ name, merge }) => !named.has(name) && merge.state !== "live");
    return [
      ...this.begin(entries, now),
      ...others.flatMap((track) => this.#recover(track)),
    ];
  }

  #recover(track) {
    track.again();
    return this.#apply(track, (merge) => merge.recover());
  }

  /** What a stream waits at is handed over again, now. */
  retry(name) {
    const track = this.#tracks.get(name);
    return track && track.stopped !== null ? this.#recover(track) : [];
  }

  /** A notice or a join is out, its answer not in: keep what comes meanwhile. */
  expect(name) {
    for (const track of name ? [this.#track(name)] : this.#all) {
      track.again();
      track.merge.expect();
    }
  }

  /** @param {Record<string, number>} unstarted the first offset no handler has begun with, by stream */
  away(unstarted = {}) {
    for (const track of this.#all) {
      track.settleUntil = null;
      const back = Object.hasOwn(unstarted, track.name);
      track.merge.away(back ? unstarted[track.name] - 1 : null);
      if (back && track.closedAt !== null) { // the closing was taken back, too, and the server says it once
        track.merge.closed({ head: track.closedAt });
        track.closedAt = null;
      }
    }
    return [{ effect: "stop_pulls" }];
  }

  /** The device is not in this stream any more. */
  remove(name) {
    if (!this.#tracks.delete(name)) return [];
    return [
      { effect: "stop_pulls", stream: name },
      { effect: "clear", stream: name },
      { effect: "save", streams: { [name]: null }, forget: [{ stream: name }] },
    ];
  }

  /** A join was refused. */
  abandon(name) {
    if (this.#tracks.get(name)?.merge.placed) return [];
    return this.remove(name);
  }

  #track(name) {
    if (typeof name !== "string") throw new TypeError("A frame names no stream.");
    if (!this.#tracks.has(name)) this.#tracks.set(name, new Track(name));
    return this.#tracks.get(name);
  }

  // --- what comes in ---

  /** @returns {object[]|null} null: not a frame about what is in a stream */
  frame(frame, foreground) {
    const on = (event) => this.#heard(frame, foreground, event);
    switch (frame.type) {
      case "message": return on((merge) => merge.message(frame));
      case "messages": return frame.items.flatMap((item) => this.#heard(item, foreground, (merge) => merge.message(item)));
      case "gap": return on((merge) => merge.gap(frame));
      case "caught_up": return on((merge) => merge.caughtUp(frame));
      case "stream_closed":
        this.#track(frame.stream).closing = frame.head;
        return on((merge) => merge.closed(frame));
      case "latest": return foreground ? this.#latest(frame) : [];
      case "transient": return foreground ? [{ effect: "transient", value: plain(frame) }] : [];
      default: return null;
    }
  }

  #heard(frame, foreground, event) {
    const track = this.#track(frame.stream);
    if (track.stopped !== null && frame.reason !== "reset") return this.#passed(track, frame, foreground, event);
    const unannounced = foreground && track.merge.state === "away";
    return [...(unannounced ? this.#apply(track, (merge) => merge.recover()) : []), ...this.#apply(track, event)];
  }

  /** The stream waits: acknowledged, for the window is the other streams', too; and dropped, for it will be pulled. */
  #passed(track, { stream, offset, to = offset }, foreground, event) {
    const dropped = this.#apply(track, event);
    if (to === undefined || !foreground || !track.pass(to)) return dropped;
    return [...dropped, { effect: "save", streams: { [stream]: track.position } }];
  }

  page(stream, page) {
    if (!this.#tracks.has(stream)) return [];
    const { messages, pull, complete } = page;
    const note = { effect: "note", kind: "page", stream, pull, complete, offsets: messages.map(({ offset }) => offset) };
    const values = (page.latest ?? []).filter((value) => value.stream === stream).flatMap((value) => this.#latest(value));
    return [note, ...this.#apply(this.#track(stream), (merge) => merge.page(page)), ...values];
  }

  gone(stream, refusal) {
    return this.#tracks.has(stream) ? this.#apply(this.#track(stream), (merge) => merge.gone(refusal)) : [];
  }

  #latest(value) {
    return this.#track(value.stream).news(value) ? [{ effect: "latest", value: plain(value) }] : [];
  }

  /** Puts an event to a stream's merge, and says its effects in the session's words. */
  #apply(track, event) {
    const { placed, epoch, done } = track.merge;
    const before = { placed, epoch, done };
    const out = event(track.merge).flatMap((effect) => this.#said(track, effect, before));
    if (track.receive()) out.push({ effect: "save", streams: { [track.name]: track.position } });
    return out;
  }

  #said(track, { effect, message, ...about }, before) {
    const { name: stream, era } = track;
    if (effect === "hand" && about.path === "live") about.path = this.#pathOf(track.merge, about.offset);
    const note = { effect: "note", kind: NOTES[effect] ?? effect, stream, ...about };
    const run = (item) => ({ effect: "run", stream, era, item });
    switch (effect) {
      case "hand": return [note, run({ kind: "message", path: about.path, message: plain(message) })];
      case "gap": return [note, run({ kind: "gap", gap: { stream, ...about } })];
      case "pull": return [note, { effect: "pull", stream, ...about }];
      case "adopt": return [note, ...this.#adopted(track, about, before)];
      case "closed": return track.closedAt === null ? [note, run({ kind: "closed", head: (track.closedAt = about.head) })] : [];
      default: return [note];
    }
  }

  /** What the merge takes for live may be a page that came as frames, or the past told over the socket. */
  #pathOf(merge, offset) {
    if (this.#polled) return "pulled";
    return merge.replaying && offset <= merge.cut ? "replayed" : "live";
  }

  #adopted(track, { epoch, done }, before) {
    const { name: stream } = track;
    const anew = track.adopt(done, before);
    Object.assign(before, { placed: true, epoch, done });
    const save = { effect: "save", streams: { [stream]: track.position } };
    return anew ? [{ effect: "clear", stream }, { ...save, forget: [{ stream }] }] : [save];
  }

  // --- what goes out ---

  /** The runner is through with an item, up to `upto`. `outcome`: of a message. */
  handled({ stream, era, upto, outcome, stop, error }) {
    const track = this.#tracks.get(stream);
    if (!track || era !== track.era) return []; // of a history that is gone, or a stream that was left
    if (stop) return this.#stop(track, upto, error, { offset: upto, ...outcome });
    const special = outcome && (outcome.status === "failed" || outcome.value !== undefined);
    const row = special ? { stream, epoch: track.epoch, offset: upto, ...outcome } : null;
    track.handled(upto, row);
    return [{ effect: "save", streams: { [stream]: track.position }, ...(row ? { results: [row] } : {}) }];
  }

  #stop(track, offset, error, row) {
    const { name: stream } = track;
    const back = track.done >= offset;
    track.stop(offset, row);
    return [
      { effect: "stop_pulls", stream },
      { effect: "clear", stream },
      { effect: "save", streams: { [stream]: track.position }, ...(back ? { forget: [{ stream }] } : {}) },
      { effect: "note", kind: "stopped", stream, offset },
      { effect: "stopped", stream, offset, error },
    ];
  }

  saved(streams = {}) {
    for (const [name, position] of Object.entries(streams)) if (position) this.#tracks.get(name)?.saved(position);
  }

  /** @returns {object[]} frames: receipts, and the results that are due */
  flush({ now, foreground, id }) {
    const frames = [];
    for (const track of this.#all) {
      const ack = foreground ? track.ack() : null; // in the background nothing counts as delivered
      if (ack) frames.push(ack);
      const { name: stream, epoch, stored: { done } } = track;
      if (track.due(now, foreground) === 0) frames.push(track.reports.frame({ id: id(), stream, epoch, done, now }));
    }
    return frames;
  }

  /** @returns {number} ms until `flush` has something to say */
  nextFlush(now, foreground) {
    return Math.min(Infinity, ...this.#all.map((track) => (foreground && track.unacked ? 0 : track.due(now, foreground))));
  }

  get owesLatest() { return this.#all.some((track) => track.owesLatest); }
  flushLatest() { return this.#all.map((track) => track.ackLatest()).filter(Boolean); }

  /** `results_saved` */
  reported({ stream, processed, stopped, re }, now, foreground) {
    const track = this.#tracks.get(stream);
    if (!track) return [];
    const contradicted = track.reports.contradicted(re, stopped);
    const news = track.reports.saved(processed, now, re, stopped);
    const beyond = track.halt !== null && processed > track.merge.done;
    if (beyond) track.goOn(processed);
    const out = news ? [
      { effect: "note", kind: "saved", stream, processed },
      { effect: "save", streams: { [stream]: track.position }, forget: [{ stream, upto: processed }] },
    ] : [];
    if (beyond) out.push({ effect: "stop_pulls", stream }, { effect: "clear", stream }, ...(foreground ? this.#recover(track) : []));
    else if (contradicted && stopped <= track.done) {
      out.push(...this.#stop(track, stopped, new Error(`The server does not go beyond the failure at ${stream} ${stopped}.`)));
    }
    return out;
  }

  /** A results frame, or an ack, was refused. `id`: of the frame; undefined: of any that waits. */
  refused(id, error, now, stream) {
    const concerned = this.#all.filter(({ name, reports }) => name === stream || (reports.asked && (id ?? reports.asked.id) === reports.asked.id));
    return concerned.flatMap((track) => {
      if (error.code === "unknown_stream") return this.remove(track.name);
      track.reports.refused(error, now);
      if (error.code !== "epoch_changed" || track.merge.state === "away") return [];
      return this.#apply(track, (merge) => merge.recover()); // the pull tells the rest
    });
  }
}

function plain({ type, ...value }) {
  return value;
}
