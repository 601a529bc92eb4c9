// What `phi4local bench` measured and kept, drawn here from the figures.

import { get } from "./api.js";
import { el, svg, visible } from "./dom.js";

const WIDTH = 800;
const LINE = 34;
const LABEL = 230;
const ROOM = 110;

export async function showSpeed(sheet) {
  const title = el("h2", {}, "Speed");
  sheet.replaceChildren(title);
  try {
    const rows = flat((await get("results")).runs);
    const newest = latest(rows);
    const tests = [...new Set(newest.map((row) => row.test))];
    const about = "Measured on the computer that serves this page: the newest figures of each model, in tokens per second. The thin line is one standard deviation. “pp512” is a prompt of 512 tokens, “tg128” an answer of 128.";
    sheet.replaceChildren(el("div", {}, title, el("p", { class: "small" }, about)));
    if (!rows.length) sheet.append(el("p", { class: "note" }, "Nothing was kept yet. `phi4local bench MODEL` measures a model and keeps the figures."));
    for (const test of tests) {
      const found = newest.filter((row) => row.test === test);
      sheet.append(el("div", { class: "card" }, el("h3", {}, visible(test)), chart(test, found)));
    }
    if (rows.length) sheet.append(table(rows));
  } catch (error) {
    sheet.replaceChildren(title, el("p", { class: "note" }, visible(error.message)));
  }
}

// The newest run first. Files may hold anything: a row without a speed is no row.
function flat(runs) {
  const rows = [...runs].reverse().flatMap((run) => run.rows.map((row) => ({ ...row, at: run.at })));
  return rows.filter((row) => typeof row.test === "string" && Number.isFinite(row.median_ts) && row.median_ts >= 0)
    .map((row) => ({ ...row, model: `${row.model ?? "?"}${row.parallel > 1 ? `, ${row.parallel} streams` : ""}` }));
}

function latest(rows) {
  const seen = new Map();
  for (const row of rows) if (!seen.has(`${row.test}\n${row.model}`)) seen.set(`${row.test}\n${row.model}`, row);
  return [...seen.values()];
}

function chart(test, rows) {
  const most = Math.max(...rows.map((row) => row.median_ts + (row.stddev_ts || 0)), 1e-9);
  const scale = (value) => ((WIDTH - LABEL - ROOM) * value) / most;
  const label = `${test}: ${rows.map((row) => `${row.model} ${row.median_ts.toFixed(1)} tokens per second`).join("; ")}`;
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${rows.length * LINE}`, class: "chart", role: "img", "aria-label": visible(label) });
  rows.forEach((row, place) => {
    const middle = place * LINE + LINE / 2;
    const end = LABEL + scale(row.median_ts);
    const spread = scale(row.stddev_ts || 0);
    const name = visible(row.model);
    drawing.append(
      svg("text", { x: 0, y: middle + 4 }, name.length > 32 ? `${name.slice(0, 31)}…` : name),
      svg("rect", { x: LABEL, y: middle - 9, width: Math.max(1, end - LABEL).toFixed(1), height: 18, rx: 4, class: "bar-1" }),
      svg("line", { x1: (end - spread).toFixed(1), x2: (end + spread).toFixed(1), y1: middle, y2: middle, class: "whisker" }),
      svg("text", { x: (end + spread + 8).toFixed(1), y: middle + 4, class: "dim" }, row.median_ts.toFixed(1)));
  });
  return drawing;
}

function table(rows) {
  const head = el("tr", {}, ...["When", "Model", "Test", "Tokens per second"].map((name, place) => el("th", { scope: "col", class: place === 3 ? "right" : null }, name)));
  const lines = rows.slice(0, 100).map((row) => el("tr", {}, el("td", {}, row.at.slice(0, 16).replace("T", " ")), el("td", {}, visible(row.model)),
    el("td", {}, visible(row.test)), el("td", { class: "right" }, `${row.median_ts.toFixed(1)} ± ${(row.stddev_ts || 0).toFixed(1)}`)));
  return el("details", { class: "card" }, el("summary", {}, "All figures"),
    el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "All figures" }, el("table", {}, el("thead", {}, head), el("tbody", {}, ...lines))));
}
