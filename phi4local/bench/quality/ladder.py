"""A whole ladder of quantizations: each one converted, measured and, unless it is kept, removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from phi4local import convert, files, gguf
from phi4local.bench.quality.measure import Progress, Reading, measure, work_folder
from phi4local.bench.quality.subjects import subject_of
from phi4local.convert.checkpoint import open_checkpoint
from phi4local.errors import FileWriteError, InvalidSettingError
from phi4local.runtime import resolve
from phi4local.runtime.absent import find_or_pull

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from phi4local.bench.quality.report import QualityRow
    from phi4local.bench.quality.subjects import Subject
    from phi4local.runtime.absent import Consent
    from phi4local.runtime.progress import Progress as PullProgress
    from phi4local.settings import LoadSettings

LADDER = ("Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q4_K_M", "Q4_K_S", "IQ4_XS", "Q3_K_M", "Q3_K_S", "Q2_K")
"""Steps that need no importance matrix and that people choose among, largest first."""
UNQUANTIZED = ("F32", "BF16", "F16")
"""What a ladder can begin with; the first that holds a checkpoint's types is its base."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """What to make.

    Attributes:
        source: a checkpoint folder, or a GGUF file that is not quantized.
        base: quantization of the base.
        steps: quantizations to measure.
        imatrix: importance matrix, or `None`.
        keep: folder for the files, or `None` to remove each one when it is measured.
        overwrite: files in that folder may be replaced.
        settings: to load with.
    """

    source: Path
    base: str
    steps: tuple[str, ...]
    settings: LoadSettings
    imatrix: Path | None = None
    keep: Path | None = None
    overwrite: bool = False

    def check(self) -> None:
        """Find what would go wrong at a later step, before the first one.

        Raises:
            MissingImatrixError: a step needs an importance matrix.
            FileWriteError: a file that is to be kept is there already, or its folder is not.
            CheckpointError, GGUFError, ConversionError: the source cannot be converted.
        """
        convert.plan_conversions(self.source, list(self.steps), options=self.target)
        if self.keep is None:
            return
        if not self.keep.is_dir():
            raise FileWriteError(self.keep, "no such folder", hint="make it first, or leave `--keep` out")
        for step in self.steps:
            files.refuse_existing(self.output(step, self.keep), overwrite=self.overwrite)

    @property
    def target(self) -> convert.TargetOptions:
        """How the steps are made."""
        return convert.TargetOptions(imatrix=self.imatrix)

    def output(self, quantization: str, folder: Path) -> Path:
        """Return the file of a step. Example: `phi-4`, Q4_K_M → `phi-4-Q4_K_M.gguf`."""
        return folder / f"{self.source.name.removesuffix('.gguf')}-{quantization}.gguf"


def ladder_source(
    name: str,
    *,
    consent: Consent | None = None,
    progress: Callable[[PullProgress], None] = lambda _progress: None,
) -> tuple[Path, str]:
    """Return what a ladder of a model is made from, and the quantization that loses nothing of it.

    Example: phi4-nano's checkpoint holds bfloat16 → its folder, "BF16".

    Raises:
        InvalidSettingError: the model is quantized already.
        CheckpointError, GGUFError, UnknownModelError: there is no such model, or it is damaged.
    """
    source = find_or_pull(name, consent, progress)
    if source.checkpoint is not None:
        dtypes = {tensor.dtype for tensor in open_checkpoint(source.checkpoint).tensors.values()}
        return source.checkpoint, dtypes.pop() if len(dtypes) == 1 and dtypes <= {"BF16", "F16"} else "F32"
    path = resolve.ensure_gguf(source)
    quantization = gguf.quantization_of(gguf.validate(path))
    if quantization not in UNQUANTIZED:
        raise InvalidSettingError(
            "ladder",
            f"begins with weights that are not quantized, and `{name}` is {quantization}",
            hint="give a checkpoint folder or a GGUF file of F32, BF16 or F16",
        )
    return path, quantization


def measure_ladder(
    ladder: Ladder, reading: Reading, *, tell: Callable[[Progress], None] = lambda _progress: None
) -> Iterator[QualityRow]:
    """Yield a row for the base and one for each step, as soon as it is measured.

    One file of the ladder is on the disk at a time, beside the base.

    Raises:
        ConversionError, FileWriteError: a step cannot be made.
        As `measure`.
    """
    ladder.check()
    with_base = reading.base_logits is None
    count = len(ladder.steps) + with_base
    with work_folder() as folder:
        base = None
        if with_base:
            base = _base(ladder, folder, Progress.start(ladder.base, 1, count), tell)
        steps = _steps(ladder, folder, 1 + with_base, count, tell)
        yield from measure(steps, reading, base=base, count=count, tell=tell)


def _base(ladder: Ladder, folder: Path, start: Progress, tell: Callable[[Progress], None]) -> Subject:
    if ladder.source.is_file():
        return subject_of(ladder.base, ladder.source, ladder.settings)
    return _converted(ladder, ladder.base, folder, start, tell)


def _steps(
    ladder: Ladder, folder: Path, first: int, count: int, tell: Callable[[Progress], None]
) -> Iterator[Subject]:
    for number, step in enumerate(ladder.steps, first):
        subject = _converted(ladder, step, folder, Progress.start(step, number, count), tell)
        yield subject
        if not subject.kept:
            subject.file.header.path.unlink(missing_ok=True)


def _converted(
    ladder: Ladder, quantization: str, folder: Path, start: Progress, tell: Callable[[Progress], None]
) -> Subject:
    kept = ladder.keep is not None and quantization in ladder.steps
    output = ladder.output(quantization, ladder.keep if kept and ladder.keep else folder)
    convert.convert_checkpoint(
        ladder.source,
        output,
        quantization,
        threads=ladder.settings.threads,
        overwrite=ladder.overwrite,
        target=ladder.target,
        progress=lambda done, total, _tensor: tell(start.at("converting", done, total)),
    )
    return subject_of(quantization, output, ladder.settings, kept=kept)
