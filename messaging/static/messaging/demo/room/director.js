/** Who directs the show: sends, counts what the room shed, and ends it. */

import { BackendError } from "../backend.js";
import { byTestId, el } from "../dom.js";
import * as backend from "./backend.js";

const GIVERS = ["Ann", "Bo", "Cleo", "Dai", "Eve", "Finn"];
const GIFTS = ["a rose", "a cake", "a rocket", "a drum"];
const REMARKS = ["hello!", "encore", "la la la", "this song!", "louder", "who wrote it?"];
const QUESTIONS = [["Which came first?", "1987", "1994"], ["How many strings?", "four", "six"], ["Whose song is it?", "hers", "borrowed"]];
const CAMERAS = 3;
/** A minute's traffic in two seconds: more than the room takes. */
const ROUNDS = 5;
const ROUND_MS = 400;
const PER_ROUND = { gifts: 16, chats: 10 };
const KINDS = ["gift", "packet", "quiz", "chat", "command"];
const NEW = { number: 0, camera: 1, muted: false };

export class Director {
  #room;
  #said;
  #sent; // told that something was sent
  #key;
  #show;
  #counts = new Map(KINDS.map((kind) => [kind, { stored: 0, shed: 0 }]));

  /** @param {{room: string, said: import("./said.js").Said, sent: () => void, failed: (error: Error) => void}} options */
  constructor({ room, said, sent, failed }) {
    this.#room = room;
    this.#said = said;
    this.#sent = sent;
    this.#key = `meanwhile-demo:director:${room}`;
    this.#show = { ...NEW, ...JSON.parse(localStorage.getItem(this.#key) ?? "{}") };
    const buttons = {
      gift: () => this.#send(this.#gift()), packet: () => this.#send(this.#packet()), quiz: () => this.#send(this.#quiz()), chat: () => this.#send(this.#chat()),
      mute: () => this.#mute(), camera: () => this.#send(this.#camera()), busy: () => this.busy(), close: () => this.#close(),
    };
    for (const [name, act] of Object.entries(buttons)) byTestId(`send-${name}`).addEventListener("click", () => act().catch(failed));
    this.#draw();
  }

  /** More than the room takes, for two seconds. */
  async busy() {
    const button = byTestId("send-busy");
    if (button.disabled) return;
    const focused = document.activeElement === button;
    button.disabled = true;
    try {
      for (let round = 0; round < ROUNDS; round += 1) {
        if (round) await new Promise((resolve) => setTimeout(resolve, ROUND_MS));
        await this.#send(...this.#round(round));
      }
    } finally {
      button.disabled = this.#closed;
      if (focused && document.activeElement === document.body) button.focus();
    }
  }

  /** @param {import("./backend.js").Room|null} room */
  draw(room) {
    if (!room) return;
    const { ahead, low_ahead: low, most_ahead: most, rate } = room;
    const meter = byTestId("rate");
    meter.dataset.ahead = ahead;
    meter.style.setProperty("--full", Math.min(1, ahead / most));
    meter.classList.toggle("low", ahead >= low);
    meter.setAttribute("aria-label", `The room has ${ahead.toFixed(1)} of ${most} seconds of messages to send`);
    byTestId("rate-words").textContent = rate === null ? "This room takes what comes." : `takes ${rate} a second, ${rate * most} at once`;
    byTestId("room-online").textContent = room.online;
    byTestId("room-head").textContent = room.head;
    byTestId("room-shed").textContent = room.shed;
    if (room.closed) this.#end();
  }

  // --- what is sent ---

  #gift() { return { name: "gift", data: { from: this.#one(GIVERS), what: this.#one(GIFTS) } }; }

  #packet() { return { name: "packet", data: { from: this.#one(GIVERS), coins: 8 + 10 * (this.#show.number % 9) } }; }

  #quiz() {
    const [question, ...answers] = this.#one(QUESTIONS);
    return { name: "quiz", data: { question, answers } };
  }

  #chat() {
    const text = this.#one(REMARKS);
    return { name: "chat", data: { id: `${this.#room}#${this.#show.number}`, text } };
  }

  #camera() {
    this.#show.camera = (this.#show.camera % CAMERAS) + 1;
    return { name: "command", data: { do: "camera", to: this.#show.camera } };
  }

  async #mute() {
    this.#show.muted = !this.#show.muted;
    await this.#send({ name: "command", data: { do: "mute", on: this.#show.muted } });
  }

  #round(round) {
    const messages = round ? [] : [this.#quiz()];
    for (let n = 0; n < PER_ROUND.gifts; n += 1) {
      messages.push(this.#gift());
      if (n < PER_ROUND.chats && !this.#show.muted) messages.push(this.#chat());
    }
    if (round === 1) messages.push(this.#packet());
    if (round % 2) messages.push(this.#camera());
    return messages;
  }

  async #close() {
    const { closed } = await backend.close(this.#room);
    if (closed) this.#end();
    this.#sent();
  }

  async #send(...messages) {
    localStorage.setItem(this.#key, JSON.stringify(this.#show));
    const { items } = await backend.publish(this.#room, messages);
    items.forEach((item, place) => this.#count(messages[place], item));
    this.#draw();
    this.#sent();
    const problem = items.find((item) => item.problem)?.problem;
    if (problem) throw new BackendError(problem.detail ?? problem.title);
  }

  #count({ name, data }, { shed, problem }) {
    if (problem) return;
    this.#counts.get(name)[shed ? "shed" : "stored"] += 1;
    if (name === "chat" && !shed) this.#said.tell(data.id, performance.now());
  }

  #one(list) {
    this.#show.number += 1;
    return list[this.#show.number % list.length];
  }

  // --- what is shown ---

  get #closed() { return byTestId("send-close").hidden; }

  #draw() {
    for (const [kind, { stored, shed }] of this.#counts) {
      const told = byTestId(`sent-${kind}`);
      Object.assign(told.dataset, { stored, shed });
      told.replaceChildren(el("b", {}, stored), shed ? el("em", {}, `${shed} shed`) : "");
    }
    byTestId("send-mute").setAttribute("aria-pressed", String(this.#show.muted));
    byTestId("send-chat").disabled = this.#show.muted || this.#closed;
  }

  /** Nothing more can be sent here: what is left is a new room. */
  #end() {
    if (this.#closed) return;
    const button = byTestId("send-close");
    const focused = document.activeElement === button;
    for (const each of document.querySelectorAll('[data-testid^="send-"]')) each.disabled = true;
    button.hidden = true;
    const anew = byTestId("new-room");
    anew.hidden = false;
    if (focused) anew.focus();
  }
}
