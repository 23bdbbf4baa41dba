/** The ways to the server: a socket, another one that is tried beside the polling, and the polling. One of them is used. */
import { Socket } from "./transport.js";

export class Links {
  #socket;
  #trial;
  #polling;
  #used;

  /** @param {{WebSocket: typeof WebSocket, url: string, on: (event: object) => void, polling: import("./polling.js").Polling}} parts */
  constructor({ WebSocket, url, on, polling }) {
    this.#used = this.#socket = new Socket({ WebSocket, url, on });
    this.#trial = new Socket({ WebSocket, url, on });
    this.#polling = polling;
  }

  open(connection) { (this.#used = this.#socket).open(connection); }
  poll(connection) { (this.#used = this.#polling).open(connection); }
  send(frame) { this.#used.send(frame); }
  close() { this.#used.close(); }

  try(connection) { this.#trial.open(connection); }
  untry() { this.#trial.close(); }

  /** The socket that was tried is used from here on. */
  switch() {
    [this.#socket, this.#trial] = [this.#trial, this.#socket];
    this.#used = this.#socket;
  }
}
