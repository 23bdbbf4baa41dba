/** The services beside the device: what they send at the press of a button, and what they heard of it. */

import { Asking } from "./asking.js";
import * as backend from "./backend.js";
import { appendFollowing, byTestId, el } from "./dom.js";

const MOST = 100;
const SKIES = [["rain", 14], ["storm", 12], ["night", 9], ["snow", -2], ["clouds", 16], ["sun", 24]];
const GIVERS = ["Ann", "Bo", "Cleo", "Dai", "Eve", "Finn"];
const REMARKS = ["hello!", "nice weather", "look at that scarf", "where is it going?", "one more step", "la la la"];
/** 20 moves: where one is lost, the character ends up elsewhere. */
const ROUTE = [["walk", 6], ["turn", 1], ["walk", 3], ["turn", 1], ["walk", 8], ["sit", 1]];

export class Services {
  #device;
  #room;
  #seen;
  #failed;
  #tallies = new Map();
  #after = "";
  #asking;
  #sky = Math.floor(Math.random() * SKIES.length);
  #gifts = 0;
  #chats = 0;

  /**
   * @param {{device: string, room: string, seen: (device: object|null) => void, failed: (error: Error) => void}} options
   *   seen: told the device as the server sees it; failed: told what a service could not do
   */
  constructor({ device, room, seen, failed }) {
    this.#device = `device:${device}`;
    this.#room = room;
    this.#seen = seen;
    this.#failed = failed;
    const buttons = { walk: () => this.move("walk"), turn: () => this.move("turn"), sit: () => this.move("sit"), burst: () => this.burst(),
      weather: () => this.weather(), gift: () => this.gift(), chat: () => this.chat() };
    for (const [name, send] of Object.entries(buttons)) byTestId(`publish-${name}`).addEventListener("click", () => send().catch(failed));
    this.#asking = new Asking(() => this.#ask(device), failed);
  }

  move(name, count = 1) { return this.#publish({ to: this.#device, name, data: {}, count }); }

  burst() {
    return busy("publish-burst", async () => { for (const [name, count] of ROUTE) await this.move(name, count); });
  }

  weather() {
    return busy("publish-weather", async () => {
      for (let change = 0; change < 5; change += 1) {
        const [sky, degrees] = SKIES[(this.#sky += 1) % SKIES.length];
        await this.#publish({ to: this.#room, name: "weather", key: "sky", data: { sky, degrees } });
      }
    });
  }

  gift() { return this.#publish({ to: this.#room, name: "gift", data: { from: GIVERS[(this.#gifts += 1) % GIVERS.length] } }); }

  chat() { return this.#publish({ to: this.#room, name: "chat", data: { text: REMARKS[(this.#chats += 1) % REMARKS.length] } }); }

  /** Asks soon what was heard: something just happened. */
  soon() { this.#asking.soon(); }

  async #publish(message) {
    const { service, items } = await backend.publish(message);
    const problem = items.find((item) => item.problem)?.problem;
    if (problem) throw new backend.BackendError(problem.detail);
    this.#count(service, message.name === "chat" ? "said" : "sent", items.length);
    this.soon();
  }

  // --- what they heard ---

  async #ask(device) {
    const { items, after, device: seen } = await backend.results(this.#after, device);
    for (const item of items) this.#hear(item, device, this.#after === "");
    this.#after = after;
    this.#seen(seen);
    return items.length > 0;
  }

  #hear({ service, device, stream, from, upto, status, code }, own, old) {
    const list = byTestId("heard");
    list.querySelector(".empty")?.remove();
    const which = from === upto ? `${from}` : `${from}–${upto}`;
    const place = stream.startsWith("device:") ? "device" : stream.replace(":", " ");
    const attributes = { "data-testid": "heard-row", "data-service": service, "data-device": device, "data-stream": stream, "data-from": from, "data-upto": upto, "data-status": status };
    appendFollowing(list, el("li", attributes, el("span", {}, service),
      el("span", { class: "to", title: `${which} ${stream}, ${device}` }, el("b", {}, which), device === own ? ` ${place}` : ` ${place} of ${device}`), el("em", {}, code || status)), MOST);
    if (device === own && !old) this.#count(service, status === "processed" ? status : "failed", upto - from + 1);
  }

  #count(service, what, number) {
    const tally = this.#tallies.get(service) ?? { sent: 0, said: 0, processed: 0, failed: 0 };
    this.#tallies.set(service, tally);
    tally[what] += number;
    const parts = [el("b", {}, tally.sent), " sent"];
    if (service !== "weather") parts.push(" · ", el("b", {}, tally.processed), " processed");
    if (tally.said) parts.push(" · ", el("b", {}, tally.said), " said");
    if (tally.failed) parts.push(" · ", el("b", { class: "bad" }, tally.failed), " failed");
    document.querySelector(`[data-tally="${service}"]`).replaceChildren(...parts);
  }
}

/** What takes several publishes is not begun anew before it is through; the keyboard stays where it was. */
async function busy(id, send) {
  const button = byTestId(id);
  const focused = document.activeElement === button;
  button.disabled = true;
  try {
    await send();
  } finally {
    button.disabled = false;
    if (focused && document.activeElement === document.body) button.focus();
  }
}
