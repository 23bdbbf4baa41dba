/**
 * Devices with the real SDK, as many as are asked for. Commands come as lines of JSON on stdin, what happens goes out on
 * stdout, a line each; `at`: seconds of the clock that Python's `time.monotonic` reads.
 */
import { createInterface } from "node:readline";

import { Meanwhile, MemoryStore, manualLifecycle } from "../../messaging/static/messaging/client/index.js";

const phones = new Map();

function say(device, event) {
  const at = Number(process.hrtime.bigint()) / 1e9;
  process.stdout.write(`${JSON.stringify({ device, at, ...event })}\n`);
}

/** Events of the SDK without what nobody looks at. */
function short({ kind, error, frame, ...event }) {
  if (kind === "error") return { kind, error: `${error?.name}: ${error?.message} ${error?.cause ?? ""}` };
  if (!frame) return { kind, ...event };
  const { token, data, items, positions, ...rest } = frame;
  return { kind, ...event, frame: items ? { ...rest, offsets: items.map(({ stream, offset }) => [stream, offset]) } : rest };
}

/** Every message takes its handler a while, some of them fail. */
function handler(device) {
  return async ({ stream, offset, data }) => {
    say(device, { kind: "began", stream, offset, data });
    if (data.endsWith("3")) await new Promise((resolve) => setTimeout(resolve, 5));
    const failed = data.endsWith("7");
    say(device, { kind: "returned", stream, offset, failed });
    if (failed) throw Object.assign(new Error("seven"), { name: "Seven" });
  };
}

const commands = {
  start({ device, url, token, resume }) {
    const lifecycle = manualLifecycle();
    const phone = new Meanwhile({
      url, resume, lifecycle,
      storage: new MemoryStore(),
      getToken: () => token,
      handlers: { turn: handler(device) },
      onLatest: ({ stream, key, version }) => say(device, { kind: "shown", stream, key, version }),
      onGap: ({ stream, from, to, reason }) => say(device, { kind: "told", stream, from, to, reason }),
      onError: () => {},
      onEvent: (event) => say(device, short(event)),
    });
    phones.set(device, { phone, lifecycle });
    phone.start();
  },
  background: ({ device }) => phones.get(device).lifecycle.background(),
  foreground: ({ device }) => phones.get(device).lifecycle.foreground(),
  online: ({ device }) => phones.get(device).lifecycle.probe("online"),
  inspect: ({ device }) => say(device, { kind: "inspected", ...phones.get(device).phone.inspect() }),
  stop({ device }) {
    phones.get(device)?.phone.stop();
    phones.delete(device);
  },
};

createInterface({ input: process.stdin })
  .on("line", (line) => {
    const { do: what, ...about } = JSON.parse(line);
    commands[what](about);
  })
  .on("close", () => process.exit(0));
