"""Load settings that the machine has room for: what the plan decides, says and refuses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from phi4local import hardware, planning
from phi4local.errors import GpuMissingError, NotEnoughMemoryError
from phi4local.planning.plan import FEWEST_TOKENS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phi4local.hardware import Machine
    from phi4local.planning import ModelShape, Plan
    from phi4local.planning.shape import HeaderLike
    from phi4local.settings import LoadSettings

SMALLER_CACHE = "q8_0"
"""Half of f16's bytes; the first thing to give up, since answers hardly change."""
_CPU_BUILD = "`phi4local doctor` says which GPU is here and what to type to use it"


@dataclass(frozen=True, slots=True)
class Settled:
    """What was asked for, settings to load with, the plan behind them, and what a person should know."""

    asked: LoadSettings
    settings: LoadSettings
    plan: Plan
    notices: tuple[str, ...]


def settle(header: HeaderLike, settings: LoadSettings, machine: Machine | None = None) -> Settled:
    """Fill what is unset so that the model fits, and refuse what does not.

    A cache of q8_0 is tried before a smaller context; what a person set is never changed. Who places tensors
    by hand or on other machines is not second-guessed.

    Args:
        header: of a file that `phi4local.gguf` accepted.
        settings: what was asked for.
        machine: this one, if left out.

    Raises:
        NotEnoughMemoryError: it won't fit, and `force` is not set; the hint has the nearest that fits.
        GpuMissingError: `require_gpu` is set, and layers would be on the CPU.
    """
    machine = machine or hardware.this_machine()
    if settings.require_gpu:
        _require_any_gpu(settings, machine)
    model = planning.model_shape(header)
    plan = planning.fit(model, machine, settings=settings)
    if _placed_by_hand(settings) or not machine.available_bytes:
        return Settled(settings, settings, plan, ())
    chosen = settings
    if not plan.fits and not settings.force:
        chosen, plan = _smaller(model, machine, settings) or (settings, plan)
        if not plan.fits:
            raise _refusal(model, machine, settings, plan)
    if settings.require_gpu:
        _check_gpu(plan, settings, machine)
    chosen = replace(chosen, threads=plan.threads)
    if machine.gpus:
        chosen = replace(chosen, gpu_layers=plan.gpu_layers)
    return Settled(settings, chosen, plan, tuple(_notices(settings, chosen, plan, machine)))


def _placed_by_hand(settings: LoadSettings) -> bool:
    by_hand = (settings.rpc, settings.tensor_overrides, settings.tensor_split, settings.main_gpu)
    return any(value is not None for value in by_hand) or settings.split_mode not in (None, "layer")


def _smaller(model: ModelShape, machine: Machine, settings: LoadSettings) -> tuple[LoadSettings, Plan] | None:
    """Return settings that fit, with a cache of fewer bits or a smaller context, where these are unset."""
    kinds: list[str | None] = [None]
    if settings.kv_type is None and settings.flash_attention is not False:
        kinds = [SMALLER_CACHE, None]
    for kind in kinds:
        tried = replace(settings, kv_type=kind or settings.kv_type)
        plan = planning.fit(model, machine, settings=tried)
        if plan.fits:
            return tried, plan
    for kind in reversed(kinds):
        tried = replace(settings, kv_type=kind or settings.kv_type)
        largest = planning.fit(model, machine, settings=tried).largest_context_tokens
        if settings.context_tokens is None and largest >= FEWEST_TOKENS:
            tried = replace(tried, context_tokens=largest)
            return tried, planning.fit(model, machine, settings=tried)
    return None


def _refusal(model: ModelShape, machine: Machine, settings: LoadSettings, plan: Plan) -> NotEnoughMemoryError:
    worst = max(plan.devices, key=lambda device: device.needed_bytes - device.available_bytes)
    free = replace(settings, gpu_layers=None, context_tokens=None)
    nearest = planning.fit(model, machine, settings=free)
    if nearest.largest_context_tokens >= FEWEST_TOKENS:
        advice = f"`--context {nearest.largest_context_tokens}` fits"
        if settings.gpu_layers is not None and nearest.gpu_layers != settings.gpu_layers:
            advice += f", with `--gpu-layers {nearest.gpu_layers}` or fewer"
    else:
        advice = "close other programs, or choose a smaller quantization or model: see `phi4local recommend`"
    return NotEnoughMemoryError(
        worst.name, needed_bytes=worst.needed_bytes, free_bytes=worst.available_bytes, nearest=advice
    )


def _require_any_gpu(settings: LoadSettings, machine: Machine) -> None:
    """Refuse what nothing but the CPU would compute, however it is placed."""
    if not machine.gpus and not settings.rpc:
        raise GpuMissingError("this build of llama.cpp sees none", hint=_CPU_BUILD)
    if settings.gpu_layers == 0:
        raise GpuMissingError("`--gpu-layers 0` gives it nothing to do", hint="leave one of the two out")


def _check_gpu(plan: Plan, settings: LoadSettings, machine: Machine) -> None:
    wanted = plan.layers if settings.gpu_layers is None else min(settings.gpu_layers, plan.layers)
    if plan.gpu_layers < wanted or not plan.gpu_layers:
        names = ", ".join(gpu.name for gpu in machine.gpus)
        raise GpuMissingError(
            f"{plan.gpu_layers} of {plan.layers} layers have room on {names}",
            hint="free its memory, take a smaller `--context` or quantization, or leave `--require-gpu` out",
        )


def _notices(asked: LoadSettings, chosen: LoadSettings, plan: Plan, machine: Machine) -> Iterator[str]:
    if chosen.kv_type != asked.kv_type:
        yield f"the KV cache is {chosen.kv_type}, to fit into memory"
    if chosen.context_tokens != asked.context_tokens:
        yield f"the context has {plan.context_tokens:,} tokens, the most that fit into memory"
    if not plan.fits:
        yield "the plan says that this model won't fit; it is loaded because of `--force`"
    if asked.gpu_layers is None and machine.gpus and plan.gpu_layers < plan.layers:
        place = "the CPU computes the others" if plan.gpu_layers else "the CPU computes all"
        yield f"{plan.gpu_layers} of {plan.layers} layers fit on the GPU; {place}"
