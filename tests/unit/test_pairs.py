"""The interval that decides whether a speed bar is met."""

import statistics

import pytest

from benchmarks.pairs import Ratio, median_interval

# n, and which order statistics bound the median with at least 95 %: the binomial tables in Conover's book.
PLACES = [(6, 1), (8, 1), (10, 2), (15, 4), (20, 6), (25, 8), (30, 10), (40, 14), (50, 18), (100, 40)]


@pytest.mark.parametrize(("count", "place"), PLACES)
def test_the_interval_is_that_of_the_tables(count, place):
    values = [float(value) for value in range(1, count + 1)]
    assert median_interval(values[::-1]) == (place, statistics.median(values), count + 1 - place)


def test_few_values_give_the_widest_interval():
    assert median_interval([3.0, 1.0, 2.0]) == (1.0, 2.0, 3.0)


def test_a_ratio_is_decided_when_the_bar_is_outside_its_interval():
    ratio = Ratio("x", bar=0.95)
    for _ in range(19):
        ratio.add(1.0, 1.0)
    assert not ratio.decided  # too few pairs
    ratio.add(1.0, 1.0)
    assert ratio.decided
    assert ratio.met
    for _ in range(20):
        ratio.add(0.9, 1.0)
    assert not ratio.decided  # from 0.9 to 1.0: more pairs would tell
    for _ in range(40):
        ratio.add(0.9, 1.0)
    assert ratio.decided
    assert not ratio.met
