/** What both pages have: a line for what went wrong, and one drawing for all that moved since the last. */

export class Page {
  #alarm = document.getElementById("alarm");
  #draw;
  #asked = false;
  #unreachable = false;

  /** @param {() => void} draw shows where everything stands */
  constructor(draw) {
    this.#draw = draw;
    document.addEventListener("click", () => { this.#alarm.hidden = true; }, { capture: true });
  }

  /** Something moved: all is drawn anew, once. */
  changed = () => {
    if (this.#asked) return;
    this.#asked = true;
    const later = () => { this.#asked = false; this.#draw(); };
    if (document.hidden) setTimeout(later);
    else requestAnimationFrame(later);
  };

  /** @param {Error} error told to the person, until the next click, or the server's next answer */
  failed = (error) => {
    this.#unreachable = error instanceof TypeError;
    this.#alarm.textContent = this.#unreachable ? "The server cannot be reached." : error.message;
    this.#alarm.hidden = false;
  };

  /** The server answers. */
  reached() {
    if (this.#unreachable) this.#alarm.hidden = true;
    this.#unreachable = false;
  }
}
