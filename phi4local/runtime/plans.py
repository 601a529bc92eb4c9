"""Plans for names that people type: of files that are here, and of family members that are not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from phi4local import catalog, convert, gguf, hardware, planning
from phi4local.errors import ModelNotInstalledError
from phi4local.runtime import resolve
from phi4local.runtime.facts import file_facts

if TYPE_CHECKING:
    from phi4local.hardware import Machine
    from phi4local.planning import ModelShape, Offer, Plan, Recommendation
    from phi4local.settings import LoadSettings

LADDER = ("Q2_K", "Q3_K_M", "Q4_K_S", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "F16")
"""Quantizations that people publish, small to large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanReport:
    """A plan, and what other quantizations of the same model would take.

    Attributes:
        name: of the model, with its quantization if it is known.
        plan: for the settings that were asked for.
        ladder: offers, smallest first; empty for a model that no manifest describes.
        best: the one of them that is recommended.
        machine: for which it was made.
    """

    name: str
    plan: Plan
    ladder: tuple[Offer, ...]
    best: Recommendation | None
    machine: Machine


def plan_model(model: str | None, settings: LoadSettings | None = None) -> PlanReport:
    """Plan a model on this machine; nothing is downloaded, converted or loaded.

    Example: `plan_model("phi-4:Q4_K_M", LoadSettings(context_tokens=16384)).plan.verdict`.

    Raises:
        UnknownModelError, UnknownQuantizationError: nothing has this name.
        GGUFError: a damaged file.
        InvalidSettingError: a GPU is missing that settings name.
    """
    machine = hardware.this_machine(measure=True)
    name, shape, manifest = _look_up(model or resolve.default_model())
    offers = tuple(_ladder(manifest, machine)) if manifest else ()
    return PlanReport(
        name=name,
        plan=planning.fit(shape, machine, settings=settings),
        ladder=offers,
        best=planning.recommend(offers, machine) if offers else None,
        machine=machine,
    )


def recommend_model() -> tuple[Recommendation | None, tuple[Offer, ...], Machine]:
    """Return which member of the family and which quantization suits this machine, and what was compared.

    Example: `recommend_model()[0].offer.name` is "phi-4:Q4_K_M" on a laptop with 16 GB.
    """
    machine = hardware.this_machine(measure=True)
    members = [catalog.find(name) for name in catalog.model_names() if name.startswith("phi-4")]
    general = [member for member in members if "reasoning" not in member.name]
    offers = tuple(offer for member in general for offer in _ladder(member, machine))
    return planning.recommend(offers, machine), offers, machine


def report_mapping(report: PlanReport) -> dict[str, Any]:
    """Return a report for JSON."""
    return {
        "model": report.name,
        "plan": report.plan.to_mapping(),
        "quantizations": [offer_mapping(offer) for offer in report.ladder],
        "recommended": report.best.offer.name if report.best else None,
        "machine": machine_mapping(report.machine),
    }


def offer_mapping(offer: Offer) -> dict[str, Any]:
    """Return an offer for JSON."""
    return {
        "name": offer.name,
        "bits_per_weight": round(offer.bits_per_weight, 3),
        "short": offer.short.to_mapping(),
        "long": offer.long.to_mapping(),
    }


def machine_mapping(machine: Machine) -> dict[str, Any]:
    """Return a machine for JSON."""
    return {
        "memory_bytes": machine.memory_bytes,
        "available_bytes": machine.available_bytes,
        "cores": machine.cores,
        "instruction_sets": sorted(machine.instruction_sets),
        "bandwidth_bytes_per_second": machine.bandwidth,
        "gpus": [
            {"name": gpu.name, "description": gpu.description, "free_bytes": gpu.free_bytes}
            for gpu in machine.gpus
        ],
    }


def _look_up(model: str) -> tuple[str, ModelShape, catalog.Manifest | None]:
    """Return name, shape and manifest of what a person typed, from a file if there is one."""
    name, _, tag = model.partition(":")
    try:
        source = resolve.find(model)
    except ModelNotInstalledError:
        if name.lower() not in catalog.model_names():
            raise
        manifest = catalog.find(name)
        quantization = convert.quantization_named(tag) if tag else manifest.quantization
        return f"{manifest.name}:{quantization}", planning.manifest_shape(manifest, quantization), manifest
    if source.gguf is None and source.manifest is not None:
        quantization = source.quantization or source.manifest.quantization
        shape = planning.manifest_shape(source.manifest, quantization)
        return f"{source.name}:{quantization}", shape, source.manifest
    facts = file_facts(gguf.validate(resolve.ensure_gguf(source)))
    return source.name, planning.model_shape(facts.header), source.manifest or facts.manifest


def _ladder(manifest: catalog.Manifest, machine: Machine) -> list[Offer]:
    shapes = [(kind, planning.manifest_shape(manifest, kind)) for kind in LADDER]
    return [planning.make_offer(f"{manifest.name}:{kind}", shape, machine) for kind, shape in shapes]
