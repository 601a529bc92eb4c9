"""Write the screens in docs/chat.md as text: `python -m tests.screen_texts`. Needs a POSIX system.

Each stands in a block of code below its mark, `<!-- screen: NAME -->`. A real chat runs on a pseudo-terminal.
The embedded model is too small for examples, so some answers are forced word by word with `--sampling regex`.
"""

import contextlib
import json
import re
import tempfile
from pathlib import Path

from tests.pseudo_terminal import Terminal

PAGE = Path(__file__).parents[1] / "docs" / "chat.md"
ROWS, COLUMNS = 34, 80

MARKDOWN = """## Two ways

| way | when |
|---|---|
| `drop` | old turns do not **matter** |
| `summarize` | they do |

```python
if meter.share > 0.8:
    warn(meter)
```
"""
THOUGHT = "<think>They want a sum. Three and four are seven.</think>3 plus 4 is 7."


def forced(answer):
    """Return the option that makes the model write exactly this."""
    pattern = re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", answer)
    return "--sampling", f"regex={json.dumps(pattern)}"


@contextlib.contextmanager
def chat(home, *options):
    """A chat in this folder that waits for its first line."""
    command = ("chat", "phi4-nano", "--no-server", "--threads", "2", *options)
    with contextlib.chdir(home):
        terminal = Terminal(*command, rows=ROWS, columns=COLUMNS, home=home, env={"NO_COLOR": None})
    try:
        terminal.wait_for_prompt()
        yield terminal
    finally:
        terminal.close()


def say(terminal, text, expected, *, prompt=True):
    """Type a line, and wait for what it brings."""
    terminal.type(text)
    terminal.wait_for(expected)
    if prompt:
        terminal.wait_for_prompt()


def first(home):
    """The first screen and one turn."""
    with chat(home) as terminal:
        say(terminal, "What is 3 plus 4?", "tok/s, context")
        return terminal.text


def drawn(home):
    """Markdown."""
    with chat(home, *forced(MARKDOWN)) as terminal:
        say(terminal, "What can go when the context is full?", "tok/s, prompt")
        return terminal.text


def folded(home):
    """Thoughts of a reasoning model."""
    with chat(home, *forced(THOUGHT)) as terminal:
        say(terminal, "What is 3 plus 4?", "tok/s, prompt")
        return terminal.text


def documents(home):
    """A question about a folder, and what its answer cites."""
    (home / "notes.md").write_text("# Pip\n\nThe fox is called Pip.\n\nPip lives by the river.\n")
    with chat(home, "--docs", "notes.md", *forced("The fox is called Pip [notes.md:3].")) as terminal:
        say(terminal, "What is the fox called?", "tok/s, prompt")
        return terminal.text


def full(home):
    """The question that comes when the context is full."""
    question = "What shall go?"
    with chat(home, "--context", "256", "--max-tokens", "150") as terminal:
        while question not in terminal.text:
            answers = terminal.text.count("tok/s, prompt")
            terminal.type("Tell me a story about a fox.")
            while question not in terminal.text and terminal.text.count("tok/s, prompt") == answers:
                terminal.read()
            if question not in terminal.text:
                terminal.wait_for_prompt()
        terminal.wait_for(">>> drop")
        return terminal.text


SCREENS = {"first": first, "drawn": drawn, "folded": folded, "documents": documents, "full": full}


def replaced(page, name, text):
    """Return the page with another screen of this name."""
    found = re.compile(rf"(<!-- screen: {name} -->\n````\n).*?(\n````\n)", re.DOTALL)
    if len(found.findall(page)) != 1:
        raise SystemExit(f"error: {PAGE} has no `<!-- screen: {name} -->` with a block of code below it")
    return found.sub(lambda match: match[1] + text.strip("\n") + match[2], page)


def main():
    """Take every screen."""
    page = PAGE.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        for name, take in SCREENS.items():
            page = replaced(page, name, take(Path(folder)))
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
