// Walks several tabs through whatever can happen, at random but repeatable: whatever the walk, in the end the leaders'
// handlers took every message, in order; and each once, unless a tab died or was frozen in the middle of one.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Meanwhile, MemoryStore, manualLifecycle } from "../../messaging/static/messaging/client/index.js";
import { FakeBrowser } from "./browser.mjs";
import { FakeClock } from "./clock.mjs";
import { FakeServer } from "./fake_server.mjs";
import { numbers } from "./numbers.mjs";

const WALKS = Number(process.env.WALKS ?? 30);
const STEPS = 30;
const PHONE = "device:phone-1";

class World {
  clock = new FakeClock();
  browser = new FakeBrowser();
  storage = new MemoryStore();
  server = new FakeServer(PHONE);
  tabs = [];
  handled = [];
  wrong = [];
  journal = [];

  /** @param {number} seed @param {boolean} rough whether tabs die and freeze */
  constructor(seed, rough) {
    this.random = numbers(seed);
    this.rough = rough;
    this.clock.random = this.random;
    this.server.clock = this.clock;
  }

  one(list) { return list[Math.floor(this.random() * list.length)]; }

  async open() {
    const { locks, BroadcastChannel, ...fate } = this.browser.tab();
    const tab = { alive: true, lifecycle: manualLifecycle("background"), ...fate };
    tab.client = new Meanwhile({
      url: "http://server.test", getToken: () => "good", tabs: "share", clock: this.clock, lifecycle: tab.lifecycle, locks, BroadcastChannel,
      storage: { load: () => this.storage.load(), save: (changes) => (tab.alive ? this.storage.save(changes) : new Promise(() => {})), close() {} },
      WebSocket: this.server.WebSocket, fetch: this.server.fetch,
      handlers: {
        "*": async ({ offset, copy }) => {
          if (copy) return;
          if (this.random() < 0.3) await new Promise((resolve) => this.clock.setTimeout(resolve, this.random() * 300));
          if (tab.alive) this.handled.push(offset);
        },
      },
      onError: (error) => this.wrong.push(error.stack),
      onGap: (gap) => this.wrong.push(JSON.stringify(gap)),
    });
    this.tabs.push(tab);
    await tab.client.start();
    this.front(tab);
  }

  /** As a browser: the one that was in front is hidden first. */
  front(tab) {
    for (const other of this.tabs) if (other !== tab && other.lifecycle.state === "foreground") other.lifecycle.background();
    tab.thaw();
    tab.lifecycle.foreground();
  }

  async without(tab) {
    this.tabs = this.tabs.filter((other) => other !== tab);
    if (!this.tabs.length) await this.open();
    else this.front(this.one(this.tabs));
  }

  steps = {
    publish: () => this.server.publish(PHONE, 1),
    burst: () => { for (let times = 0; times < 5; times += 1) this.server.publish(PHONE, 1); },
    open: async () => { if (this.tabs.length < 4) await this.open(); },
    front: () => this.front(this.one(this.tabs)),
    window: () => this.one(this.tabs).lifecycle.foreground(), // side by side
    away: () => { for (const tab of this.tabs) tab.lifecycle.background(); },
    close: async () => {
      const tab = this.one(this.tabs);
      tab.client.stop();
      await this.without(tab);
    },
    lose: () => this.server.socket?.lose(),
    noSockets: () => {
      this.server.refuseConnections = this.server.refuseConnections > 1 ? 0 : Infinity;
      this.server.socket?.lose();
    },
  };

  roughSteps = {
    kill: async () => {
      const tab = this.one(this.tabs);
      tab.alive = false;
      tab.kill();
      tab.client.stop();
      await this.without(tab);
    },
    freeze: () => this.one(this.tabs).lifecycle.background({ leaving: true }),
  };

  async walk() {
    await this.open();
    const steps = { ...this.steps, ...(this.rough ? this.roughSteps : {}) };
    for (let step = 0; step < STEPS; step += 1) {
      const name = this.one(["publish", "front", ...Object.keys(steps)]);
      this.journal.push(name);
      await steps[name]();
      await this.clock.pass(this.one([0, 1, 30, 200, 3000]));
    }
  }

  async calm() {
    this.server.refuseConnections = 0;
    this.front(this.one(this.tabs));
    await this.clock.pass(60_000);
    this.server.publish(PHONE, "last");
    await this.clock.pass(60_000);
  }
}

for (let seed = 1; seed <= WALKS; seed += 1) {
  const rough = seed % 2 === 0;
  test(`walk ${seed}${rough ? ", with deaths" : ""}`, async () => {
    const world = new World(seed, rough);
    try {
      await world.walk();
      await world.calm();

      const { head, processed } = world.server.stream(PHONE);
      const expected = Array.from({ length: head }, (_, index) => index + 1);
      assert.deepEqual(world.wrong, []);
      if (rough) assert.deepEqual([...new Set(world.handled)].sort((a, b) => a - b), expected);
      else assert.deepEqual(world.handled, expected);
      assert.equal(processed, head);
      assert.equal(world.tabs.filter(({ client }) => client.inspect().state !== "follower").length, 1, "one leads");
    } catch (error) {
      error.message += `\n${world.journal.join(" ")}\n${world.tabs.map(({ client, lifecycle }) => `${client.inspect().state} ${lifecycle.state}`)}`;
      throw error;
    } finally {
      for (const { client } of world.tabs) client.stop();
    }
  });
}
