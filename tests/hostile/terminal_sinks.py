"""Show every hostile string on a real way out of phi4local.

Run it with `python -m tests.hostile.terminal_sinks SINK FOLDER`. One process shows all of them: starting it
takes longer than the rest. Each string stands between `S007(` and `)E007`, where the test finds it.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import typer

from phi4local import cli
from phi4local.cli.stream import print_answer
from phi4local.engine import Finished, Text
from phi4local.engine.events import Timings, Usage
from phi4local.engine.text import TextStream
from tests.hostile.gguf_files import STR, small_model
from tests.hostile.terminal_strings import STRINGS

NONE = (
    Usage(prompt_tokens=1, reused_tokens=0, generated_tokens=1),
    Timings(prompt_seconds=1, generation_seconds=1),
)


def marked(number: int) -> bytes:
    return b"S%03d(" % number + STRINGS[number] + b")E%03d" % number


def events(data: bytes, generator: random.Random):
    """Yield what the engine says when its tokens are cut anywhere, also inside of characters."""
    stream = TextStream()
    while data:
        size = generator.choice([1, 1, 2, 3, 7])
        if delta := stream.feed(data[:size]):
            yield Text(delta, (0,))
        data = data[size:]
    if delta := stream.finish():
        yield Text(delta, (0,))
    usage = Usage(prompt_tokens=1, reused_tokens=0, generated_tokens=1)
    yield Finished(reason="stop", usage=usage, timings=Timings(prompt_seconds=1, generation_seconds=1))


def reply(number: int, _folder: Path) -> None:
    cli.prepare_streams()
    generator = random.Random(number)
    print_answer(events(marked(number), generator))
    print_answer(events(marked(number), generator), wrap=False)


def metadata(number: int, folder: Path) -> None:
    file = small_model()
    for key in ("general.name", "general.license", "tokenizer.chat_template"):
        file.set(key, STR, marked(number))
    path = folder / f"{number}.gguf"
    path.write_bytes(file.build())
    for more in ([], ["--template"], ["--json"]):
        cli.main(["show", str(path), *more])


def file_name(number: int, folder: Path) -> None:
    name = marked(number).replace(b"/", b"_").replace(b"\0", b"_")
    good = os.fsencode(folder) + b"/" + name[-230:] + b".gguf"
    Path(os.fsdecode(good)).write_bytes(small_model().build())
    bad = os.fsencode(folder) + b"/bad" + name[-230:] + b".gguf"
    Path(os.fsdecode(bad)).write_bytes(b"GGUF")
    cli.main(["show", os.fsdecode(good)])
    cli.main(["show", os.fsdecode(bad)])
    cli.main(["show", "--json", os.fsdecode(good)])


def error(number: int, folder: Path) -> None:
    text = os.fsdecode(marked(number))
    cli.main(["show", text])
    cli.main(["plan", "phi4-nano", "--kv", text])
    cli.main([text])
    cli.main(["show", "phi4-nano", text])
    file = small_model()
    file.set("general.architecture", STR, marked(number))
    path = folder / f"{number}.gguf"
    path.write_bytes(file.build())
    cli.main(["show", str(path)])


SINKS = {"reply": reply, "metadata": metadata, "file-name": file_name, "error": error}

if __name__ == "__main__":
    cli.app = typer.main.get_command(cli.app)  # made once: it takes most of the time of a short command
    for place in range(len(STRINGS)):
        SINKS[sys.argv[1]](place, Path(sys.argv[2]))
