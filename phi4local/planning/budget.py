"""The best choice for each tensor within a number of bytes: a knapsack with several sizes of each thing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


_TRIED = 64
"""Better options for which a pair is searched: those that save most."""
_LEAST_SAVING = 1e-6
"""Share of a saving that a pair has to leave, so that rounding cannot exchange for ever."""


@dataclass(frozen=True, slots=True, order=True)
class Option:
    """One way to store a tensor.

    Attributes:
        size_bytes: what it takes.
        cost: what it costs in quality, in any unit that adds up over tensors.
        type: the tensor type.
    """

    size_bytes: int
    cost: float
    type: str


def choose(
    options: Mapping[str, Sequence[Option]],
    budget_bytes: int,
    starts: Sequence[Mapping[str, Option]] = (),
) -> dict[str, Option]:
    """Return an option for each tensor so that all fit and the sum of costs is small.

    The upgrades that save most cost for a byte come first, on each tensor's lower convex hull, as in the
    greedy method for the multiple-choice knapsack (Sinha and Zoltners 1979), which is exact but for the last
    step; what is left of the budget goes to whatever still fits. Each of `starts` is filled up in the same
    way, and the best result counts, so that it never costs more than one of them.

    Args:
        options: of each tensor, at least one, in any order.
        budget_bytes: most bytes of all together.
        starts: known choices, such as the standard mixes; those that do not fit are left out.

    Example: two tensors with the options (1 byte, cost 9), (2 bytes, cost 1) each and 3 bytes: one of them
    gets its second byte, and the cost is 10.

    Raises:
        ValueError: even the smallest options do not fit.
    """
    smallest = {name: min(choices) for name, choices in options.items()}
    if size_of(smallest) > budget_bytes:
        raise ValueError(f"{size_of(smallest)} bytes are needed at least")
    candidates = [_climb(smallest, options, budget_bytes)]
    candidates += [dict(start) for start in starts if size_of(start) <= budget_bytes]
    return min((_fill(each, options, budget_bytes) for each in candidates), key=cost_of)


def size_of(chosen: Mapping[str, Option]) -> int:
    """Return the bytes of all tensors."""
    return sum(option.size_bytes for option in chosen.values())


def cost_of(chosen: Mapping[str, Option]) -> float:
    """Return the cost of all tensors."""
    return sum(option.cost for option in chosen.values())


def _climb(
    smallest: Mapping[str, Option], options: Mapping[str, Sequence[Option]], budget_bytes: int
) -> dict[str, Option]:
    """Take steps along the hulls, the best first, until the first one that does not fit."""
    steps = [
        ((before.cost - after.cost) / (after.size_bytes - before.size_bytes), name, after)
        for name, choices in options.items()
        for before, after in _hull(choices)
    ]
    chosen, left = dict(smallest), budget_bytes - size_of(smallest)
    for _, name, option in sorted(steps, key=lambda step: -step[0]):
        more = option.size_bytes - chosen[name].size_bytes
        if more > left:
            break
        chosen[name], left = option, left - more
    return chosen


def _hull(choices: Sequence[Option]) -> Iterator[tuple[Option, Option]]:
    """Yield neighbours on the lower convex hull, from the smallest option up."""
    here = min(choices)
    while True:
        better = [o for o in choices if o.size_bytes > here.size_bytes and o.cost < here.cost]
        if not better:
            return
        following = max(better, key=lambda o: (here.cost - o.cost) / (o.size_bytes - here.size_bytes))
        yield here, following
        here = following


def _fill(
    chosen: dict[str, Option], options: Mapping[str, Sequence[Option]], budget_bytes: int
) -> dict[str, Option]:
    """Exchange one option after the other for a better one that fits, the largest saving first.

    When none fits any more, a pair may: a better option here, paid for by a smaller one elsewhere.
    """
    left = budget_bytes - size_of(chosen)
    while True:
        moves = list(_moves(chosen, options))
        better = [move for move in moves if move.saving > 0]
        fitting = [move for move in better if move.more_bytes <= left]
        picked = [max(fitting, key=lambda move: move.saving)] if fitting else _pair(better, moves, left)
        if not picked:
            return chosen
        for move in picked:
            left -= move.more_bytes
            chosen[move.name] = move.option


class _Move(NamedTuple):
    """Another option for a tensor: what it saves, and how many bytes more it takes."""

    saving: float
    more_bytes: int
    name: str
    option: Option


def _moves(chosen: Mapping[str, Option], options: Mapping[str, Sequence[Option]]) -> Iterator[_Move]:
    for name, choices in options.items():
        now = chosen[name]
        for option in choices:
            if option != now:
                yield _Move(now.cost - option.cost, option.size_bytes - now.size_bytes, name, option)


def _pair(better: list[_Move], moves: list[_Move], left: int) -> list[_Move]:
    """Return a better option and the smaller one of another tensor that makes room for it, if that pays."""
    paying = sorted((move for move in moves if move.more_bytes < 0), key=lambda move: -move.saving)
    for move in sorted(better, key=lambda move: -move.saving)[:_TRIED]:
        for other in paying:
            if other.saving + move.saving <= _LEAST_SAVING * move.saving:
                break
            if other.name != move.name and move.more_bytes + other.more_bytes <= left:
                return [move, other]
    return []
