// Watches the node, and goes on trying while it is gone.

import { $ } from "./dom.js";
import { call, frames } from "./api.js";

const FIRST_WAIT = 1;
const LAST_WAIT = 15;
const SILENCE_MS = 40000; // the node sends something every 15 s

function say(state, text) {
  $("connection").dataset.state = state;
  if ($("connection-text").textContent !== text) $("connection-text").textContent = text;
}

async function countDown(seconds) {
  for (let left = seconds; left > 0; left -= 1) {
    $("countdown").textContent = ` in ${left} s`;
    await new Promise((resolve) => { setTimeout(resolve, 1000); });
  }
  $("countdown").textContent = "";
}

// A browser has six connections to a node: pages that nobody sees give theirs back, and go on when they are seen again.
async function seen() {
  while (document.hidden) {
    say("paused", "paused while nobody looks");
    await new Promise((resolve) => { document.addEventListener("visibilitychange", resolve, { once: true }); });
  }
}

function explain(error) {
  if (error.type === "NotReady") return ["loading", "the node is loading; trying again"];
  if (error.type === "TooManyWatchers") return ["busy", "too many pages watch this node; trying again"];
  if (error.status) return ["gone", `the node refuses (${error.message}); trying again`];
  return ["gone", "the node stopped; trying again"];
}

// Calls `on` with every event, for ever.
export async function watch(on) {
  let last = "";
  let wait = FIRST_WAIT;
  for (;;) {
    const stop = new AbortController();
    let timer = 0;
    const alive = () => {
      clearTimeout(timer);
      timer = setTimeout(() => stop.abort(), SILENCE_MS);
    };
    let state = "gone";
    const hide = () => { if (document.hidden) stop.abort(); };
    const leave = () => stop.abort();
    await seen();
    document.addEventListener("visibilitychange", hide);
    window.addEventListener("pagehide", leave);
    try {
      alive();
      const headers = last ? { "Last-Event-ID": last } : {};
      const response = await call("/api/events", { headers, signal: stop.signal });
      wait = FIRST_WAIT;
      say("live", "live");
      for await (const frame of frames(response, alive)) {
        if (frame.id) last = frame.id;
        on(frame);
      }
      say("gone", "the node stopped; trying again");
    } catch (error) {
      if (document.hidden) continue;
      let text;
      [state, text] = explain(error);
      say(state, text);
    } finally {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", hide);
      window.removeEventListener("pagehide", leave);
    }
    await countDown(state === "loading" ? FIRST_WAIT : wait);
    wait = Math.min(2 * wait, LAST_WAIT);
  }
}
