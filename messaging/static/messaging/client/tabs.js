/**
 * Several tabs of one browser as one device. One leads: it has the connection, the store is its own as long as it holds
 * the lock, and its handlers' results count. The others follow: their handlers get copies. A tab that is looked at
 * leads before one that is not, because browsers slow down and freeze those.
 *
 * What is said on the channel, `{kind, from, …}`: claim (a tab came to the front), who (a tab is new), leading {state,
 * detail, inFront, hands?, anew?} (the answer, and whenever the state changes), copy {what, value}, ask {id, type, stream}, answer {to, id, …}.
 */
import { MeanwhileError } from "./codes.js";

/** A leader that does not answer for so long (ms) is frozen: the lock is taken from it. */
export const STEAL_AFTER = 5_000;

/**
 * @typedef {{lead(): void, yield(): Promise<void>, leave(): void, copied(what: string, value: object): void,
 *   leader(state: string, detail: object): void, ask(type: string, stream: string): Promise<object>}} Device
 *   `yield`: resolves when nothing is written any more; `leave`: at once
 */

export class Tabs {
  #name;
  #locks;
  #Channel;
  #clock;
  #inFront;
  #device;
  #me = globalThis.crypto.randomUUID();
  #channel = null;
  #queued = null; // the request of the lock: {withdraw}
  #held = null; // the lock: {release}
  #state = ["idle", {}];
  #patience = null;
  #asks = new Map();
  #lastAsk = 0;

  /** @param {{name: string, locks: LockManager, BroadcastChannel: Function, clock: object, inFront: () => boolean, device: Device}} parts */
  constructor({ name, locks, BroadcastChannel, clock, inFront, device }) {
    this.#name = `meanwhile:${name}`;
    this.#locks = locks;
    this.#Channel = BroadcastChannel;
    this.#clock = clock;
    this.#inFront = inFront;
    this.#device = device;
  }

  get leads() { return this.#held !== null; }

  /** Follows, until the lock is this tab's. */
  start() {
    if (this.#channel) return;
    this.#channel = new this.#Channel(this.#name);
    this.#channel.onmessage = ({ data }) => this.#heard[data.kind]?.(data);
    this.#queue();
    this.#say({ kind: "who" });
    this.claim();
  }

  /** This tab came to the front: if it does not lead, it wants to. */
  claim() {
    if (!this.#channel || this.leads) return;
    if (!this.#queued) this.#queue();
    if (!this.#inFront()) return;
    this.#say({ kind: "claim" });
    this.#wait();
  }

  /** This tab is frozen or leaves: whoever follows leads, at once. It comes back by `claim`. */
  leave() {
    this.#queued?.withdraw();
    this.#calm();
    if (!this.leads) return;
    this.#device.leave();
    this.#release();
  }

  /** As `leave`, when what runs is through and stored. For good, until `start`. */
  async dispose() {
    this.#queued?.withdraw();
    this.#calm();
    const channel = this.#channel;
    this.#channel = null;
    const held = this.#held;
    if (held) await this.#device.yield();
    if (held && this.#held === held) this.#release();
    channel?.close();
    for (const { reject } of this.#asks.values()) reject(new MeanwhileError("stopped"));
    this.#asks.clear();
  }

  // --- the leader ---

  /** Its state, for the others. */
  tell(state, detail) {
    if (state === "follower") return;
    this.#state = [state, detail];
    if (this.leads) this.#lead();
  }

  /** The page is hidden: one that is in front may want to lead. */
  hidden() {
    if (this.leads) this.#lead();
  }

  copy(what, value) {
    if (this.leads) this.#say({ kind: "copy", what, value });
  }

  // --- followers ---

  /** A join or leave of a follower: the leader does it, or the one after it. @returns {Promise<object>} */
  ask(type, stream) {
    if (this.leads && !this.#held.yields) return this.#device.ask(type, stream);
    return new Promise((resolve, reject) => {
      const id = (this.#lastAsk += 1);
      this.#asks.set(id, { type, stream, resolve, reject });
      this.#say({ kind: "ask", id, type, stream });
    });
  }

  #askAgain() {
    for (const [id, { type, stream, resolve, reject }] of this.#asks) {
      if (!this.leads) this.#say({ kind: "ask", id, type, stream });
      else {
        this.#asks.delete(id);
        this.#device.ask(type, stream).then(resolve, reject);
      }
    }
  }

  // --- the lock ---

  #queue(steal = false) {
    this.#queued?.withdraw();
    const giveUp = new AbortController();
    const queued = (this.#queued = {
      withdraw: () => {
        giveUp.abort();
        if (this.#queued === queued) this.#queued = null;
      },
    });
    let held = null;
    const take = () => {
      if (this.#queued !== queued) return undefined; // withdrawn in the last moment
      this.#queued = null;
      return new Promise((release) => {
        this.#held = held = { release };
        this.#leads();
      });
    };
    this.#locks.request(this.#name, steal ? { steal: true } : { signal: giveUp.signal }, take).catch(() => {
      if (held && this.#held === held) this.#stolen();
    });
  }

  #leads() {
    this.#calm();
    this.#state = ["connecting", {}];
    this.#lead({ anew: true });
    this.#device.lead();
    this.#askAgain();
  }

  /** Another tab thought this one was frozen, and it was. */
  #stolen() {
    this.#held = null;
    this.#device.leave();
    this.#queue();
  }

  async #yield() {
    const held = this.#held;
    if (held.yields) return;
    held.yields = true;
    this.#lead({ hands: true });
    await this.#device.yield();
    if (this.#held !== held) return;
    this.#release();
    this.#queue();
  }

  #release() {
    const { release } = this.#held;
    this.#held = null;
    release();
  }

  // --- the channel ---

  #heard = {
    who: () => this.leads && this.#lead(),
    claim: () => {
      if (this.leads && this.#inFront()) this.#lead();
      else if (this.leads) this.#yield();
      else if (this.#queued && !this.#inFront()) this.#queue(); // behind the one that claims
    },
    leading: ({ state, detail, inFront, hands, anew }) => {
      if (this.leads) return;
      if (this.#patience !== null) {
        this.#calm();
        if (hands) this.#wait();
      }
      this.#device.leader(state, detail);
      if (anew) this.#askAgain();
      if (!inFront && !hands) this.claim();
    },
    copy: ({ what, value }) => !this.leads && this.#device.copied(what, value),
    ask: ({ from, id, type, stream }) => {
      if (!this.leads) return;
      const answer = (about) => this.#say({ kind: "answer", to: from, id, ...about });
      this.#device.ask(type, stream).then((value) => answer({ value }), ({ code, title, detail, temporary }) => answer({ error: { code, title, detail, temporary } }));
    },
    answer: ({ to, id, value, error }) => {
      const asked = to === this.#me && this.#asks.get(id);
      if (!asked) return;
      this.#asks.delete(id);
      if (error) asked.reject(new MeanwhileError(error.code, error));
      else asked.resolve(value);
    },
  };

  #lead(about = {}) {
    const [state, detail] = this.#state;
    this.#say({ kind: "leading", state, detail, inFront: this.#inFront(), ...about });
  }

  #say(message) { this.#channel?.postMessage({ from: this.#me, ...message }); }

  #wait() {
    this.#calm();
    this.#patience = this.#clock.setTimeout(() => {
      this.#patience = null;
      if (this.#channel && !this.leads && this.#inFront()) this.#queue(true);
    }, STEAL_AFTER);
  }

  #calm() {
    if (this.#patience !== null) this.#clock.clearTimeout(this.#patience);
    this.#patience = null;
  }
}

/**
 * A store as long as this tab leads. What comes later is not written: another tab's positions are newer. Nobody learns
 * of it, because a tab that does not lead reports nothing.
 * @implements {import("./store.js").Store}
 */
export class FencedStore {
  #store;
  #open = true;

  /** @param {import("./store.js").Store} store */
  constructor(store) { this.#store = store; }

  load() { return this.#store.load(); }
  async save(changes) { if (this.#open) await this.#store.save(changes); }
  shut() { this.#open = false; }
  close() { this.#store.close(); }
}
