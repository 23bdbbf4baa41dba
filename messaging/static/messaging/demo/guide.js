/** Three steps that tell the story: leave, publish, return. Each is a button that does it. */

import { byTestId } from "./dom.js";

export class Guide {
  #buttons = [1, 2, 3].map((step) => byTestId(`guide-${step}`));

  /** @param {[() => unknown, () => unknown, () => unknown]} steps @param {(error: Error) => void} failed */
  constructor(steps, failed) {
    steps.forEach((step, index) => this.#buttons[index].addEventListener("click", async () => {
      try {
        await step();
      } catch (error) {
        failed(error);
      }
    }));
    this.show(1);
  }

  /** @param {1|2|3} current the step to take next */
  show(current) {
    this.#buttons.forEach((button, index) => {
      if (index + 1 === current) button.setAttribute("aria-current", "step");
      else button.removeAttribute("aria-current");
    });
  }
}
