// One question or one answer as elements.

import { copyText } from "./code.js";
import { el, icon, iconButton, number, visible } from "./dom.js";
import { drawMarkdown } from "./markdown.js";

const LONG_CHARACTERS = 1500;
const ENDINGS = {
  length: "The answer was cut off: it reached its longest length.",
  cancelled: "Stopped.",
  time: "The answer was cut off: it took too long.",
  error: "The answer broke off.",
  blocked: "The guard ended the answer.",
};

// `turn` is the number of the question, from 0; `onEdit(turn, text)` asks again in its place.
export function question(text, turn, onEdit) {
  const shown = visible(text);
  const bubble = el("div", { class: "bubble", dir: "auto" }, shown);
  const actions = el("div", { class: "actions" });
  const message = el("article", { class: "message user", "aria-label": `Your question ${turn + 1}` }, bubble, actions);
  message.questionText = text;
  if (shown.length > LONG_CHARACTERS) {
    bubble.classList.add("long");
    const more = el("button", { type: "button", class: "words", "aria-expanded": "false", onclick: () => {
      const long = bubble.classList.toggle("long");
      more.textContent = long ? "Show all" : "Show less";
      more.setAttribute("aria-expanded", String(!long));
    } }, "Show all");
    actions.append(more);
  }
  actions.append(iconButton("edit", "Edit and ask again", () => edit(message, text, turn, onEdit)));
  return message;
}

function edit(message, text, turn, onEdit) {
  const before = [...message.childNodes];
  const field = el("textarea", { "aria-label": "Edit the question", dir: "auto" });
  field.value = text;
  const cancel = () => {
    message.replaceChildren(...before);
    message.querySelector(".icon")?.focus();
  };
  const send = () => { if (field.value.trim()) onEdit(turn, field.value); };
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { event.stopPropagation(); cancel(); }
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); send(); }
  });
  const buttons = el("div", { class: "buttons" },
    el("button", { type: "button", class: "quiet", onclick: cancel }, "Cancel"),
    el("button", { type: "button", class: "primary", onclick: send }, "Ask again"));
  message.replaceChildren(field, el("p", { class: "small" }, "What follows this question is taken back."), buttons);
  field.focus();
}

// An answer that grows. `onRetry()` and `onRate(rating)` are what its buttons do.
export class AnswerView {
  constructor(model, turn, { onRetry, onRate }) {
    this.text = "";
    this.thought = "";
    this.handlers = { onRetry, onRate };
    this.body = el("div", { class: "text waiting" });
    this.notes = el("div");
    this.actions = el("div", { class: "actions", hidden: true });
    this.who = el("h2", { class: "who" }, visible(model));
    this.element = el("article", { class: "message assistant", "aria-label": `Answer ${turn + 1}` }, this.who, this.body, this.notes, this.actions);
  }

  // Letters come faster than a screen draws: once a frame is enough.
  grow({ text = "", thought = "" }) {
    this.text += text;
    this.thought += thought;
    if (!this.planned) this.planned = requestAnimationFrame(() => this.draw());
  }

  draw() {
    cancelAnimationFrame(this.planned);
    this.planned = null;
    if (this.thought) this.drawThought();
    this.body.classList.toggle("waiting", !this.text && !this.ended);
    drawMarkdown(this.body, this.text);
    this.onDraw?.();
  }

  drawThought() {
    if (!this.fold) {
      this.foldTitle = el("summary");
      this.foldText = el("div", { class: "text" });
      this.fold = el("details", { class: "thought" }, this.foldTitle, this.foldText);
      this.body.before(this.fold);
    }
    const words = this.thought.trim().split(/\s+/).length;
    const thinking = !this.text && !this.ended ? "Thinking" : "Thought";
    this.foldTitle.textContent = `${thinking}: ${number(words)} words`;
    drawMarkdown(this.foldText, this.thought);
  }

  note(text) {
    this.notes.append(el("p", { class: "note" }, visible(text)));
  }

  finish(reason, facts = "") {
    this.ended = true;
    this.draw();
    if (ENDINGS[reason]) this.note(ENDINGS[reason]);
    const copy = iconButton("copy", "Copy the answer", () => copyText(copy, this.text));
    const rate = (rating, label) => {
      const button = iconButton(rating, label, async () => {
        if (!(await this.handlers.onRate(rating))) return;
        for (const other of this.actions.querySelectorAll("[aria-pressed]")) other.setAttribute("aria-pressed", String(other === button));
      }, { "aria-pressed": "false" });
      return button;
    };
    this.retry = el("button", { type: "button", class: "icon", "aria-label": "Ask again", title: "Ask again", onclick: this.handlers.onRetry }, icon("retry"));
    this.actions.replaceChildren(copy, this.retry, rate("good", "Good answer"), rate("bad", "Bad answer"), el("span", { class: "facts-line" }, facts));
    this.actions.hidden = false;
  }
}
