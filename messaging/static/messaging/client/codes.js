/**
 * The registry of error codes, for frames, closes and HTTP problems alike. The mirror of `messaging/protocol/codes.py`
 * and docs/reference/errors.md; a test compares the three.
 *
 * @typedef {{title: string, temporary: boolean, status: number, close: number|null}} Code
 * @type {Readonly<Record<string, Code>>}
 */
export const CODES = Object.freeze({
  bad_json: { title: "This is not JSON that can be accepted.", temporary: false, status: 400, close: null },
  too_deep: { title: "The JSON is nested too deeply.", temporary: false, status: 400, close: null },
  too_large: { title: "This is too large.", temporary: false, status: 413, close: null },
  invalid: { title: "A member is missing or has a value that is not allowed.", temporary: false, status: 400, close: null },
  unknown_type: { title: "There is no frame of this type.", temporary: false, status: 400, close: null },
  bad_host: { title: "The server does not answer to this host name.", temporary: false, status: 400, close: null },
  hello_expected: { title: "The first frame must be a hello.", temporary: false, status: 400, close: 4501 },
  not_the_protocol: { title: "This connection does not speak meanwhile.v1.json.", temporary: false, status: 400, close: 4501 },
  bad_token: { title: "The device token is not valid.", temporary: false, status: 401, close: 4500 },
  token_expired: { title: "The device token has expired.", temporary: true, status: 401, close: 4005 },
  bad_key: { title: "The service key is not valid.", temporary: false, status: 401, close: 4500 },
  device_revoked: { title: "The device has been revoked.", temporary: false, status: 403, close: 4503 },
  forced_off: { title: "The connection was ended by an operator.", temporary: false, status: 403, close: 4503 },
  wrong_scope: { title: "The key does not have the scope for this.", temporary: false, status: 403, close: 4507 },
  not_allowed: { title: "This is not allowed.", temporary: false, status: 403, close: 4507 },
  not_found: { title: "There is nothing here.", temporary: false, status: 404, close: null },
  unknown_stream: { title: "There is no such stream.", temporary: false, status: 404, close: null },
  unknown_device: { title: "There is no such device.", temporary: false, status: 404, close: null },
  unknown_name: { title: "There is no message type of this name.", temporary: false, status: 404, close: null },
  unknown_webhook: { title: "There is no such webhook.", temporary: false, status: 404, close: null },
  unknown_delivery: { title: "There is no such delivery.", temporary: false, status: 404, close: null },
  unknown_key: { title: "There is no such key.", temporary: false, status: 404, close: null },
  method_not_allowed: { title: "The method is not allowed here.", temporary: false, status: 405, close: null },
  not_acceptable: { title: "No representation fits the Accept header.", temporary: false, status: 406, close: null },
  silent: { title: "Nothing was heard for too long.", temporary: true, status: 408, close: 4012 },
  too_slow: { title: "The connection takes nothing.", temporary: true, status: 408, close: 4008 },
  superseded: { title: "A newer connection of this device took over.", temporary: false, status: 409, close: 4509 },
  epoch_changed: { title: "The history of the stream is another one now.", temporary: false, status: 409, close: null },
  too_many_keys: { title: "The service has as many keys as it may.", temporary: false, status: 409, close: null },
  last_key: { title: "This is the app's last key with the scope manage.", temporary: false, status: 409, close: null },
  stream_closed: { title: "The stream is closed.", temporary: false, status: 410, close: null },
  position_gone: { title: "The position is not in the stream's history.", temporary: false, status: 410, close: 4510 },
  unsupported_media_type: { title: "The body must be application/json.", temporary: false, status: 415, close: null },
  id_mismatch: { title: "The message id was used for another message.", temporary: false, status: 422, close: null },
  idempotency_mismatch: { title: "The Idempotency-Key was used for another request.", temporary: false, status: 422, close: null },
  upgrade_required: { title: "This address speaks WebSocket.", temporary: false, status: 426, close: null },
  rate_limited: { title: "Too many requests.", temporary: true, status: 429, close: null },
  too_many_frames: { title: "Too many frames or connections.", temporary: true, status: 429, close: 4029 },
  internal: { title: "Something went wrong on the server.", temporary: true, status: 500, close: null },
  overloaded: { title: "The server has too much to do at this moment.", temporary: true, status: 503, close: 4013 },
  unavailable: { title: "The storage cannot be reached at this moment.", temporary: true, status: 503, close: null },
  restart: { title: "The server is going down and comes back.", temporary: true, status: 503, close: 4001 },
  storage_full: { title: "The app has stored as much as it may.", temporary: true, status: 507, close: null },
});

/** Close codes from here on are final: who comes back is sent away again. */
export const FINAL = 4500;

/** Said to services only; their close codes are shared. */
const TO_SERVICES = new Set(["bad_key", "wrong_scope"]);

/**
 * The name of the code a close stands for. Several share a close code: the server says which as the close's reason.
 * @param {number|undefined} close @param {string} [reason] @returns {string|null}
 */
export function nameOfClose(close, reason = "") {
  if (Object.hasOwn(CODES, reason) && CODES[reason].close === close) return reason;
  const names = Object.keys(CODES).filter((name) => CODES[name].close === (close ?? NaN) && !TO_SERVICES.has(name));
  return names.at(-1) ?? null;
}

/** A refusal by the server, or by the SDK itself, with the registry's code. */
export class MeanwhileError extends Error {
  /** @param {string} code @param {{title?: string, detail?: string, temporary?: boolean, cause?: unknown}} [about] */
  constructor(code, { title, detail, temporary, cause } = {}) {
    super(detail || title || CODES[code]?.title || code, cause === undefined ? undefined : { cause });
    this.name = "MeanwhileError";
    this.code = code;
    this.title = title ?? CODES[code]?.title ?? code;
    this.temporary = temporary ?? CODES[code]?.temporary ?? false;
  }
}
