"""A file's answers beside those of the checkpoint that it was made from, in 32 bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from phi4local import convert, hardware
from phi4local.bench.quality.measure import Progress, Reading, measure, work_folder
from phi4local.bench.quality.subjects import check_vocabularies, subject_of
from phi4local.convert.check_file import Finding
from phi4local.errors import InvalidSettingError, NotEnoughDiskError, NotEnoughMemoryError, Phi4LocalError
from phi4local.runtime.imatrix import shipped_text
from phi4local.settings import LoadSettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from phi4local.bench.quality.figures import Divergence
    from phi4local.bench.quality.subjects import Subject

_CHUNK_TOKENS = 256
_CHUNKS = 4
_MOST_KL = ((32.0, 1e-4), (16.0, 2e-3), (8.0, 0.03), (6.0, 0.15), (5.0, 0.5), (4.0, 1.5), (3.0, 4.0))
"""Bits per weight, and the largest mean KL divergence of a good file with that many.

Four times what the worst quantization of phi4-nano and of SmolLM2-135M has on this text: 0.0003 in BF16,
0.005 in Q8_0, 0.03 in Q6_K, 0.1 in Q5_0, 0.33 in Q4_0, 0.92 in IQ3_S. Larger models lose less.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogitsCheck:
    """What comparing answers showed.

    Attributes:
        divergence: of the next token's probabilities, from the checkpoint's; `None` if nothing was compared.
        tokens: places where they were compared.
        findings: empty for a good file.
        not_run: why they were not compared; empty if they were.
    """

    divergence: Divergence | None = None
    tokens: int = 0
    findings: tuple[Finding, ...] = ()
    not_run: str = ""


def check_logits(
    path: Path, against: Path, *, tell: Callable[[Progress], None] = lambda _progress: None
) -> LogitsCheck:
    """Compare the next-token probabilities of the GGUF file at `path` with its checkpoint's in F32.

    The checkpoint is converted to F32 on the disk of the store; the file, 4 bytes a weight, is removed.
    Both models read 1,024 tokens of the calibration text. `not_run` says where disk or memory has no room.

    Args:
        path: the file.
        against: the checkpoint folder, or the F32, F16 or BF16 GGUF file, that it was made from.
        tell: told how far it is.

    Example: a Q4_K_M of phi4-nano → a mean KL divergence of 0.19, the same first token at 81 % of the places.

    Raises:
        CheckpointError, ConversionError: `against` cannot be converted.
    """
    settings = LoadSettings(context_tokens=_CHUNK_TOKENS)
    needed, free = convert.plan_conversion(against, "F32").size_bytes, hardware.available_bytes()
    if needed >= free:
        needs = f"the checkpoint needs {needed / 1e9:.1f} GB of memory in F32"
        return LogitsCheck(not_run=f"{needs}, and {free / 1e9:.1f} GB are free")
    try:
        mine = subject_of("the file", path, settings)
        with work_folder() as folder:
            base = _in_32_bits(against, folder / "F32.gguf", settings, tell)
            check_vocabularies(base, [mine])
            reading = Reading(text=shipped_text(), chunks=_CHUNKS)
            *_, row = measure([mine], reading, base=base, count=2, tell=tell)
    except (NotEnoughDiskError, NotEnoughMemoryError, InvalidSettingError) as error:
        return LogitsCheck(not_run=str(error))
    except Phi4LocalError as error:
        return LogitsCheck(findings=(Finding("logits", str(error)),))
    return _judged(row.divergence, row.scored_tokens, mine.bits_per_weight)


def _in_32_bits(
    against: Path, output: Path, settings: LoadSettings, tell: Callable[[Progress], None]
) -> Subject:
    start = Progress.start("the checkpoint", 1, 2)
    convert.convert_checkpoint(
        against,
        output,
        "F32",
        progress=lambda done, total, _tensor: tell(start.at("converting", done, total)),
    )
    return subject_of("the checkpoint", output, settings)


def _judged(divergence: Divergence | None, tokens: int, bits_per_weight: float) -> LogitsCheck:
    most = next((most for bits, most in _MOST_KL if bits_per_weight >= bits), None)
    findings: tuple[Finding, ...] = ()
    if divergence and most is not None and not divergence.kl.value <= most:
        problem = (
            f"have a mean KL divergence of {divergence.kl.value:.2g} from the checkpoint's in F32, and "
            f"{divergence.same_top.value:.0%} the same first token; "
            f"with {bits_per_weight:.1f} bits per weight at most {most:g} is usual"
        )
        findings = (Finding("logits", problem),)
    return LogitsCheck(divergence=divergence, tokens=tokens, findings=findings)
