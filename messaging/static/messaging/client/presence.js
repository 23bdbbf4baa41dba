/**
 * Foreground or background, as the app is and as the server knows it. Pure. A notice is only a hint, so it is repeated
 * until it is answered; its number grows for ever, so that an old one that comes late changes nothing.
 */
export const NOTICE_AGAIN = 3_000;

export class Presence {
  #wanted = "foreground";
  #seq = 0;
  #notice = null; // an answer counts from this id on: a repeated notice may be answered by either

  get wanted() { return this.#wanted; }
  get seq() { return this.#seq; }
  get foreground() { return this.#wanted === "foreground"; }
  /** Whether the server has not answered yet. */
  get pending() { return this.#notice !== null; }

  /** @param {number} seq as it was stored */
  load(seq, wanted) {
    this.#seq = Math.max(this.#seq, seq);
    this.#wanted = wanted;
    this.#notice = null;
  }

  /** @returns {boolean} whether that is a change */
  become(wanted) {
    if (wanted === this.#wanted) return false;
    this.#wanted = wanted;
    this.#seq += 1;
    this.#notice = null;
    return true;
  }

  /** The server has another state, or a higher number. */
  outbid(seq) {
    this.#seq = Math.max(this.#seq, seq) + 1;
    this.#notice = null;
  }

  /** @returns {object} the frame; also for repeating it */
  notice(id) {
    this.#notice ??= id;
    return { type: "notice", id, state: this.#wanted, state_seq: this.#seq };
  }

  /** @returns {"old"|"differs"|"agreed"} `differs`: outbid it and say it again */
  answered({ re, state }) {
    if (this.#notice === null || !(re >= this.#notice)) return "old";
    if (state !== this.#wanted) return "differs";
    this.#notice = null;
    return "agreed";
  }

  /** The connection is gone: the next hello says it. */
  forget() { this.#notice = null; }
}
