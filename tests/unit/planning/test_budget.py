"""The knapsack: beside every choice there is, and never worse than what it starts from."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phi4local.planning.budget import Option, choose, cost_of, size_of

sizes = st.integers(1, 20)
tensors = st.lists(
    st.lists(st.tuples(sizes, st.floats(0, 10)), min_size=1, max_size=4), min_size=1, max_size=4
).map(
    lambda found: {
        f"t{number}": [Option(size, cost, f"type {place}") for place, (size, cost) in enumerate(choices)]
        for number, choices in enumerate(found)
    }
)


def every_choice(options, budget):
    for picked in itertools.product(*options.values()):
        chosen = dict(zip(options, picked, strict=True))
        if size_of(chosen) <= budget:
            yield chosen


@given(tensors, st.integers(1, 80))
def test_it_fits_and_nothing_that_fits_could_simply_be_exchanged(options, budget):
    possible = list(every_choice(options, budget))
    if not possible:
        with pytest.raises(ValueError, match="are needed at least"):
            choose(options, budget)
        return
    chosen = choose(options, budget)
    assert size_of(chosen) <= budget
    assert all(option in options[name] for name, option in chosen.items())
    left = budget - size_of(chosen)
    for name, choices in options.items():
        for option in choices:
            fits = option.size_bytes - chosen[name].size_bytes <= left
            assert not (fits and option.cost < chosen[name].cost)


@given(tensors, st.integers(1, 80), st.randoms())
def test_it_is_never_worse_than_a_start(options, budget, chance):
    possible = list(every_choice(options, budget))
    if possible:
        start = chance.choice(possible)
        assert cost_of(choose(options, budget, [start])) <= cost_of(start)


def test_many_alike_are_chosen_as_well_as_can_be():
    """With many tensors only the last step of the greedy method can be wrong: here by less than one in 50."""
    shape = [(2, 9.0), (3, 4.0), (4, 1.5), (6, 0.4), (8, 0.1)]
    options = {
        f"t{n}": [Option(size, cost * (1 + n / 50), f"{size}") for size, cost in shape] for n in range(60)
    }
    for budget in (130, 200, 257, 300, 401):
        best = {0: 0.0}
        for choices in options.values():  # exact, by dynamic programming over the bytes
            following = {}
            for used, cost in best.items():
                for option in choices:
                    size = used + option.size_bytes
                    if size <= budget:
                        following[size] = min(following.get(size, 1e9), cost + option.cost)
            best = following
        assert cost_of(choose(options, budget)) <= min(best.values()) * 1.02
