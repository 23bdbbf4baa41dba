/** The test client: puts the device, its network, the services and the views together. Nothing is decided here. */

import { register } from "./backend.js";
import { Device } from "./device.js";
import { byTestId } from "./dom.js";
import { Guide } from "./guide.js";
import { Homecoming, sentence } from "./homecoming.js";
import { Ledger } from "./ledger.js";
import { MessageLog } from "./log.js";
import { claimName } from "./names.js";
import { Network } from "./network.js";
import { Page } from "./page.js";
import { HOME, Phone } from "./phone.js";
import { Scene } from "./scene.js";
import { Services } from "./services.js";
import { Track } from "./tracks.js";

const room = document.body.dataset.room;
const page = new Page(draw);
const { changed, failed } = page;
const name = await claimName();
document.getElementById("device-name").textContent = name;

const network = new Network();
const scene = new Scene(name);
const phone = new Phone();
const log = new MessageLog(byTestId("messages"));
const ledger = new Ledger((entry) => { log.entry(entry); changed(); });
const tracks = new Map([[`device:${name}`, "To this device"], [room, "To the room"]].map(
  ([stream, title]) => [stream, new Track(document.getElementById("tracks"), { stream, title }, ledger)],
));
let seen = null; // the device as the server sees it
let homecoming = null;

const device = new Device({
  name, network, ledger,
  token: async () => (await register(name, network.fetch)).token,
  tell: {
    perform: (message) => scene.perform(message),
    stumbled: () => { press("fail-next", false); scene.stumble(); },
    value: (value) => { homecoming?.value(value); log.value(value); scene.weather(value.data); services.soon(); changed(); },
    passing: (message) => { log.passing(message); scene.chat(message.data?.text ?? ""); },
    gap: (gap) => { log.gap(gap); changed(); },
    state, changed,
    error: (error) => console.warn(error),
  },
});
const services = new Services({ device: name, room, failed, seen: (told) => { seen = told; page.reached(); changed(); } });
const guide = new Guide([() => device.background(), async () => { await services.burst(); await services.weather(); }, () => device.foreground()], failed);

// --- what is shown ---

function state(now, detail) {
  if (!phone.show(now)) return;
  if (now === "background") guide.show(2);
  if (HOME.has(now)) guide.show(1);
  if (now === "resuming") homecoming = new Homecoming(device.inspect().streams);
  const words = phone.words(detail);
  if (words) log.moment(words);
  if (now === "closed" && detail.why !== "stopped") failed(new Error(`The connection is closed: ${detail.why.replaceAll("_", " ")}. Reload the page to come back.`));
  services.soon();
  changed();
}

function draw() {
  const told = device.inspect();
  let waiting = 0;
  for (const [stream, track] of tracks) {
    const server = seen?.streams.find((each) => each.stream === stream);
    const client = told.streams[stream];
    if (!client && !server) continue;
    if (client) ledger.settle(stream, client.processed);
    const positions = positionsOf(client, server);
    waiting += positions.waiting;
    track.draw(positions);
  }
  phone.wait(waiting, seen?.streams ?? []);
  phone.sleep(device.held || told.state === "background");
  buttons();
  if (homecoming && HOME.has(told.state) && homecoming.complete(told.streams)) {
    const sum = homecoming.sum(told.streams);
    homecoming = null;
    if (phone.caption(sum, sentence(sum))) log.moment(sentence(sum));
  }
}

/** The client knows its cursors first, the server the head. */
function positionsOf(client, server) {
  const processed = Math.max(client?.processed ?? 0, server?.processed ?? 0);
  const head = Math.max(client?.head ?? 0, server?.head ?? 0);
  return {
    processed, head,
    received: Math.max(processed, client?.received ?? server?.received ?? 0),
    cut: client?.cut ?? null,
    buffered: client?.buffered ?? 0,
    waiting: head - processed,
    values: server?.values ?? 0,
    updates: server?.updates ?? 0,
  };
}

// --- what can be done ---

function buttons() {
  pair(device.held, "background", "return");
  pair(network.isCut, "cut", "restore");
}

/** Of two buttons one can be pressed; the keyboard goes along. */
function pair(done, first, second) {
  const [off, on] = (done ? [first, second] : [second, first]).map(byTestId);
  on.disabled = false;
  if (document.activeElement === off) on.focus();
  off.disabled = true;
}

function press(id, on) {
  byTestId(id).setAttribute("aria-pressed", String(on));
}

function onSwitch(id, set) {
  byTestId(id).addEventListener("click", (event) => {
    const on = event.currentTarget.getAttribute("aria-pressed") !== "true";
    press(id, on);
    set(on);
  });
}

const onClick = (id, action) => byTestId(id).addEventListener("click", async () => {
  try {
    await action();
  } catch (error) {
    failed(error);
  }
  changed();
});

onClick("background", () => device.background());
onClick("return", () => device.foreground());
onClick("cut", () => { network.cut(); phone.network(false); });
onClick("restore", () => { network.restore(); phone.network(true); });
onSwitch("slow-handler", (on) => { device.slow = on; });
onSwitch("slow-pull", (on) => { network.slow = on; });
onSwitch("fail-next", (on) => { device.failNext = on; });
byTestId("mode").addEventListener("change", (event) => device.open(event.currentTarget.value).catch(failed));
byTestId("publish-burst").addEventListener("click", () => device.held && guide.show(3));
byTestId("guide-2").addEventListener("click", () => device.held && guide.show(3));

device.open(byTestId("mode").value).catch(failed);
