"""Validate, load and run the files named on stdin, one after the other; say what came of each on stdout.

The parent starts it with `python -m tests.hostile.gguf_engine_child`. It does what `phi4local run` does with
a file, in one process that stays: a signal here is one that the worker process would have met. An outcome is
`refused: …` (by the validator), `runs`, `fails cleanly: …` (one of our errors later on), or `TRACEBACK …`.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

from phi4local import gguf
from phi4local.engine import Request
from phi4local.engine.engine import Engine
from phi4local.engine.worker.process import prepare_child, take_standard_output
from phi4local.errors import ChatTemplateError, GGUFError, Phi4LocalError
from phi4local.messages import Message
from phi4local.prompts.known import choose_template
from phi4local.prompts.segments import TextSegment
from phi4local.runtime.facts import FileFacts, file_facts
from phi4local.settings import LoadSettings, SamplingSettings

MOST_MEMORY_BYTES = 6 * 2**30
ANY_TEXT = "the \U0001f600 \0\ufffd <|im_end|> " + "".join(map(chr, range(1, 256)))
SETTINGS = LoadSettings(context_tokens=512, gpu_layers=0, threads=1, kv_type="f32")


def outcome(path: Path) -> str:
    """Say what phi4local does with a file; only a signal keeps it from answering."""
    check = gguf.read_header if "PHI4LOCAL_TEST_UNCHECKED" in os.environ else gguf.validate
    try:
        facts = file_facts(check(path))
    except GGUFError as error:
        return f"refused: {error.problem}"
    try:
        return _run(facts)
    except Phi4LocalError as error:
        return f"fails cleanly: {type(error).__name__}: {error}"


def _run(facts: FileFacts) -> str:
    segments = [TextSegment(ANY_TEXT, special=False), TextSegment("<|im_end|>", special=True)]
    try:
        template, _ = choose_template(facts.chat_template, facts.manifest, bos_token=facts.bos_token)
        prompt = template.segments([Message("user", "Hello")], strip_whitespace=True)
        segments += prompt.segments
    except ChatTemplateError:
        pass  # the rest of the file is tried all the same
    request = Request(segments=tuple(segments), sampling=SamplingSettings(temperature=0), max_tokens=2)
    with Engine(facts.model_file(), SETTINGS) as engine:
        engine.submit(request).result()
    return "runs"


def main() -> None:
    """Answer one line for each line."""
    prepare_child()
    replies = take_standard_output()
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
    for line in sys.stdin:
        try:
            said = outcome(Path(line.rstrip("\n")))
        except Exception:  # noqa: BLE001 - that there is one is what is looked for
            said = "TRACEBACK " + traceback.format_exc()
        replies.write(" ".join(said.split()).encode("utf-8", "backslashreplace") + b"\n")
        replies.flush()


if __name__ == "__main__":
    main()
