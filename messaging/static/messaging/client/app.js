/** The app's side: its handlers and callbacks. What they throw is theirs, and goes to `onError`. */
import { Runner } from "./runner.js";

export class App {
  #options;

  /** @param {import("./client.js").Options} options */
  constructor(options) { this.#options = options; }

  /** @param {object} parts of the Runner, beyond what the app gave */
  runner(parts) {
    const { handlers = {}, onGap, onStreamClosed } = this.#options;
    return new Runner({
      handlers,
      onGap: (gap) => (onGap ? onGap(gap) : console.error("Meanwhile: messages are lost, and there is no onGap", gap)),
      onClosed: (about) => onStreamClosed?.(about),
      onError: (error) => this.error(error),
      ...parts,
    });
  }

  /** A `latest` or `transient` value: to the handler of its name, else to the callback of its kind. */
  tell(kind, value) {
    const { handlers = {}, onLatest, onTransient } = this.#options;
    const handler = Object.hasOwn(handlers, value.name) ? handlers[value.name] : { latest: onLatest, transient: onTransient }[kind];
    this.event({ kind, value });
    this.#call(handler, value);
  }

  stopped(about) {
    const { onStopped } = this.#options;
    if (onStopped) this.#call(onStopped, about);
    else console.error("Meanwhile: a stream waits at a failure, and there is no onStopped", about);
  }

  state(state, detail) {
    this.event({ kind: "state", state, detail });
    this.#call(this.#options.onState, state, detail);
  }

  error(error) {
    this.event({ kind: "error", error });
    try {
      if (this.#options.onError) this.#options.onError(error);
      else console.error("Meanwhile:", error);
    } catch (second) {
      console.error("Meanwhile: onError failed", second);
    }
  }

  event(event) {
    try {
      this.#options.onEvent?.(event);
    } catch (error) {
      console.error("Meanwhile: onEvent failed", error);
    }
  }

  #call(callback, ...about) {
    try {
      Promise.resolve(callback?.(...about)).catch((error) => this.error(error));
    } catch (error) {
      this.error(error);
    }
  }
}
