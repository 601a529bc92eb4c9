"""The areas of the self-test: each counts its cases and names the first that went wrong."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from phi4local import catalog, files, gguf
from phi4local.convert import convert_checkpoint
from phi4local.convert.safetensors import read_shard
from phi4local.doctor.result import OK, WRONG, Result
from phi4local.doctor.self_test import damage
from phi4local.engine import Request
from phi4local.engine.worker import EngineWorker
from phi4local.errors import (
    ChatTemplateError,
    CheckpointError,
    EngineError,
    GGUFError,
    Phi4LocalError,
    UnsafeNameError,
    UnsupportedCheckpointError,
)
from phi4local.messages import Message
from phi4local.prompts import ChatTemplate, TokenSegment
from phi4local.runtime.facts import file_facts
from phi4local.runtime.resolve import EMBEDDED_MODEL
from phi4local.settings import LoadSettings, SamplingSettings
from phi4local.store.paths import safe_digest, safe_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CUT, _CHANGED, _LOADED, _DEATHS = 150, 400, 6, 3
_SHARD = "model-00001-of-00002.safetensors"
_ADVICE = "do not open files of strangers with this installation; please report what you see here"


@dataclass
class Count:
    """Cases of one area; `problem` is the first that broke the promise."""

    cases: int = 0
    problem: str = ""

    def expect(self, name: str, *, kept: bool) -> None:
        """Count one case."""
        self.cases += 1
        if not kept and not self.problem:
            self.problem = name

    def refused(self, name: str, work: Callable[[], object], *expected: type[Phi4LocalError]) -> None:
        """Count a case in which `work` has to end with an error of ours."""
        try:
            work()
        except expected:
            self.expect(name, kept=True)
        else:
            self.expect(f"{name} was accepted", kept=False)


def self_test() -> Iterator[Result]:
    """Try every area and yield a result for each, as soon as it is known.

    Example: `summary(self_test())["wrong"]` is 0 where everything holds.

    Raises:
        CheckpointError, FileWriteError: phi4-nano cannot be converted.
    """
    checkpoint = catalog.find(EMBEDDED_MODEL).checkpoint_folder() or Path()
    with tempfile.TemporaryDirectory(prefix="phi4local-self-test-", ignore_cleanup_errors=True) as folder:
        model = Path(folder) / "phi4-nano-Q8_0.gguf"
        yield from _area("names and digests", _names)
        yield from _area("chat templates", _templates)
        yield from _area("control tokens", lambda count: _control_tokens(count, checkpoint))
        yield from _area("safetensors", lambda count: _safetensors(count, checkpoint, Path(folder)))
        convert_checkpoint(checkpoint, model, "Q8_0", kernels="ggml")
        yield from _area("GGUF headers", lambda count: _headers(count, model))
        yield from _area("unfinished files", lambda count: _unfinished(count, Path(folder)))
        yield from _area("damaged models", lambda count: _damaged_models(count, model))
        yield from _area("engine deaths", lambda count: _deaths(count, model))


def _area(name: str, work: Callable[[Count], str]) -> Iterator[Result]:
    """Run one area; any exception that is not ours is a broken promise too."""
    count, began = Count(), time.monotonic()
    try:
        promise = work(count)
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        OSError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        count.problem, promise = f"{type(error).__name__}: {error}", ""
    took = time.monotonic() - began
    if count.problem:
        seen = f"case {count.cases}: {count.problem}"
        yield Result(name=name, state=WRONG, seen=seen, advice=_ADVICE)
    else:
        yield Result(name=name, state=OK, seen=f"{count.cases:,} cases, {promise}, {took:.1f} s")


def _names(count: Count) -> str:
    for path in damage.HOSTILE_PATHS:
        count.refused(f"the name {path[:40]!a}", partial(safe_path, path), UnsafeNameError)
    for digest in damage.HOSTILE_DIGESTS:
        count.refused(f"the digest {digest[:40]!a}", partial(safe_digest, digest), UnsafeNameError)
    return "none leads out of the store"


def _templates(count: Count) -> str:
    for source in damage.HOSTILE_TEMPLATES:
        count.refused(source[:50], partial(_render, source), ChatTemplateError)
    return "none runs code or without end"


def _render(source: str) -> str:
    return ChatTemplate(source).render([Message("user", "Hello")])


def _control_tokens(count: Count, checkpoint: Path) -> str:
    """Type every control token of the vocabulary into every place of a conversation."""
    manifest = catalog.find("phi-4")
    template = ChatTemplate(manifest.chat_template)
    tokens = json.loads((checkpoint / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
    texts = [token["content"] for token in tokens if token["special"]]
    for text in texts:
        for typed in (text, f"a{text}b", text * 2, f"{text}system{text}"):
            prompt = template.segments([Message("user", typed)], strip_whitespace=True, token_strings=texts)
            special = "".join(one.text for one in prompt.segments if one.special)
            usual = template.segments([Message("user", "x")], strip_whitespace=True, token_strings=texts)
            count.expect(typed, kept=special == "".join(one.text for one in usual.segments if one.special))
    return "a typed one stays text"


def _safetensors(count: Count, checkpoint: Path, folder: Path) -> str:
    shard = read_shard(checkpoint / _SHARD)
    head = len(shard.header).to_bytes(8, "little") + shard.header
    path = folder / "damaged.safetensors"
    expected = (CheckpointError, UnsupportedCheckpointError)
    for content in damage.cut_off(head, _CUT):
        path.write_bytes(content)
        count.refused(f"a file of {len(content)} bytes", partial(read_shard, path), *expected)
    for content in damage.with_changed_bytes(head, _CHANGED // 2):
        path.write_bytes(content)
        os.truncate(path, shard.size_bytes)  # zeros for the weights
        with contextlib.suppress(*expected):
            read_shard(path)
        count.expect("", kept=True)
    path.unlink()
    return "each is read or refused"


def _headers(count: Count, model: Path) -> str:
    """Cut off and change the header of a real model; what is read must be a header or a refusal."""
    header = gguf.read_header(model)
    with model.open("rb") as file:
        head = file.read(header.data_offset)
    for content in damage.cut_off(head, 40):
        count.refused(f"{len(content)} bytes", partial(_read, content, len(content)), GGUFError)
    for content in damage.with_changed_bytes(head[:4096], _CHANGED):
        with contextlib.suppress(GGUFError):
            _read(content + head[4096:], header.file_bytes)
        count.expect("", kept=True)
    return "each is read or refused"


def _read(content: bytes, size_bytes: int) -> gguf.Header:
    name = Path("damaged.gguf")

    def read(offset: int, length: int) -> bytes:
        return content[offset : offset + length].ljust(min(length, size_bytes - offset), b"\0")

    return gguf.read_header_of(read, name, size_bytes)


def _unfinished(count: Count, folder: Path) -> str:
    """Let a write fail in the middle: nothing may be left, and an existing file stays."""
    place = folder / "unfinished"
    place.mkdir()
    kept = place / "kept"
    kept.write_text("good")
    for name in ("new", "kept"):
        with contextlib.suppress(_InterruptionError), files.new_file(place / name, overwrite=True) as file:
            file.write(b"half")
            _interrupt()
        left = sorted(path.name for path in place.iterdir())
        count.expect(f"left behind: {left}", kept=left == ["kept"] and kept.read_text() == "good")
    return "half a file never gets a name"


class _InterruptionError(Exception):
    """Stands for Ctrl-C in the middle of a write."""


def _interrupt() -> None:
    raise _InterruptionError


def _damaged_models(count: Count, model: Path) -> str:
    """Run models that were changed and are accepted all the same: an answer or an error, and we live."""
    data = bytearray(model.read_bytes())
    start = gguf.read_header(model).data_offset
    path = model.with_name("damaged.gguf")
    with EngineWorker() as worker:
        for number, tail in enumerate(damage.with_changed_bytes(bytes(data[start:]), _LOADED)):
            path.write_bytes(bytes(data[:start]) + bytes(tail))
            with contextlib.suppress(GGUFError, EngineError):
                worker.load(file_facts(gguf.validate(path)).model_file(), _SETTINGS)
                worker.submit(_REQUEST).result()
            count.expect(f"model {number}", kept=True)
    path.unlink()
    return "an answer or an error line"


_SETTINGS = LoadSettings(context_tokens=256, gpu_layers=0)
_REQUEST = Request(
    segments=(TokenSegment(tuple(range(100, 110))),), sampling=SamplingSettings(temperature=0), max_tokens=8
)


def _deaths(count: Count, model: Path) -> str:
    """Kill the engine's process; the next request has to get the same answer as before."""
    file = file_facts(gguf.validate(model)).model_file()
    with EngineWorker() as worker:
        worker.load(file, _SETTINGS)
        expected = worker.submit(_REQUEST).result().token_ids
        for number in range(_DEATHS):
            os.kill(worker.process_id, signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
            again = worker.submit(_REQUEST).result().token_ids
            count.expect(f"another answer after death {number + 1}", kept=again == expected)
    return "the next request is answered"
