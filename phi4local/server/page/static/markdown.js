// Markdown → nodes, block by block, so that an answer that grows draws only its last block again.

import { codeBlock } from "./code.js";
import { el, visible } from "./dom.js";
import { inline } from "./inline.js";

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^`\s]*)[^`]*$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])(\s+|$)/;
const SEPARATOR = /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;
const DEEPEST = 12;

// Show `text` in `container`; what stands there from an earlier call and did not change stays as it is.
export function drawMarkdown(container, text) {
  const blocks = split(visible(text).split("\n"));
  const before = container.blockSources ?? [];
  let same = 0;
  while (same < blocks.length && before[same] === blocks[same].source) same += 1;
  while (container.childNodes.length > same) container.lastChild.remove();
  for (const block of blocks.slice(same)) container.append(draw(block, 0));
  container.blockSources = blocks.map((block) => block.source);
}

// Lines → blocks {kind, lines, source}. Each line is looked at once.
function split(lines) {
  const blocks = [];
  let place = 0;
  while (place < lines.length) {
    if (!lines[place].trim()) { place += 1; continue; }
    const [kind, end] = extent(lines, place);
    const own = lines.slice(place, end);
    blocks.push({ kind, lines: own, source: `${kind}\n${own.join("\n")}` });
    place = end;
  }
  return blocks;
}

function extent(lines, place) {
  const line = lines[place];
  if (FENCE.test(line)) return ["code", fenceEnd(lines, place)];
  if (HEADING.test(line)) return ["heading", place + 1];
  if (RULE.test(line)) return ["rule", place + 1];
  if (/^ {0,3}>/.test(line)) return ["quote", run(lines, place, (next) => /^ {0,3}>/.test(next))];
  if (ITEM.test(line)) return ["list", listEnd(lines, place)];
  if (isTable(lines, place)) return ["table", run(lines, place, (next) => next.includes("|"))];
  return ["paragraph", paragraphEnd(lines, place)];
}

function run(lines, place, belongs) {
  let end = place + 1;
  while (end < lines.length && belongs(lines[end])) end += 1;
  return end;
}

function fenceEnd(lines, place) {
  const fence = FENCE.exec(lines[place])[1];
  for (let end = place + 1; end < lines.length; end += 1) {
    const mark = lines[end].trim();
    if (mark.length >= fence.length && mark === fence[0].repeat(mark.length)) return end + 1;
  }
  return lines.length;
}

function listEnd(lines, place) {
  const indent = ITEM.exec(lines[place])[1].length;
  let end = place + 1;
  while (end < lines.length) {
    const line = lines[end];
    if (!line.trim()) {
      const next = lines[end + 1] ?? "";
      if (!next.trim() || !(ITEM.test(next) || /^\s/.test(next)) || next.search(/\S/) < indent) break;
    } else if (!ITEM.test(line) && !/^\s/.test(line) && (HEADING.test(line) || FENCE.test(line) || RULE.test(line))) break;
    else if (RULE.test(line) && line.search(/\S/) <= indent) break;
    end += 1;
  }
  return end;
}

const isTable = (lines, place) =>
  lines[place].includes("|") && place + 1 < lines.length && lines[place + 1].includes("-") && SEPARATOR.test(lines[place + 1]);

function paragraphEnd(lines, place) {
  return run(lines, place, (line) => line.trim() && !FENCE.test(line) && !HEADING.test(line) && !RULE.test(line) && !ITEM.test(line) && !/^ {0,3}>/.test(line));
}

function draw(block, depth) {
  if (depth > DEEPEST) return el("p", {}, block.lines.join("\n"));
  return DRAW[block.kind](block.lines, depth);
}

const children = (lines, depth) => split(lines).map((block) => draw(block, depth + 1));

const DRAW = {
  code(lines) {
    const [, fence, language] = FENCE.exec(lines[0]);
    const last = lines.at(-1).trim();
    const closed = lines.length > 1 && last.length >= fence.length && last === fence[0].repeat(last.length);
    return codeBlock(lines.slice(1, closed ? -1 : undefined).join("\n"), language);
  },
  heading(lines) {
    const [, marks, words] = HEADING.exec(lines[0]);
    return el(`h${Math.min(6, marks.length + 2)}`, { dir: "auto" }, ...inline(words));
  },
  rule: () => el("hr"),
  quote: (lines, depth) => el("blockquote", {}, ...children(lines.map((line) => line.replace(/^ {0,3}> ?/, "")), depth)),
  paragraph: (lines) => el("p", { dir: "auto" }, ...inline(lines.map((line) => line.trim()).join("\n"))),
  list: drawList,
  table: drawTable,
};

function drawList(lines, depth) {
  const [, indent, mark] = ITEM.exec(lines[0]);
  const ordered = /\d/.test(mark);
  const items = [];
  for (const line of lines) {
    const found = ITEM.exec(line);
    if (found && found[1].length <= indent.length + 1) items.push({ width: found[0].length, lines: [line.slice(found[0].length)] });
    else items.at(-1).lines.push(line.slice(Math.min(items.at(-1).width, Math.max(0, line.search(/\S|$/)))));
  }
  const start = ordered ? Number.parseInt(mark, 10) : 1;
  return el(ordered ? "ol" : "ul", { start: start > 1 ? start : null, dir: "auto" }, ...items.map((item) => drawItem(item.lines, depth)));
}

function drawItem(lines, depth) {
  const task = /^\[([ xX])\]\s+/.exec(lines[0]);
  if (task) lines[0] = `${task[1] === " " ? "☐" : "☑"} ${lines[0].slice(task[0].length)}`;
  const nodes = children(lines, depth);
  // One paragraph in an item needs no space around it.
  if (nodes[0]?.tagName === "P") nodes.splice(0, 1, ...nodes[0].childNodes);
  return el("li", {}, ...nodes);
}

function cells(line) {
  return line.trim().replace(/^\|/, "").replace(/\|$/, "").split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

function drawTable(lines) {
  const sides = cells(lines[1]).map((cell) => (cell.endsWith(":") ? (cell.startsWith(":") ? "center" : "right") : "left"));
  const row = (line, tag) => el("tr", {}, ...cells(line).map((cell, place) => el(tag, { class: sides[place], scope: tag === "th" ? "col" : null }, ...inline(cell))));
  const table = el("table", {}, el("thead", {}, row(lines[0], "th")), el("tbody", {}, ...lines.slice(2).map((line) => row(line, "td"))));
  return el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Table" }, table);
}
