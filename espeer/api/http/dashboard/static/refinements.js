// The refinement runs.

import { $, count, h, time } from "./dom.js";
import { json } from "./api.js";

const SHOWN = 20;
const REASONS = { asked: "it was asked for", records: "much was new", capacity: "there was no room" };

const sizes = new Map(); // of the runs since the node started: active experiences before and after

export function begin(runs) {
  sizes.clear();
  runs.forEach(ended);
}

export const ended = (run) => sizes.set(run.run, [run.before, run.after]);

export async function load() {
  let runs;
  try {
    runs = await json(`/api/refinements?limit=${SHOWN}`);
  } catch (error) {
    if (!error.status) return;
    $("refinements").replaceChildren(h("tr", {}, h("td", { colspan: 4 }, error.message)));
    return;
  }
  $("refinements").replaceChildren(...(runs.length ? runs.map(row) : [h("tr", {}, h("td", { colspan: 4 }, "There was none yet."))]));
}

function row(run) {
  const did = [
    run.superseded && `${count(run.superseded)} superseded`,
    run.made && `${count(run.made)} made`,
    run.evicted && `${count(run.evicted)} evicted`,
  ].filter(Boolean).join(", ") || "nothing was alike";
  const [before, after] = sizes.get(run.id) ?? [];
  const change = run.made - run.superseded - run.evicted;
  const state = run.undone ? "; taken back" : run.finished ? "" : "; under way";
  return h("tr", {},
    h("th", { scope: "row", title: `because ${REASONS[run.reason] ?? run.reason}` }, String(run.id)),
    h("td", {}, time(run.started)),
    h("td", {}, before === undefined ? `${change > 0 ? "+" : ""}${count(change)}` : `${count(before)} → ${count(after)}`),
    h("td", {}, `${did}${state}`));
}
