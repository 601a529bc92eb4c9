"""Which type each tensor gets: llama-quantize's rules for Phi-4's tensors, as a table and arithmetic.

A quantization such as Q4_K_M is a mix: most tensors get its base type, a few sensitive ones get more bits.
`RECIPES` holds the rules, one quantization after the other; `choose_types` applies them to a whole model.

Source: src/llama-quant.cpp of llama.cpp 0c1e57098 (llama-cpp-python 0.3.36): `llama_ftype_get_default_type`,
`llama_tensor_get_type`, `llama_tensor_get_type_impl`, `tensor_type_fallback`, `tensor_requires_imatrix`.
Files that were published before 2026 follow older rules, in which Q4_K_M stored every attn_qkv as Q5_K.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from phi4local.native.ggml import TENSOR_TYPES
from phi4local.planning.recipes import RECIPES, TERNARY, Place, Rule

if TYPE_CHECKING:
    from collections.abc import Iterable

QUANTIZATIONS = tuple(name for name in RECIPES if name not in TERNARY)
"""What the converter makes, smallest file of Phi-4 first; `TERNARY` are made on request only."""

_FALLBACK = {
    **dict.fromkeys(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_XS"), "IQ4_NL"),
    **dict.fromkeys(("Q2_K", "Q3_K", "TQ1_0", "TQ2_0"), "Q4_0"),
    "Q4_K": "Q5_0",
    "Q5_K": "Q5_1",
    "Q6_K": "Q8_0",
}
_UNQUANTIZED = ("F32", "F16", "BF16")
_OUTER = ("output.weight", "token_embd.weight")
_BLOCK_TENSOR = re.compile(r"blk\.\d+\.(\w+)\.weight")
# With very few bits a tensor without an importance matrix is garbage, so llama-quantize refuses to make it.
_NEED_IMPORTANCE = frozenset({"IQ3_XXS", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ1_M", "IQ1_S"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeChoices:
    """What a person wants to be different from the mix; each field is an option of llama-quantize.

    Attributes:
        pure: the base type for every tensor, without the mix's exceptions (`--pure`).
        output: type of the output matrix (`--output-tensor-type`).
        embedding: type of the token embedding (`--token-embedding-type`).
        overrides: (expression, type): the first expression found in a tensor's name decides its type
            (`--tensor-type`). Like llama-quantize, only where the quantization's base type is quantized.

    Example: `TypeChoices(overrides=((r"ffn_down", "Q8_0"),))`.
    """

    pure: bool = False
    output: str | None = None
    embedding: str | None = None
    overrides: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """A quantization applied to one model.

    Attributes:
        quantization: one of `QUANTIZATIONS` or of `TERNARY`.
        layers: transformer blocks of the model.
        heads_per_kv_head: asking heads that share keys and values, rounded down: 4 for Phi-4, 3 for
            Phi-4-mini. From 4 on, some mixes store the values with more bits.
        tied_embeddings: the embedding is the output matrix too, so it is treated as one.
        importance: an importance matrix is used; some rules ask for it.
        choices: what a person wants to be different.
    """

    quantization: str
    layers: int
    heads_per_kv_head: int
    tied_embeddings: bool = False
    importance: bool = False
    choices: TypeChoices = field(default_factory=TypeChoices)


def choose_types(tensors: Iterable[tuple[str, tuple[int, ...]]], mix: Mix) -> dict[str, str]:
    """Return the type of every tensor of a model, by its GGUF name.

    Args:
        tensors: (name, shape) in llama-quantize's order, that is without a layer first, then layer by layer.
            A shape is (rows, elements of a row), or (elements,) of a norm. The rules count the tensors of
            each kind, so all of the model must be there.
        mix: quantization and model.

    Example: Q4_K_M of Phi-4's 40 layers has 121 Q4_K and 41 Q6_K tensors: `output.weight`, and `attn_qkv`
    and `ffn_down` in 20 layers each. `blk.7.attn_qkv.weight` of (7680, 5120) is Q6_K, the next layer's Q4_K.
    A row of 576 elements is no whole number of 256-element blocks: Q4_K falls back to Q5_0, Q5_K to Q5_1,
    Q6_K to Q8_0; a row of 40 elements falls back to F16.

    Raises:
        KeyError: a quantization or type that does not exist.
        re.error: an override's expression that is none.
    """
    counted: Counter[str] = Counter()
    return {name: _choose(name, shape, mix, counted) for name, shape in tensors}


def needs_importance(name: str, type_name: str, quantization: str) -> bool:
    """Return whether llama-quantize refuses to make this tensor without an importance matrix.

    Example: `blk.0.ffn_up.weight` as IQ2_XS → True, `token_embd.weight` as IQ2_XS → False, because no matrix
    has an entry for it; Q2_K → True in a Q2_K_S file, False in a Q2_K file.
    """
    if name in _OUTER:
        return False
    return type_name in _NEED_IMPORTANCE or (type_name == "Q2_K" and quantization == "Q2_K_S")


def _choose(name: str, shape: tuple[int, ...], mix: Mix, counted: Counter[str]) -> str:
    base, choices = RECIPES[mix.quantization].base, mix.choices
    if len(shape) < 2 or name.endswith("_norm.weight"):
        return "F32"
    if name == "token_embd.weight" and choices.embedding:
        return choices.embedding
    if name == "output.weight" and choices.output:
        return choices.output
    if base in _UNQUANTIZED:
        return base
    overridden = next((kind for pattern, kind in choices.overrides if re.search(pattern, name)), None)
    if overridden is not None:
        wanted = overridden
    elif choices.pure:
        wanted = base
    else:
        wanted = _by_recipe(name, shape[-1], mix, counted)
    return _fitting(wanted, shape[-1])


def _by_recipe(name: str, row_elements: int, mix: Mix, counted: Counter[str]) -> str:
    recipe = RECIPES[mix.quantization]
    if name == "output.weight" or (name == "token_embd.weight" and mix.tied_embeddings):
        if mix.choices.output:
            return mix.choices.output
        return recipe.output if row_elements % TENSOR_TYPES[recipe.base].block_elements == 0 else "Q8_0"
    if name == "token_embd.weight":
        return recipe.embedding or recipe.base
    found = _BLOCK_TENSOR.fullmatch(name)
    kind = found[1] if found else ""
    # llama-quantize counts only tensors that its rules decide: an override shifts the layers behind it.
    place = Place(counted[kind], mix.layers, mix.heads_per_kv_head, mix.importance)
    counted[kind] += 1
    return _first_that_holds(recipe.rules.get(kind, ()), place) or recipe.base


def _first_that_holds(rules: tuple[Rule, ...], place: Place) -> str | None:
    return next((type_name for type_name, holds in rules if holds(place)), None)


def _fitting(wanted: str, row_elements: int) -> str:
    if row_elements % TENSOR_TYPES[wanted].block_elements == 0:
        return wanted
    smaller = _FALLBACK.get(wanted, wanted)
    return smaller if row_elements % TENSOR_TYPES[smaller].block_elements == 0 else "F16"
