// Figures over time: a number each, what it means, and a curve.

import { $, count, h, plural, s, size } from "./dom.js";

const WIDTH = 240;
const HEIGHT = 44;
const KEPT = 240;

const answers = [];
const sizes = [];

function keep(points, point) {
  points.push(point);
  if (points.length > KEPT) points.shift();
}

function curve(values, name) {
  if (!values.length) return null;
  const most = Math.max(...values, 1);
  const x = (index) => (values.length === 1 ? WIDTH / 2 : 3 + (index * (WIDTH - 6)) / (values.length - 1));
  const y = (value) => HEIGHT - 3 - (value / most) * (HEIGHT - 8);
  const points = values.map((value, index) => `${x(index).toFixed(1)},${y(value).toFixed(1)}`);
  const last = values.length - 1;
  return s("svg", { class: "curve", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": name },
    s("polygon", { points: `${x(0)},${HEIGHT} ${points.join(" ")} ${x(last)},${HEIGHT}` }),
    s("polyline", { points: points.join(" ") }),
    s("circle", { cx: x(last), cy: y(values[last]), r: 2.6 }));
}

function show(id, title, value, note, drawn = null) {
  $(id).replaceChildren(
    h("h2", {}, title),
    h("p", { class: "figure" }, value),
    h("p", { class: "hint" }, note),
    ...(drawn ? [drawn] : []),
  );
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length ? sorted[Math.floor(sorted.length / 2)] : 0;
}

export function begin(history) {
  answers.splice(0, Infinity, ...history.answers);
  sizes.splice(0, Infinity, ...history.sizes);
  drawAnswers();
}

export function answered(answer) {
  keep(answers, answer);
  drawAnswers();
}

function drawAnswers() {
  const times = answers.map((answer) => answer.ttft_ms);
  const last = times.at(-1);
  const middle = Math.round(median(times));
  show("tile-ttft", "Time to first token", times.length ? `${count(Math.round(last))} ms` : "–",
    times.length ? `median ${count(middle)} ms of ${plural(times.length, "answer")}` : "nothing was asked yet",
    curve(times, `Time to first token of ${plural(times.length, "answer")}: the last ${Math.round(last)} ms, the median ${middle} ms`));
}

export function stands(status) {
  const sum = (state) => status.records.filter((row) => !state || row.state === state).reduce((all, row) => all + row.records, 0);
  const point = { experiences: sum("active"), bytes: status.store_bytes };
  const before = sizes.at(-1);
  if (!before || before.experiences !== point.experiences || before.bytes !== point.bytes) keep(sizes, point);
  const hidden = sum() - point.experiences;
  show("tile-experiences", "Experiences", count(point.experiences),
    hidden ? `${count(hidden)} more are superseded, evicted or taken back` : "all of them are recalled from",
    curve(sizes.map((size_) => size_.experiences), `Experiences over time, now ${point.experiences}`));
  show("tile-bytes", "Store on disk", size(point.bytes), status.learning ? `${plural(status.learning, "interaction")} not distilled yet` : "all that was learnt is distilled",
    curve(sizes.map((size_) => size_.bytes), `Size of the store over time, now ${size(point.bytes)}`));
  traffic(status);
}

function traffic(status) {
  const { published = 0, delivered = 0, synced_in: pulled = 0, synced_out: given = 0 } = status.network;
  show("tile-traffic", "Records from peers", count(delivered + pulled),
    `${count(delivered)} by gossip, ${count(pulled)} by sync; gave ${count(published)} and ${count(given)}`);
}
