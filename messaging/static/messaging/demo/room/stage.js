/** What a viewer sees: the host, the cameras, gifts, red packets, questions, bullet chat. It survives a reload. */

import { el } from "../dom.js";

const LINES = 4;
const BULLETS = 12;
const CARD_MS = 9000;
const CAPTION_MS = 20_000;
const NEW = { camera: 1, muted: false, closed: false };

export class Stage {
  #root;
  #key;
  #now;
  #timers = new Map(); // by the part that is hidden in time

  /** @param {HTMLElement} root @param {string} device */
  constructor(root, device) {
    this.#root = root;
    this.#key = `meanwhile-demo:stage:${device}`;
    this.#now = { ...NEW, ...JSON.parse(localStorage.getItem(this.#key) ?? "{}") };
    this.#show();
  }

  /** One message of class `every`, in order. @param {{name: string, path: string, data: any}} message */
  perform({ name, path, data }) {
    if (name === "gift") this.#line(name, path, `${data?.from ?? "Somebody"}: ${data?.what ?? "a gift"}`);
    else if (name === "packet") {
      this.#line(name, path, `${data?.from}: ${data?.coins} coins`);
      this.#card("packet", el("b", {}, "Red packet"), `${data?.coins} coins from ${data?.from}`);
    } else if (name === "quiz") {
      this.#line(name, path, "a question");
      this.#card("quiz", el("b", {}, data?.question ?? "?"), (data?.answers ?? []).join(" · "));
    } else if (name === "command") this.#obey(data ?? {}, path);
  }

  /** @param {string} text */
  chat(text) {
    const bullets = this.#part("flyby");
    const bullet = el("span", {}, text);
    bullet.style.top = `${Math.round(Math.random() * 70)}%`;
    bullet.addEventListener("animationend", () => bullet.remove());
    bullets.append(bullet);
    while (bullets.children.length > BULLETS) bullets.firstElementChild.remove();
  }

  /** @param {number} online as the server counted it last */
  online(online) { this.#part("online").replaceChildren(el("b", { "data-testid": "online" }, online), " on line"); }

  /** The room's last word. */
  close() { this.#keep({ closed: true }); }

  /** @param {"tunnel"|"background"|""} why the viewer sees nothing */
  away(why) {
    this.#root.dataset.away = why;
    if (why) this.#part("caption").hidden = true; // it told of the time before
  }

  /** @param {string} text what an absence brought */
  caption(text) {
    const caption = this.#part("caption");
    caption.textContent = text;
    caption.hidden = false;
    this.#hideIn("caption", CAPTION_MS);
  }

  #obey({ do: what, to, on }, path) {
    if (what === "camera") this.#keep({ camera: to });
    if (what === "mute") this.#keep({ muted: on });
    const words = { camera: `camera ${to}`, mute: on ? "all are muted" : "all may speak", close: "the show is over" };
    this.#line("command", path, words[what] ?? what);
  }

  #line(name, path, text) {
    const feed = this.#part("feed");
    feed.append(el("li", { "data-name": name, "data-path": path }, el("i", { "aria-hidden": "true" }), text));
    while (feed.children.length > LINES) feed.firstElementChild.remove();
  }

  #card(kind, ...content) {
    const card = this.#part("card");
    card.dataset.kind = kind;
    card.replaceChildren(...content);
    card.hidden = false;
    this.#hideIn("card", CARD_MS);
  }

  #hideIn(part, ms) {
    clearTimeout(this.#timers.get(part));
    this.#timers.set(part, setTimeout(() => { this.#part(part).hidden = true; }, ms));
  }

  #keep(changed) {
    Object.assign(this.#now, changed);
    localStorage.setItem(this.#key, JSON.stringify(this.#now));
    this.#show();
  }

  #show() { Object.assign(this.#root.dataset, this.#now); }

  #part(name) { return this.#root.querySelector(`.${name}`); }
}
