// Elements are made here, and text goes into them as text only: nothing in this page turns text into markup.

const SVG = "http://www.w3.org/2000/svg";

const PATHS = {
  attach: "M8 12.5l5.6-5.6a3 3 0 0 1 4.3 4.3l-7.4 7.3a5 5 0 0 1-7-7L10.6 4.4",
  bad: "M7 14V4h9l3 6v4h-6l1 5-2 1-5-6zM7 4H4v10h3",
  chart: "M4 20V10M10 20V4M16 20v-7M21 20H3",
  chat: "M4 5h16v11H9l-5 4z",
  close: "M6 6l12 12M18 6L6 18",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  edit: "M4 20l1-5L16 4l4 4L9 19zM13.500 6.500l4 4",
  good: "M7 10v10h9l3-6v-4h-6l1-5-2-1-5 6zM7 20H4V10h3",
  memory: "M6 6h12v12H6zM9.500 9.500h5v5h-5zM9 3v3M15 3v3M9 18v3M15 18v3M3 9h3M3 15h3M18 9h3M18 15h3",
  menu: "M4 7h16M4 12h16M4 17h16",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  plus: "M12 5v14M5 12h14",
  remove: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  retry: "M20 11a8 8 0 1 0-2 6M20 5v6h-6",
  send: "M12 19V5M6 11l6-6 6 6",
  settings: "M4 7h9M17 7h3M4 17h3M11 17h9M15 5v4M9 15v4",
  stop: "M8 8h8v8H8z",
  theme: "M12 4a8 8 0 1 0 0 16zM12 4a8 8 0 0 1 0 16",
};

export const byId = (id) => document.getElementById(id);

// el("button", {class: "icon", "aria-label": "Copy", onclick: copy}, "text", anotherElement)
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function svg(tag, properties = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(properties)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

export function icon(name) {
  return svg("svg", { viewBox: "0 0 24 24", class: "ic", "aria-hidden": "true" }, svg("path", { d: PATHS[name] }));
}

// A button that shows an icon and has a name for those who do not see it.
export function iconButton(name, label, onclick, more = {}) {
  return el("button", { type: "button", class: "icon", "aria-label": label, title: label, onclick, ...more }, icon(name));
}

export function announce(text) {
  byId("announcer").textContent = text.length > 600 ? `${text.slice(0, 600)}…` : text;
}

// An error stays until it is closed or until the next one.
export function notify(text) {
  const close = iconButton("close", "Close this message", () => byId("notices").replaceChildren());
  byId("notices").replaceChildren(el("div", { class: "notice" }, el("span", {}, visible(text)), close));
}

export const clearNotices = () => byId("notices").replaceChildren();

// The same marks that the terminal writes out: what steers, reorders or hides text. Joiners stay, for emoji.
const UNSAFE =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f\u2028\u2029\ufff9-\ufffb]|[\u{e0000}-\u{e0fff}]|\p{Surrogate}/gu;
const FLAGS = /\u{1f3f4}[\u{e0061}-\u{e007a}]{5}\u{e007f}/gu;

export function visible(text) {
  const parts = text.replaceAll("\r\n", "\n").split(/(\u{1f3f4}[\u{e0061}-\u{e007a}]{5}\u{e007f})/u);
  return parts.map((part) => (part.match(FLAGS) ? part : part.replace(UNSAFE, writtenOut))).join("");
}

function writtenOut(mark) {
  const code = mark.codePointAt(0).toString(16);
  if (code.length <= 2) return `\\x${code.padStart(2, "0")}`;
  return code.length <= 4 ? `\\u${code.padStart(4, "0")}` : `\\U${code.padStart(8, "0")}`;
}

// Ask a person: resolves to what they typed (or true without a field), or null.
export function ask({ title, text = "", label = null, value = "", ok = "OK", type = "text" }) {
  const dialog = byId("ask-dialog");
  const input = byId("ask-input");
  byId("ask-title").textContent = title;
  byId("ask-text").textContent = text;
  byId("ask-text").hidden = !text;
  byId("ask-label").hidden = label === null;
  byId("ask-label").firstElementChild.textContent = label ?? "";
  byId("ask-ok").textContent = ok;
  input.type = type;
  input.value = value;
  dialog.returnValue = "";
  dialog.showModal();
  if (label !== null) input.select();
  else byId("ask-ok").focus();
  input.onkeydown = (event) => {
    if (event.key === "Enter") { event.preventDefault(); dialog.close("ok"); }
  };
  return new Promise((resolve) => {
    dialog.onclose = () => resolve(dialog.returnValue !== "ok" ? null : label === null ? true : input.value);
  });
}

export const number = (value) => Number(value).toLocaleString("en-US");

export function bytes(value) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let place = 0;
  while (value >= 1000 && place < units.length - 1) { value /= 1000; place += 1; }
  return `${value >= 100 || place === 0 ? Math.round(value) : value.toFixed(1)} ${units[place]}`;
}
