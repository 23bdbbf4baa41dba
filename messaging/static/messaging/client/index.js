/** Meanwhile in the browser. See docs/reference/sdk.md. */
export { Meanwhile } from "./client.js";
export { CODES, MeanwhileError } from "./codes.js";
export { manualLifecycle, pageLifecycle } from "./lifecycle.js";
export { IndexedDBStore, MemoryStore } from "./store.js";
