/** One phone in the room: a device of its own with the SDK, a network of its own, and what of the room it has. */

import { Device } from "../device.js";
import { el } from "../dom.js";
import { Ledger, MOST } from "../ledger.js";
import { Network } from "../network.js";
import { AWAY, HOME, WORDS } from "../phone.js";
import { register } from "./backend.js";
import { Lane } from "./lane.js";
import { Stage } from "./stage.js";
import { Tally, WAYS, sentence } from "./tally.js";

/** A hundred missed messages are caught up with while one looks on, not while one waits. */
const PACE_MS = 15;
const LABELS = { gap: "gap", never: "never stored" };

export class Viewer {
  #root;
  #phone;
  #room;
  #said;
  #changed;
  #failed;
  #network = new Network();
  #ledger = new Ledger(() => this.#changed());
  #tally = new Tally();
  #device;
  #stage;
  #lane;
  #counts = new Map();
  #state = "idle";
  #turn = 0;
  #before = null; // the counts when it went away

  /**
   * @param {HTMLElement} root @param {{room: string, said: import("./said.js").Said, changed: () => void, failed: (error: Error) => void}} options
   */
  constructor(root, { room, said, changed, failed }) {
    this.#root = root;
    this.#phone = root.dataset.phone;
    this.#room = room;
    this.#said = said;
    this.#changed = changed;
    this.#failed = failed;
    this.name = `${room.slice("room:".length)}-${this.#phone}`;
    this.#stage = new Stage(this.#part("stage"), this.name);
    this.#lane = new Lane(this.#part("lane"));
    this.#device = new Device({
      name: this.name, network: this.#network, ledger: this.#ledger, pace: PACE_MS, url: root.dataset.server || location.origin,
      token: async () => (await register(this.name, room, this.#network.fetch)).token,
      tell: {
        perform: (message) => this.#perform(message),
        value: ({ data }) => this.#stage.online(data.online),
        passing: (chat) => this.#show(chat),
        gap: (gap) => this.#gap(gap),
        state: (state, detail) => this.#become(state, detail),
        changed,
        error: (error) => console.warn(this.#phone, error),
      },
    });
    this.#countAll();
    this.#onSwitch("tunnel", (on) => this.tunnel(on));
    this.#onSwitch("background", (on) => this.background(on));
    this.#part("way").addEventListener("change", () => this.open().catch(failed));
  }

  /** Connects, in the way that is chosen. */
  open() { return this.#device.open(this.#part("way").value); }

  /** Its connection dies, and it finds no other until it is out. @param {boolean} inside */
  tunnel(inside) {
    if (inside) this.#network.cut();
    else this.#network.restore();
    this.#press("tunnel", inside);
  }

  /** @param {boolean} away */
  async background(away) {
    this.#press("background", away);
    await (away ? this.#device.background() : this.#device.foreground());
  }

  /**
   * @param {import("./backend.js").Room|null} room as the server saw it
   * @returns {boolean} whether this phone knows better
   */
  draw(room) {
    const told = this.#device.inspect();
    const client = told.streams[this.#room];
    const server = room?.devices.find(({ device }) => device === this.name);
    const processed = Math.max(client?.processed ?? 0, server?.processed ?? 0);
    const head = Math.max(client?.head ?? 0, room?.head ?? 0);
    this.#ledger.settle(this.#room, processed);
    const received = Math.max(processed, client?.received ?? server?.received ?? 0);
    this.#lane.draw((offset) => this.#ledger.at(this.#room, offset), { processed, received, head });
    const now = performance.now();
    this.#drawCounts(this.#tally.with(this.#said.missed(this.#phone, now)));
    if (server) this.#drawServer(server, room.head);
    this.#stage.away(this.#network.isCut ? "tunnel" : this.#device.held || told.state === "background" ? "background" : "");
    const back = HOME.has(told.state) && client?.done >= (client?.cut ?? 0);
    if (back && this.#before) this.#welcome(this.#tally.with(this.#said.missed(this.#phone, Infinity)));
    return Boolean(server) && processed > server.processed;
  }

  // --- what the SDK tells ---

  #perform(message) {
    const { stream, offset, path } = message;
    if (stream !== this.#room) return;
    const times = (this.#ledger.at(stream, offset)?.times ?? 0) + 1;
    this.#ledger.put({ stream, offset, turn: (this.#turn += 1), times });
    this.#tally.came(path);
    this.#stage.perform(message);
  }

  #show({ time, data }) {
    this.#said.tell(data?.id ?? `${time} ${JSON.stringify(data)}`, performance.now(), this.#phone);
    this.#stage.chat(data?.text ?? JSON.stringify(data));
    this.#changed();
  }

  #gap({ stream, from, to, reason }) {
    if (stream !== this.#room) return;
    if (reason === "closed") this.#stage.close();
    else if (reason === "reset") this.#failed(new Error("The room's history begins anew: this phone goes on from there."));
    else {
      this.#tally.gap({ from, to, reason });
      for (let offset = Math.max(from, to - MOST + 1); offset <= to; offset += 1) this.#ledger.put({ stream, offset, status: "gap", code: reason });
    }
    this.#changed();
  }

  #become(state, detail) {
    const gone = AWAY.has(state) && !this.#before && this.#turnedUp;
    if (gone) this.#before = this.#tally.with(this.#said.missed(this.#phone, Infinity));
    this.#state = state;
    const pill = this.#part("state");
    pill.textContent = WORDS[state] ?? state;
    pill.dataset.state = this.#root.dataset.state = state;
    if (state === "closed" && detail.why !== "stopped") this.#failed(new Error(`Phone ${this.#phone.toUpperCase()} is shut out: ${detail.why.replaceAll("_", " ")}.`));
    this.#changed();
  }

  /** Whether it has been in the room: what passed before the page was opened is no absence. */
  get #turnedUp() { return ["live", "polling", "resuming"].includes(this.#state); }

  #welcome(counts) {
    this.#stage.caption(sentence(this.#before, counts));
    this.#before = null;
  }

  // --- what is shown ---

  #countAll() {
    this.#part("came").replaceChildren(...WAYS.map((way) => {
      const number = el("b", { "data-testid": `came-${way}` }, 0);
      const row = el("li", { "data-path": way }, el("i", { "aria-hidden": "true" }), number, ` ${LABELS[way] ?? way}`);
      this.#counts.set(way, { number, row });
      return row;
    }));
  }

  #drawCounts(counts) {
    for (const [way, { number, row }] of this.#counts) {
      number.textContent = counts[way];
      row.classList.toggle("none", !counts[way]);
    }
    this.#counts.get("gap").row.title = this.#tally.reasons;
  }

  #drawServer({ state, processed }, head) {
    const line = this.#part("server");
    Object.assign(line.dataset, { processed, head, state });
    line.replaceChildren("server: ", el("b", {}, `${processed} of ${head}`), ` processed · ${state}`);
  }

  #onSwitch(part, set) {
    this.#part(part).addEventListener("click", async ({ currentTarget }) => {
      try {
        await set(currentTarget.getAttribute("aria-pressed") !== "true");
      } catch (error) {
        this.#failed(error);
      }
      this.#changed();
    });
  }

  #press(part, on) {
    this.#part(part).setAttribute("aria-pressed", String(on));
    this.#changed();
  }

  #part(name) { return this.#root.querySelector(`[data-testid="${name}"]`); }
}
