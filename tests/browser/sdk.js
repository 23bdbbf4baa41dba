// Runs in the page: a client of the SDK that writes down what its handlers took for good, for all tabs in one list.
async ({ name, token, options }) => {
  const { Meanwhile, IndexedDBStore } = await import("/static/messaging/client/index.js");
  const note = (entry) => localStorage.setItem(name, JSON.stringify([...JSON.parse(localStorage.getItem(name) ?? "[]"), entry]));
  window.copies = [];
  window.states = [];
  window.hangFrom = options.hangFrom ?? Infinity;
  window.begun = 0;
  window.blocked = options.blocked ?? false;
  const Blocked = function (url, protocols) {
    return new WebSocket(window.blocked ? "ws://127.0.0.1:1/" : url, protocols);
  };
  window.device = new Meanwhile({
    getToken: () => token,
    storage: new IndexedDBStore(name),
    WebSocket: Blocked,
    tabs: options.tabs,
    resume: options.resume,
    onState: (state) => window.states.push(state),
    handlers: {
      "*": async ({ stream, offset, path, copy }) => {
        if (copy) return void window.copies.push(offset);
        window.begun = offset;
        if (offset >= window.hangFrom && stream.startsWith("device:")) await new Promise(() => {});
        note([options.tab ?? path, offset]);
      },
    },
  });
  await window.device.start();
}
