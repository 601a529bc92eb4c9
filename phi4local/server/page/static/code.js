// Blocks of code: coloured, with their language and a button that copies them.

import { announce, el, icon } from "./dom.js";

const LONGEST_COLOURED = 50_000;
const NUMBER = String.raw`\b(?:0[xXbBoO][\da-fA-F_]+|\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d+)?)\b`;
const WORD = String.raw`[A-Za-z_$][\w$]*`;
const QUOTED = String.raw`"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?`;
const TRIPLE = String.raw`"""[\s\S]*?(?:"""|$)|'''[\s\S]*?(?:'''|$)`;
const SLASHES = String.raw`\/\/.*|\/\*[\s\S]*?(?:\*\/|$)`;

const KEYWORDS = {
  python: "and as assert async await break class continue def del elif else except finally for from global if import in is lambda match None nonlocal not or pass raise return self True False try while with yield case",
  script: "async await break case catch class const continue default delete do else export extends false finally for from function if import in instanceof interface let new null of return static super switch this throw true try type typeof undefined var void while yield enum implements public private readonly",
  c: "auto bool break case catch char class const constexpr continue default delete do double else enum explicit extern false float fn for func func go goto if impl import inline int interface let long loop match mod mut namespace new nil null nullptr package private protected pub public return self short signed sizeof static struct super switch template this throw throws trait true try type typedef typename union unsigned use using var virtual void volatile where while async await defer chan range map string",
  shell: "case do done elif else esac export fi for function if in local return then until while cd echo exit set sudo",
  sql: "add all alter and as asc between by case create delete desc distinct drop else end exists foreign from full group having if in index inner insert into is join key left like limit not null offset on or order outer primary references right select set table then union unique update values view when where with",
  data: "true false null yes no on off",
};

const FAMILIES = {
  python: { words: "python", comment: "#.*", strings: `${TRIPLE}|${QUOTED}` },
  script: { words: "script", comment: SLASHES, strings: `${QUOTED}|\`(?:\\\\.|[^\`\\\\])*\`?` },
  c: { words: "c", comment: SLASHES, strings: QUOTED },
  shell: { words: "shell", comment: "(?<![\\w$])#.*", strings: QUOTED },
  sql: { words: "sql", comment: "--.*|/\\*[\\s\\S]*?(?:\\*/|$)", strings: QUOTED, anyCase: true },
  data: { words: "data", comment: "(?<!\\S)#.*", strings: QUOTED },
  json: { words: "data", comment: "(?!)", strings: QUOTED },
  markup: { words: "data", comment: "<!--[\\s\\S]*?(?:-->|$)", strings: QUOTED, tags: true },
};

const LANGUAGES = {
  py: "python", python: "python", python3: "python",
  js: "script", javascript: "script", ts: "script", typescript: "script", jsx: "script", tsx: "script",
  c: "c", "c++": "c", cpp: "c", csharp: "c", cs: "c", java: "c", kotlin: "c", rust: "c", rs: "c", go: "c", swift: "c", css: "c", scala: "c", php: "c",
  sh: "shell", bash: "shell", shell: "shell", zsh: "shell", console: "shell", dockerfile: "shell", makefile: "shell",
  sql: "sql", json: "json", yaml: "data", yml: "data", toml: "data", ini: "data",
  html: "markup", xml: "markup", svg: "markup",
};

const prepared = new Map();

function rules(language) {
  const name = LANGUAGES[language.toLowerCase()];
  if (!name) return null;
  if (!prepared.has(name)) {
    const family = FAMILIES[name];
    const tags = family.tags ? "|(?<tag><\\/?[A-Za-z][\\w:-]*|\\/?>)" : "";
    const pattern = new RegExp(`(?<comment>${family.comment})|(?<string>${family.strings})${tags}|(?<number>${NUMBER})|(?<word>${WORD})`, "g");
    prepared.set(name, { pattern, words: new Set(KEYWORDS[family.words].split(" ")), anyCase: family.anyCase });
  }
  return prepared.get(name);
}

// Code → nodes; each colour is a class, the text is the code's.
function coloured(code, language) {
  const found = code.length <= LONGEST_COLOURED ? rules(language) : null;
  if (!found) return [code];
  const nodes = [];
  let place = 0;
  for (const match of code.matchAll(found.pattern)) {
    const kind = kindOf(match, found, code);
    if (!kind || !match[0]) continue;
    if (match.index > place) nodes.push(code.slice(place, match.index));
    nodes.push(el("span", { class: `t-${kind}` }, match[0]));
    place = match.index + match[0].length;
  }
  nodes.push(code.slice(place));
  return nodes;
}

function kindOf(match, { words, anyCase }, code) {
  const { comment, string, number, word, tag } = match.groups;
  if (comment !== undefined) return "comment";
  if (string !== undefined) return "string";
  if (number !== undefined) return "number";
  if (tag !== undefined) return "keyword";
  if (words.has(anyCase ? word.toLowerCase() : word)) return "keyword";
  return code[match.index + word.length] === "(" ? "call" : null;
}

export function codeBlock(code, language) {
  const copy = el("button", { type: "button", class: "copy", onclick: () => copyText(copy, code) }, icon("copy"), el("span", {}, "Copy"));
  const head = el("div", { class: "code-head" }, el("span", {}, language || "code"), copy);
  const body = el("pre", { tabindex: "0", "aria-label": language ? `Code, ${language}` : "Code", role: "group" }, el("code", {}, ...coloured(code, language)));
  return el("div", { class: "code" }, head, body);
}

// The clipboard needs https or this machine; elsewhere a selection and an old command do it.
export async function copyText(button, text) {
  const words = button.querySelector("span");
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const field = el("textarea", { class: "hidden-visually" });
    field.value = text;
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
  if (words) {
    words.textContent = "Copied";
    setTimeout(() => { words.textContent = "Copy"; }, 1500);
  }
  announce("Copied.");
}
