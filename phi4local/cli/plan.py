"""`phi4local plan` and `phi4local recommend`: will it fit, how fast will it be, what would be better."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phi4local.cli import options, render

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phi4local.planning import Offer, Plan

VERDICTS = {"gpu": "GPU", "cpu": "CPU", "no": "no"}


def plan(
    model: options.Model = None,
    context: options.Context = None,
    kv: options.KvType = None,
    gpu_layers: options.GpuLayers = None,
    json: options.Json = False,
) -> None:
    """Say what a model takes, whether it fits and how fast it will be, before it is downloaded or loaded.

    Example: phi4local plan phi-4:Q4_K_M --context 16384 --kv q8_0
    """
    from phi4local.runtime import plans

    report = plans.plan_model(model, options.load_settings(context, gpu_layers, kv, None))
    if json:
        render.print_json(plans.report_mapping(report))
        return
    _print_devices(report.name, report.plan)
    _print_facts(report.plan)
    if report.ladder:
        print_offers("Quantizations", report.ladder, report.best.offer.name if report.best else None)


def recommend(json: options.Json = False) -> None:
    """Say which model of the family suits this machine, and why.

    Example: phi4local recommend
    """
    from phi4local.runtime import plans

    best, offers, machine = plans.recommend_model()
    if json:
        facts = {"recommended": best.offer.name if best else None, "why": best.why if best else None}
        facts_of_offers = [plans.offer_mapping(offer) for offer in offers]
        render.print_json({**facts, "offers": facts_of_offers, "machine": plans.machine_mapping(machine)})
        return
    print_offers("Compared", offers, best.offer.name if best else None)
    if best is None:
        render.notice("no model fits: close other programs, or try `phi4local chat phi4-nano`")
        return
    render.write(f"{best.offer.name} {best.why}.\nGet it with: phi4local pull {best.offer.name}")


def print_offers(title: str, offers: Sequence[Offer], best: str | None) -> None:
    """Print what each file takes with 4,096 and 16,384 tokens; the recommended one has a star."""
    columns = ("NAME", "FILE", "AT 4K", "AT 16K", "FITS", "TOK/S")
    rows = [
        (
            f"{'*' if offer.name == best else ' '} {offer.name}",
            render.size(offer.short.file_bytes),
            render.size(offer.short.memory_bytes),
            render.size(offer.long.memory_bytes),
            _verdict(offer.short),
            offer.short.speeds.generation.to_text() if offer.short.speeds else "-",
        )
        for offer in offers
    ]
    render.table(title, columns, rows, right=columns[1:4] + columns[5:])


def _verdict(plan: Plan) -> str:
    return VERDICTS.get(plan.verdict) or f"{plan.gpu_layers}/{plan.layers} GPU"


def _print_devices(name: str, plan: Plan) -> None:
    columns = ("DEVICE", "LAYERS", "WEIGHTS", "KV CACHE", "BUFFERS", "NEEDED", "FREE")
    rows = [
        (
            device.name,
            f"{device.layers}",
            render.size(device.weight_bytes),
            render.size(device.kv_bytes),
            render.size(device.compute_bytes + device.output_bytes + device.process_bytes),
            render.size(device.needed_bytes),
            render.size(device.available_bytes),
        )
        for device in plan.devices
    ]
    title = f"{name}, {plan.context_tokens:,} tokens of context, {plan.kv_type} cache"
    render.table(title, columns, rows, right=columns[1:])


def _print_facts(plan: Plan) -> None:
    verdict = {
        "gpu": "fits on the GPU",
        "partly": f"{plan.gpu_layers} of {plan.layers} layers fit on the GPU, the CPU computes the others",
        "cpu": "fits in main memory",
        "no": "does not fit",
    }[plan.verdict]
    largest = f"{plan.largest_context_tokens:,} tokens" if plan.largest_context_tokens else "none"
    rows = [("verdict", verdict), ("largest context that fits", largest)]
    if plan.speeds:
        speeds = plan.speeds
        rows += [
            ("expected generation", f"{speeds.generation.to_text()} tokens per second"),
            ("at most, by bandwidth", f"{speeds.roofline:,.1f} tokens per second"),
            ("expected reading of prompts", f"{speeds.prompt.to_text()} tokens per second"),
        ]
    render.table("On this machine", ("FACT", "VALUE"), rows)
