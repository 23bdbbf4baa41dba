/**
 * The merge of pulled and live messages of one stream: event in, effects out. Pure: no clock, no I/O.
 *
 * `messaging/protocol/merge.py` is the same machine in Python; both run the interleavings in `tests/vectors/`.
 * A change here is a change there, and a vector.
 *
 * States: `away` (no connection, or in the background: whatever arrives is dropped, the server has it), `resuming`
 * (a pull or a replay is under way), `live`.
 *
 * What always holds: messages are handed over in offset order, strictly `done + 1`, each once; nothing above the cut
 * is handed over before the pull is complete; a range that cannot be delivered is told as a gap, before the next
 * message.
 *
 * @typedef {{from: number, to: number, reason: string}} Gap
 * @typedef {{epoch: string, processed: number, cut: number, head: number}} Entry
 * @typedef {{pull: number, epoch: string, processed: number, cut: number, messages: {offset: number}[], gaps?: Gap[], complete?: boolean}} Page
 * @typedef {{effect: "hand", offset: number, path: "live"|"pulled"|"merged", message: object}
 *   | {effect: "gap", from: number, to: number, reason: string}
 *   | {effect: "pull", pull: number, after: number|null, until: number|null, epoch: string|null}
 *   | {effect: "adopt", epoch: string|null, done: number}
 *   | {effect: "buffer", offset: number}
 *   | {effect: "drop", offset: number|null, why: "away"|"duplicate"|"pull_owns_it"|"above_cut"|"overflow"|"old_page"}
 *   | {effect: "live", done: number}
 *   | {effect: "closed", head: number}} Effect
 */

/** Messages and gaps kept while a pull is under way. The server stops at its window (64) anyway. */
export const DEFAULT_LIMIT = 256;

export class Merge {
  #limit;
  #state = "away";
  #epoch;
  #done;
  #placed;
  #cut = null;
  #head;
  #pull = 0; // the newest pull; pages of any other are of the past
  #pulling = false;
  #pages = new Map();
  #buffer = new Map();
  #gaps = [];
  #caughtUp = true; // false while a replay is under way
  #missed = 0; // the highest offset that overflowed the buffer
  #suspect = 0; // the hole a pull was already made for
  #closed = null;
  #toldReset = false; // the server repeats as a frame what its welcome already said

  /** @param {{epoch?: string|null, done?: number|null, limit?: number}} [position] what the client's store holds, if anything */
  constructor({ epoch = null, done = null, limit = DEFAULT_LIMIT } = {}) {
    this.#epoch = epoch;
    this.#done = done ?? 0;
    this.#placed = done !== null;
    this.#head = this.#done;
    this.#limit = limit;
  }

  get epoch() { return this.#epoch; }
  get done() { return this.#done; }
  get placed() { return this.#placed; }
  get cut() { return this.#cut; }
  get head() { return this.#head; }
  get state() { return this.#state; }
  get buffered() { return this.#buffer.size; }
  /** Whether a replay still brings what is up to the cut. */
  get replaying() { return this.#state === "resuming" && !this.#caughtUp; }

  // --- events ---

  /** A foreground notice or a join was sent: what is pushed before its answer may lie above the cut. @returns {Effect[]} */
  expect() {
    if (this.#state === "away") {
      this.#state = "resuming";
      this.#cut = null;
    }
    return [];
  }

  /** The server said where the stream stands (welcome, joined, answer to a foreground notice). @param {Entry} entry @returns {Effect[]} */
  begin({ epoch, processed, cut, head }, mode = "pull") {
    const out = [];
    let until = cut;
    // A stream under way may be a push ahead of an answer made before it; on a fresh one it means lost history.
    const ahead = this.#done > head && !this.#underWay;
    if (this.#placed && (ahead || (this.#epoch !== null && epoch !== this.#epoch))) {
      until = this.#buffer.size || this.#missed ? null : cut; // dropped here, so the pull must bring it
      out.push(...this.#reset(epoch, processed));
      this.#toldReset = true;
    } else {
      if (this.#epoch === null) out.push(...this.#adopt(epoch, this.#placed ? this.#done : processed));
      // the pull that ends here owned or missed these
      if (this.#state === "resuming") until = cut = Math.max(cut, this.#cut ?? 0, this.#missed);
    }
    this.#state = "resuming";
    this.#cut = cut;
    this.#head = Math.max(this.#done, head);
    this.#caughtUp = mode !== "replay";
    this.#forgetPull();
    if (!this.#caughtUp) return out;
    out.push(...(until === null || this.#done < until ? this.#ask(until) : this.#settle()));
    return out;
  }

  /** Something of the stream is known to be missing, but not up to where: pull all there is. @returns {Effect[]} */
  recover() {
    this.#state = "resuming";
    this.#cut = null;
    this.#forgetPull();
    return this.#ask(null);
  }

  /** A message came over the socket. @param {{offset: number}} message @returns {Effect[]} */
  message(message) {
    const { offset } = message;
    if (this.#state === "away") return [drop(offset, "away")];
    this.#head = Math.max(this.#head, offset);
    if ((offset <= this.#done && this.#underWay) || this.#buffer.has(offset)) return [drop(offset, "duplicate")];
    if (!this.#waiting && offset === this.#done + 1) {
      this.#done = offset;
      return [{ effect: "hand", offset, path: "live", message }];
    }
    if (this.#pulling && this.#cut !== null && offset <= this.#cut) return [drop(offset, "pull_owns_it")];
    const overflow = this.#keep(offset);
    if (overflow.length) return overflow;
    this.#buffer.set(offset, message);
    return [{ effect: "buffer", offset }, ...(this.#waiting ? [] : this.#settle())];
  }

  /** A gap came over the socket. @param {Gap & {epoch?: string|null}} gap @returns {Effect[]} */
  gap({ from, to, reason, epoch = null }) {
    if (this.#state === "away") return [drop(to, "away")];
    if (reason === "reset") return this.#resetFrame(to, epoch);
    this.#head = Math.max(this.#head, to);
    if (to <= this.#done) return [drop(to, "duplicate")];
    const overflow = this.#keep(to);
    if (overflow.length) return overflow;
    this.#gaps.push({ from, to, reason });
    return this.#waiting ? [] : this.#settle();
  }

  /** A page of a pull came back. @param {Page} page @returns {Effect[]} */
  page({ pull, epoch, processed, cut, messages, gaps = [], complete = false }) {
    if (!this.#pulling || pull !== this.#pull) return [drop(null, "old_page")];
    if (this.#epoch !== null && epoch !== this.#epoch) return [...this.#reset(epoch, processed), ...this.#ask(null)];
    const out = [];
    if (this.#epoch === null) out.push(...this.#adopt(epoch, this.#placed ? this.#done : processed));
    if (this.#cut === null) {
      this.#cut = cut;
      this.#head = Math.max(this.#head, cut);
    }
    let told = this.#done;
    for (const message of messages) {
      const { offset } = message;
      if (offset <= this.#done) out.push(drop(offset, "duplicate"));
      else if (offset > this.#cut) out.push(drop(offset, "above_cut"));
      else {
        this.#pages.set(offset, message);
        told = Math.max(told, offset);
      }
    }
    for (const { from, to, reason } of gaps) {
      if (to <= this.#done) continue;
      this.#gaps.push({ from, to, reason });
      told = Math.max(told, Math.min(to, this.#cut));
    }
    if (!complete) return [...out, ...this.#walkTo(told, this.#cut)];
    this.#pulling = false;
    return [...out, ...this.#settle()];
  }

  /** The pull was refused: the server does not know our position (410 `position_gone`). @returns {Effect[]} */
  gone({ pull, epoch, processed }) {
    if (!this.#pulling || pull !== this.#pull) return [drop(null, "old_page")];
    if (epoch !== this.#epoch || processed !== this.#done) {
      return [...this.#reset(epoch, processed), ...this.#ask(null)];
    }
    this.#pulling = false;
    this.#cut = this.#done;
    return this.#settle();
  }

  /** A replay is complete up to `upto`. @returns {Effect[]} */
  caughtUp({ upto }) {
    if (this.#state !== "resuming" || this.#caughtUp) return [];
    this.#caughtUp = true;
    this.#cut = Math.max(this.#cut ?? 0, upto);
    return this.#pulling ? [] : this.#settle();
  }

  /** The last word on the stream. It is said once a connection, so it is kept in the background too. @returns {Effect[]} */
  closed({ head }) {
    this.#closed = head;
    this.#head = Math.max(this.#head, head);
    return this.#state === "away" || this.#waiting ? [] : this.#settle();
  }

  /**
   * The connection is gone, or the app in the background.
   * @param {number|null} [done] rewind to what the app really began with
   * @returns {Effect[]}
   */
  away(done = null) {
    this.#state = "away";
    this.#pulling = false; // whatever is still under way belongs to the past
    this.#caughtUp = true;
    this.#toldReset = false;
    this.#clear();
    if (done !== null) this.#done = Math.min(this.#done, done);
    return [];
  }

  // --- the machine ---

  get #underWay() {
    return this.#state === "live" || this.#pulling || (this.#state === "resuming" && this.#cut !== null);
  }

  /** True while nothing may pass straight through: a pull is under way, or the cut is not known yet. */
  get #waiting() {
    return this.#pulling || (this.#state === "resuming" && this.#cut === null);
  }

  #ask(until) {
    this.#state = "resuming";
    this.#cut = until;
    this.#pull += 1;
    this.#pulling = true;
    this.#pages.clear();
    this.#missed = 0;
    return [{ effect: "pull", pull: this.#pull, after: this.#placed ? this.#done : null, until, epoch: this.#epoch }];
  }

  /** No pull is under way: hand over what is there; then live, or one more pull for what is missing. */
  #settle() {
    // a replay brings what is up to the cut by itself
    const cut = this.#caughtUp ? this.#cut ?? 0 : 0;
    const gaps = this.#gaps.map((gap) => gap.to);
    const out = this.#walkTo(Math.max(cut, this.#missed, this.#closed ?? 0, ...this.#buffer.keys(), ...gaps), Infinity);
    if (this.#pulling || !this.#caughtUp) return out;
    if (this.#state !== "live") {
      this.#state = "live";
      out.push({ effect: "live", done: this.#done });
    }
    this.#suspect = 0;
    if (this.#closed !== null) out.push({ effect: "closed", head: this.#closed });
    this.#closed = null;
    return out;
  }

  /** Hand over up to `limit`. A hole below `target` is asked for once; if it stays, it becomes a gap. */
  #walkTo(target, limit) {
    const out = this.#walk(limit);
    while (this.#done < target) {
      if (this.#suspect !== this.#done + 1) {
        this.#suspect = this.#done + 1;
        out.push(...this.#ask(Math.max(target, this.#cut ?? 0, this.#missed)));
        return out;
      }
      const known = [...this.#pages.keys(), ...this.#buffer.keys(), ...this.#gaps.map((gap) => gap.from), target + 1];
      const to = Math.min(...known.filter((offset) => offset > this.#done)) - 1;
      out.push({ effect: "gap", from: this.#done + 1, to, reason: "unexplained" });
      this.#done = to;
      out.push(...this.#walk(limit));
    }
    return out;
  }

  /** Hand over, and tell gaps, as far as there is no hole. */
  #walk(limit) {
    const out = [];
    while (this.#done < limit) {
      const offset = this.#done + 1;
      const gap = this.#gaps.find(({ from, to }) => from <= offset && offset <= to);
      if (this.#pages.has(offset)) {
        out.push({ effect: "hand", offset, path: "pulled", message: this.#pages.get(offset) });
        this.#done = offset;
      } else if (this.#buffer.has(offset)) {
        out.push({ effect: "hand", offset, path: "merged", message: this.#buffer.get(offset) });
        this.#done = offset;
      } else if (gap) {
        const atHand = [...this.#pages.keys(), ...this.#buffer.keys()].filter((have) => have > offset);
        this.#done = Math.min(gap.to, limit, ...atHand.map((have) => have - 1));
        out.push({ effect: "gap", from: offset, to: this.#done, reason: gap.reason });
      } else break;
    }
    for (const kept of [this.#pages, this.#buffer]) {
      for (const offset of kept.keys()) if (offset <= this.#done) kept.delete(offset);
    }
    this.#gaps = this.#gaps.filter(({ to }) => to > this.#done);
    this.#head = Math.max(this.#head, this.#done);
    return out;
  }

  /** Empty if there is room. Otherwise drop all of it: the next pull brings it. */
  #keep(offset) {
    if (this.#missed) {
      this.#missed = Math.max(this.#missed, offset);
      return [drop(offset, "overflow")];
    }
    if (this.#buffer.size + this.#gaps.length < this.#limit) return [];
    const lost = [...this.#buffer.keys(), offset].sort((a, b) => a - b);
    this.#missed = Math.max(...lost, ...this.#gaps.map((gap) => gap.to));
    this.#buffer.clear();
    this.#gaps = [];
    return lost.map((each) => drop(each, "overflow"));
  }

  #resetFrame(processed, epoch) {
    if (this.#toldReset && processed === this.#done) {
      this.#toldReset = false;
      return [drop(processed, "duplicate")];
    }
    const out = this.#reset(epoch, processed);
    if (!this.#caughtUp) return out;
    return [...out, ...this.#ask(null)]; // the frame names no head and seldom an epoch: the page does
  }

  #reset(epoch, processed) {
    this.#clear();
    this.#closed = null;
    this.#head = processed;
    return [...this.#adopt(epoch, processed), { effect: "gap", from: 1, to: processed, reason: "reset" }];
  }

  #adopt(epoch, done) {
    this.#epoch = epoch;
    this.#done = done;
    this.#placed = true;
    return [{ effect: "adopt", epoch, done }];
  }

  #forgetPull() {
    this.#pulling = false;
    this.#pages.clear();
    this.#missed = 0;
    this.#suspect = 0;
  }

  #clear() {
    this.#pages.clear();
    this.#buffer.clear();
    this.#gaps = [];
    this.#missed = 0;
    this.#suspect = 0;
  }
}

const drop = (offset, why) => ({ effect: "drop", offset, why });
