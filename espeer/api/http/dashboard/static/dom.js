// Elements, made of text only: what comes from other nodes is never parsed as HTML.

const SVG = "http://www.w3.org/2000/svg";

export const $ = (id) => document.getElementById(id);

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export const h = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
export const s = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

// Ids are long: peer ids begin alike, so their ends are shown; record ids are shown by their beginnings.
export const shortPeer = (id) => `…${String(id).slice(-6)}`;
export const shortId = (id) => String(id).slice(0, 8);

export function time(ms) {
  const then = new Date(ms);
  const clock = then.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const today = then.toDateString() === new Date().toDateString();
  return h("time", { datetime: then.toISOString(), title: then.toLocaleString() }, today ? clock : `${then.toLocaleDateString()} ${clock}`);
}

export const count = (number) => Number(number).toLocaleString("en");

export function size(bytes) {
  const units = ["B", "KB", "MB", "GB"];
  let unit = 0;
  while (bytes >= 1000 && unit < units.length - 1) {
    bytes /= 1000;
    unit += 1;
  }
  return `${unit && bytes < 100 ? bytes.toFixed(1) : Math.round(bytes)} ${units[unit]}`;
}

export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

// Types keep their colours: the place of a type among those of the node, and what is not held here by its name.
let types = [];
export const setTypes = (held) => { types = held; };
export function colour(type) {
  const place = types.indexOf(type);
  return `t${(place >= 0 ? place : [...String(type)].reduce((sum, letter) => sum + letter.codePointAt(0), types.length)) % 8}`;
}
export const chip = (type) => h("span", { class: `chip ${colour(type)}` }, type);

// What arrives is told to screen readers now and then, not one by one.
const TELL_MS = 5000;
let untold = 0;
let telling = false;
export function announce(arrivals) {
  untold += arrivals;
  if (telling) return;
  telling = true;
  setTimeout(() => {
    $("announcer").textContent = `${plural(untold, "experience")} arrived`;
    untold = 0;
    telling = false;
  }, TELL_MS);
}
