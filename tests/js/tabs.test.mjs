// Several tabs of one browser as one device: the locks and channels are faked, the clients are whole.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Meanwhile, MemoryStore, manualLifecycle } from "../../messaging/static/messaging/client/index.js";
import { FakeBrowser } from "./browser.mjs";
import { FakeClock } from "./clock.mjs";
import { FakeServer } from "./fake_server.mjs";

const PHONE = "device:phone-1";
const LOBBY = "room:lobby";

/** A browser with its store, and the order in which its tabs' handlers took messages for good. */
class World {
  clock = new FakeClock();
  browser = new FakeBrowser();
  storage = new MemoryStore();
  handled = [];

  constructor(...names) { this.server = new FakeServer(PHONE, ...names); }

  /** @param {string} name @param {"foreground"|"background"} [state] */
  async open(name, state = "foreground", options = {}) {
    const { locks, BroadcastChannel, ...fate } = this.browser.tab();
    const lifecycle = manualLifecycle(state);
    const tab = { name, lifecycle, copies: [], states: [], gaps: [], latest: [], errors: [], alive: true, ...fate };
    tab.client = new Meanwhile({
      url: "http://server.test", getToken: () => "good", tabs: "share", clock: this.clock, lifecycle, locks, BroadcastChannel,
      storage: { load: () => this.storage.load(), save: (changes) => (tab.alive ? this.storage.save(changes) : new Promise(() => {})), close() {} },
      WebSocket: this.server.WebSocket, fetch: this.server.fetch,
      handlers: {
        "*": async (message) => {
          if (message.copy) tab.copies.push(message.offset);
          else {
            await options.while?.(message);
            if (tab.alive) this.handled.push([name, message.offset]);
          }
        },
      },
      onGap: (gap) => tab.gaps.push(gap),
      onLatest: (value) => tab.latest.push([value.data, value.copy ?? false]),
      onState: (state, detail) => tab.states.push([state, detail]),
      onError: (error) => tab.errors.push(error),
    });
    await tab.client.start();
    await this.clock.pass(100);
    return tab;
  }

  /** The page is gone, without a word. */
  kill(tab) {
    tab.alive = false;
    tab.kill();
    tab.client.stop();
  }

  async publish(count) {
    for (let times = 0; times < count; times += 1) this.server.publish(PHONE, times);
    await this.clock.pass(200);
  }

  get offsets() { return this.handled.map(([, offset]) => offset); }
}

const upto = (most) => Array.from({ length: most }, (_, index) => index + 1);
const state = (tab) => tab.client.inspect().state;

test("the first tab leads; the second follows and gets copies; one connection for both", async () => {
  const world = new World();
  const first = await world.open("first");
  const second = await world.open("second", "background");

  await world.publish(3);
  world.server.latest(PHONE, "vienna", 20);
  await world.clock.pass(500);

  assert.deepEqual([state(first), state(second)], ["live", "follower"]);
  assert.equal(second.client.inspect().leader, "live");
  assert.equal(world.server.sockets.length, 1);
  assert.deepEqual(world.handled, [["first", 1], ["first", 2], ["first", 3]]);
  assert.deepEqual([first.copies, second.copies], [[], [1, 2, 3]]);
  assert.deepEqual([first.latest, second.latest], [[[20, false]], [[20, true]]]);
  assert.equal(world.server.stream(PHONE).processed, 3);
  assert.deepEqual([...first.errors, ...second.errors], []);
});

test("what a follower's handler throws is its own affair", async () => {
  const world = new World();
  await world.open("first");
  const second = await world.open("second", "background");
  second.copies.push = () => { throw new RangeError("no room"); };

  await world.publish(1);

  assert.deepEqual(second.errors.map(({ name }) => name), ["RangeError"]);
  assert.deepEqual(world.server.stream(PHONE).reports.map(({ upto: to, exceptions }) => [to, exceptions]), [[1, []]]);
});

test("the leader is closed: another leads, each message handled once, in order", async () => {
  const world = new World();
  const first = await world.open("first");
  const second = await world.open("second", "background");
  await world.publish(10);

  world.server.publish(PHONE, "on its way");
  first.client.stop();
  second.lifecycle.foreground();
  await world.publish(9);
  await world.clock.pass(1000);

  assert.deepEqual(world.offsets, upto(20));
  assert.equal(state(second), "live");
  assert.equal(state(first), "closed");
  assert.equal(world.server.stream(PHONE).processed, 20);
});

test("the leader dies with a handler at work: that message is handled by the next, from the shared store on", async () => {
  const world = new World();
  const first = await world.open("first", "foreground", { while: ({ offset }) => offset === 4 && new Promise(() => {}) });
  const second = await world.open("second");
  await world.publish(6);
  assert.deepEqual(world.offsets, [1, 2, 3]);

  world.kill(first);
  await world.clock.pass(1000);
  await world.publish(4);

  assert.deepEqual(world.handled, [...upto(3).map((offset) => ["first", offset]), ...[4, 5, 6, 7, 8, 9, 10].map((offset) => ["second", offset])]);
  assert.equal(state(second), "live");
  assert.equal(world.server.stream(PHONE).processed, 10);
});

test("results that were not confirmed go over to the next leader", async () => {
  const world = new World();
  const first = await world.open("first");
  const second = await world.open("second");
  world.server.onFrame = (frame) => frame.type === "results";
  await world.publish(3);
  assert.equal(world.server.stream(PHONE).processed, 0);
  world.server.onFrame = () => false;

  world.kill(first);
  await world.clock.pass(1000);

  assert.deepEqual(world.offsets, [1, 2, 3]);
  assert.equal(world.server.stream(PHONE).processed, 3);
  assert.equal(second.client.inspect().unsavedResults, 0);
});

test("the tab that is looked at leads: the hidden one finishes what runs, and hands on", async () => {
  const world = new World();
  let finish;
  const first = await world.open("first", "foreground", { while: ({ offset }) => offset === 2 && new Promise((resolve) => { finish = resolve; }) });
  const other = await world.open("other", "background");
  const second = await world.open("second", "background");
  await world.publish(3);

  first.lifecycle.background();
  second.lifecycle.foreground();
  await world.clock.pass(500);
  assert.equal(state(second), "follower", "the first is not through");
  finish();
  await world.clock.pass(500);
  await world.publish(1);

  assert.deepEqual([state(first), state(other), state(second)], ["follower", "follower", "live"]);
  assert.deepEqual(world.handled, [["first", 1], ["first", 2], ["second", 3], ["second", 4]]);
  assert.deepEqual(first.copies, [3, 4]);
  assert.equal(world.browser.granted, 2, "the other did not lead in between");
});

test("a handler that does not come through is not waited for", async () => {
  const world = new World();
  const first = await world.open("first", "foreground", { while: () => new Promise(() => {}) });
  const second = await world.open("second", "background");
  await world.publish(1);

  first.lifecycle.background();
  second.lifecycle.foreground();
  await world.clock.pass(3000);

  assert.equal(state(second), "live");
  assert.deepEqual(world.handled, [["second", 1]]);
});

test("two windows side by side: the one that leads stays; hidden, it hands on to the other", async () => {
  const world = new World();
  const first = await world.open("first");
  const second = await world.open("second");
  await world.clock.pass(60_000);
  assert.deepEqual([state(first), state(second)], ["live", "follower"]);

  first.lifecycle.background();
  await world.clock.pass(1000);

  assert.deepEqual([state(first), state(second)], ["follower", "live"]);
});

test("all hidden: the leader stays, in the background; the server is not told of followers", async () => {
  const world = new World();
  const first = await world.open("first");
  const second = await world.open("second", "background");

  first.lifecycle.background();
  second.lifecycle.background({ leaving: true });
  await world.clock.pass(1000);

  assert.equal(state(first), "background");
  assert.equal(world.server.state, "background");
  assert.equal(world.server.requests.filter(({ path }) => path.endsWith("/notices")).length, 0);
});

test("frozen: it hands on at once, and what its handler does later is not written over the next leader's", async () => {
  const world = new World();
  let finish;
  const first = await world.open("first", "foreground", { while: ({ offset }) => offset === 2 && new Promise((resolve) => { finish = resolve; }) });
  const second = await world.open("second", "background");
  await world.publish(2);

  first.lifecycle.background({ leaving: true });
  await world.clock.pass(1000);
  second.lifecycle.foreground();
  await world.publish(3);
  finish();
  await world.clock.pass(1000);

  assert.deepEqual(world.handled.filter(([name]) => name === "second").map(([, offset]) => offset), [2, 3, 4, 5]);
  assert.equal((await world.storage.load()).streams[PHONE].done, 5);
  first.lifecycle.foreground();
  second.lifecycle.background();
  await world.publish(1);
  assert.deepEqual(world.handled.at(-1), ["first", 6]);
  assert.deepEqual(world.handled.filter(([, offset]) => offset > 2).map(([, offset]) => offset), [3, 4, 5, 6]);
});

test("frozen without a word: a tab in front takes over after 5 s, and the frozen one follows when it wakes", async () => {
  const world = new World();
  const first = await world.open("first");
  const second = await world.open("second", "background");
  await world.publish(2);
  first.freeze();

  second.lifecycle.foreground();
  await world.clock.pass(6000);
  assert.equal(state(second), "live");
  first.thaw();
  await world.clock.pass(100);
  await world.publish(2);

  assert.deepEqual(world.handled.slice(2), [["second", 3], ["second", 4]]);
  assert.equal(state(second), "live");
});

test("a follower joins through the leader, also when that one is gone before it answers", async () => {
  const world = new World();
  const first = await world.open("first");
  const second = await world.open("second");
  const { stream } = await passing(world, second.client.join(LOBBY));
  assert.equal(stream, LOBBY);

  world.server.onFrame = (frame) => frame.type === "join";
  const waiting = second.client.join("room:kitchen");
  await world.clock.pass(100);
  world.server.onFrame = () => false;
  world.kill(first);

  assert.equal((await passing(world, waiting)).stream, "room:kitchen");
  assert.ok(Object.hasOwn(second.client.inspect().streams, "room:kitchen"));
});

test("a follower asks the next leader, if that is another tab", async () => {
  const world = new World();
  const first = await world.open("first");
  const second = await world.open("second");
  const third = await world.open("third");
  world.server.onFrame = (frame) => frame.type === "join";
  const waiting = third.client.join(LOBBY);
  await world.clock.pass(100);
  world.server.onFrame = () => false;

  world.kill(first);

  assert.equal((await passing(world, waiting)).stream, LOBBY);
  assert.deepEqual([state(second), state(third)], ["live", "follower"]);
});

test("what the app of a leader asked for is answered by the next one", async () => {
  const world = new World();
  const first = await world.open("first");
  const second = await world.open("second", "background");
  world.server.onFrame = (frame) => frame.type === "join";
  const waiting = first.client.join(LOBBY);
  await world.clock.pass(100);
  world.server.onFrame = () => false;

  first.lifecycle.background();
  second.lifecycle.foreground();

  assert.equal((await passing(world, waiting)).stream, LOBBY);
  assert.equal(world.server.heard("join").length, 2, "one swallowed, one answered");
});

test("stopped, a follower's requests are refused", async () => {
  const world = new World();
  await world.open("first");
  const second = await world.open("second");
  world.server.onFrame = (frame) => frame.type === "join";
  const waiting = second.client.join(LOBBY);
  await world.clock.pass(100);

  second.client.stop();

  await assert.rejects(passing(world, waiting), { code: "stopped" });
});

test("a join refused by the server is refused to the follower", async () => {
  const world = new World();
  await world.open("first");
  const second = await world.open("second");
  world.server.onFrame = (frame, socket) => {
    if (frame.type !== "join") return false;
    socket.push({ type: "error", re: frame.id, code: "not_allowed", title: "no", temporary: false });
    return true;
  };

  await assert.rejects(passing(world, second.client.join(LOBBY)), { name: "MeanwhileError", code: "not_allowed", temporary: false });
});

test("without Web Locks each tab is a device of its own", async () => {
  const server = new FakeServer(PHONE);
  const clock = new FakeClock();
  const options = { url: "http://server.test", getToken: () => "good", tabs: "share", clock, WebSocket: server.WebSocket, fetch: server.fetch };
  const client = new Meanwhile({ ...options, storage: new MemoryStore(), lifecycle: manualLifecycle(), locks: null });

  await client.start();
  await clock.pass(100);

  assert.equal(client.inspect().state, "live");
  client.stop();
});

test("stopped and started again, a tab follows or leads as before", async () => {
  const world = new World();
  const first = await world.open("first");
  const second = await world.open("second");

  first.client.stop();
  await first.client.start();
  await world.clock.pass(1000);
  await world.publish(2);

  assert.deepEqual([state(first), state(second)], ["follower", "live"]);
  assert.deepEqual(first.copies, [1, 2]);
  assert.deepEqual(world.handled, [["second", 1], ["second", 2]]);
});

async function passing(world, promise) {
  promise.catch(() => {});
  await world.clock.pass(2000);
  return await promise;
}
