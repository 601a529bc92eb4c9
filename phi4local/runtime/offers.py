"""The quantizations of a model on a server, rated for this machine: what fits, and which one to take."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from phi4local.planning.plan import Plan, fit
from phi4local.store.sources.quantizations import PREFERRED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from phi4local.hardware import Machine
    from phi4local.planning.shape import ModelShape

CONTEXTS = (4096, 16384)
"""Tokens of context for which the table says the memory."""
SMALLER = ("Q3_K_M", "Q3_K_S", "IQ3_M", "IQ3_S", "IQ3_XXS", "Q2_K", "IQ2_M", "IQ2_S")
"""What is left when none of `PREFERRED` fits, best first."""
_VERDICTS = {"gpu": "GPU", "partly": "partly", "cpu": "CPU", "no": "no"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One quantization.

    Attributes:
        quantization: such as `Q4_K_M`.
        size_bytes: of its files.
        memory_bytes: by tokens of context.
        fits: with 4,096 tokens: `GPU`, `CPU`, `partly` on the GPU, `no`, or `?` without a header.
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
    sizes: Mapping[str, int], shape: ModelShape | None, machine: Machine, *, here: Sequence[str] = ()
) -> tuple[Choice, ...]:
    """Return one row for each quantization, the smallest first, with the recommended one marked.

    Args:
        sizes: bytes of its files, by quantization.
        shape: of one of them; the others are taken as the same with larger or smaller tensors.
        machine: what may be used.
        here: quantizations that are on this machine.
    """
    rows = []
    for quantization, size_bytes in sorted(sizes.items(), key=lambda item: item[1]):
        row = Choice(
            quantization=quantization,
            size_bytes=size_bytes,
            memory_bytes={},
            fits="?",
            here=quantization in here,
        )
        rows.append(_planned(row, _scaled(shape, size_bytes), machine) if shape else row)
    best = recommend(rows)
    return tuple(replace(row, recommended=row.quantization == best) for row in rows)


def _scaled(shape: ModelShape, size_bytes: int) -> ModelShape:
    share = size_bytes / shape.file_bytes
    weights = tuple(replace(weight, size_bytes=round(weight.size_bytes * share)) for weight in shape.weights)
    return replace(shape, weights=weights, file_bytes=size_bytes)


def _planned(row: Choice, shape: ModelShape, machine: Machine) -> Choice:
    plans: dict[int, Plan] = {tokens: fit(shape, machine, context_tokens=tokens) for tokens in CONTEXTS}
    short = plans[CONTEXTS[0]]
    speed = short.speeds.generation if short.speeds else None
    return replace(
        row,
        memory_bytes={tokens: plan.memory_bytes for tokens, plan in plans.items()},
        fits=_VERDICTS[short.verdict],
        tokens_per_second=(speed.low, speed.high) if speed else None,
    )


def recommend(rows: Sequence[Choice]) -> str | None:
    """Return the quantization to take: the best compromise of those that fit, else the smallest.

    Example: where 9.05 GB fit, `Q4_K_M`; where only 8 GB are free, `Q3_K_S`.
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
