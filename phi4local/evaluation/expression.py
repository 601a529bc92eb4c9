"""Read the LaTeX of school mathematics as a tree, and give it a value; nothing of it is ever run as code."""

from __future__ import annotations

import cmath
import math
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

Tree = tuple[object, ...]
"""`("number", 2.0)`, `("name", "x")`, `("+", tree, tree)`, `("sqrt", tree)` and so on."""
MOST_DEPTH = 30
_TOKEN = re.compile(r"\s*(?:(\d+\.?\d*|\.\d+)|\\([A-Za-z]+)|(\*\*|[-+*/^()\[\]{}|!])|([A-Za-z]))")
_FUNCTIONS = {
    "sqrt": cmath.sqrt,
    "exp": cmath.exp,
    "ln": cmath.log,
    "log": cmath.log10,
    "sin": cmath.sin,
    "cos": cmath.cos,
    "tan": cmath.tan,
    "arcsin": cmath.asin,
    "arccos": cmath.acos,
    "arctan": cmath.atan,
}
_CONSTANTS = {"pi": math.pi, "infty": math.inf}
_OPERATORS = {"cdot": "*", "times": "*", "div": "/"}
_CLOSING = {"(": ")", "[": "]", "{": "}"}


class _Reader:
    """Recursive descent: sum → product → power → atom."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens, self._place, self._depth = tokens, 0, 0

    def whole(self) -> Tree:
        tree = self._sum()
        if self._place < len(self._tokens):
            raise ValueError("something follows the expression")
        return tree

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._place] if self._place < len(self._tokens) else ("end", "")

    def _take(self, wanted: str | None = None) -> tuple[str, str]:
        found = self._peek()
        if wanted is not None and found != ("sign", wanted):
            raise ValueError(f"{wanted} is missing")
        self._place += 1
        return found

    def _sum(self) -> Tree:
        self._depth += 1
        if self._depth > MOST_DEPTH:
            raise ValueError("too deep")
        tree = self._product()
        while self._peek() in {("sign", "+"), ("sign", "-")}:
            sign = self._take()[1]
            tree = (sign, tree, self._product())
        self._depth -= 1
        return tree

    def _product(self) -> Tree:
        if self._peek() == ("sign", "-"):
            self._take()
            return ("negative", self._nested(self._product))
        if self._peek() == ("sign", "+"):
            self._take()
            return self._nested(self._product)
        tree = self._power()
        while True:
            kind, text = self._peek()
            if kind == "sign" and text in {"*", "/"}:
                self._take()
                tree = (text, tree, self._signed())
            elif kind in {"number", "name", "command"} or (kind == "sign" and text in _CLOSING):
                tree = ("*", tree, self._power())
            else:
                return tree

    def _signed(self) -> Tree:
        if self._peek() == ("sign", "-"):
            self._take()
            return ("negative", self._nested(self._signed))
        return self._power()

    def _power(self) -> Tree:
        tree = self._atom()
        while self._peek() == ("sign", "!"):
            self._take()
            tree = ("factorial", tree)
        if self._peek() in {("sign", "^"), ("sign", "**")}:
            self._take()
            return ("^", tree, self._nested(self._signed))
        return tree

    def _nested(self, rule: object) -> Tree:
        self._depth += 1
        if self._depth > MOST_DEPTH or not callable(rule):
            raise ValueError("too deep")
        tree: Tree = rule()
        self._depth -= 1
        return tree

    def _atom(self) -> Tree:
        kind, text = self._take()
        if kind == "number":
            return ("number", float(text))
        if kind == "name":
            return ("name", text)
        if kind == "sign" and text in _CLOSING:
            tree = self._sum()
            self._take(_CLOSING[text])
            return tree
        if kind == "sign" and text == "|":
            tree = self._sum()
            self._take("|")
            return ("abs", tree)
        if kind == "command":
            return self._command(text)
        raise ValueError("no expression")

    def _command(self, name: str) -> Tree:
        if name == "frac":
            return ("/", self._argument(), self._argument())
        if name == "sqrt" and self._peek() == ("sign", "["):
            self._take()
            degree = self._sum()
            self._take("]")
            return ("^", self._argument(), ("/", ("number", 1.0), degree))
        if name in _CONSTANTS:
            return ("number", _CONSTANTS[name])
        if name in _FUNCTIONS:
            return (name, self._argument())
        raise ValueError(f"\\{name} is not known")

    def _argument(self) -> Tree:
        r"""Return a group, or one digit or letter: `\frac12` is a half."""
        kind, text = self._peek()
        if kind == "number" and len(text) > 1 and text.isdigit():
            self._tokens[self._place] = ("number", text[1:])
            return ("number", float(text[0]))
        return self._nested(self._power)


def parse(text: str) -> Tree:
    """Return an expression's tree.

    Example: `parse("2x")` is `("*", ("number", 2.0), ("name", "x"))`.

    Raises:
        ValueError: it is no expression that is known here.
    """
    tokens, place = [], 0
    text = text.rstrip()
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            raise ValueError("no expression")
        number, command, sign, letter = found.groups()
        if command in _OPERATORS:
            command, sign = "", _OPERATORS[command]
        for kind, value in (("number", number), ("command", command), ("sign", sign), ("name", letter)):
            if value:
                tokens.append((kind, value))
        place = found.end()
    return _Reader(tokens).whole()


def evaluate(tree: Tree, names: Mapping[str, complex]) -> complex:
    """Return an expression's value. `i` is the imaginary unit, and `e` is Euler's number.

    Example: `evaluate(parse("2x"), {"x": 3})` is 6.

    Raises:
        ValueError, ArithmeticError: it has no value there.
    """
    kind, *parts = tree
    if kind == "number":
        return complex(parts[0])  # type: ignore[call-overload, no-any-return]
    if kind == "name":
        known = {"i": 1j, "e": complex(math.e)}
        return known.get(str(parts[0])) or names[str(parts[0])]
    values = [evaluate(part, names) for part in parts]  # type: ignore[arg-type]
    return _applied(str(kind), values)


def _applied(kind: str, values: list[complex]) -> complex:
    if kind in _FUNCTIONS:
        return _FUNCTIONS[kind](values[0])
    if kind in {"negative", "abs", "factorial"}:
        return _of_one(kind, values[0])
    left, right = values
    if kind in {"+", "-"}:
        return left + right if kind == "+" else left - right
    if kind == "*":
        return left * right
    return left / right if kind == "/" else left**right


def _of_one(kind: str, value: complex) -> complex:
    if kind == "factorial":
        return complex(math.gamma(value.real + 1))
    return -value if kind == "negative" else complex(abs(value))
