/** What the scene's own back end offers: a device into the room, messages, the end of the room, and how it stands. */

import { ask, post } from "../backend.js";

/** @param {string} device @param {string} room @param {typeof fetch} over the device's own network @returns {Promise<{token: string}>} */
export const register = (device, room, over) => post("/demo/live-room/device", { device, room }, over);

/** @param {string} room @param {{name: string, data: unknown}[]} messages @returns {Promise<{items: object[]}>} */
export const publish = (room, messages) => post("/demo/live-room/publish", { room, messages });

/** For good. @param {string} room */
export const close = (room) => post("/demo/live-room/close", { room });

/**
 * @typedef {{room: string, head: number, shed: number, closed: boolean, online: number, rate: number|null, ahead: number, low_ahead: number,
 *   most_ahead: number, devices: {device: string, state: string, received: number, processed: number}[]}} Room
 * @param {string} room @returns {Promise<Room|null>} null: nobody is in it yet
 */
export const look = (room) => ask(`/demo/live-room/room?${new URLSearchParams({ room })}`);
