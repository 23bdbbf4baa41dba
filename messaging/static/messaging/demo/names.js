/** The name of this browser's device, or room, kept across reloads; a second tab has another. */

/** A reload may find the lock of the page before it not yet given back. */
const PATIENCE_MS = 400;

/** @param {string} what @param {string} prefix @returns {Promise<string>} */
export async function claimName(what = "device", prefix = "browser-") {
  const key = `meanwhile-demo:${what}`;
  const first = localStorage.getItem(key) ?? `${prefix}${randomLetters(4)}`;
  localStorage.setItem(key, first);
  for (let tab = 1; ; tab += 1) {
    const name = tab === 1 ? first : `${first}.${tab}`;
    if (await held(`meanwhile-demo:${name}`)) return name;
  }
}

/** Takes the lock for as long as the page lives; false if another tab has it. Without Web Locks, tabs share a device. */
function held(lock) {
  if (!navigator.locks) return true;
  return new Promise((resolve) => {
    navigator.locks
      .request(lock, { signal: AbortSignal.timeout(PATIENCE_MS) }, () => {
        resolve(true);
        return new Promise(() => {});
      })
      .catch(() => resolve(false));
  });
}

function randomLetters(length) {
  const letters = "abcdefghjkmnpqrstuvwxyz23456789";
  return [...crypto.getRandomValues(new Uint8Array(length))].map((byte) => letters[byte % letters.length]).join("");
}
