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

/** Adds to a bounded list that scrolls; it follows the newest only while the reader is at its end. */
export function appendFollowing(list, item, most) {
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  list.append(item);
  while (list.children.length > most) list.firstElementChild.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
}

/** "3 messages", "1 message" */
export const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
