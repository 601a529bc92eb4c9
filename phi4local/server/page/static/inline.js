// Markdown inside a paragraph → nodes. Linear in the text: a mark without its end is looked for once.

import { el } from "./dom.js";

const SPECIAL = /[\\`*_~[!\n]|https?:\/\//g;
const ADDRESS = /https?:\/\/[^\s<>"'`)\]}]+/y;
const LINK = /!?\[([^\]\n]{0,500})\]\(\s*<?([^\s()<>]{1,2000}(?:\([^\s()<>]{0,200}\))?)>?(?:\s+"[^"\n]{0,300}")?\s*\)/y;
const ESCAPABLE = "\\`*_{}[]()#+-.!|~<>$\"'";
const DEEPEST = 6;

export function inline(text, depth = 0) {
  const nodes = [];
  const missing = new Set();
  let plain = "";
  let place = 0;
  const flush = () => {
    if (plain) nodes.push(document.createTextNode(plain));
    plain = "";
  };
  while (place < text.length) {
    SPECIAL.lastIndex = place;
    const found = SPECIAL.exec(text);
    if (!found) break;
    plain += text.slice(place, found.index);
    place = found.index;
    const part = depth < DEEPEST ? marked(text, place, missing, depth) : null;
    if (part === null) {
      plain += found[0];
      place += found[0].length;
    } else if (typeof part.node === "string") {
      plain += part.node;
      place = part.end;
    } else {
      flush();
      nodes.push(part.node);
      place = part.end;
    }
  }
  plain += text.slice(place);
  flush();
  return nodes;
}

function marked(text, place, missing, depth) {
  const mark = text[place];
  if (mark === "\\") {
    const next = text[place + 1];
    return next && ESCAPABLE.includes(next) ? { node: next, end: place + 2 } : null;
  }
  if (mark === "\n") return { node: el("br"), end: place + 1 };
  if (mark === "`") return code(text, place, missing);
  if (mark === "[" || mark === "!") return link(text, place, depth);
  if (mark === "h") return address(text, place);
  return emphasis(text, place, missing, depth);
}

function code(text, place, missing) {
  let length = 1;
  while (text[place + length] === "`") length += 1;
  const fence = "`".repeat(length);
  const end = missing.has(fence) ? -1 : text.indexOf(fence, place + length);
  if (end < 0) {
    missing.add(fence);
    return { node: fence, end: place + length };
  }
  const inside = text.slice(place + length, end);
  const trimmed = /^ .*\S.* $/s.test(inside) ? inside.slice(1, -1) : inside;
  return { node: el("code", {}, trimmed), end: end + length };
}

function emphasis(text, place, missing, depth) {
  const mark = text[place];
  const double = text[place + 1] === mark;
  if (mark === "~" && !double) return null;
  const fence = double ? mark + mark : mark;
  const inner = place + fence.length;
  if (missing.has(fence) || !text[inner] || /\s/.test(text[inner])) return null;
  if (mark === "_" && /\w/.test(text[place - 1] ?? "")) return null;
  const end = closing(text, inner, fence);
  if (end < 0) {
    missing.add(fence);
    return null;
  }
  const tag = mark === "~" ? "del" : double ? "strong" : "em";
  return { node: el(tag, {}, ...inline(text.slice(inner, end), depth + 1)), end: end + fence.length };
}

function closing(text, from, fence) {
  const mark = fence[0];
  for (let end = text.indexOf(fence, from + 1); end >= 0; end = text.indexOf(fence, end + 1)) {
    if (/\s/.test(text[end - 1]) || text[end - 1] === "\\") continue;
    if (fence.length === 1 && text[end + 1] === mark) { end += 1; continue; }
    if (mark === "_" && /\w/.test(text[end + fence.length] ?? "")) continue;
    return end;
  }
  return -1;
}

function safe(target) {
  try {
    const url = new URL(target);
    return ["http:", "https:", "mailto:"].includes(url.protocol) ? url : null;
  } catch {
    return null;
  }
}

// A link says where it goes, whatever its text says. Pictures are never fetched: they become links too.
function link(text, place, depth) {
  LINK.lastIndex = place;
  const found = LINK.exec(text);
  const url = found && safe(found[2]);
  if (!url) return null;
  const words = found[1] || url.href;
  const host = url.host || url.pathname;
  const anchor = outside(url, ...(depth < DEEPEST ? inline(words.replace(/https?:\/\//g, ""), DEEPEST) : [words]));
  const node = words.includes(host) ? anchor : el("span", {}, anchor, el("span", { class: "host" }, ` (${host})`));
  return { node, end: place + found[0].length };
}

function address(text, place) {
  ADDRESS.lastIndex = place;
  const found = ADDRESS.exec(text);
  const shown = found && found[0].replace(/[.,;:!?]+$/, "");
  const url = shown && safe(shown);
  return url ? { node: outside(url, shown), end: place + shown.length } : null;
}

const outside = (url, ...words) => el("a", { href: url.href, target: "_blank", rel: "noopener noreferrer", title: url.href }, ...words);
