import pytest
from hypothesis import given
from hypothesis import strategies as st

from phi4local.engine.pace import Pace, divide


@pytest.mark.parametrize(
    ("budget", "wanted", "shares"),
    [
        (100, [10, 500, 500], [10, 45, 45]),
        (100, [500], [100]),
        (3, [5, 5, 5, 5], [1, 1, 1, 0]),
        (50, [10, 10], [10, 10]),
        (8, [], []),
    ],
)
def test_what_one_prompt_does_not_need_goes_to_the_others(budget, wanted, shares):
    assert sorted(divide(budget, wanted), reverse=True) == sorted(shares, reverse=True)


@given(st.integers(0, 600), st.lists(st.integers(1, 900), max_size=8))
def test_shares_use_the_budget_and_nobody_gets_more_than_wanted(budget, wanted):
    shares = divide(budget, wanted)
    assert sum(shares) == min(budget, sum(wanted))
    assert all(0 <= share <= want for share, want in zip(shares, wanted, strict=True))
    unsatisfied = [share for share, want in zip(shares, wanted, strict=True) if share < want]
    assert max(unsatisfied, default=0) - min(unsatisfied, default=0) <= 1


@pytest.mark.parametrize("tokens_per_second", [3, 20, 60, 400, 5_000, 1_000_000])
def test_steps_settle_below_the_limit_on_slow_and_fast_machines(tokens_per_second):
    pace = Pace(0.25, 512)
    sizes = []
    for _ in range(12):
        sizes.append(pace.step_tokens)
        pace.observe(pace.step_tokens, pace.step_tokens / tokens_per_second)
    most = min(512, 0.25 * tokens_per_second)
    assert all(size <= max(8, most) for size in sizes)
    assert sizes[-1] <= max(1, most)
    assert sizes[-1] >= min(most, 0.7 * most - 8)


def test_a_short_last_piece_says_nothing_about_large_steps():
    pace = Pace(0.25, 512)
    for _ in range(8):
        pace.observe(pace.step_tokens, pace.step_tokens / 1000)
    before = pace.step_tokens
    pace.observe(3, 0.05)
    assert pace.step_tokens == before


def test_without_a_limit_every_step_is_a_whole_batch():
    pace = Pace(0, 512)
    pace.observe(512, 60.0)
    assert pace.step_tokens == 512
