// The conversation that is open: ask, stop, ask again, load.

import { get, lines, post } from "./api.js";
import { announce, byId, clearNotices, el, notify, number } from "./dom.js";
import { hasFiles, withFiles } from "./files.js";
import { AnswerView, question } from "./messages.js";
import { forgetEdit, forRequest } from "./settings.js";

const IDEAS = ["Explain how tides work, in five sentences.", "Write a Python function that finds prime numbers.", "Which questions should I ask before I rent a flat?"];

const state = { session: null, turns: 0, running: null, model: () => "", changed: () => {} };

export function startChat(model, changed) {
  Object.assign(state, { model, changed });
  const field = byId("question");
  byId("composer").addEventListener("submit", (event) => { event.preventDefault(); send(); });
  byId("stop").addEventListener("click", stop);
  field.addEventListener("input", fitField);
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); send(); }
  });
  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && state.running && !document.querySelector("dialog[open]")) stop();
  });
  begin();
}

export const current = () => state.session;

function fitField() {
  const field = byId("question");
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight}px`;
}

// An empty conversation; its session is made with the first answer.
export function begin() {
  leave();
  Object.assign(state, { session: null, turns: 0 });
  const ideas = IDEAS.map((idea) => el("button", { type: "button", onclick: () => ask(idea, null) }, idea));
  byId("messages").replaceChildren(el("div", { class: "welcome" },
    el("img", { src: "/page/icon.svg", alt: "", width: 52, height: 52 }),
    el("h2", {}, "What would you like to know?"),
    el("p", {}, "The model runs on the computer that serves this page. Conversations are kept there, and go on in the terminal, too."),
    el("div", { class: "ideas" }, ...ideas)));
  meter(0, 0);
  state.changed();
}

export async function load(name) {
  leave();
  try {
    const kept = await get(`sessions/${encodeURIComponent(name)}`);
    Object.assign(state, { session: kept.id || kept.name, turns: 0 });
    byId("messages").replaceChildren();
    for (const message of kept.messages) showKept(message, kept.model ?? "Assistant");
    for (const remark of kept.skipped) byId("messages").append(el("p", { class: "note" }, remark));
    onlyLastRetries();
    scrollDown();
    state.changed();
    announce(`Conversation with ${state.turns} questions.`);
    const { tokens, context_tokens: total } = await post("tokens", { model: state.model(), session: state.session });
    meter(tokens, total);
  } catch (error) {
    notify(error.message);
  }
}

function showKept(message, model) {
  if (message.role === "system") {
    byId("messages").append(el("p", { class: "note" }, `System text: ${message.content}`));
  } else if (message.role === "user") {
    byId("messages").append(question(message.content, state.turns, askInstead));
    state.turns += 1;
  } else {
    const view = answerView(model, state.turns - 1, lastQuestion());
    view.grow({ text: message.content, thought: message.thought ?? "" });
    view.finish(message.reason, message.tokens ? `${number(message.tokens)} tokens` : "");
    byId("messages").append(view.element);
  }
}

const lastQuestion = () => [...document.querySelectorAll("#messages .message.user")].at(-1)?.questionText ?? "";

const askInstead = (turn, text) => ask(text, turn);

function answerView(model, turn, text) {
  return new AnswerView(model, turn, {
    onRetry: () => ask(text, turn),
    onRate: async (rating) => {
      try {
        await post("feedback", { session: state.session, turn, rating });
        announce(rating === "good" ? "Marked as good." : "Marked as bad.");
        return true;
      } catch (error) {
        notify(error.message);
        return false;
      }
    },
  });
}

function send() {
  const field = byId("question");
  const text = field.value.trim();
  if ((!text && !hasFiles()) || state.running) return;
  const whole = withFiles(text);
  field.value = "";
  fitField();
  ask(whole, null);
}

// Ask `text`; with a `turn` it takes the place of that question and of what follows it.
async function ask(text, turn) {
  if (state.running) return;
  clearNotices();
  const place = turn ?? state.turns;
  const before = [...byId("messages").childNodes];
  const beforeTurns = state.turns;
  const view = put(text, place);
  const running = { stop: new AbortController(), begun: false };
  setRunning(running);
  announce("Answering…");
  try {
    const body = { model: state.model(), text, session: state.session, turn, ...forRequest(state.session === null) };
    for await (const line of lines("answer", body, running.stop.signal)) {
      if (state.running !== running) return;
      take(line, view, running);
    }
    if (!view.ended) view.finish("error");
  } catch (error) {
    if (state.running !== running) return;
    if (error.name === "AbortError" && (running.begun || view.text)) {
      view.finish("cancelled");
    } else {
      byId("messages").replaceChildren(...before);
      state.turns = beforeTurns;
      byId("question").value ||= turn === null ? text : "";
      fitField();
      if (error.name !== "AbortError") notify(error.message);
    }
  }
  setRunning(null);
  onlyLastRetries();
  announce(view.ended ? `Answer: ${view.text}` : "No answer.");
  state.changed();
}

// Show a question and the place of its answer; what stood from this turn on goes.
function put(text, place) {
  const messages = byId("messages");
  messages.querySelector(".welcome")?.remove();
  const shown = [...messages.querySelectorAll(".message.user")];
  while (shown[place] && messages.lastChild !== shown[place].previousSibling) messages.lastChild.remove();
  const asked = question(text, place, askInstead);
  const view = answerView(state.model(), place, text);
  view.onDraw = follow;
  messages.append(asked, view.element);
  state.turns = place + 1;
  scrollDown();
  return view;
}

const LINES = {
  begin(line, view, running) {
    running.begun = true;
    state.session = line.session;
    if (line.dropped_turns) view.note(`The context is full: the model no longer sees the ${number(line.dropped_turns)} oldest questions.`);
    state.changed();
  },
  text: (line, view) => view.grow({ text: line.text }),
  thought: (line, view) => view.grow({ thought: line.text }),
  notice: (line, view) => view.note(line.text),
  error(line, view) {
    view.note(line.message);
    view.finish("error");
  },
  end(line, view) {
    const speed = line.seconds > 0 && line.tokens > 1 ? `, ${((line.tokens - 1) / line.seconds).toFixed(1)} per second` : "";
    view.finish(line.reason, `${number(line.tokens)} tokens${speed}`);
    meter(line.used_tokens, line.context_tokens);
  },
};

const take = (line, view, running) => LINES[line.type]?.(line, view, running);

function stop() {
  state.running?.stop.abort();
}

// Another conversation takes the place of this one: its answer ends on the server, and is kept as far as it came.
function leave() {
  const running = state.running;
  setRunning(null);
  running?.stop.abort();
  forgetEdit();
}

function setRunning(running) {
  state.running = running;
  byId("stop").hidden = !running;
  byId("send").hidden = Boolean(running);
  byId("log").setAttribute("aria-busy", String(Boolean(running)));
  // Where fingers type, a keyboard would cover the answer.
  if (!running && matchMedia("(hover: hover)").matches) byId("question").focus({ preventScroll: true });
}

function onlyLastRetries() {
  const buttons = [...document.querySelectorAll('#messages [aria-label="Ask again"]')];
  buttons.forEach((button, place) => { button.hidden = place !== buttons.length - 1; });
}

// Follow the answer, unless the person scrolled up to read.
function follow() {
  const log = byId("log");
  if (log.scrollHeight - log.scrollTop - log.clientHeight < 120) scrollDown();
}

function scrollDown() {
  byId("log").scrollTop = byId("log").scrollHeight;
}

function meter(used, total) {
  const bar = byId("meter-bar");
  byId("meter").hidden = !total;
  byId("meter").classList.toggle("full", total > 0 && used / total >= 0.8);
  bar.setAttribute("aria-valuemax", String(total || 1));
  bar.setAttribute("aria-valuenow", String(Math.min(used, total)));
  bar.setAttribute("aria-valuetext", `${number(used)} of ${number(total)} tokens`);
  bar.firstElementChild.style.width = `${total ? Math.min(100, (100 * used) / total) : 0}%`;
  byId("meter-text").textContent = `${number(used)} / ${number(total)} tokens`;
}
