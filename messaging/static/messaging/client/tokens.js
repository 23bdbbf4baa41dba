/** The device's token, as the app gave it last. */
export class Tokens {
  #getToken;
  #onRenewed;
  #token = null;

  /** @param {{getToken: () => Promise<string>|string, onRenewed: (token: string) => void}} parts `onRenewed`: one that was not asked for here */
  constructor({ getToken, onRenewed }) {
    this.#getToken = getToken;
    this.#onRenewed = onRenewed;
  }

  get current() { return this.#token; }

  /** @returns {Promise<string>} a new one @throws what the app throws, TypeError if that is no token */
  async ask() {
    const token = await this.#getToken();
    if (typeof token !== "string" || !token) throw new TypeError("getToken gave no token");
    this.#token = token;
    return token;
  }

  /** @param {string} [stale] @returns {Promise<string>} the token, or another than this one */
  async but(stale) {
    if (this.#token === null || this.#token === stale) this.#onRenewed(await this.ask());
    return this.#token;
  }
}
