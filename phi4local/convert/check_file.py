"""Check a GGUF file as far as files alone tell: header, weights, and the checkpoint that it was made from."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from phi4local.convert import gguf_source
from phi4local.convert.check_weights import USUAL_ERROR, TensorReport, check_tensor
from phi4local.convert.plan import read_source
from phi4local.convert.rows import SourceReader
from phi4local.convert.strict_json import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from phi4local.convert.model_source import ModelSource

_COMPARED = ("phi3.", "tokenizer.")
_MOST_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong, and where: a tensor or a key. Example: `Finding("output.weight", "…")`."""

    place: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeErrors:
    """How far the tensors of one type are from the checkpoint.

    Attributes:
        type: such as `Q4_K`.
        tensors: how many there are.
        median: of their relative errors; `None` without a checkpoint.
        largest: of them.
        worst: the tensor that has it.
        usual: the same number for normally distributed weights.
    """

    type: str
    tensors: int
    median: float | None
    largest: float | None
    worst: str
    usual: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FileCheck:
    """What was checked and found.

    Attributes:
        path: the file.
        against: the checkpoint, or `None`.
        findings: empty for a good file.
        notes: differences that do no harm.
        types: one row for each type, largest number of tensors first.
    """

    path: Path
    against: Path | None
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    types: tuple[TypeErrors, ...]

    def to_mapping(self) -> dict[str, Any]:
        """Return the fields by name, for JSON."""
        against = None if self.against is None else str(self.against)
        return asdict(self) | {"path": str(self.path), "against": against}


def check_file(
    path: Path, against: Path | None = None, *, progress: Callable[[int, int], None] = lambda *_: None
) -> FileCheck:
    """Check the GGUF model at `path`, of several parts the first.

    Without `against`: every rule of the header (`gguf.validate`), and that all scales and weights are finite.
    With it also keys and vocabulary, and each tensor's distance from the checkpoint.

    Args:
        path: the file.
        against: the checkpoint folder, or the F32, F16 or BF16 GGUF file, that it was made from.
        progress: called with weights checked and weights in all.

    Example: a Q4_K_M of phi4-nano against its folder → no findings, Q4_K with a median error of 0.07.

    Raises:
        GGUFError: the header breaks a rule, so nothing else can be checked.
        CheckpointError, UnsupportedCheckpointError, UnknownTensorError: `against` cannot be read.
    """
    source = gguf_source.read_gguf(path)
    original = read_source(against) if against is not None else None
    findings, notes = _compare_keys(source, against, original) if original and against else ([], [])
    reports = list(_check_tensors(source, original, findings, progress))
    findings += [Finding(report.name, problem) for report in reports for problem in report.problems]
    return FileCheck(
        path=path,
        against=against,
        findings=tuple(findings),
        notes=tuple(notes),
        types=tuple(_by_type(reports)),
    )


def _check_tensors(
    source: ModelSource,
    original: ModelSource | None,
    findings: list[Finding],
    progress: Callable[[int, int], None],
) -> Iterator[TensorReport]:
    expected = {tensor.name: tensor for tensor in original.tensors} if original else {}
    present = {tensor.name for tensor in source.tensors}
    findings += [
        Finding(name, "is missing: the checkpoint has it") for name in expected if name not in present
    ]
    total, done = sum(tensor.elements for tensor in source.tensors), 0
    with SourceReader() as reader, SourceReader() as other:
        for tensor in source.tensors:
            right = expected.get(tensor.name)
            if original and right is None:
                findings.append(Finding(tensor.name, "is not in the checkpoint"))
            elif right is not None and right.shape != tensor.shape:
                findings.append(Finding(tensor.name, f"has the shape {tensor.shape}, expected {right.shape}"))
                right = None
            yield check_tensor(tensor, reader, right, other if right else None)
            done += tensor.elements
            progress(done, total)


def _compare_keys(
    source: ModelSource, against: Path, repaired: ModelSource
) -> tuple[list[Finding], list[str]]:
    """Compare what decides how the model computes and how text becomes ids.

    A key may have the checkpoint's own value or the repaired one; which keys are there depends on the program
    that wrote the file.
    """
    found = {entry.key: entry.value for entry in source.metadata}
    plain = {entry.key: entry.value for entry in read_source(against, repair=False).metadata}
    right = {entry.key: entry.value for entry in repaired.metadata}
    findings, notes = [], []
    for key in sorted(right.keys() | plain.keys() | found.keys()):
        if not key.startswith(_COMPARED):
            continue
        allowed = [values[key] for values in (right, plain) if key in values]
        if key not in found:
            notes.append(f"`{key}` is left out")
        elif not allowed:
            notes.append(f"`{key}` is added")
        elif not any(_same(found[key], value) for value in allowed):
            findings.append(Finding(key, _difference(found[key], allowed[0])))
    return findings, notes


def _same(one: object, other: object) -> bool:
    """Compare values; numbers with a point as GGUF stores them, in 32 bits."""
    if isinstance(one, float) or isinstance(other, float):
        numbers = [np.float32(value) if isinstance(value, int | float) else None for value in (one, other)]
        return numbers[0] is not None and numbers[0] == numbers[1]
    if isinstance(one, tuple) and isinstance(other, tuple) and one and isinstance(one[0], float):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == other


def _difference(found: Any, expected: Any) -> str:  # noqa: ANN401 - any value of a header
    if not isinstance(found, tuple) or not isinstance(expected, tuple):
        return f"is {_text(found)}, the checkpoint says {_text(expected)}"
    if len(found) != len(expected):
        return f"has {len(found):,} entries, the checkpoint {len(expected):,}"
    place = next(i for i, pair in enumerate(zip(found, expected, strict=True)) if not _same(*pair))
    count = sum(not _same(*pair) for pair in zip(found, expected, strict=True))
    return (
        f"differs in {count:,} places: at {place:,} is {_text(found[place])}, "
        f"the checkpoint has {_text(expected[place])}"
    )


def _text(value: object) -> str:
    text = shown(str(value))
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"


def _by_type(reports: list[TensorReport]) -> Iterator[TypeErrors]:
    types: dict[str, list[TensorReport]] = {}
    for report in reports:
        types.setdefault(report.type, []).append(report)
    for name, found in sorted(types.items(), key=lambda entry: -len(entry[1])):
        errors = {report.name: report.relative_error for report in found if report.relative_error is not None}
        worst = max(errors, key=lambda tensor: errors[tensor], default="")
        yield TypeErrors(
            type=name,
            tensors=len(found),
            median=statistics.median(errors.values()) if errors else None,
            largest=errors[worst] if errors else None,
            worst=worst,
            usual=USUAL_ERROR[name],
        )
