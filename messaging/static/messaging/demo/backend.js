/** The demo's back end: what a customer's own back end would offer. Three calls. */

export class BackendError extends Error {}

/**
 * A token for the device; goes over the device's own network, which may be cut.
 * @param {string} device @param {typeof fetch} [over] @returns {Promise<{device: string, token: string, expires_at: string}>}
 */
export const register = (device, over) => post("/demo/device", { device }, over);

/** @param {{to: string, name: string, data: unknown, key?: string, count?: number}} message */
export const publish = (message) => post("/demo/publish", message);

/** What the services heard since `after`, and the device as the server sees it. @param {string} after @param {string} device */
export const results = (after, device) => ask(`/demo/results?${new URLSearchParams({ after, device })}`);

/** What changes something: with the token against forgery. @param {string} path @param {object} body @param {typeof fetch} [over] */
export function post(path, body, over) {
  // Read each time: a login in the admin, in another tab, makes a new one.
  const csrf = document.cookie.match(/(?:^|;\s*)csrftoken=([^;]+)/)?.[1] ?? "";
  const headers = { "Content-Type": "application/json", "X-CSRFToken": csrf };
  return ask(path, { method: "POST", headers, body: JSON.stringify(body) }, over);
}

/** @returns {Promise<any>} the answer @throws {BackendError} what the server says is wrong @throws {TypeError} it is away */
export async function ask(path, init, over = (...request) => fetch(...request)) {
  const response = await over(path, { ...init, credentials: "same-origin" });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new BackendError(answer.detail ?? `The server answered ${response.status}.`);
  return answer;
}
