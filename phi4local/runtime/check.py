"""Check a GGUF file by running it: it loads, its tokens are found again, its numbers are numbers."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from phi4local.convert.check_file import FileCheck, Finding, check_file
from phi4local.engine import Request
from phi4local.engine.worker import EngineWorker
from phi4local.errors import NotEnoughMemoryError, Phi4LocalError
from phi4local.gguf import validate
from phi4local.prompts import TextSegment, TokenSegment
from phi4local.runtime.facts import CONTROL, USER_DEFINED, file_facts
from phi4local.runtime.settle import settle
from phi4local.settings import LoadSettings, SamplingSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from phi4local.gguf import Header

SAMPLES = (
    "The quick brown fox jumps over the lazy dog.",
    "  leading spaces,\ttabs\nand\n\n\nline ends  ",
    "def f(x):\n    return x ** 2 + 3.14159  # code",
    "1234567890 3,000.50 2026-11-23 0xFF",
    "Grüße, naïve café, Ελληνικά, Русский, עברית, العربية",
    "हिन्दी ภาษาไทย 日本語 中文 한국어",
    "👩‍👩‍👧 🇩🇪 ½ ∑ ∞ \u200d \ufeff",
    "don't I'll WE'RE they'd",
)
"""Texts in which tokenizers tend to differ."""
_TOKENS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCheck:
    """What running it showed.

    Attributes:
        findings: empty for a good file.
        special_tokens: how many were looked up.
        texts: how many texts were compared with the checkpoint's tokenizer.json.
        skipped: why texts were not compared; empty if they were.
        not_run: why the model was not run at all; empty if it was.
    """

    findings: tuple[Finding, ...]
    special_tokens: int = 0
    texts: int = 0
    skipped: str = ""
    not_run: str = ""


def check_model(
    path: Path, against: Path | None = None, *, progress: Callable[[int, int], None] = lambda *_: None
) -> tuple[FileCheck, RunCheck | None]:
    """Check the GGUF file at `path`: what files alone tell, and then what running it shows.

    Args:
        path: the file.
        against: the checkpoint folder that it was made from, or `None`.
        progress: called with weights checked and weights in all, before the model is run.

    Returns:
        both results; no second one where the weights are damaged, because llama.cpp trusts them.

    Raises:
        As `check_file`.
    """
    found = check_file(path, against, progress=progress)
    if any("NaN" in finding.problem for finding in found.findings):
        return found, None
    return found, _run(validate(path), against)


def _run(header: Header, against: Path | None) -> RunCheck:
    file = file_facts(header)
    try:
        settings = settle(header, LoadSettings(context_tokens=512)).settings
    except NotEnoughMemoryError as error:
        return RunCheck(findings=(), not_run=str(error))
    with EngineWorker() as worker:
        try:
            worker.load(file.model_file(), settings)
            special = list(_special_tokens(worker, header))
            texts = _texts(worker, against)
            _answer(worker)
        except Phi4LocalError as error:
            return RunCheck(findings=(Finding("engine", str(error)),))
    wrong = tuple(Finding(f"token {number:,}", problem) for number, problem in special if problem)
    return replace(texts, findings=(*wrong, *texts.findings), special_tokens=len(special))


def _special_tokens(worker: EngineWorker, header: Header) -> Iterator[tuple[int, str]]:
    """Yield each token that stands for itself, and what is wrong with it."""
    tokens: Any = header.get("tokenizer.ggml.tokens", ())
    types: Any = header.get("tokenizer.ggml.token_type", ())
    for number, (text, kind) in enumerate(zip(tokens, types, strict=False)):
        if kind in (CONTROL, USER_DEFINED) and text:
            ids = worker.tokenize((TextSegment(text, special=True),))
            yield number, "" if ids == [number] else f"{text!r} is read as {ids[:8]}"


def _texts(worker: EngineWorker, against: Path | None) -> RunCheck:
    """Compare ids of texts with those of the checkpoint's tokenizer.json."""
    tokenizer = None if against is None else against / "tokenizer.json"
    if tokenizer is None or not tokenizer.is_file():
        return RunCheck(findings=(), skipped="there is no tokenizer.json to compare with")
    try:
        from tokenizers import Tokenizer
    except ImportError:
        return RunCheck(findings=(), skipped="the package `tokenizers` is not installed")
    original = Tokenizer.from_str(json.dumps(json.loads(tokenizer.read_text(encoding="utf-8"))))
    findings = []
    for text in SAMPLES:
        ids = worker.tokenize((TextSegment(text, special=False),))
        expected = original.encode(text, add_special_tokens=False).ids
        if ids != expected:
            problem = f"{text[:30]!r} is {len(ids)} ids {ids[:6]}…, the checkpoint's {expected[:6]}…"
            findings.append(Finding("tokenizer", problem))
    return RunCheck(findings=tuple(findings), texts=len(SAMPLES))


def _answer(worker: EngineWorker) -> None:
    """Compute a few tokens: numbers that are none end as an error."""
    request = Request(
        segments=(TokenSegment(tuple(range(100, 116))),),
        sampling=SamplingSettings(temperature=0),
        max_tokens=_TOKENS,
        ignore_end=True,
    )
    worker.submit(request).result()
