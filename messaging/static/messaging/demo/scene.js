/** The little world in the phone: what the app makes of the messages it is given. It survives a reload. */

import { el, svg } from "./dom.js";

const WIDTH = 280;
const GROUND = 404;
const STEP = 17;
const EDGE = 24;
const MOST_PRINTS = 40;
const MOST_GIFTS = 9;
const GIFT_COLOURS = ["#e0533d", "#2f6ff0", "#0fae86", "#a04bea", "#e59a1c"];
const NEW_WORLD = { x: 60, steps: 0, facing: "right", pose: "stand", gifts: 0, sky: "sun", degrees: 21 };

export class Scene {
  #root = document.getElementById("scene");
  #sky = document.getElementById("sky");
  #walker = document.getElementById("walker");
  #figure = document.getElementById("figure");
  #prints = document.getElementById("prints");
  #gifts = document.getElementById("gifts");
  #flyby = document.getElementById("flyby");
  #temperature = document.getElementById("temperature");
  #world;
  #key;

  /** @param {string} device */
  constructor(device) {
    this.#key = `meanwhile-demo:world:${device}`;
    this.#world = { ...NEW_WORLD, ...JSON.parse(localStorage.getItem(this.#key) ?? "{}") };
    fallingThings(document.getElementById("rain"), document.getElementById("snow"));
    for (let number = Math.max(1, this.#world.gifts - MOST_GIFTS + 1); number <= this.#world.gifts; number += 1) this.#put(number);
    this.#show();
  }

  /** One message of class `every`, in order. @param {{name: string, path: string, data: any}} message */
  perform({ name, path, data }) {
    if (name === "walk") this.#walk(path);
    else if (name === "turn") this.#world = { ...this.#world, facing: this.#world.facing === "left" ? "right" : "left", pose: "stand" };
    else if (name === "sit") this.#world.pose = this.#world.pose === "sit" ? "stand" : "sit";
    else if (name === "gift") this.#put((this.#world.gifts += 1), data?.colour);
    this.#show();
    localStorage.setItem(this.#key, JSON.stringify(this.#world));
  }

  /** @param {{sky: string, degrees: number}} weather */
  weather({ sky, degrees }) {
    this.#world = { ...this.#world, sky, degrees };
    this.#show();
    localStorage.setItem(this.#key, JSON.stringify(this.#world));
  }

  /** @param {string} text */
  chat(text) {
    const comment = el("span", {}, text);
    comment.style.top = `${Math.round(Math.random() * 90)}px`;
    this.#flyby.append(comment);
    setTimeout(() => comment.remove(), 4600);
  }

  stumble() {
    this.#flash("stumbling", 900);
  }

  #walk(path) {
    const { x, facing } = this.#world;
    const mark = svg("ellipse", { class: "print", "data-path": path, cx: x, cy: GROUND + 3, rx: 5, ry: 2.6 });
    this.#prints.append(mark);
    if (this.#prints.children.length > MOST_PRINTS) this.#prints.firstElementChild.remove();
    const to = x + (facing === "left" ? -STEP : STEP);
    const out = to < EDGE || to > WIDTH - EDGE;
    this.#world = { ...this.#world, x: out ? (to < EDGE ? WIDTH - EDGE : EDGE) : to, steps: this.#world.steps + 1, pose: "stand" };
    this.#flash("stepping", 220);
  }

  #put(number, colour = GIFT_COLOURS[number % GIFT_COLOURS.length]) {
    const place = (number - 1) % MOST_GIFTS;
    const x = 22 + place * 27;
    const gift = svg("g", { class: "gift", transform: `translate(${x} ${GROUND + 20})` },
      svg("rect", { class: "box", x: -10, y: -18, width: 20, height: 18, rx: 2, fill: colour }),
      svg("rect", { class: "band", x: -2.5, y: -18, width: 5, height: 18 }),
      svg("path", { d: "M0-18q-9-9-9-3 0 4 9 3 9 1 9-3 0-6-9 3", fill: "none", stroke: "#fff4d6", "stroke-width": 2.4 }));
    gift.style.transform = `translate(${x}px, 40px)`;
    this.#gifts.append(gift);
    if (this.#gifts.children.length > MOST_GIFTS) this.#gifts.firstElementChild.remove();
    requestAnimationFrame(() => requestAnimationFrame(() => { gift.style.transform = `translate(${x}px, ${GROUND + 20}px)`; }));
  }

  #flash(name, ms) {
    this.#figure.classList.remove(name);
    this.#figure.getBoundingClientRect(); // the animation begins anew
    this.#figure.classList.add(name);
    setTimeout(() => this.#figure.classList.remove(name), ms);
  }

  #show() {
    const { x, steps, facing, pose, gifts, sky, degrees } = this.#world;
    Object.assign(this.#root.dataset, { steps, facing, pose, gifts });
    this.#sky.dataset.sky = sky;
    this.#temperature.textContent = `${degrees}°`;
    this.#walker.style.transform = `translate(${x}px, ${GROUND}px)`;
    this.#figure.style.scale = facing === "left" ? "-1 1" : "1 1";
  }
}

function fallingThings(rain, snow) {
  for (let index = 0; index < 26; index += 1) {
    const [x, y] = [(index * 53) % 290, 150 + ((index * 37) % 170)];
    const drop = svg("line", { x1: x, y1: y, x2: x - 5, y2: y + 20 });
    const flake = svg("circle", { cx: x, cy: y, r: 2 + (index % 3) });
    drop.style.animationDelay = `${-(index % 8) / 10}s`;
    flake.style.animationDelay = `${-(index % 9) / 2}s`;
    rain.append(drop);
    snow.append(flake);
  }
}
