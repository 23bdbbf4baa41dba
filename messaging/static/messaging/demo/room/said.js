/**
 * Who saw which bullet chat. Nobody stores them, so nobody can ask for them afterwards: what a phone never got is known
 * by what the others saw, and by what the show said. Pure.
 */

const MOST = 1000;
/** Until then (ms) a chat that others saw may still be on its way. */
const ON_ITS_WAY = 1000;

export class Said {
  #chats = new Map(); // by key: when it was first heard of, and who saw it
  #forgotten; // per phone, what it missed of those that are not kept any more

  /** @param {string[]} phones */
  constructor(phones) { this.#forgotten = new Map(phones.map((phone) => [phone, 0])); }

  /** @param {string} key @param {number} now ms @param {string} [phone] that saw it; without: the show said it */
  tell(key, now, phone) {
    if (!this.#chats.has(key)) this.#chats.set(key, { at: now, seenBy: new Set() });
    if (phone) this.#chats.get(key).seenBy.add(phone);
    if (this.#chats.size > MOST) this.#forget();
  }

  /** How many went by without this phone. @param {string} phone @param {number} now ms */
  missed(phone, now) {
    let missed = this.#forgotten.get(phone);
    for (const { at, seenBy } of this.#chats.values()) if (!seenBy.has(phone) && now - at >= ON_ITS_WAY) missed += 1;
    return missed;
  }

  #forget() {
    const [key, { seenBy }] = this.#chats.entries().next().value;
    this.#chats.delete(key);
    for (const [phone, missed] of this.#forgotten) if (!seenBy.has(phone)) this.#forgotten.set(phone, missed + 1);
  }
}
