"""What fits and which tensor gets which type: arithmetic only, nothing is read or loaded.

    machine = hardware.this_machine(measure=True)
    plan = planning.fit(header, machine, context_tokens=16384)          # a gguf.Header, here or elsewhere
    plan = planning.fit(planning.manifest_shape(manifest, "Q4_K_M"), machine)  # without any file
    offer = planning.make_offer("phi-4:Q4_K_M", shape_or_header, machine)
    best = planning.recommend([offer, …], machine)

`plan.verdict` is "gpu", "partly", "cpu" or "no"; `plan.memory_bytes` and `plan.speeds.generation` (low,
expected, high, `to_text()`) are what tables show; `offer.short` and `offer.long` are plans for 4,096 and
16,384 tokens.
"""

from phi4local.planning.plan import Plan, fit
from phi4local.planning.recommend import Offer, Recommendation, make_offer, recommend
from phi4local.planning.shape import ModelShape, manifest_shape, model_shape
from phi4local.planning.speed import SpeedRange, Speeds

__all__ = [
    "ModelShape",
    "Offer",
    "Plan",
    "Recommendation",
    "SpeedRange",
    "Speeds",
    "fit",
    "make_offer",
    "manifest_shape",
    "model_shape",
    "recommend",
]
