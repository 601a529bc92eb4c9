"""docs/sampling.md says what the settings are."""

import dataclasses
import re
from pathlib import Path

import pytest

from phi4local import settings
from phi4local.settings import DEFAULT_SAMPLING, SamplingSettings

PAGE = Path(__file__).parents[2] / "docs" / "sampling.md"
ROWS = {
    name: (limits, default)
    for name, limits, default in re.findall(
        r"^\| `(\w+)` \|[^|]*\| ([^|]*) \| ([^|]*) \|$", PAGE.read_text("utf-8"), re.MULTILINE
    )
}
RANGES = settings._SAMPLING_RANGES | settings._WHOLE_SAMPLING_RANGES


def test_every_setting_has_a_row_in_the_order_of_the_fields():
    assert list(ROWS) == [field.name for field in dataclasses.fields(SamplingSettings)]


@pytest.mark.parametrize("name", [name for name in RANGES if name not in ("top_k", "mirostat")])
def test_a_row_has_the_range_that_is_checked(name):
    low, high = RANGES[name]
    assert ROWS[name][0].startswith(f"{low:,} to {high:,}".replace("-", "\N{MINUS SIGN}"))


@pytest.mark.parametrize(
    "name", [name for name in RANGES if name not in ("seed", "logprobs", "structure_repeat")]
)
def test_a_row_has_the_default_that_is_used(name):
    shown = re.match(r"[\d.,]+", ROWS[name][1])[0].rstrip(",")
    assert float(shown) == getattr(DEFAULT_SAMPLING, name)
