"""What the validator accepts, our engine runs or refuses cleanly: no signal, no traceback, no hang."""

from __future__ import annotations

import pytest

from tests.hostile.gguf_differential import LAXER_THAN_MODELVET, Child, State, run
from tests.hostile.gguf_files import small_model
from tests.hostile.test_gguf_files import named_case

pytestmark = pytest.mark.usefixtures("native_library")


@pytest.mark.parametrize("count", [40, pytest.param(5_000, marks=pytest.mark.full)])
def test_the_engine_survives_every_generated_file_that_is_accepted(count: int):
    state = run(State(seed=20260106), count)
    assert state.failures == []
    assert state.outcomes["runs"] > count // 10
    assert state.outcomes["refused"] > count // 10
    assert set(state.only_modelvet_refuses) <= set(LAXER_THAN_MODELVET)


def test_a_death_is_told_from_an_answer(tmp_path, monkeypatch):
    """The child without its validator: what the comparison looks for is there, and is seen."""
    good, killer = tmp_path / "good.gguf", tmp_path / "killer.gguf"
    good.write_bytes(small_model().build())
    killer.write_bytes(named_case("epsilon-nan"))
    monkeypatch.setenv("PHI4LOCAL_TEST_UNCHECKED", "1")
    with Child() as child:
        outcomes = [child.outcome(path) for path in (good, killer, good)]
    assert outcomes == ["runs", "DIED with -6", "runs"]
