// The kept conversations: those of the terminal too.

import { get, post, remove } from "./api.js";
import { ask, byId, el, iconButton, notify, visible } from "./dom.js";

let handlers = {};

// `handlers`: open(id), begin(), current() → the open session's id.
export function startSessions(given) {
  handlers = given;
}

export async function listSessions() {
  try {
    const { sessions } = await get("sessions");
    byId("sessions").replaceChildren(...sessions.map(item));
    if (!sessions.length) byId("sessions").append(el("li", { class: "small" }, el("span", { class: "open" }, "None yet.")));
  } catch (error) {
    notify(error.message);
  }
}

// A session that nobody gave a name is called by its first words.
function titleOf(session) {
  const named = session.name !== session.id;
  return visible(named ? session.name : session.first_words || session.name).replaceAll("\n", " ");
}

function item(session) {
  const title = titleOf(session);
  const id = session.id || session.name;
  const here = id === handlers.current();
  const when = new Date(session.changed).toLocaleDateString(undefined, { day: "numeric", month: "short" });
  const turns = session.turns === 1 ? "1 question" : `${session.turns} questions`;
  const open = el("button", { type: "button", class: "open", "aria-current": here ? "true" : null, onclick: () => handlers.open(id) },
    el("span", { dir: "auto" }, title), el("span", { class: "small" }, `${when}, ${turns}`));
  return el("li", { class: here ? "current" : null, "data-id": id }, open,
    iconButton("edit", `Rename “${title}”`, () => rename(id, session.name === session.id ? "" : session.name)),
    iconButton("remove", `Delete “${title}”`, () => drop(id, title)));
}

async function rename(id, before) {
  const name = await ask({ title: "Rename the conversation", label: "Name", value: before, ok: "Rename" });
  if (!name?.trim()) return;
  await attempt(() => post(`sessions/${encodeURIComponent(id)}/name`, { name: name.trim() }));
}

async function drop(id, title) {
  if (!(await ask({ title: "Delete the conversation?", text: `“${title}” is deleted on the server, for the terminal too.`, ok: "Delete" }))) return;
  if (id === handlers.current()) handlers.begin();
  await attempt(() => remove(`sessions/${encodeURIComponent(id)}`));
}

async function attempt(work) {
  try {
    await work();
  } catch (error) {
    notify(error.message);
  }
  await listSessions();
}
