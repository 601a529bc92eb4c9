"""How long the terminal conversation takes for what a person waits for: the first character, and Ctrl-C.

    python -m benchmarks.chat --json benchmarks/results/chat.json

In a real pseudo-terminal, on the embedded model. The first character is timed from Enter, less what
the engine says that the prompt took; Ctrl-C from the key to the prompt.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import pairs

ROUNDS = 40
ENDLESS = ("--sampling", 'logit_bias={"8105": -100, "8097": -100}', "--temperature", "0.7", "--seed", "1")
EDITOR_GONE, PROMPT = b"\x1b[?2004l", b">>>"


class Chat:
    """`phi4local chat phi4-nano` in a terminal of 24 rows."""

    def __init__(self, *options: str) -> None:
        import pexpect

        command = [*("-m", "phi4local", "chat", "phi4-nano", "--no-server", "--no-save", "--no-history")]
        command += options
        self.child: Any = pexpect.spawn(
            sys.executable, command, dimensions=(24, 80), env={**os.environ, "TERM": "xterm-256color"}
        )
        self.child.delaybeforesend = None
        self.seen = b""
        self.wait(PROMPT, 0)

    def wait(self, text: bytes, start: int) -> int:
        """Read until `text` came behind `start`, and return where it ends."""
        while (place := self.seen.find(text, start)) < 0:
            self.read()
        return place + len(text)

    def read(self) -> None:
        """Take what comes next."""
        self.seen += self.child.read_nonblocking(1 << 16, 60)

    def type(self, text: str) -> int:
        """Type a line, and return how much had come before."""
        start = len(self.seen)
        self.child.send(text + "\r")
        return start


def first_characters() -> list[float]:
    """Return milliseconds between the engine's first token and the first character on the screen."""
    chat = Chat("--max-tokens", "8")
    start = chat.type("/verbose")
    chat.wait(PROMPT, chat.wait(b"everything", start))
    added = []
    for number in range(ROUNDS):
        begun = time.perf_counter()
        start = chat.wait(EDITOR_GONE, chat.type(f"What is {number} plus 4?"))
        while not re.search(rb"[A-Za-z0-9]", re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", chat.seen[start:])):
            chat.read()
        came = (time.perf_counter() - begun) * 1000
        end = chat.wait(PROMPT, chat.wait(b"first token after", start))
        found = re.search(rb"first token after ([\d,]+) ms, queued ([\d,]+) ms", chat.seen[start:end])
        if found is None:
            raise RuntimeError("the line with the times did not come")
        added.append(came - sum(float(text.replace(b",", b"")) for text in found.groups()))
    chat.child.close(force=True)
    return added


def interruptions() -> list[float]:
    """Return milliseconds from Ctrl-C to the prompt, at moments further and further into the answer."""
    chat = Chat(*ENDLESS)
    took = []
    for number in range(ROUNDS):
        start = chat.type("Tell me a long story.")
        while len(chat.seen) < start + 40 * number:
            chat.read()
        begun = time.perf_counter()
        chat.child.sendintr()
        chat.wait(PROMPT, chat.wait(b"interrupted", start))
        took.append((time.perf_counter() - begun) * 1000)
        chat.wait(PROMPT, chat.wait(b"a new conversation", chat.type("/clear")))
    chat.child.close(force=True)
    return took


def summary(samples: list[float]) -> dict[str, Any]:
    """Return median and largest, and every sample, in milliseconds."""
    rounded = [round(sample, 1) for sample in samples]
    return {"median_ms": statistics.median(rounded), "largest_ms": max(rounded), "samples_ms": rounded}


def main() -> int:
    """Measure both and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    facts: dict[str, Any] = {
        "command": "python -m benchmarks.chat",
        "first_character": summary(first_characters()),
        "ctrl_c": summary(interruptions()),
    }
    pairs.write(chosen.json, (), **facts)
    sys.stdout.write(json.dumps(facts, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
