// Starts the page: models, menu, pages.

import { get } from "./api.js";
import { begin, current, load, startChat } from "./chat.js";
import { byId, el, icon, notify } from "./dom.js";
import { startFiles } from "./files.js";
import { showPlan } from "./plan.js";
import { listSessions, startSessions } from "./sessions.js";
import { remember, remembered, startSettings } from "./settings.js";
import { showSpeed } from "./speed.js";

const PAGES = { chat: "Conversation", plan: "Memory plan", speed: "Speed" };
const model = () => byId("model").value;

for (const place of document.querySelectorAll("[data-icon]")) place.prepend(icon(place.dataset.icon));
startSettings();
startFiles(model);
startSessions({ open: openSession, begin, current });
startMenu();
await listModels();
startChat(model, listSessions);
byId("model").addEventListener("change", () => {
  remember("model", model());
  if (page() === "plan") showPlan(byId("plan"), model());
});
addEventListener("hashchange", showPage);
showPage();
document.documentElement.dataset.ready = "true";

async function listModels() {
  try {
    const { models } = await get("models");
    byId("model").replaceChildren(...models.map(({ name }) => el("option", { value: name }, name.replace("+", " + "))));
    const before = remembered("model");
    if (models.some(({ name }) => name === before)) byId("model").value = before;
  } catch (error) {
    notify(error.message);
  }
}

function page() {
  const name = location.hash.slice(1);
  return name in PAGES ? name : "chat";
}

function showPage() {
  const shown = page();
  for (const name of Object.keys(PAGES)) {
    byId(name).hidden = name !== shown;
    const link = document.querySelector(`[data-page="${name}"]`);
    if (name === shown) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  byId("title").textContent = PAGES[shown];
  document.title = shown === "chat" ? "phi4local" : `${PAGES[shown]} – phi4local`;
  menu(false);
  if (shown === "plan") showPlan(byId("plan"), model());
  if (shown === "speed") showSpeed(byId("speed"));
  if (shown === "chat") byId("question").focus({ preventScroll: true });
}

function openSession(id) {
  location.hash = "#chat";
  menu(false);
  load(id);
}

function startMenu() {
  byId("open-side").addEventListener("click", () => menu(true));
  byId("close-side").addEventListener("click", () => menu(false));
  byId("shade").addEventListener("click", () => menu(false));
  byId("side").addEventListener("keydown", (event) => { if (event.key === "Escape") menu(false); });
  byId("new").addEventListener("click", () => {
    location.hash = "#chat";
    menu(false);
    begin();
    byId("question").focus();
  });
}

// On a narrow screen the menu lies over the page.
function menu(open) {
  const was = byId("side").classList.contains("open");
  byId("side").classList.toggle("open", open);
  byId("shade").hidden = !open;
  byId("open-side").setAttribute("aria-expanded", String(open));
  if (open) byId("close-side").focus();
  else if (was) byId("open-side").focus();
}
