"""Tensor types for a file of a given size, chosen by measured errors."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from phi4local.convert import writer
from phi4local.convert.conversion import checked_threads
from phi4local.convert.imatrix import read_imatrix
from phi4local.convert.plan import plan_conversion, plan_conversions
from phi4local.convert.typing_rules import READABLE_TYPES, TargetOptions
from phi4local.errors import InvalidSettingError
from phi4local.native.ggml import TENSOR_TYPES, row_size_bytes
from phi4local.planning.budget import Option, choose, cost_of
from phi4local.planning.mixes import QUANTIZATIONS, TypeChoices

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from phi4local.convert.plan import ConversionPlan, PlannedTensor

TYPES = ("Q2_K", "Q3_K", "IQ4_XS", "IQ4_NL", "Q4_0", "Q4_1", "Q4_K", "Q5_0", "Q5_1", "Q5_K", "Q6_K", "Q8_0")
"""What is chosen from without an importance matrix."""
TYPES_WITH_IMPORTANCE = ("IQ3_XXS", "IQ3_S")
"""What is added where the matrix knows a tensor."""
SENSITIVITY = {
    "token_embd": 1.0,
    "output": 0.7,
    "attn_qkv": 0.65,
    "ffn_up": 0.35,
    "ffn_down": 0.32,
    "attn_output": 0.13,
}
"""KL divergence in nats a token for each unit of error, by kind of tensor, summed over the layers.

Measured by quantizing one kind at a time in phi4-nano (8 layers) and a SmolLM2 of 135 million weights in
Phi-4's layout (30 layers), which differ by a factor of 1.1 to 2.4; these are means (benchmarks/LOG.md).
"""
TIED_SENSITIVITY = 5.0
"""Of an embedding that is the output too."""
_UNQUANTIZED = ("F32", "F16", "BF16")


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeChoice:
    """What was chosen, and why.

    Attributes:
        quantization: the largest standard mix that is no larger than the wish; its name stands in the file.
        options: what to convert with: a type for every matrix.
        target_bytes: the wish.
        size_bytes: what the file will have.
        divergence: estimated KL divergence from the checkpoint, nats a token, on no text in particular.
        mix_divergence: that of `quantization`, by the same estimate.
        mix_bytes: its size.
        by_tensor: type of each matrix.
    """

    quantization: str
    options: TargetOptions
    target_bytes: int
    size_bytes: int
    divergence: float
    mix_divergence: float
    mix_bytes: int
    by_tensor: dict[str, str]

    @property
    def types(self) -> dict[str, dict[str, int]]:
        """Return for each kind of tensor how many have which type: "attn_qkv" → {"Q5_K": 3, "Q6_K": 5}."""
        counted: dict[str, Counter[str]] = {}
        for name, kind in self.by_tensor.items():
            counted.setdefault(kind_of(name), Counter())[kind] += 1
        return {name: dict(counts) for name, counts in counted.items()}

    def to_mapping(self) -> dict[str, Any]:
        """Return the facts for JSON."""
        names = ("quantization", "target_bytes", "size_bytes", "divergence", "mix_divergence", "mix_bytes")
        return {name: getattr(self, name) for name in names} | {"types": self.types}


def choose_for_size(
    checkpoint: Path,
    target_bytes: int,
    *,
    options: TargetOptions | None = None,
    threads: int | None = None,
    progress: Callable[[int, int, str], None] = lambda _done, _total, _name: None,
) -> SizeChoice:
    """Choose the types of a file of at most `target_bytes`; reads a sample of the checkpoint.

    The estimate of a file is the sum over its matrices of `SENSITIVITY` times the measured share of error;
    it never is above that of a standard mix that fits.

    Args:
        checkpoint: as for `convert_checkpoint`; not one that is still arriving.
        target_bytes: most bytes of the file.
        options: importance matrix and size of parts; types of a person's own stay as they are.
        threads: that measure.
        progress: told (tensors measured, tensors, name).

    Example: `choose_for_size(Path("models/phi4-nano"), 7_000_000).quantization` → `"Q4_K_M"`.

    Raises:
        InvalidSettingError: no choice of types is so small.
        CheckpointError, ConversionError, FileFormatError: as `plan_conversion`.
    """
    from phi4local.convert.fitting.errors import measure_errors

    options = options or TargetOptions()
    whole = plan_conversion(checkpoint, "F32", options=replace(options, choices=TypeChoices()))
    columns = read_imatrix(options.imatrix).columns if options.imatrix else {}
    fixed = _fixed(checkpoint, options)
    mixes = _mixes(checkpoint, options)
    candidates = {
        tensor.name: _candidates(tensor, fixed.get(tensor.name), known=tensor.name in columns)
        for tensor in whole.tensors
        if len(tensor.shape) > 1 and not tensor.name.endswith("_norm.weight")
    }
    threads = checked_threads(threads)
    errors = measure_errors(whole, candidates, threads=threads, columns=columns, progress=progress)
    choices = {name: _options(whole, name, errors[name]) for name in candidates}
    return _choice(whole, choices, mixes, target_bytes, options)


def _choice(
    whole: ConversionPlan,
    choices: Mapping[str, list[Option]],
    mixes: Mapping[str, ConversionPlan],
    target_bytes: int,
    options: TargetOptions,
) -> SizeChoice:
    beside = whole.size_bytes - sum(_padded(whole, name, "F32") for name in choices)
    starts = {name: _as_options(plan, choices) for name, plan in mixes.items()}
    known = {name: start for name, start in starts.items() if start is not None}
    try:
        chosen = choose(choices, target_bytes - beside, list(known.values()))
    except ValueError:
        least = beside + sum(min(each).size_bytes for each in choices.values())
        raise InvalidSettingError(
            "target-size",
            f"is {target_bytes:,} bytes, too few for this model",
            hint=f"the smallest has {least:,}",
        ) from None
    sizes = {name: plan.size_bytes for name, plan in mixes.items() if name in known}
    fitting = [name for name in sizes if sizes[name] <= target_bytes]
    nearest = max(fitting, key=sizes.__getitem__) if fitting else min(sizes, key=sizes.__getitem__)
    overrides = tuple((f"^{re.escape(name)}$", option.type) for name, option in chosen.items())
    return SizeChoice(
        quantization=nearest,
        options=replace(options, choices=TypeChoices(overrides=overrides)),
        target_bytes=target_bytes,
        size_bytes=beside + sum(option.size_bytes for option in chosen.values()),
        divergence=cost_of(chosen),
        mix_divergence=cost_of(known[nearest]),
        mix_bytes=sizes[nearest],
        by_tensor={name: option.type for name, option in chosen.items()},
    )


def _fixed(checkpoint: Path, options: TargetOptions) -> dict[str, str]:
    """Return the types that a person chose, by the tensor's name: what differs from two plain mixes."""
    if options.choices == TypeChoices():
        return {}
    found: dict[str, str] = {}
    for mix in ("Q8_0", "Q4_0"):
        asked = plan_conversion(checkpoint, mix, options=options)
        usual = plan_conversion(checkpoint, mix, options=replace(options, choices=TypeChoices()))
        pairs = zip(asked.tensors, usual.tensors, strict=True)
        found |= {one.name: one.type for one, other in pairs if one.type != other.type}
    return found


def _mixes(checkpoint: Path, options: TargetOptions) -> dict[str, ConversionPlan]:
    """Return the plans of the standard mixes that can be made, with the types that a person chose."""
    names = [name for name in QUANTIZATIONS if name not in _UNQUANTIZED and not name.startswith("IQ1")]
    if options.imatrix is None:
        names = [name for name in names if name.startswith(("Q", "IQ4")) and name != "Q2_K_S"]
    plans = plan_conversions(checkpoint, names, options=options)
    return dict(zip(names, plans, strict=True))


def _candidates(tensor: PlannedTensor, fixed: str | None, *, known: bool) -> tuple[str, ...]:
    """Return the types to measure for a tensor: those of a person's choice, or all that its rows allow."""
    if fixed is not None:
        return (fixed,)
    if tensor.source.dtype not in READABLE_TYPES:
        return (tensor.source.dtype,)
    names = (*TYPES, *(TYPES_WITH_IMPORTANCE if known else ()))
    return tuple(n for n in names if tensor.shape[-1] % TENSOR_TYPES[n].block_elements == 0) or ("F16",)


def _options(whole: ConversionPlan, name: str, errors: Mapping[str, float]) -> list[Option]:
    weight = _sensitivity(name, whole)
    return [Option(_padded(whole, name, kind), weight * share, kind) for kind, share in errors.items()]


def _sensitivity(name: str, whole: ConversionPlan) -> float:
    kind = kind_of(name)
    if kind == "token_embd" and whole.source.tied_embeddings:
        return TIED_SENSITIVITY
    return SENSITIVITY.get(kind, max(SENSITIVITY.values()))


def kind_of(name: str) -> str:
    """Return what a tensor is in every layer. Example: `blk.7.ffn_up.weight` → `ffn_up`."""
    return name.removesuffix(".weight").rpartition(".")[2]


def _padded(whole: ConversionPlan, name: str, kind: str) -> int:
    tensor = next(tensor for tensor in whole.tensors if tensor.name == name)
    rows = tensor.elements // tensor.shape[-1]
    return writer.padded(rows * row_size_bytes(kind, tensor.shape[-1]))


def _as_options(plan: ConversionPlan, choices: Mapping[str, list[Option]]) -> dict[str, Option] | None:
    """Return a mix as a choice, or `None` when it has a type that was not measured."""
    types = {tensor.name: tensor.type for tensor in plan.tensors}
    found = {
        name: next((option for option in each if option.type == types[name]), None)
        for name, each in choices.items()
    }
    return None if None in found.values() else {name: option for name, option in found.items() if option}
