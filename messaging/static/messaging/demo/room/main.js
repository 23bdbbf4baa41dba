/** The live-room scene: puts three phones, the director and the server's view of the room together. Nothing is decided here. */

import { Asking } from "../asking.js";
import { byTestId } from "../dom.js";
import { Guide } from "../guide.js";
import { claimName } from "../names.js";
import { Page } from "../page.js";
import { look } from "./backend.js";
import { Director } from "./director.js";
import { Said } from "./said.js";
import { Viewer } from "./viewer.js";

const TICK_MS = 1000;
const page = new Page(draw);
const { changed, failed } = page;
const sections = [...document.querySelectorAll(".viewer")];
const show = await claimName("show", "show-");
const numberKey = `meanwhile-demo:room-number:${show}`;
const number = Number(localStorage.getItem(numberKey) ?? 1); // a room that was closed stays closed
const room = number > 1 ? `room:${show}-${number}` : `room:${show}`;
document.getElementById("room-name").textContent = room;

let seen = null; // the room as the server sees it

const said = new Said(sections.map((section) => section.dataset.phone));
const viewers = sections.map((section) => new Viewer(section, { room, said, changed, failed }));
const asking = new Asking(async () => {
  const before = JSON.stringify(seen);
  seen = await look(room);
  page.reached();
  changed();
  return JSON.stringify(seen) !== before;
}, failed);
const director = new Director({ room, said, sent: () => { asking.soon(); changed(); }, failed });
const [, inTheMiddle] = viewers;
const guide = new Guide([
  () => { inTheMiddle.tunnel(true); guide.show(2); },
  async () => { await director.busy(); guide.show(3); },
  () => { inTheMiddle.tunnel(false); guide.show(1); },
], failed);

byTestId("new-room").addEventListener("click", () => {
  for (const { name } of viewers) indexedDB.deleteDatabase(`meanwhile-demo-${name}`);
  localStorage.setItem(numberKey, String(number + 1));
  location.reload();
});
setInterval(changed, TICK_MS); // a chat counts as missed when it has not come in time

function draw() {
  const stale = viewers.map((viewer) => viewer.draw(seen)).includes(true);
  director.draw(seen);
  if (stale) asking.soon();
}

await Promise.all(viewers.map((viewer) => viewer.open()));
