// Text files that go with a question: chosen, dropped or pasted, with what they cost in tokens.

import { post } from "./api.js";
import { byId, el, iconButton, notify, number, visible } from "./dom.js";

const LARGEST_BYTES = 2_000_000;
let attached = [];
let modelName = () => "";

export function startFiles(currentModel) {
  modelName = currentModel;
  const chat = byId("chat");
  byId("attach").addEventListener("click", () => byId("files").click());
  byId("files").addEventListener("change", (event) => {
    add(event.target.files);
    event.target.value = "";
  });
  chat.addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    chat.classList.add("dropping");
  });
  chat.addEventListener("dragleave", (event) => {
    if (!chat.contains(event.relatedTarget)) chat.classList.remove("dropping");
  });
  // Elsewhere on the page a dropped file would replace the page.
  for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.preventDefault());
  chat.addEventListener("drop", (event) => {
    event.preventDefault();
    chat.classList.remove("dropping");
    add(event.dataTransfer.files);
  });
}

async function add(files) {
  for (const file of files) {
    const text = await textOf(file);
    if (text === null) continue;
    const one = { name: file.name, text, tokens: null };
    attached.push(one);
    show();
    byId("question").focus();
    count(one);
  }
}

async function textOf(file) {
  if (file.size > LARGEST_BYTES) {
    notify(`${file.name} has ${number(file.size)} bytes; up to ${number(LARGEST_BYTES)} fit into a question.`);
    return null;
  }
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
    if (!text.includes("\0")) return text;
  } catch {
    // no text in UTF-8
  }
  notify(`${file.name} is no text file in UTF-8. \`phi4local chat\` reads PDF and HTML too.`);
  return null;
}

async function count(one) {
  try {
    one.tokens = (await post("tokens", { model: modelName(), text: block(one) })).tokens;
  } catch (error) {
    notify(error.message);
  }
  show();
}

function show() {
  const list = byId("attachments");
  list.hidden = attached.length === 0;
  list.replaceChildren(...attached.map((one) => {
    const cost = one.tokens === null ? "counting…" : `${number(one.tokens)} tokens`;
    const drop = iconButton("close", `Leave out ${visible(one.name)}`, () => {
      attached = attached.filter((other) => other !== one);
      show();
      byId("question").focus();
    });
    return el("li", {}, el("span", { dir: "auto" }, visible(one.name)), el("span", { class: "small" }, cost), drop);
  }));
}

// A file stands between fences that are longer than any of its own.
function block({ name, text }) {
  const longest = Math.max(2, ...(text.match(/`{3,}/g) ?? []).map((fence) => fence.length));
  const fence = "`".repeat(longest + 1);
  return `File ${name.replaceAll(/\s+/g, " ")}:\n${fence}\n${text.replace(/\n$/, "")}\n${fence}`;
}

// The question with its files in front of it; they are gone from the list then.
export function withFiles(question) {
  const parts = [...attached.map(block), question].filter(Boolean);
  attached = [];
  show();
  return parts.join("\n\n");
}

export const hasFiles = () => attached.length > 0;
