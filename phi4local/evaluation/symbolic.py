"""Are two expressions of school mathematics equal? Without a grader, without running any code.

The LaTeX of an answer becomes a tree of numbers and functions in `expression`; two trees are equal when they
have the same value, up to rounding, at several points drawn once and for all. No expression can take long:
its length and depth are limited, and every step is one of floating point.

It is stricter than simple-evals' grader with words, and looser with sums (`3245/5` is 649 here), so a figure
that is made with it is not comparable.
"""

from __future__ import annotations

import cmath
import random
import re

from phi4local.evaluation.expression import evaluate, parse

MOST_CHARACTERS = 300
POINTS = 4
_NEAR = 1e-9
_WORDS = re.compile(r"\\(?:text|mbox|textbf|mathrm|textrm)\s*\{([^{}]*)\}")
_List = tuple[str, str, list[str]]
_DELIMITERS = {"(": ")", "[": "]", "{": "}"}


def equal(first: str, second: str) -> bool:
    r"""Return whether two expressions are the same thing.

    Tuples, intervals and sets are compared element by element, sets in any order. What is no expression is
    compared as text, without spaces and capitals.

    Example: `equal("\frac{1}{2}", "0.5")` and `equal("x^2+2x+1", "(x+1)^2")` are true,
    `equal("[0, 1)", "(0, 1)")` is false.
    """
    if max(len(first), len(second)) > MOST_CHARACTERS:
        return False
    left, right = _plain(first), _plain(second)
    if left == right:
        return bool(left)
    return _same(left, right)


def _plain(text: str) -> str:
    """Take away what says nothing about the value: dollars, spaces of LaTeX, units, "x =" before it."""
    boxed = re.fullmatch(r".*?\\boxed\s*\{(.*)\}[^{}]*", text.strip())
    text = boxed[1] if boxed else text
    text = text.strip().strip("*").strip().rstrip(".").replace("$", "").replace("\\%", "").replace("%", "")
    for name in (
        "\\left",
        "\\right",
        "\\!",
        "\\,",
        "\\;",
        "\\:",
        "\\ ",
        "\\displaystyle",
        "^\\circ",
        "^{\\circ}",
    ):
        text = text.replace(name, "")
    text = (
        text.replace("\\(", "").replace("\\)", "").replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac")
    )
    text = text.replace("\\{", "{").replace("\\}", "}") if text.lstrip().startswith("\\{") else text
    alone = _WORDS.fullmatch(text.strip())
    text = alone[1] if alone else _WORDS.sub("", text)
    text = re.sub(r"^\s*[A-Za-z]\s*(?:=|\\in)\s*", "", text)
    text = re.sub(r"(?<=\d)\s*(?:degrees?|cm|meters?|inch(?:es)?|square \w+|dollars?|units?)\s*$", "", text)
    return re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text).strip()


def _same(left: str, right: str) -> bool:
    lists = _elements(left), _elements(right)
    if lists[0] and lists[1]:
        return _same_lists(lists[0], lists[1])
    values, others = _values(left), _values(right)
    words = re.fullmatch(r"[A-Za-z ]{3,}", left) and re.fullmatch(r"[A-Za-z ]{3,}", right)
    if values is None or others is None or words:
        return "".join(left.split()).lower() == "".join(right.split()).lower()
    return all(abs(a - b) <= _NEAR * max(1.0, abs(a), abs(b)) for a, b in zip(values, others, strict=True))


def _same_lists(left: _List, right: _List) -> bool:
    begin, end, first = left
    if (begin, end) != right[:2] or len(first) != len(right[2]):
        return False
    if begin == "{":
        return all(any(_same(one, other) for other in right[2]) for one in first)
    return all(_same(one, other) for one, other in zip(first, right[2], strict=True))


def _elements(text: str) -> _List | None:
    """Return the brackets and the parts between commas of `(1, 2)`, and nothing for a plain expression."""
    bare = text[:1] not in _DELIMITERS or text[-1:] not in ")]}"
    inside = text if bare else text[1:-1]
    depth, parts = 0, [""]
    for letter in inside:
        depth += letter in "([{"
        depth -= letter in ")]}"
        if depth < 0:
            return None
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    if len(parts) < 2:
        return None
    # A list without brackets is a set: "1, 2" and "2, 1" are the same solutions.
    return ("{", "}", parts) if bare else (text[0], text[-1], parts)


def _values(text: str) -> list[complex] | None:
    """Return an expression's values at the points, or nothing where it is none or has none."""
    try:
        tree = parse(text)
        values = [evaluate(tree, point) for point in _points()]
    except (ValueError, ArithmeticError):
        return None
    return values if all(cmath.isfinite(value) for value in values) else None


def _points() -> list[dict[str, complex]]:
    chance = random.Random(20)  # noqa: S311
    letters = "abcdefghjklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return [{letter: complex(chance.uniform(0.5, 2.5)) for letter in letters} for _ in range(POINTS)]
