"""docs/quantizations.md says what the code does."""

from __future__ import annotations

import re

from phi4local.planning.mixes import QUANTIZATIONS, needs_importance
from phi4local.planning.recipes import TERNARY
from tests.random_checkpoint import NANO
from tests.unit.planning.test_mixes import size_of_phi_4, types_of_phi_4

PAGE = (NANO.parent.parent / "docs" / "quantizations.md").read_text(encoding="utf-8")
WEIGHTS = 14_659_507_200  # the sum of the shapes in the published safetensors headers


def test_the_table() -> None:
    found = re.findall(r"^\| (\w+) \| ([\d.]+) \| ([\d.]+) GB \| (yes|no) \|", PAGE, re.MULTILINE)
    expected = []
    for name in QUANTIZATIONS:
        size, types = size_of_phi_4(name), types_of_phi_4(name)
        needed = any(needs_importance(tensor, kind, name) for tensor, kind in types.items())
        answer = "yes" if needed else "no"
        expected.append((name, f"{size * 8 / WEIGHTS:.2f}", f"{size / 1e9:.2f}", answer))
    assert found == expected


def test_what_is_not_in_the_table_is_explained() -> None:
    for name in (*TERNARY, "MXFP4"):
        assert name in PAGE
