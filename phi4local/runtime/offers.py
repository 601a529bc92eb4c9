"""The quantizations of a model on a server, rated for this machine: what fits, and which one to take."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from phi4local.planning.kv_cache import kv_cache_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from phi4local.runtime.facts import FileFacts

CONTEXTS = (4096, 16384)
"""Tokens of context for which the table says the memory."""
PREFERRED = ("Q4_K_M", "UD-Q4_K_XL", "Q4_K_S", "IQ4_XS", "Q4_0", "Q5_K_M", "Q3_K_M", "Q6_K", "Q8_0")
"""Best compromise first, when all of them fit."""
SMALLER = ("Q3_K_M", "Q3_K_S", "IQ3_M", "IQ3_S", "IQ3_XXS", "Q2_K", "IQ2_M", "IQ2_S")
"""What is left when none of `PREFERRED` fits, best first."""
_BATCH_TOKENS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a model may use here.

    Attributes:
        memory_bytes: main memory that programs can have now; 0 when nobody knows.
        gpu_bytes: free memory of all GPUs that this build of llama.cpp uses.
        bytes_per_second: how fast main memory is read; 0 when it was not measured.
        gpu_bytes_per_second: the same of the GPU's.
    """

    memory_bytes: int = 0
    gpu_bytes: int = 0
    bytes_per_second: float = 0.0
    gpu_bytes_per_second: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The numbers that decide about memory; `None` in `Choice` where a header could not be read."""

    layers: int
    kv_heads: int
    head_length: int
    embedding_length: int
    vocabulary_tokens: int
    context_tokens: int

    @classmethod
    def of(cls, facts: FileFacts) -> Shape:
        """Return the numbers of a validated header."""
        return cls(
            layers=facts.layers,
            kv_heads=facts.kv_heads,
            head_length=facts.embedding_length // facts.heads,
            embedding_length=facts.embedding_length,
            vocabulary_tokens=facts.vocabulary_tokens,
            context_tokens=facts.context_tokens,
        )

    def memory_bytes(self, file_bytes: int, context_tokens: int) -> int:
        """Return weights, KV cache in f16, and the logits and activations of a batch of 512 tokens.

        Example: Phi-4 in Q4_K_M, 9.05 GB, with 4,096 tokens of context → about 10.1 GB.
        """
        cache = kv_cache_bytes(
            layers=self.layers,
            kv_heads=self.kv_heads,
            head_length=self.head_length,
            context_tokens=min(context_tokens, self.context_tokens),
        )
        return file_bytes + cache + 4 * _BATCH_TOKENS * (self.vocabulary_tokens + 4 * self.embedding_length)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One quantization.

    Attributes:
        quantization: such as `Q4_K_M`.
        size_bytes: of its files.
        memory_bytes: by tokens of context.
        fits: `GPU`, `CPU`, `CPU + GPU`, `no`, or `?` when memory or header are not known.
        tokens_per_second: while writing, from and to; `None` when it cannot be told.
        here: whether it is on this machine.
        recommended: at most one of a table.
    """

    quantization: str
    size_bytes: int
    memory_bytes: Mapping[int, int]
    fits: str
    tokens_per_second: tuple[float, float] | None = None
    here: bool = False
    recommended: bool = False

    def to_mapping(self) -> dict[str, Any]:
        """Return the facts as JSON values."""
        speed = self.tokens_per_second
        return {
            "quantization": self.quantization,
            "size_bytes": self.size_bytes,
            "memory_bytes": {str(tokens): value for tokens, value in self.memory_bytes.items()},
            "fits": self.fits,
            "tokens_per_second": None if speed is None else [round(value, 1) for value in speed],
            "here": self.here,
            "recommended": self.recommended,
        }


def rate(
    sizes: Mapping[str, int], shape: Shape | None, machine: Machine, *, here: Sequence[str] = ()
) -> tuple[Choice, ...]:
    """Return one row for each quantization, the smallest first, with the recommended one marked.

    Args:
        sizes: bytes of its files, by quantization.
        shape: of any of them; all quantizations of a model have the same.
        machine: what may be used.
        here: quantizations that are on this machine.
    """
    rows = [
        Choice(
            quantization=quantization,
            size_bytes=size,
            memory_bytes={tokens: shape.memory_bytes(size, tokens) for tokens in CONTEXTS} if shape else {},
            fits=_fits(shape.memory_bytes(size, CONTEXTS[0]) if shape else 0, machine),
            tokens_per_second=_speed(size, machine),
            here=quantization in here,
        )
        for quantization, size in sorted(sizes.items(), key=lambda item: item[1])
    ]
    best = recommend(rows)
    return tuple(replace(row, recommended=row.quantization == best) for row in rows)


def recommend(rows: Sequence[Choice]) -> str | None:
    """Return the quantization to take: the best compromise of those that fit, else the smallest.

    Example: where 9.05 GB fit, `Q4_K_M`; on a machine with 8 GB, `Q3_K_S`.
    """
    if not rows:
        return None
    fitting = {row.quantization.upper(): row.quantization for row in rows if row.fits != "no"}
    for wanted in (*PREFERRED, *SMALLER):
        if wanted in fitting:
            return fitting[wanted]
    return next(iter(fitting.values()), min(rows, key=lambda row: row.size_bytes).quantization)


def reason(choice: Choice, rows: Sequence[Choice]) -> str:
    """Return one line that says why `choice` is the recommended one."""
    if len(rows) == 1:
        return "it is the only one"
    if choice.fits == "no":
        return "nothing fits into this machine's memory; this is the smallest"
    wanted = next((row for row in rows if row.quantization.upper() == PREFERRED[0]), None)
    if wanted is not None and wanted is not choice and wanted.fits == "no":
        return f"{wanted.quantization} does not fit into this machine's memory; this does"
    if choice.quantization.upper() == PREFERRED[0]:
        return "the usual compromise between size and quality, and it fits"
    return "the nearest to Q4_K_M that is offered, and it fits"


def _fits(needed_bytes: int, machine: Machine) -> str:
    if not needed_bytes or not (machine.memory_bytes or machine.gpu_bytes):
        return "?"
    if needed_bytes <= machine.gpu_bytes:
        return "GPU"
    if needed_bytes <= machine.memory_bytes:
        return "CPU + GPU" if machine.gpu_bytes else "CPU"
    both = machine.memory_bytes + machine.gpu_bytes
    return "CPU + GPU" if machine.gpu_bytes and needed_bytes <= both else "no"


def _speed(size_bytes: int, machine: Machine) -> tuple[float, float] | None:
    """Every token reads every weight once, so the memory's speed is the limit; half of it is usual."""
    fast = machine.gpu_bytes_per_second if size_bytes < machine.gpu_bytes else machine.bytes_per_second
    return (0.5 * fast / size_bytes, 0.9 * fast / size_bytes) if fast and size_bytes else None
