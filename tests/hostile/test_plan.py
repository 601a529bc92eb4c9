"""The plan names what is there: every area has tests that exist, or says what is missing."""

from __future__ import annotations

import pytest

from tests.conftest import CHECKOUT
from tests.hostile.report import AREAS, read_plan

PLAN = read_plan()


def test_every_area_is_planned():
    assert set(PLAN) == AREAS


@pytest.mark.parametrize("name", sorted(PLAN))
def test_an_area_has_tests_that_exist_or_says_what_is_missing(name: str):
    area = PLAN[name]
    assert area.area
    assert area.criterion
    assert area.tests or area.open
    for test in area.tests:
        file, _, function = test.partition("::")
        text = (CHECKOUT / file).read_text(encoding="utf-8")
        assert f"def {function}(" in text if function else "def test_" in text, test


@pytest.mark.parametrize("name", sorted(PLAN))
def test_what_is_counted_inside_of_tests_grows_and_reaches_the_plan(name: str):
    area = PLAN[name]
    fast, full = area.inside or (0, 0)
    assert fast <= full
    assert not area.inside or area.open or area.recorded or full >= area.cases
