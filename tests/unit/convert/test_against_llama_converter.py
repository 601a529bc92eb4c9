"""The oracle: llama.cpp's own converter (tests/golden/make_metadata.py); all differences are in FORMAT.md."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING

import pytest

from phi4local.convert import convert_checkpoint, plan_conversion
from tests.golden.make_metadata import CASES, STORED, entry, read, write_case
from tests.unit.convert.test_format_page import table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

THEIRS = json.loads(STORED.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def case(name: str) -> Path:
        if name not in made:
            made[name] = write_case(tmp_path_factory.mktemp("case"), name)
        return made[name]

    return case


@pytest.fixture(scope="module")
def ours(checkpoint: Callable[[str], Path]) -> Callable[[str, bool], dict[str, list[object]]]:
    """Return a function: case, with repairs or without → our metadata, in the form of the stored ones."""

    @functools.cache
    def metadata(name: str, repair: bool) -> dict[str, list[object]]:
        plan = plan_conversion(checkpoint(name), "F16", repair=repair)
        return {item.key: entry(item.type, item.value) for item in plan.metadata}

    return metadata


def differences(ours: dict[str, list[object]], theirs: dict[str, list[object]]) -> set[str]:
    return {key for key in ours.keys() | theirs.keys() - {"tensors"} if ours.get(key) != theirs.get(key)}


@pytest.mark.parametrize("repair", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_metadata_differ_only_where_the_page_says(name: str, repair: bool, ours: Callable) -> None:
    found = differences(ours(name, repair), THEIRS[name])
    assert found <= {row[0] for row in table("differs")}
    if not repair:
        assert not any(key.startswith(("tokenizer.", "phi3.")) for key in found)


def test_every_difference_of_the_page_occurs(ours: Callable) -> None:
    found = {key for name in CASES for key in differences(ours(name, True), THEIRS[name])}
    assert {row[0] for row in table("differs")} - {"phi4local.merged"} == found


LARGE = [pytest.param(name, marks=[pytest.mark.full] if name.startswith("phi-4") else []) for name in CASES]


@pytest.mark.parametrize("name", LARGE)
def test_tensors_are_the_same_bytes(name: str, checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    convert_checkpoint(checkpoint(name), tmp_path / "ours.gguf", "F16")
    assert read(tmp_path / "ours.gguf")["tensors"] == THEIRS[name]["tensors"]
