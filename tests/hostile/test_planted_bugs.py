"""The table of planted bugs fits the code; with `--full`, each of them is noticed."""

from __future__ import annotations

import pytest

from tests.conftest import CHECKOUT
from tests.hostile.planted_bugs import read_bugs, try_bugs

BUGS = read_bugs()


def test_there_are_forty_bugs():
    assert len(BUGS) >= 40
    assert len({(bug.file, bug.old, bug.new) for bug in BUGS}) == len(BUGS)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_bug_can_be_planted_and_its_tests_exist(bug):
    assert (CHECKOUT / bug.file).read_text(encoding="utf-8").count(bug.old) == 1
    assert bug.old != bug.new
    for test in bug.tests:
        file, _, function = test.partition("::")
        text = (CHECKOUT / file).read_text(encoding="utf-8")
        assert f"def {function.partition('[')[0]}(" in text if function else "def test_" in text


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_every_planted_bug_is_noticed():
    assert [row["name"] for row in try_bugs(BUGS) if not row["noticed"]] == []
