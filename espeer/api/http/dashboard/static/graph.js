// The node and its peers as a graph, and the same as a table. The layout depends on nothing but the peer ids.

import { $, chip, colour, h, plural, s, shortPeer } from "./dom.js";

const WIDTH = 400;
const HEIGHT = 300;
const CROWD = 14; // more than these are drawn smaller, on two rings
const UNLABELLED = 40;
const GAP = 4.5; // between the edges of two types

function place(index, total) {
  const start = total <= 2 ? Math.PI : -Math.PI / 2;
  const angle = start + (2 * Math.PI * index) / total;
  const ring = total > CROWD && index % 2 ? 0.66 : 1;
  return [WIDTH / 2 + 150 * ring * Math.cos(angle), HEIGHT / 2 - 6 + 106 * ring * Math.sin(angle)];
}

function edges(x, y, types) {
  const [cx, cy] = [WIDTH / 2, HEIGHT / 2 - 6];
  const line = (shift, name) => {
    const length = Math.hypot(x - cx, y - cy);
    const [dx, dy] = [(-(y - cy) / length) * shift, ((x - cx) / length) * shift];
    return s("line", { class: name, x1: cx + dx, y1: cy + dy, x2: x + dx, y2: y + dy });
  };
  if (!types.length) return [line(0, "edge loose")];
  return types.map((type, index) => line((index - (types.length - 1) / 2) * GAP, `edge ${colour(type)}`));
}

function dot(x, y, r, name, label, title) {
  return s("g", { class: name },
    s("title", {}, title),
    s("circle", { cx: x, cy: y, r }),
    label && s("text", { x, y: y + r + 13 }, label));
}

export function draw(status, peers) {
  const small = peers.length > CROWD;
  const lines = [];
  const dots = [];
  peers.forEach((peer, index) => {
    const [x, y] = place(index, peers.length);
    lines.push(...edges(x, y, peer.mesh));
    const label = peers.length > UNLABELLED ? null : shortPeer(peer.peer_id);
    dots.push(dot(x, y, small ? 7 : 13, peer.score > 0 ? "node blamed" : "node", label, peer.peer_id));
  });
  const me = dot(WIDTH / 2, HEIGHT / 2 - 6, 20, "node me", "this node", status.peer_id);
  const meshed = peers.filter((peer) => peer.mesh.length).length;
  $("graph").setAttribute("aria-label", peers.length
    ? `This node in the middle, ${plural(peers.length, "peer")} around it, ${meshed} in a gossip mesh; the table below says the same`
    : "This node alone, without peers");
  $("graph").replaceChildren(...lines, ...dots, me);
  $("network-summary").textContent = `${plural(peers.length, "peer")}, ${meshed} in the mesh`;
  $("legend").replaceChildren(
    ...status.types.map((type) => h("li", {}, chip(type))),
    ...(peers.length > meshed ? [h("li", {}, h("span", { class: "chip loose" }, "connected, not in a mesh"))] : []),
  );
  $("peers").replaceChildren(...(peers.length ? peers.map(row) : [h("tr", {}, h("td", { colspan: 4 }, "No peers are connected."))]));
}

function row(peer) {
  const chips = (types) => (types.length ? types.map(chip) : ["none"]);
  return h("tr", {},
    h("th", { scope: "row" }, h("span", { class: "id", title: peer.peer_id }, shortPeer(peer.peer_id)), h("span", { class: "address" }, peer.addresses[0] ?? "")),
    h("td", {}, ...chips(peer.mesh)),
    h("td", {}, ...chips(peer.types)),
    h("td", { class: "number" }, String(peer.score)));
}
