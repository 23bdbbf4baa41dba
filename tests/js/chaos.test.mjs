// Walks the whole client through whatever can happen, at random but repeatable: whatever the walk, in the end every message
// was handed over or told as a gap, in order, once per life of the app, and every result reached the server.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Meanwhile, MemoryStore, manualLifecycle } from "../../messaging/static/messaging/client/index.js";
import { FakeClock } from "./clock.mjs";
import { FakeServer, problem } from "./fake_server.mjs";
import { numbers } from "./numbers.mjs";

const WALKS = Number(process.env.WALKS ?? 40);
const STEPS = 40;
const NAMES = ["device:phone-1", "room:lobby"];

class World {
  clock = new FakeClock();
  server = new FakeServer(...NAMES);
  storage = new MemoryStore();
  told = new Map(NAMES.map((name) => [name, new Set()])); // offsets handed over or told as a gap
  failed = new Set();
  faults = 0; // how much may still go wrong before things calm down
  broken = 0.6; // how often a handler fails on what stops its stream
  typeStops = true;
  journal = [];
  wrong = [];

  constructor(seed) {
    this.random = numbers(seed);
    this.mode = ["pull", "replay", "hold"][seed % 3];
    this.polls = seed % 4 === 0; // in the end there is no socket to be had
    this.server.pageSize = 1 + (seed % 4);
    this.server.clock = this.clock;
    this.server.stops = (message) => this.typeStops && message?.data === "stop";
    this.clock.random = this.random;
    this.server.onFrame = (frame) => this.#fault() && ["results", "ack", "notice", "ping"].includes(frame.type);
    this.server.onPending = async () => {
      if (!this.#fault()) return null;
      if (this.random() < 0.3) this.server.publish(this.one(NAMES), "meanwhile");
      return this.one([problem(503, "overloaded", {}, { "Retry-After": "1" }), new Response("{", { status: 200 }), null]);
    };
  }

  one(list) { return list[Math.floor(this.random() * list.length)]; }

  #fault() {
    if (this.faults <= 0 || this.random() > 0.3) return false;
    this.faults -= 1;
    return true;
  }

  /** A life of the app: from its start until it is killed. */
  async live() {
    const life = (this.life = { alive: true, last: new Map(), stopped: new Map(), lifecycle: manualLifecycle() });
    const inOrder = (stream, from, to) => {
      if (!life.alive) return;
      const last = life.last.get(stream);
      const wentOn = life.stopped.get(stream) === last + 1 && from === last + 2; // the type did, and the failure counts
      if (last !== undefined && from !== last + 1 && !wentOn) this.wrong.push(`${stream} ${from} after ${last}`);
      life.last.set(stream, to);
      for (let offset = from; offset <= to; offset += 1) this.told.get(stream).add(offset);
    };
    life.phone = new Meanwhile({
      url: "http://server.test", getToken: () => "good", resume: this.mode, clock: this.clock, lifecycle: life.lifecycle,
      storage: this.#mortal(life), WebSocket: this.server.WebSocket, fetch: this.server.fetch,
      handlers: {
        "*": async ({ stream, offset, data }) => {
          inOrder(stream, offset, offset);
          if (this.random() < 0.3) await new Promise((resolve) => this.clock.setTimeout(resolve, this.random() * 300));
          if (data === "stop" && this.random() < this.broken) throw new RangeError("stop");
          if (data === "bad") throw new RangeError("bad");
          return data === "value" ? offset : undefined;
        },
      },
      onGap: ({ stream, from, to, reason }) => {
        if (reason === "reset") { // what was handed over above it was of another history
          for (const offset of this.told.get(stream)) if (offset > to) this.told.get(stream).delete(offset);
          life.last.set(stream, to);
          return;
        }
        if (reason === "unexplained") this.wrong.push(`${stream} ${from} to ${to} unexplained`);
        inOrder(stream, from, to);
      },
      onStopped: ({ stream, offset }) => {
        life.stopped.set(stream, offset);
        if (life.alive && life.last.get(stream) < offset) this.wrong.push(`${stream} stopped at ${offset} after ${life.last.get(stream)}`);
        life.last.set(stream, offset - 1);
      },
      onError: (error) => { if (!(error instanceof RangeError)) this.wrong.push(error.stack); },
    });
    await life.phone.start();
  }

  /** The store, as long as the app lives: what a killed app still wanted to write is not written. */
  #mortal(life) {
    const { storage } = this;
    return {
      load: () => storage.load(),
      save: (changes) => (life.alive ? storage.save(changes) : new Promise(() => {})),
      close() {},
    };
  }

  kill() {
    this.life.alive = false;
    this.life.phone.stop();
  }

  steps = {
    publish: () => this.server.publish(this.one(NAMES), this.one(["plain", "bad", "value"])),
    stop: () => this.server.publish(this.one(NAMES), "stop", { stops: this.random() < 0.8 }), // or it was published before the type did
    stopMissed: () => this.server.publish(this.one(NAMES), "stop", { stops: true, push: false }),
    retry: () => { this.life.phone.retry(this.one(NAMES)); },
    setType: () => { this.typeStops = !this.typeStops; },
    burst: () => { for (let count = 0; count < 8; count += 1) this.server.publish(this.one(NAMES), "plain"); },
    missed: () => this.server.publish(this.one(NAMES), "plain", { push: false }),
    doubled: () => {
      const name = this.one(NAMES);
      const { log, head } = this.server.stream(name);
      if (log.has(head)) this.server.push(name, head);
    },
    expire: () => {
      const { name, head, processed } = this.server.stream(this.one(NAMES));
      if (head > processed) this.server.expire(name, processed + 1, processed + 1 + Math.floor(this.random() * (head - processed)));
    },
    lose: () => this.server.socket?.lose(),
    restart: () => this.server.socket?.push({ type: "bye", code: "restart", reason: "", reconnect: true, retry_after_ms: 500 }),
    refuse: () => { this.server.refuseConnections = 1; },
    noSockets: () => {
      this.server.refuseConnections = this.server.refuseConnections > 1 ? 0 : Infinity;
      this.server.socket?.lose();
    },
    offline: () => {
      this.server.online = !this.server.online;
      this.server.socket?.lose();
    },
    background: () => this.life.lifecycle.background({ leaving: this.random() < 0.3 }),
    foreground: () => this.life.lifecycle.foreground(),
    probe: () => this.life.lifecycle.probe(),
    fault: () => { this.faults += 2; },
    reset: () => {
      const stream = this.server.stream(this.one(NAMES));
      this.server.socket?.lose();
      const head = Math.max(0, stream.head - 2);
      for (let offset = head + 1; offset <= stream.head; offset += 1) stream.log.delete(offset);
      stream.gaps = stream.gaps.filter(({ from }) => from <= head).map((gap) => ({ ...gap, to: Math.min(gap.to, head) }));
      const processed = Math.min(stream.processed, head);
      Object.assign(stream, { epoch: `${stream.epoch}+`, head, processed, received: processed });
      for (const offset of this.told.get(stream.name)) if (offset > processed) this.told.get(stream.name).delete(offset);
    },
    kill: async () => {
      this.kill();
      await this.live();
    },
  };

  async walk() {
    await this.live();
    const names = Object.keys(this.steps);
    for (let step = 0; step < STEPS; step += 1) {
      const name = this.one(["publish", "publish", ...names]);
      this.journal.push(name);
      await this.steps[name]();
      await this.clock.pass(this.one([0, 1, 30, 200, 3000]));
    }
  }

  async calm() {
    this.faults = 0;
    this.broken = 0;
    this.server.refuseConnections = this.polls ? Infinity : 0;
    if (this.polls) this.server.socket?.lose();
    this.server.online = true;
    this.life.lifecycle.foreground();
    await this.clock.pass(45_000);
    for (const name of NAMES) await this.life.phone.retry(name);
    await this.clock.pass(45_000);
    for (const name of NAMES) this.server.publish(name, "last"); // so that a lost push is noticed
    await this.clock.pass(45_000);
  }
}

for (let seed = 1; seed <= WALKS; seed += 1) {
  test(`walk ${seed}`, async () => {
    const world = new World(seed);
    try {
      await world.walk();
      await world.calm();

      assert.deepEqual(world.wrong, []);
      for (const name of NAMES) {
        const { head, processed } = world.server.stream(name);
        const missing = Array.from({ length: head }, (_, index) => index + 1).filter((offset) => !world.told.get(name).has(offset));
        assert.deepEqual(missing, [], `${name} up to ${head}`);
        assert.equal(processed, head, `${name}: results`);
      }
      assert.equal(world.life.phone.inspect().state, world.polls ? "polling" : "live");
      assert.equal(world.life.phone.inspect().unsavedResults, 0);
    } catch (error) {
      error.message += `\n${world.mode}: ${world.journal.join(" ")}\n${JSON.stringify(world.life.phone.inspect())}`;
      throw error;
    } finally {
      world.kill();
    }
  });
}
