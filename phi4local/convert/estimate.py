"""How long quantizing takes, and how much memory: arithmetic from measured speeds, before any work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phi4local.convert.kernels.choice import SPEEDS
from phi4local.errors import InvalidSettingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from phi4local.convert.kernels import Choice, Work

GGML_SPEEDS = {
    "F32": (3800, 3800),
    "F16": (590, 590),
    "BF16": (2500, 2500),
    "Q4_0": (930, 38),
    "Q4_1": (970, 5.7),
    "Q5_0": (450, 37),
    "Q5_1": (590, 5.8),
    "Q8_0": (300, 300),
    "Q2_K": (11, 5.8),
    "Q3_K": (88, 27),
    "Q4_K": (15, 6.9),
    "Q5_K": (18, 6.8),
    "Q6_K": (36, 34),
    "IQ4_NL": (4.1, 3.7),
    "IQ4_XS": (5.3, 5.4),
    "IQ3_XXS": (2.0, 2.0),
    "IQ3_S": (2.5, 1.7),
    "IQ2_XXS": (1.7, 1.7),
    "IQ2_XS": (0.85, 0.85),
    "IQ2_S": (1.5, 1.5),
    "IQ1_S": (4.2, 4.2),
    "IQ1_M": (3.5, 4.6),
    "TQ1_0": (330, 330),
    "TQ2_0": (330, 330),
    "MXFP4": (200, 200),
}
"""Million weights a second and thread of ggml without and with column weights (x86-64, AVX2, 3 GHz)."""

DEFAULT_MEMORY_BYTES = 2**30
# Python and numpy 60 MB, 200,000 tokens and merges 160 MB, Numba's compiler 150 MB.
_RESERVED_BYTES = 400 * 2**20

_BYTES_PER_ELEMENT = 16
# As it was read (4), as float32 (4), as it is stored (4 at most), and what checks of it take (4).

_LONGEST_CHUNK_SECONDS = 0.2  # after Ctrl-C, threads finish the chunk that they have begun


def chunk_elements(memory_bytes: int, threads: int, work: Iterable[Work]) -> int:
    """Return how many weights a thread takes at most at a time.

    They fit into the memory that is not reserved, and the slowest quantizer is done with them in 0.2 seconds.

    Example: 1 GiB and 8 threads have room for 5 million weights each; IQ2_XS, with 0.85 million a second,
    gets 170,000.

    Raises:
        InvalidSettingError: less memory than the program itself takes.
    """
    room = (memory_bytes - _RESERVED_BYTES) // (threads * _BYTES_PER_ELEMENT)
    if room < 2**14:
        least = _RESERVED_BYTES + threads * _BYTES_PER_ELEMENT * 2**14
        raise InvalidSettingError(
            "memory",
            f"is {memory_bytes / 2**20:,.0f} MiB; {threads} threads need {least / 2**20:,.0f} MiB",
            hint="give more, or use fewer `--threads`",
        )
    slowest = min((_ggml_speed(kind) for kind in work), default=1e6)
    return min(room, int(slowest * 1e6 * _LONGEST_CHUNK_SECONDS))


def seconds(weights: Mapping[Work, int], choice: Choice, threads: int) -> float:
    """Return about how long quantizing takes; reading and writing happen meanwhile.

    Example: Phi-4 as Q4_K_M with ggml in two threads → (11.9e9 / 15e6 + 2.8e9 / 36e6) / 2 = 435 s.
    """
    total = 0.0
    for work, count in weights.items():
        if work.source != work.target:
            speed = SPEEDS[work.target][1] if work in choice.numba else _ggml_speed(work)
            total += count / 1e6 / speed
    return total / threads


def _ggml_speed(work: Work) -> float:
    return GGML_SPEEDS[work.target][work.weighted]
