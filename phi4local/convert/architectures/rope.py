"""The rotary numbers of a config.json: plain, on a part of each head, or stretched by LongRoPE.

LongRoPE divides the frequency of each pair of elements by a factor, one table for contexts up to the
original length and one for longer ones, and scales attention by one number.
Source: `_compute_longrope_parameters` in modeling_rope_utils.py and configuration_phi3.py of transformers
5.23.0; `generate_extra_tensors` in conversion/phi.py of llama.cpp 0c1e57098.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phi4local.convert.architectures.config import ROPE_NUMBERS
from phi4local.convert.strict_json import shown

if TYPE_CHECKING:
    from phi4local.convert.architectures.config import Fields

ALIASES = ("su", "yarn")
"""What early uploads of Phi-3 call LongRoPE; transformers reads both so when the factors are there."""

_LARGEST_FACTOR = 1e6


@dataclass(frozen=True, slots=True)
class LongRope:
    """The two tables of LongRoPE.

    Attributes:
        long_factors: one for each rotated pair of elements, for contexts beyond the original length.
        short_factors: the same for contexts up to it.
        attention_factor: scales the rotated keys and queries, whatever the length.
        name: what config.json calls it: longrope, or an older name.
    """

    long_factors: tuple[float, ...]
    short_factors: tuple[float, ...]
    attention_factor: float
    name: str = "longrope"


def read_long_rope(fields: Fields, rope_dimensions: int) -> LongRope | None:
    """Return the tables of LongRoPE, or `None` for plain rotary positions.

    Example: Phi-4-mini, 96 rotated elements → two tables of 48; 131,072 tokens stretched from 4,096 give
    an attention factor of sqrt(1 + ln 32 / ln 4096) = 1.1902.

    Raises:
        UnsupportedCheckpointError: another kind of scaling.
        CheckpointError: tables that are missing, too short, or hold impossible factors.
    """
    kind = fields.rope_kind()
    unknown = sorted(fields.rope_keys() - ROPE_NUMBERS - {"rope_type", "type"})
    fields.support(not unknown, f"the rotary scaling has {shown(unknown)}, which is not understood")
    tables = fields.value("long_factor") is not None or fields.value("short_factor") is not None
    if kind in (None, "default") and not tables and fields.value("factor") is None:
        return None
    known = kind == "longrope" or (kind in ALIASES and tables)
    fields.support(known, f"the rotary scaling {shown(kind)} is not supported; Phi-4 has longrope or none")
    long_factors, short_factors = (
        _factors(fields, name, rope_dimensions // 2) for name in ("long_factor", "short_factor")
    )
    return LongRope(long_factors, short_factors, _attention_factor(fields), str(kind))


def _factors(fields: Fields, name: str, count: int) -> tuple[float, ...]:
    value = fields.value(name)
    numbers = value if isinstance(value, list) else []
    fields.require(
        len(numbers) == count and all(_is_factor(number) for number in numbers),
        f"{name} must be {count} numbers above 0, one for each rotated pair; it is {shown(value)}",
    )
    return tuple(float(number) for number in numbers)


def _is_factor(number: object) -> bool:
    return type(number) in (int, float) and 1 / _LARGEST_FACTOR <= number <= _LARGEST_FACTOR  # type: ignore[operator]


def _attention_factor(fields: Fields) -> float:
    if fields.value("attention_factor") is not None:
        return fields.positive("attention_factor")
    original = fields.whole("original_max_position_embeddings", least=2)
    stretch = fields.positive("factor", default=fields.whole("max_position_embeddings") / original)
    return math.sqrt(1 + math.log(stretch) / math.log(original)) if stretch > 1 else 1.0
