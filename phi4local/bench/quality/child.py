"""The process that reads a text with one model: an order on standard input, progress and figures back.

A crash of the library ends this process only, and its peak memory is this model's.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from phi4local import files, hardware
from phi4local.bench.quality import statistics
from phi4local.bench.quality.base_file import BaseFile, BaseShape, BaseWriter
from phi4local.bench.quality.chunks import Chunks
from phi4local.bench.quality.reader import Reader
from phi4local.bench.quality.scores import Compared, Scorer
from phi4local.bench.quality.text import read_text
from phi4local.engine.worker import protocol, task
from phi4local.errors import InvalidSettingError
from phi4local.settings import LoadSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Tell = Callable[[dict[str, Any]], None]

_FEWEST_TOLD_SHARES = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the child is to do; text, or base, or both for a first model.

    Attributes:
        file: the model, as `protocol.file_to_json` writes it.
        settings: how to load it.
        text: file with the text; not used with `base`.
        base: file to compare with, which has the text's tokens, or `None`.
        save: file to make for later comparisons, or `None`.
        limit: most chunks, or `None`.
        overwrite: `save` may replace a file.
    """

    file: dict[str, Any]
    settings: dict[str, Any]
    text: str | None = None
    base: str | None = None
    save: str | None = None
    limit: int | None = None
    overwrite: bool = False


def main() -> None:
    """Carry out one order, and end with the parent."""
    task.serve(lambda order, tell: carry_out(Order(**order), tell))


def carry_out(order: Order, tell: Tell) -> dict[str, Any]:
    """Read the text with the model.

    Args:
        order: what to read, and what with.
        tell: told about loading (`share`) and about each chunk (`done`, `total`, `perplexity`).

    Returns:
        The figures of `measure.Figures`.

    Raises:
        InvalidSettingError: the text is too short, or the base has another vocabulary or context.
        FileFormatError: the text or the base's file cannot be read.
        FileWriteError: the base's file cannot be written.
        EngineError: llama.cpp could not do it.
    """
    told = -1.0

    def loading(share: float) -> bool:
        nonlocal told
        if share - told >= _FEWEST_TOLD_SHARES:
            told = share
            tell({"type": "loading", "share": share})
        return True

    settings = LoadSettings.from_mapping(order.settings)
    with contextlib.ExitStack() as stack:
        base = stack.enter_context(BaseFile(Path(order.base))) if order.base else None
        reader = Reader(protocol.file_from_json(order.file), settings, loading)
        stack.callback(reader.close)
        chunks = _chunks(order, reader, base)
        vocabulary_tokens = reader.native.vocabulary_tokens
        writer = stack.enter_context(_writer(order, chunks, vocabulary_tokens))
        run = Run(reader, chunks, base, writer)
        stack.callback(run.scorer.close)
        return run.carry_out(tell)


def _chunks(order: Order, reader: Reader, base: BaseFile | None) -> Chunks:
    context_tokens = reader.settings.context_tokens or 0
    if base is None:
        return Chunks.cut(reader.tokenize(read_text(Path(order.text or ""))), context_tokens, order.limit)
    if base.shape.vocabulary_tokens != reader.native.vocabulary_tokens:
        raise InvalidSettingError(
            "base_logits",
            f"is for {base.shape.vocabulary_tokens:,} tokens, and the model has "
            f"{reader.native.vocabulary_tokens:,}",
            hint="compare quantizations or fine-tunes of the same model",
        )
    return base.chunks.limited(order.limit)


@contextlib.contextmanager
def _writer(order: Order, chunks: Chunks, vocabulary_tokens: int) -> Iterator[BaseWriter | None]:
    if order.save is None:
        yield None
        return
    shape = BaseShape(chunks.context_tokens, vocabulary_tokens, len(chunks))
    with files.new_file(Path(order.save), overwrite=order.overwrite, size_bytes=shape.file_bytes) as file:
        yield BaseWriter(file, chunks, vocabulary_tokens)


class Run:
    """One model's way through the text."""

    def __init__(
        self, reader: Reader, chunks: Chunks, base: BaseFile | None, writer: BaseWriter | None
    ) -> None:
        self.scorer = Scorer(reader.native.vocabulary_tokens, reader.settings.threads or 1)
        self._reader, self._chunks, self._base, self._writer = reader, chunks, base, writer
        self._losses: list[NDArray[np.float64]] = []
        self._compared: list[Compared] = []
        self._scored = 0

    def carry_out(self, tell: Tell) -> dict[str, Any]:
        """Read all chunks, then measure the writing speed; return the figures."""
        started = time.perf_counter()
        total = 0.0
        for number, tokens in enumerate(self._chunks.tokens):
            for position, logits in self._reader.blocks(tokens, self._chunks.first):
                losses = self._score(logits, tokens[position + 1 : position + 1 + len(logits)], position)
                total += float(losses.sum())
                self._losses.append(losses)
                self._scored += len(losses)
            tell(
                {
                    "type": "chunk",
                    "done": number + 1,
                    "total": len(self._chunks),
                    "perplexity": float(np.exp(total / self._scored)),
                }
            )
        seconds = time.perf_counter() - started
        losses = np.concatenate(self._losses)
        if self._writer is not None:
            self._writer.finish(losses)
        return self._figures(losses, seconds)

    def _score(
        self, logits: NDArray[np.float32], targets: NDArray[np.int32], position: int
    ) -> NDArray[np.float64]:
        if self._base is not None:
            stored = self._base.rows(self._scored, len(targets))
            compared = self.scorer.compare(logits, targets, stored, position)
            self._compared.append(compared)
            return compared.losses
        if self._writer is not None:
            losses, stored = self.scorer.store(logits, targets, position)
            self._writer.add(stored)
            return losses
        return self.scorer.losses(logits, targets, position)

    def _figures(self, losses: NDArray[np.float64], seconds: float) -> dict[str, Any]:
        reader, chunks = self._reader, self._chunks
        divergence = None
        if self._base is not None:
            exact = self._base.losses
            compared = _joined(self._compared)
            divergence = statistics.divergence(compared, None if exact is None else exact[: len(losses)])
        return {
            "perplexity": asdict(statistics.perplexity(losses)),
            "divergence": divergence.to_mapping() if divergence else None,
            "chunks": len(chunks),
            "context_tokens": chunks.context_tokens,
            "scored_tokens": len(losses),
            "seconds": seconds,
            "reading_seconds": reader.seconds,
            "reading_rate": chunks.tokens.size / reader.seconds,
            "writing_rate": reader.writing_rate(chunks.tokens[0]),
            "load_seconds": reader.load_seconds,
            "parameters": reader.native.parameters,
            "peak_memory_bytes": hardware.peak_memory_bytes(),
            "settings": reader.settings.to_mapping(),
        }


def _joined(parts: list[Compared]) -> Compared:
    names = [field.name for field in fields(Compared)]
    return Compared(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})
