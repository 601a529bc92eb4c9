"""Which quantization, or which model, for this machine, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from phi4local.planning.plan import Plan, fit
from phi4local.planning.shape import ModelShape, model_shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phi4local.hardware import Machine
    from phi4local.planning.shape import HeaderLike

SHORT_CONTEXT, LONG_CONTEXT = 4096, 16384
FEWEST_BITS = 4.0
"""With fewer bits a weight, answers get visibly worse; such a file is proposed only if no other one fits."""
READING_SPEED = 5.0
"""Tokens per second that a person reads; slower answers are waited for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One file that could be had.

    Attributes:
        name: what a person types, such as `phi-4:Q4_K_M`.
        short: the plan for 4,096 tokens, or for the model's own limit if that is less.
        long: the plan for 16,384 tokens, likewise.
        bits_per_weight: what quality depends on, among files of one model.
        parameters: what quality depends on first, among models.
    """

    name: str
    short: Plan
    long: Plan
    bits_per_weight: float
    parameters: int


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The offer to take, and one sentence that says why."""

    offer: Offer
    why: str


def make_offer(name: str, model: ModelShape | HeaderLike, machine: Machine) -> Offer:
    """Plan a file for both contexts.

    Example: `make_offer("phi-4:Q4_K_M", manifest_shape(catalog.find("phi-4"), "Q4_K_M"), this_machine())`.
    """
    shape = model if isinstance(model, ModelShape) else model_shape(model)
    return Offer(
        name=name,
        short=fit(shape, machine, context_tokens=SHORT_CONTEXT),
        long=fit(shape, machine, context_tokens=LONG_CONTEXT),
        bits_per_weight=shape.weight_bytes * 8 / (shape.parameters or 1),
        parameters=shape.parameters,
    )


def recommend(offers: Sequence[Offer], machine: Machine) -> Recommendation | None:
    """Return the best offer for a machine; `None` if nothing fits.

    Of what fits with 4,096 tokens and has 4 bits a weight or more: the most parameters, then the most bits,
    up to 5 on a CPU, where every bit costs speed, and up to 8.6 on a GPU. What answers more slowly than a
    person reads loses to what does not.

    Example: of the family on a GPU with 12 GB `phi-4:Q4_K_M`, on two slow cores `phi-4-mini-instruct:Q4_K_M`.
    """
    fitting = [offer for offer in offers if offer.short.fits]
    if not fitting:
        return None

    def rank(offer: Offer) -> tuple[bool, bool, int, bool, float]:
        enough = 8.6 if offer.short.verdict == "gpu" else 5.3
        within = offer.bits_per_weight <= enough
        bits = offer.bits_per_weight if within else -offer.bits_per_weight
        good = offer.bits_per_weight >= FEWEST_BITS
        return good, _fast_enough(offer), offer.parameters, within, bits

    best = max(fitting, key=rank)
    return Recommendation(best, _why(best, machine))


def _fast_enough(offer: Offer) -> bool:
    speeds = offer.short.speeds
    return speeds is None or speeds.generation.high >= READING_SPEED


def _why(offer: Offer, machine: Machine) -> str:
    plan = offer.short
    where = {"gpu": "fits on the GPU", "partly": f"has {plan.gpu_layers} of {plan.layers} layers on the GPU"}
    place = where.get(plan.verdict, "fits in main memory")
    speed = f", at about {plan.speeds.generation.to_text()} tokens per second" if plan.speeds else ""
    used = f"{plan.memory_bytes / 1e9:.1f} GB with {plan.context_tokens:,} tokens"
    room = f"{machine.available_bytes / 1e9:.1f} GB of main memory are free"
    return f"{place}: {used}{speed}; {room}"
