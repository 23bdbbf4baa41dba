// What the tabs of one browser share: Web Locks and channels. A tab can be frozen or die.
export class FakeBrowser {
  #held = new Map(); // name → {tab, lost}
  #queue = [];
  /** How often a lock was handed out. */
  granted = 0;
  #channels = new Set();

  /** The parts a tab hands to its client. */
  tab() {
    const browser = this;
    const tab = { frozen: false, dead: false, inbox: [] };
    const locks = {
      request(name, { signal, steal = false }, take) {
        return new Promise((resolve, reject) => {
          const request = { tab, name, take, resolve, reject };
          signal?.addEventListener("abort", () => {
            const at = browser.#queue.indexOf(request);
            if (at >= 0) browser.#queue.splice(at, 1);
            reject(new DOMException("withdrawn", "AbortError"));
          });
          if (steal) browser.#steal(request);
          else browser.#queue.push(request);
          queueMicrotask(() => browser.#grant());
        });
      },
    };
    class BroadcastChannel {
      onmessage = null;
      constructor(name) {
        this.name = name;
        this.tab = tab;
        browser.#channels.add(this);
      }

      postMessage(message) {
        if (tab.dead) return;
        const data = structuredClone(message);
        for (const channel of browser.#channels) {
          if (channel !== this && channel.name === this.name) browser.#run(channel.tab, () => channel.onmessage?.({ data }));
        }
      }

      close() { browser.#channels.delete(this); }
    }
    return { locks, BroadcastChannel, freeze: () => { tab.frozen = true; }, thaw: () => this.#thaw(tab), kill: () => this.#kill(tab) };
  }

  #run(tab, action) {
    if (tab.frozen) tab.inbox.push(action);
    else queueMicrotask(() => { if (!tab.dead) action(); });
  }

  #thaw(tab) {
    tab.frozen = false;
    for (const action of tab.inbox.splice(0)) this.#run(tab, action);
  }

  #kill(tab) {
    tab.dead = true;
    this.#queue = this.#queue.filter((request) => request.tab !== tab);
    for (const channel of [...this.#channels]) if (channel.tab === tab) channel.close();
    for (const [name, { tab: holder }] of [...this.#held]) if (holder === tab) this.#held.delete(name);
    this.#grant();
  }

  #steal(request) {
    const before = this.#held.get(request.name);
    this.#held.delete(request.name);
    if (before) this.#run(before.tab, () => before.lost(new DOMException("stolen", "AbortError")));
    this.#queue.unshift(request);
  }

  #grant() {
    for (const request of [...this.#queue]) {
      const { tab, name, take, resolve, reject } = request;
      if (this.#held.has(name)) continue;
      this.#queue.splice(this.#queue.indexOf(request), 1);
      const holding = { tab, lost: reject };
      this.#held.set(name, holding);
      this.granted += 1;
      this.#run(tab, () => {
        Promise.resolve(take({ name })).then((value) => {
          resolve(value);
          if (this.#held.get(name) === holding) this.#held.delete(name);
          this.#grant();
        }, reject);
      });
    }
  }
}
