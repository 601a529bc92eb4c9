// What a person chose: kept in this browser, sent with every question.

import { byId } from "./dom.js";

const STORE = "phi4local-settings";
const NUMBERS = ["temperature", "top_p", "top_k", "min_p", "max_tokens", "seed"];
const THEMES = ["system", "light", "dark"];

let chosen = read();
let systemEdited = false;

function read() {
  try {
    return JSON.parse(localStorage.getItem(STORE)) ?? {};
  } catch {
    return {};
  }
}

function write() {
  localStorage.setItem(STORE, JSON.stringify(chosen));
}

export const remembered = (name) => chosen[name];

export function remember(name, value) {
  chosen[name] = value;
  write();
}

// The settings as a request has them. A kept conversation has its own system text, until the person changes it.
export function forRequest(isNew) {
  const values = {};
  for (const name of NUMBERS) if (Number.isFinite(chosen[name])) values[name] = chosen[name];
  if (systemEdited || (isNew && chosen.system)) values.system = chosen.system ?? "";
  systemEdited = false;
  return values;
}

// Another conversation was opened: what was changed was not meant for it.
export function forgetEdit() {
  systemEdited = false;
}

export function startSettings() {
  const dialog = byId("settings-dialog");
  byId("settings").addEventListener("click", () => {
    fill();
    dialog.showModal();
  });
  byId("set-reset").addEventListener("click", () => {
    for (const name of [...NUMBERS, "system"]) byId(`set-${name}`).value = "";
  });
  dialog.addEventListener("close", take);
  byId("theme").addEventListener("click", () => {
    const place = THEMES.indexOf(chosen.theme ?? "system");
    remember("theme", THEMES[(place + 1) % THEMES.length]);
    applyTheme();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", applyTheme);
  applyTheme();
}

function applyTheme() {
  const theme = THEMES.includes(chosen.theme) ? chosen.theme : "system";
  const dark = theme === "dark" || (theme === "system" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  byId("theme-name").textContent = { system: "System", light: "Light", dark: "Dark" }[theme];
  byId("theme").setAttribute("aria-label", `Colours: ${theme}. Change`);
}

function fill() {
  for (const name of NUMBERS) byId(`set-${name}`).value = chosen[name] ?? "";
  byId("set-system").value = chosen.system ?? "";
}

function take() {
  for (const name of NUMBERS) {
    const value = byId(`set-${name}`).valueAsNumber;
    if (Number.isFinite(value)) chosen[name] = value;
    else delete chosen[name];
  }
  const system = byId("set-system").value.trim();
  systemEdited ||= system !== (chosen.system ?? "");
  chosen.system = system || undefined;
  write();
}
