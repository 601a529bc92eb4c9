"""`phi4local doctor --self-test`: everything holds here, and a promise that is broken is said."""

import json

import pytest

from phi4local.doctor.result import OK, WRONG
from phi4local.doctor.self_test import areas, damage
from phi4local.errors import GGUFError


def test_damage_is_the_same_everywhere_and_of_the_right_kind():
    data = bytes(range(100))
    cut = list(damage.cut_off(data, 50))
    assert cut == list(damage.cut_off(data, 50))
    assert len(cut) == 50
    assert all(data.startswith(one) and one != data for one in cut)
    changed = list(damage.with_changed_bytes(data, 200))
    assert all(
        len(one) == 100 and sum(a != b for a, b in zip(one, data, strict=True)) <= 1 for one in changed
    )
    assert len(set(changed)) > 100


@pytest.mark.parametrize("work", [areas._names, areas._templates])
def test_an_area_that_holds_says_how_many_cases_there_were(work):
    (result,) = areas._area("area", work)
    assert result.state == OK
    assert int(result.seen.split(" cases")[0]) >= 16


def test_an_accepted_case_an_unkept_one_and_a_foreign_exception_are_wrong():
    def accepted(count):
        count.refused("a bad file", lambda: None, GGUFError)
        return "all is well"

    def foreign(count):
        count.refused("a bad file", lambda: {}["x"], GGUFError)
        return "all is well"

    for work, words in ((accepted, "a bad file was accepted"), (foreign, "KeyError")):
        (result,) = areas._area("area", work)
        assert result.state == WRONG
        assert words in result.seen
        assert result.advice


@pytest.mark.full
def test_everything_holds_on_this_machine(run_cli, native_library):
    done = run_cli(["doctor", "--self-test", "--json"], env={"PHI4LOCAL_OFFLINE": "1"})
    found = json.loads(done.stdout)
    assert done.returncode == 0, done.stdout
    assert found["ok"]
    assert len(found["checks"]) == 8
