import pytest

from phi4local.engine.rotation import SLICE_STEPS, Rotation
from phi4local.engine.turns import Turns


@pytest.mark.parametrize(
    ("needed", "span"), [(1, (20, 120)), (100, (20, 120)), (101, (20, 150)), (9_999, (20, 150))]
)
def test_the_fewest_oldest_turns_go_and_the_last_one_stays(needed, span):
    assert Turns([20, 120, 150]).oldest(needed) == span


def test_turns_after_a_dropped_one_move_down():
    turns = Turns([20, 120, 150, 400])
    assert turns.drop(20, 150) == 2
    assert turns.oldest(9_999) == (20, 270)
    assert turns.drop(20, 270) == 1
    assert not turns


@pytest.mark.parametrize("starts", [[], [7]])
def test_fewer_than_two_turns_leave_nothing_to_drop(starts):
    assert not Turns(starts)


BASE, STYLE = (), (("digest", 1.0),)


def test_groups_take_turns_after_a_slice_of_steps_or_time():
    rotation = Rotation()
    order = [rotation.choose([BASE, STYLE, BASE], now=0.0) for _ in range(2 * SLICE_STEPS + 1)]
    assert order == [BASE] * SLICE_STEPS + [STYLE] * SLICE_STEPS + [BASE]
    assert rotation.choose([BASE, STYLE], now=0.3) == STYLE


def test_a_group_alone_goes_on_and_a_group_that_ended_is_left():
    rotation = Rotation()
    assert {rotation.choose([STYLE], now=float(second)) for second in range(100)} == {STYLE}
    assert rotation.choose([BASE], now=100.0) == BASE
