// What a model takes on the server's machine, drawn from `phi4local plan`.

import { get } from "./api.js";
import { bytes, el, number, svg, visible } from "./dom.js";

const VERDICTS = { gpu: "Fits on the GPU", partly: "Fits on GPU and CPU together", cpu: "Fits in main memory", no: "Does not fit" };
const PARTS = [["weights", "weight_bytes"], ["KV cache", "kv_bytes"], ["buffers", "other_bytes"]];

export async function showPlan(sheet, model, context = null) {
  const title = el("h2", {}, "Memory plan");
  sheet.replaceChildren(title, el("p", { class: "small" }, "Calculating…"));
  try {
    const asked = new URLSearchParams({ model, ...(context ? { context } : {}) });
    const report = await get(`plan?${asked}`);
    sheet.replaceChildren(
      el("div", {}, title, el("p", { class: "small" }, "What the model takes on the computer that serves this page, before it is loaded.")),
      controls(sheet, model, report.plan), verdict(report), memory(report.plan),
      ...(report.quantizations.length ? [ladder(report)] : []));
  } catch (error) {
    sheet.replaceChildren(title, el("p", { class: "note" }, visible(error.message)));
  }
}

function controls(sheet, model, plan) {
  const field = el("input", { type: "number", min: 1, step: 1, value: plan.context_tokens });
  const form = el("form", { class: "controls" }, el("label", {}, "Tokens of context", field), el("button", {}, "Plan again"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    showPlan(sheet, model, Number.isFinite(field.valueAsNumber) ? field.valueAsNumber : null);
  });
  return form;
}

function verdict({ model, plan }) {
  const fact = (name, value) => el("div", {}, el("dt", {}, name), el("dd", {}, value));
  const speed = (range) => (range ? `${range.low.toFixed(0)} to ${range.high.toFixed(0)} tokens per second` : "unknown");
  return el("div", { class: "card" },
    el("div", { class: `verdict ${plan.verdict}` }, el("strong", {}, VERDICTS[plan.verdict] ?? plan.verdict), el("span", { class: "small" }, visible(model))),
    el("dl", { class: "facts" },
      fact("Needs", bytes(plan.memory_bytes)), fact("File", bytes(plan.file_bytes)),
      fact("Layers on the GPU", `${plan.gpu_layers} of ${plan.layers}`),
      fact("Context", `${number(plan.context_tokens)} tokens`),
      fact("Largest context that fits", plan.largest_context_tokens ? `${number(plan.largest_context_tokens)} tokens` : "none"),
      fact("Expected writing speed", speed(plan.speeds?.generation)), fact("Expected reading speed", speed(plan.speeds?.prompt))));
}

function memory(plan) {
  const rows = plan.devices.map((device) => ({ ...device, other_bytes: device.compute_bytes + device.output_bytes + device.process_bytes }));
  const key = el("ul", { class: "key" }, ...PARTS.map(([name], place) => el("li", {}, swatch(`bar-${place + 1}`), name)), el("li", {}, swatch("bar-rest"), "free"));
  return el("div", { class: "card" }, el("h3", {}, "Where the memory goes"), ...rows.map(device), key);
}

const swatch = (kind) => svg("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, svg("rect", { width: 10, height: 10, rx: 2, class: kind }));

// A bar for each device, as long as its free memory; more than that sticks out as `does not fit` says.
function device(one) {
  const total = Math.max(one.available_bytes, one.needed_bytes, 1);
  const words = PARTS.map(([name, field]) => `${name} ${bytes(one[field])}`).join(", ");
  const title = `${visible(one.name)}: ${bytes(one.needed_bytes)} of ${bytes(one.available_bytes)} free (${words})`;
  const drawing = svg("svg", { viewBox: "0 0 800 26", class: "chart", role: "img", "aria-label": title, preserveAspectRatio: "none" },
    svg("rect", { width: 800, height: 26, rx: 6, class: "bar-rest" }));
  let from = 0;
  PARTS.forEach(([, field], place) => {
    const width = (800 * one[field]) / total;
    drawing.append(svg("rect", { x: from.toFixed(1), width: Math.max(width, one[field] ? 1 : 0).toFixed(1), height: 26, class: `bar-${place + 1}` }));
    from += width;
  });
  return el("div", {}, el("p", { class: "small" }, title), drawing);
}

function ladder({ quantizations, recommended }) {
  const fits = (plan) => ({ gpu: "GPU", cpu: "CPU", no: "no" })[plan.verdict] ?? `${plan.gpu_layers} of ${plan.layers} on the GPU`;
  const head = el("tr", {}, ...["Quantization", "File", "Memory", "Fits", "Tokens per second"].map((name, place) => el("th", { scope: "col", class: place && place !== 3 ? "right" : null }, name)));
  const rows = quantizations.map(({ name, short }) => el("tr", { class: name === recommended ? "best" : null },
    el("td", {}, `${name}${name === recommended ? " (recommended)" : ""}`), el("td", { class: "right" }, bytes(short.file_bytes)),
    el("td", { class: "right" }, bytes(short.memory_bytes)), el("td", {}, fits(short)),
    el("td", { class: "right" }, short.speeds ? short.speeds.generation.expected.toFixed(0) : "unknown")));
  return el("div", { class: "card" }, el("h3", {}, "Other quantizations of this model"),
    el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Quantizations" }, el("table", {}, el("thead", {}, head), el("tbody", {}, ...rows))));
}
