// The dashboard: what each event means for which part of the page.

import { $, chip, h, setTypes, shortPeer } from "./dom.js";
import * as ask from "./ask.js";
import * as experiences from "./experiences.js";
import * as graph from "./graph.js";
import * as refinements from "./refinements.js";
import * as tiles from "./tiles.js";
import { watch } from "./live.js";

let status = null;
let peers = [];

function stands() {
  if (!status) return;
  setTypes(status.types);
  experiences.setNode(status, peers);
  graph.draw(status, peers);
}

function header() {
  const facts = [
    ["Peer id", h("span", { class: "id", title: status.peer_id }, shortPeer(status.peer_id))],
    ["Network", `${status.network_name} (${status.private ? "private" : "open"})`],
    ["Role", status.role],
    ["Model", status.model],
    ["Types", h("span", {}, ...status.types.map(chip))],
  ];
  $("facts").replaceChildren(...facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
  document.title = `${shortPeer(status.peer_id)} – espeer`;
}

const handlers = {
  begin(history) {
    tiles.begin(history);
    refinements.begin(history.runs);
    $("lost").hidden = true;
    experiences.load();
    refinements.load();
  },
  status(now) {
    const types = status?.types.join();
    status = now;
    stands();
    header();
    tiles.stands(now);
    if (types !== now.types.join()) ask.setTypes(now.types);
  },
  peers(now) {
    peers = now;
    stands();
  },
  recorded(event) {
    experiences.arrived(event);
  },
  answered(event) {
    tiles.answered(event);
    experiences.happened(event.used);
  },
  refined(event) {
    refinements.ended(event);
    refinements.load();
    experiences.load();
    experiences.happened(null);
  },
  lost({ n }) {
    experiences.lost(n);
    experiences.load();
  },
};

ask.listen();
experiences.listen();
watch(({ event, data }) => handlers[event]?.(data));
