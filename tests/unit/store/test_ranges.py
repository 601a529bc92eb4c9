"""Ranges against sets of bytes."""

import itertools

import hypothesis
import hypothesis.strategies as st

from phi4local.store.download.ranges import Ranges

PAIRS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=12)


@hypothesis.given(PAIRS, st.integers(0, 70))
def test_ranges_are_the_sets_that_they_stand_for(pairs, size):
    ranges, expected = Ranges(), set()
    for begin, end in pairs:
        ranges.add(begin, end)
        expected |= set(range(begin, end))
    kept = list(ranges)
    assert {byte for begin, end in kept for byte in range(begin, end)} == expected
    assert all(before[1] < after[0] for before, after in itertools.pairwise(kept))
    assert ranges.total == len(expected)
    assert ranges.prefix == next(byte for byte in range(62) if byte not in expected)
    missing = {byte for begin, end in ranges.missing(size) for byte in range(begin, end)}
    assert missing == set(range(size)) - expected
