"""The rules of every quantization, as llama-quantize has them for a dense model of Phi-4's layout.

A recipe is a base type and its exceptions. An exception is a list of (type, condition); the first condition
that holds decides, and the base type is left if none does.

Source: `llama_tensor_get_type_impl` in src/llama-quant.cpp of llama.cpp 0c1e57098, read for architecture
`phi3` without experts: `attn_qkv`, queries, keys and values in one tensor, follows the rules of `attn_v`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor stands.

    Attributes:
        layer: how many tensors of its kind came before it, which is its layer.
        layers: transformer blocks of the model.
        heads_per_kv_head: asking heads that share keys and values.
        importance: whether there is an importance matrix.
    """

    layer: int
    layers: int
    heads_per_kv_head: int
    importance: bool


Condition = Callable[[Place], bool]
Rule = tuple[str, Condition]


def always(_place: Place) -> bool:
    """Return True."""
    return True


def grouped(place: Place) -> bool:
    """Return whether the values are small, shared by four heads or more: Phi-4 yes (4), Phi-4-mini no (3)."""
    return place.heads_per_kv_head >= 4


def first_eighth(place: Place) -> bool:
    """Return whether the layer is among the first eighth: 0 to 4 of 40."""
    return place.layer < place.layers // 8


def first_sixteenth(place: Place) -> bool:
    """Return whether the layer is among the first sixteenth: 0 and 1 of 40."""
    return place.layer < place.layers // 16


def first_two(place: Place) -> bool:
    """Return whether the layer is 0 or 1."""
    return place.layer < 2


def first_four(place: Place) -> bool:
    """Return whether the layer is one of 0 to 3."""
    return place.layer < 4


def middle(place: Place) -> bool:
    """Return whether the layer is neither among the first nor the last eighth: 5 to 34 of 40."""
    return place.layers // 8 <= place.layer < 7 * place.layers // 8


def sensitive(place: Place) -> bool:
    """Return whether the M mixes store this layer with more bits: first and last eighth, every third between.

    Example: of 40 layers, the 20 layers 0-4, 7, 10, 13, 16, 19, 22, 25, 28, 31, 34 and 35-39.
    """
    return not middle(place) or (place.layer - place.layers // 8) % 3 == 2


def without_importance(place: Place) -> bool:
    """Return whether there is no importance matrix."""
    return not place.importance


def first_eighth_with_importance(place: Place) -> bool:
    """Return whether there is a matrix and the layer is among the first eighth, where it can do harm."""
    return place.importance and first_eighth(place)


def first_eighth_without_importance(place: Place) -> bool:
    """Return whether there is no matrix and the layer is among the first eighth."""
    return not place.importance and first_eighth(place)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A base type and its exceptions.

    Attributes:
        base: the type of every tensor that has no exception.
        output: of the output matrix; Q8_0 where its rows are no whole blocks of `base`.
        embedding: of the token embedding, if it is not the output matrix too; `None` for `base`.
        rules: exceptions by the tensor's name inside its block.
    """

    base: str
    output: str = "Q6_K"
    embedding: str | None = None
    rules: dict[str, tuple[Rule, ...]] = field(default_factory=dict)


def _values(*rules: Rule) -> dict[str, tuple[Rule, ...]]:
    return {"attn_qkv": rules, "attn_v": rules}


def _down(*rules: Rule) -> dict[str, tuple[Rule, ...]]:
    return {"ffn_down": rules}


def _attention_output(type_name: str) -> dict[str, tuple[Rule, ...]]:
    return {"attn_output": ((type_name, always),)}


def _queries_and_keys(type_name: str) -> dict[str, tuple[Rule, ...]]:
    return {"attn_q": ((type_name, always),), "attn_k": ((type_name, always),)}


_LOW_1 = _values(("Q4_K", grouped), ("Q2_K", always)) | _down(("Q2_K", first_eighth))
_LOW_2 = (
    _values(("Q4_K", grouped), ("IQ3_S", always))
    | _down(("IQ3_S", first_eighth))
    | _attention_output("IQ3_S")
)
_NON_LINEAR = _values(("Q5_K", grouped)) | _down(("Q5_K", first_eighth_without_importance))
_MORE_BITS = _values(("Q6_K", sensitive)) | _down(("Q6_K", sensitive))

RECIPES = {
    "TQ1_0": Recipe("TQ1_0", embedding="Q4_K"),
    "IQ1_S": Recipe("IQ1_S", "Q5_K", "Q2_K", _LOW_1 | _attention_output("IQ2_XXS")),
    "IQ1_M": Recipe("IQ1_M", "Q5_K", "Q2_K", _LOW_1 | _attention_output("IQ2_XXS")),
    "TQ2_0": Recipe("TQ2_0", embedding="Q4_K"),
    "IQ2_XXS": Recipe("IQ2_XXS", "Q5_K", "Q2_K", _LOW_1),
    "IQ2_XS": Recipe("IQ2_XS", "Q5_K", "Q2_K", _LOW_1),
    "IQ2_S": Recipe("IQ2_XS", "Q5_K", "IQ3_S", _LOW_2),
    "IQ2_M": Recipe("IQ2_S", "Q5_K", "IQ3_S", _LOW_2),
    "Q2_K_S": Recipe("Q2_K", rules=_values(("Q4_K", grouped)) | _down(("Q4_K", first_eighth))),
    "Q2_K": Recipe(
        "Q2_K",
        rules=_values(("Q4_K", grouped), ("Q3_K", always))
        | _down(("Q3_K", always))
        | _attention_output("Q3_K"),
    ),
    "IQ3_XXS": Recipe(
        "IQ3_XXS",
        "Q5_K",
        "IQ3_S",
        _values(("Q4_K", grouped), ("IQ3_S", without_importance))
        | _down(("Q4_K", first_eighth_without_importance), ("Q3_K", without_importance))
        | _attention_output("IQ3_S")
        | _queries_and_keys("IQ2_S"),
    ),
    "IQ3_XS": Recipe(
        "IQ3_S",
        rules=_values(("Q4_K", grouped)) | {"ffn_up": (("IQ3_XXS", middle),)} | _queries_and_keys("IQ3_XXS"),
    ),
    "Q3_K_S": Recipe("Q3_K"),
    "IQ3_S": Recipe("IQ3_S", rules=_values(("Q4_K", grouped))),
    "IQ3_M": Recipe(
        "IQ3_S", rules=_values(("Q4_K", always)) | _down(("Q4_K", first_eighth)) | _attention_output("Q4_K")
    ),
    "Q3_K_M": Recipe(
        "Q3_K",
        rules=_values(("Q5_K", first_two), ("Q4_K", always))
        | _down(("Q5_K", first_sixteenth), ("Q4_K", always))
        | _attention_output("Q4_K"),
    ),
    "Q3_K_L": Recipe(
        "Q3_K", rules=_values(("Q5_K", always)) | _down(("Q5_K", always)) | _attention_output("Q5_K")
    ),
    "IQ4_XS": Recipe("IQ4_XS", rules=_NON_LINEAR),
    "Q4_0": Recipe("Q4_0", rules=_down(("Q4_1", first_eighth_with_importance))),
    "Q4_K_S": Recipe("Q4_K", rules=_values(("Q5_K", first_four)) | _down(("Q5_K", first_eighth))),
    "IQ4_NL": Recipe("IQ4_NL", rules=_NON_LINEAR),
    "Q4_K_M": Recipe("Q4_K", rules=_MORE_BITS),
    "Q4_1": Recipe("Q4_1"),
    "Q5_0": Recipe("Q5_0", rules=_down(("Q5_1", first_eighth_with_importance))),
    "Q5_K_S": Recipe("Q5_K"),
    "Q5_K_M": Recipe("Q5_K", rules=_MORE_BITS),
    "Q5_1": Recipe("Q5_1"),
    "Q6_K": Recipe("Q6_K"),
    "Q8_0": Recipe("Q8_0", "Q8_0"),
    "BF16": Recipe("BF16"),
    "F16": Recipe("F16"),
    "F32": Recipe("F32"),
}
"""Every quantization, by the size of Phi-4 in it."""

TERNARY = ("TQ1_0", "TQ2_0")
"""For models that were trained with the weights -1, 0 and 1; a dense model becomes noise."""
