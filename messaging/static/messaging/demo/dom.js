/** Elements by test id, and new ones. */

const SVG = "http://www.w3.org/2000/svg";

/** @param {string} id @returns {HTMLElement} */
export const byTestId = (id) => document.querySelector(`[data-testid="${id}"]`);

/** @param {string} tag @param {Record<string, string|number|undefined>} [attributes] @param {...(Node|string)} children */
export const el = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);

export const svg = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) if (value !== undefined) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const NEAR = 40;
const followed = new WeakMap(); // by list: whether the reader left it at its end

/** Adds to a bounded list that scrolls; it follows the newest unless the reader has scrolled away from its end. */
export function appendFollowing(list, item, most) {
  if (!followed.has(list)) {
    followed.set(list, true);
    list.addEventListener("scroll", () => followed.set(list, atEnd(list))); // a list that shrinks fires none
  }
  list.append(item);
  while (list.children.length > most) list.firstElementChild.remove();
  if (followed.get(list)) list.scrollTop = list.scrollHeight;
}

const atEnd = (list) => list.scrollHeight - list.scrollTop - list.clientHeight < NEAR;

/** "3 messages", "1 message" */
export const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
