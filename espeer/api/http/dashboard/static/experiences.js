// The experiences as they arrive, and the lifecycle of one.

import { $, announce, chip, count, h, plural, shortId, shortPeer, time } from "./dom.js";
import { json } from "./api.js";

const SHOWN = 100;
const WAYS = {
  own: "learnt here",
  gossip: "by gossip",
  sync: "by sync",
  submit: "from a client",
  import: "imported",
  refined: "condensed here",
};
const METHODS = {
  distilled: "by the model",
  retried: "by the model, at the second try",
  extractive: "from its own sentences",
  condensed: "condensed by the model",
};

let node = { peer_id: "", peers: [] };
export const setNode = (status, peers) => { node = { peer_id: status.peer_id, peers }; };

const way = (via) => WAYS[via] ?? via;
const who = (author) => (author === node.peer_id ? "this node" : shortPeer(author));

export function record(experience, further = [], fresh = false) {
  const known = experience.text !== null;
  return h("li", { class: fresh ? "fresh" : null, "data-id": experience.id },
    h("button", { type: "button", class: "record", onclick: () => open(experience.id) },
      h("span", { class: "text", dir: "auto" }, known ? experience.text : "Its text is not kept any more."),
      h("span", { class: "meta" },
        known ? chip(experience.type) : null,
        h("span", { class: "id" }, shortId(experience.id)),
        known ? h("span", { title: experience.author }, who(experience.author)) : null,
        ...further)));
}

// -- the list

const listed = (experience, at, fresh) => record(experience, [h("span", {}, way(experience.via)), time(at)], fresh);

function tidy() {
  const list = $("experiences");
  while (list.children.length > SHOWN) list.lastChild.remove();
  $("experiences-empty").hidden = list.children.length > 0;
}

export async function load() {
  try {
    const all = await json(`/api/experiences?limit=${SHOWN}`);
    $("experiences").replaceChildren(...all.map((experience) => listed(experience, experience.created, false)));
    tidy();
  } catch (error) {
    if (!error.status) return; // the node is gone, which is said elsewhere
    $("experiences").replaceChildren();
    tidy();
    $("experiences-empty").textContent = error.message;
  }
}

export function arrived(event) {
  if (event.kind === "retraction") {
    load();
    return;
  }
  if (!event.experience || $("experiences").querySelector(`[data-id="${CSS.escape(event.id)}"]`)) return;
  $("experiences").prepend(listed(event.experience, event.at, true));
  tidy();
  announce(1);
}

export function lost(number) {
  $("lost").hidden = false;
  $("lost").textContent = `${plural(number, "event")} came faster than this page could show; the figures are right all the same.`;
}

// -- one of them

let trail = [];

export function open(id) {
  trail.push(id);
  show();
}

async function show() {
  const dialog = $("lifecycle");
  const id = trail.at(-1);
  if (!id) return;
  $("lifecycle-back").hidden = trail.length < 2;
  try {
    const why = await json(`/api/experiences/${encodeURIComponent(id)}/why`);
    if (id !== trail.at(-1)) return;
    $("lifecycle-body").replaceChildren(...told(why));
  } catch (error) {
    $("lifecycle-body").replaceChildren(h("p", { class: "notice" }, error.status ? error.message : "The node cannot be reached."));
  }
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}

// Something happened that may concern the one that is shown.
export function happened(ids) {
  if ($("lifecycle").open && (!ids || ids.includes(trail.at(-1)))) show();
}

function told(why) {
  return [
    h("p", { class: "text large", dir: "auto" }, why.text ?? "Its text is not kept any more."),
    h("p", { class: "state" }, h("span", { class: `badge ${why.state}` }, why.state), standing(why)),
    h("dl", { class: "details" }, ...facts(why)),
    ...related("Superseded by", why.by ? [why.by] : [], null),
    ...related("Condensed from", why.sources, null),
    ...related("Stands for", why.stands_for.filter((other) => !why.sources.some((source) => source.id === other.id)), null),
    ...used(why.uses),
    ...steps(why.steps),
  ];
}

function standing(why) {
  return {
    active: "It is recalled from.",
    superseded: "Another experience stands for it.",
    evicted: "There was no room for it.",
    retracted: "Its author took it back.",
    undone: "The refinement run that made it was taken back.",
  }[why.state] ?? "";
}

function facts(why) {
  const pairs = [["Id", h("span", { class: "id whole" }, why.id)]];
  if (why.text !== null) {
    pairs.push(
      ["Type", chip(why.type)],
      ["Author", h("span", {}, h("span", { class: "id whole" }, why.author), ` (${trust(why.author)})`)],
      ["Learnt", time(why.created)],
      ["Worded", `${METHODS[why.method] ?? why.method} (${why.model})`],
    );
  }
  pairs.push(["Came", h("span", {}, `${way(why.via)}, `, time(why.received))]);
  return pairs.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]);
}

function trust(author) {
  if (author === node.peer_id) return "this node";
  const peer = node.peers.find((candidate) => candidate.peer_id === author);
  if (!peer) return "not connected now";
  return peer.score > 0 ? `connected, score ${peer.score}: it did something wrong of late` : "connected, score 0: nothing against it";
}

function related(title, others) {
  if (!others.length) return [];
  return [h("h3", {}, title), h("ol", { class: "records" }, ...others.map((other) => record(other, [h("span", {}, other.state)])))];
}

function used(uses) {
  const rating = (good) => (good === null ? "not rated" : good ? "it helped" : "it did not help");
  return [
    h("h3", {}, "Used in answers"),
    uses.length
      ? h("ol", { class: "uses" }, ...uses.map((use) => h("li", {},
        h("span", { class: "text", dir: "auto" }, use.question),
        h("span", { class: "meta" }, `answer ${count(use.answer)}`, h("span", {}, rating(use.good)), time(use.at)))))
      : h("p", { class: "hint" }, "Never yet."),
  ];
}

function steps(all) {
  if (!all.length) return [];
  return [
    h("h3", {}, "What refinement did"),
    h("ol", { class: "uses" }, ...all.map((step) => h("li", {},
      `Run ${step.run}: ${step.before ? `${step.before}, then ${step.after}` : "made it"}${step.undone ? "; taken back since" : ""}`))),
  ];
}

export function listen() {
  const dialog = $("lifecycle");
  $("lifecycle-close").addEventListener("click", () => dialog.close());
  $("lifecycle-back").addEventListener("click", () => {
    trail.pop();
    show();
  });
  dialog.addEventListener("close", () => { trail = []; });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
}
