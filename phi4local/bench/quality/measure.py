"""Read a text with several models, one after the other, each in a process of its own."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from phi4local import files
from phi4local.bench.quality.figures import Divergence, Estimate
from phi4local.bench.quality.report import QualityRow
from phi4local.bench.quality.text import read_text
from phi4local.engine.worker import protocol
from phi4local.engine.worker.task import messages_of
from phi4local.errors import EngineError, InvalidSettingError
from phi4local.store.home import make_work_folder
from phi4local.store.locks import locked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from phi4local.bench.quality.subjects import Subject

_BASE_NAME = "base.logits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What is read, and what the base's log-probabilities come from or go to.

    Attributes:
        text: plain text in UTF-8; `None` with `base_logits`, which has the text's tokens.
        chunks: most chunks, or `None` for all.
        base_logits: file of a base that was read before, instead of a base.
        save_base: keep the base's log-probabilities in this file.
        overwrite: `save_base` may be replaced.

    Raises:
        InvalidSettingError: a combination that means nothing.
        FileFormatError: the text cannot be read.
        OutputExistsError: `save_base` is there.
    """

    text: Path | None = None
    chunks: int | None = None
    base_logits: Path | None = None
    save_base: Path | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.chunks is not None and self.chunks < 1:
            raise InvalidSettingError("chunks", f"is {self.chunks}; it must be at least 1")
        if self.text is None and self.base_logits is None:
            raise InvalidSettingError(
                "text", "is not set, and there is no text for every model", hint=TEXT_HINT
            )
        if self.text is not None:
            read_text(self.text)  # before anything is converted or loaded
        if self.save_base is not None:
            files.refuse_existing(self.save_base, overwrite=self.overwrite)


TEXT_HINT = (
    "give plain text with `--text FILE`; published figures use wiki.test.raw of "
    "https://huggingface.co/datasets/ggml-org/ci/resolve/main/wikitext-2-raw-v1.zip"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a measurement is.

    Attributes:
        name: the model that is read.
        number, count: which one it is, from 1, and how many there are.
        stage: `converting` (bytes), `loading` (per cent) or `reading` (chunks).
        done, total: of the stage.
        perplexity: so far, while reading.
    """

    name: str
    number: int
    count: int
    stage: str
    done: int
    total: int
    perplexity: float | None = None

    @classmethod
    def start(cls, name: str, number: int, count: int) -> Progress:
        """Return where a model begins."""
        return cls(name=name, number=number, count=count, stage="loading", done=0, total=100)

    def at(self, stage: str, done: int, total: int, perplexity: float | None = None) -> Progress:
        """Return another place of the same model."""
        return replace(self, stage=stage, done=done, total=total, perplexity=perplexity)


@contextlib.contextmanager
def work_folder() -> Iterator[Path]:
    """Yield an empty folder for large files, on the store's disk; it is removed at the end.

    What a killed measurement left there is removed by the next one.
    """
    for number in itertools.count(1):
        name = f"convert-quality-{number}"
        with locked(name, wait=False) as mine:
            if not mine:
                continue
            folder = make_work_folder(name)
            try:
                for left in folder.iterdir():
                    left.unlink()
                yield folder
                return
            finally:
                shutil.rmtree(folder, ignore_errors=True)


def measure(
    subjects: Iterable[Subject],
    reading: Reading,
    *,
    base: Subject | None = None,
    count: int,
    tell: Callable[[Progress], None] = lambda _progress: None,
) -> Iterator[QualityRow]:
    """Yield a row for the base, if there is one, and for each model, as soon as it is measured.

    Args:
        subjects: models to measure; the next one is asked for when the one before is done.
        reading: the text.
        base: what they are compared with.
        count: of all rows, for `tell`.
        tell: told how far it is.

    Raises:
        InvalidSettingError: the text is too short, or a vocabulary is another one.
        FileFormatError, FileWriteError: text or log-probabilities.
        EngineError: llama.cpp could not do it.
    """
    with work_folder() as folder:
        logits = reading.base_logits
        if base is not None:
            logits = reading.save_base or folder / _BASE_NAME
            yield _read(base, _order(base, reading, save=logits), _numbered(tell, base, 1, count))
        for number, subject in enumerate(subjects, 1 + (base is not None)):
            order = _order(subject, reading, base=logits)
            yield _read(subject, order, _numbered(tell, subject, number, count))


def _order(
    subject: Subject, reading: Reading, *, base: Path | None = None, save: Path | None = None
) -> dict[str, Any]:
    return {
        "file": protocol.file_to_json(subject.file.model_file()),
        "settings": subject.settings.to_mapping(),
        "text": None if reading.text is None else str(reading.text),
        "base": None if base is None else str(base),
        "save": None if save is None else str(save),
        "limit": reading.chunks,
        "overwrite": reading.overwrite,
    }


def _numbered(
    tell: Callable[[Progress], None], subject: Subject, number: int, count: int
) -> Callable[[dict[str, Any]], None]:
    start = Progress.start(subject.name, number, count)

    def take(message: dict[str, Any]) -> None:
        if message["type"] == "loading":
            tell(start.at("loading", round(100 * message["share"]), 100))
        else:
            tell(start.at("reading", message["done"], message["total"], message["perplexity"]))

    return take


def _read(subject: Subject, order: dict[str, Any], tell: Callable[[dict[str, Any]], None]) -> QualityRow:
    """Let a child process carry out an order.

    Raises:
        EngineCrashedError: it died.
        Phi4LocalError: what it failed with.
    """
    with closing(messages_of("phi4local.bench.quality.child", order, doing="reads the text")) as messages:
        for message in messages:
            if message["type"] == "done":
                return _row(subject, order, message)
            tell(message)
    raise EngineError("reading the text ended without a result")


def _row(subject: Subject, order: dict[str, Any], message: dict[str, Any]) -> QualityRow:
    figures = {name: value for name, value in message.items() if name != "type"}
    divergence = figures.pop("divergence")
    return QualityRow(
        name=subject.name,
        path=subject.file.header.path if subject.kept else None,
        quantization=subject.quantization,
        size_bytes=subject.size_bytes,
        bits_per_weight=subject.bits_per_weight,
        is_base=order["save"] is not None,
        perplexity=Estimate(**figures.pop("perplexity")),
        divergence=None if divergence is None else Divergence.from_mapping(divergence),
        **figures,
    )
