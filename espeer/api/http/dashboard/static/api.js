// The node's HTTP API, with its key if it has one. Streams are read by fetch: an EventSource cannot send a key.

import { $ } from "./dom.js";

const KEPT_AS = "espeer-key";
let asking = null;

export class ApiError extends Error {
  constructor(status, message, type) {
    super(message);
    this.status = status;
    this.type = type;
  }
}

function askForKey() {
  asking ??= new Promise((resolve) => {
    const dialog = $("key");
    $("key-state").textContent = sessionStorage.getItem(KEPT_AS) ? "That is not its key." : "";
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    $("key-form").onsubmit = (event) => {
      event.preventDefault();
      sessionStorage.setItem(KEPT_AS, $("key-input").value.trim());
      $("key-input").value = "";
      dialog.close();
      asking = null;
      resolve();
    };
    dialog.showModal();
  });
  return asking;
}

function headers(given, body) {
  const all = { ...given };
  if (body) all["Content-Type"] = "application/json";
  const key = sessionStorage.getItem(KEPT_AS);
  // a header holds Latin-1 alone: a key with anything else in it is none
  if (key && /^[\x20-\x7e]+$/.test(key)) all.Authorization = `Bearer ${key}`;
  return all;
}

export async function call(path, { body, signal, headers: given = {} } = {}) {
  for (;;) {
    const shown = sessionStorage.getItem(KEPT_AS);
    const response = await fetch(path, {
      method: body ? "POST" : "GET",
      headers: headers(given, body),
      body: body ? JSON.stringify(body) : undefined,
      signal,
      cache: "no-store",
    });
    if (response.ok) return response;
    if (response.status === 401) {
      if (shown === sessionStorage.getItem(KEPT_AS)) await askForKey(); // else another call has a newer key
      continue;
    }
    let error = {};
    try {
      error = (await response.json()).error ?? {};
    } catch {
      // not an answer of ours
    }
    throw new ApiError(response.status, error.message ?? `HTTP ${response.status}`, error.type ?? "");
  }
}

export const json = async (path, options) => (await call(path, options)).json();

// Server-Sent Events as they come; `alive` is called with every part of the stream.
export async function* frames(response, alive = () => {}) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let read = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      alive();
      read += value;
      const parts = read.split(/\r?\n\r?\n/);
      read = parts.pop();
      for (const part of parts) {
        const frame = parse(part);
        if (frame) yield frame;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function parse(part) {
  const frame = { id: "", event: "", data: "" };
  for (const line of part.split(/\r?\n/)) {
    const at = line.indexOf(":");
    if (at > 0) frame[line.slice(0, at)] = line.slice(at + 1).replace(/^ /, "");
  }
  return frame.event ? { id: frame.id, event: frame.event, data: JSON.parse(frame.data) } : null;
}
