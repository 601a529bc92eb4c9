"""The account of KV cells, against a model of it that is too simple to be wrong."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from phi4local.engine.cells import Cells, common_prefix

SEQUENCES = 4
numbers = st.integers(0, SEQUENCES - 1)


class CellsAgainstSets(RuleBasedStateMachine):
    """Every cell is an object here, and what is used are the objects that somebody holds."""

    def __init__(self):
        super().__init__()
        self.cells = Cells(10_000, sequences=SEQUENCES, unified=True)
        self.model = [[] for _ in range(SEQUENCES)]

    @rule(sequence=numbers, tokens=st.lists(st.integers(0, 3), min_size=1, max_size=6))
    def append(self, sequence, tokens):
        self.cells.append(sequence, tokens)
        self.model[sequence] += [[token] for token in tokens]

    @rule(source=numbers, into=numbers, part=st.floats(0, 1))
    def share(self, source, into, part):
        if source == into or self.model[into]:
            return
        count = int(part * len(self.model[source]))
        self.cells.share(source, into, count)
        self.model[into] = self.model[source][:count]

    @rule(sequence=numbers, start=st.floats(0, 1), end=st.floats(0, 1))
    def cut_out(self, sequence, start, end):
        first, last = sorted(int(place * len(self.model[sequence])) for place in (start, end))
        self.cells.cut_out(sequence, first, last)
        del self.model[sequence][first:last]

    @rule(sequence=numbers)
    def clear(self, sequence):
        self.cells.cut_out(sequence, 0)
        self.model[sequence] = []

    @invariant()
    def tokens_and_counts_agree(self):
        held = [{id(cell) for cell in sequence} for sequence in self.model]
        assert self.cells.used == len(set().union(*held))
        assert self.cells.free(0) == 10_000 - self.cells.used
        assert self.cells.distinct([0, 2]) == len(held[0] | held[2])
        for number, sequence in enumerate(self.model):
            assert list(self.cells.tokens(number)) == [cell[0] for cell in sequence]
            others = set().union(*(held[i] for i in range(SEQUENCES) if i != number))
            middle = len(sequence) // 2
            assert self.cells.any_shared(number, middle) == any(id(c) in others for c in sequence[middle:])


TestCellsAgainstSets = CellsAgainstSets.TestCase


def test_streams_have_room_of_their_own_and_copies_are_counted():
    cells = Cells(10, sequences=2, unified=False)
    cells.append(0, [1, 2, 3])
    cells.share(0, 1, 2)
    assert (cells.used, cells.free(0), cells.free(1)) == (5, 7, 8)


@given(st.lists(st.integers(0, 1)), st.lists(st.integers(0, 1)))
def test_common_prefix_is_that_of_a_loop(left, right):
    count = 0
    while count < min(len(left), len(right)) and left[count] == right[count]:
        count += 1
    assert common_prefix(left, right) == count
