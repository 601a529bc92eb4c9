"""How long quantizing takes, and how much memory: arithmetic from measured speeds, before any work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phi4local.convert.kernels.speeds import ggml_speed, kernel_speed
from phi4local.errors import InvalidSettingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from phi4local.convert.kernels import Choice, Work

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
    slowest = min((ggml_speed(kind.target, weighted=kind.weighted) for kind in work), default=1e6)
    return min(room, int(slowest * 1e6 * _LONGEST_CHUNK_SECONDS))


def seconds(weights: Mapping[Work, int], choice: Choice, threads: int) -> float:
    """Return about how long quantizing takes; reading and writing happen meanwhile.

    Example: Phi-4 as Q4_K_M with ggml in two threads → (11.9e9 / 15e6 + 2.8e9 / 36e6) / 2 = 435 s.
    """
    total = 0.0
    for work, count in weights.items():
        if work.source != work.target:
            speed = kernel_speed if work in choice.numba else ggml_speed
            total += count / 1e6 / speed(work.target, weighted=work.weighted)
    return total / threads
