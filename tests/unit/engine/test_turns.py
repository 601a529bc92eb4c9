from dataclasses import dataclass

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


@dataclass
class Live:
    """What the rotation looks at."""

    key: tuple


BASE, STYLE = Live(()), Live((("digest", 1.0),))


def test_groups_take_turns_after_a_slice_of_steps_or_time():
    rotation = Rotation()
    live = [BASE, STYLE, BASE]
    order = [rotation.choose(live, now=0.0) for _ in range(2 * SLICE_STEPS + 1)]
    assert order == [[BASE, BASE]] * SLICE_STEPS + [[STYLE]] * SLICE_STEPS + [[BASE, BASE]]
    assert rotation.choose(live, now=0.3) == [STYLE]


def test_a_group_alone_goes_on_and_a_group_that_ended_is_left():
    rotation = Rotation()
    assert all(rotation.choose([STYLE, STYLE], now=float(second)) == [STYLE] * 2 for second in range(100))
    assert rotation.choose([BASE], now=100.0) == [BASE]
