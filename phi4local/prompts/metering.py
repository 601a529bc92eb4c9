"""What a chat template may be written with, and where its work is counted.

The parsed template is checked against a list of known kinds of nodes, then rewritten so that every step whose
cost is not constant goes through a function of `phi4local.prompts.functions` that charges the budget:

    for x in items            → each item pays for the loop's body
    macro, call               → each call pays for the body
    a ~ b                     → a function that checks the length first
    [a, b], (a, b), {a: b}    → all that is inside is paid for
    a == b, a in b, …         → both sides are paid for
    a[1:2]                    → `a` is paid for
    text                      → printed like a value, so it is counted like one

Operators, calls, filters, tests and printing have hooks of Jinja's own and need no rewriting.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, cast

from jinja2 import nodes
from jinja2.visitor import NodeTransformer

from phi4local.prompts.budget import refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from jinja2 import Environment

# Names that no template can spell, because they hold a space.
COUNT_ITEMS = "count items"
CHARGE = "charge units"
CONCATENATE = "concatenate texts"
WEIGH = "weigh value"
WEIGH_SHALLOW = "weigh length"

_ALLOWED: tuple[type[nodes.Node], ...] = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.For, nodes.If, nodes.Macro, nodes.CallBlock),
    *(nodes.With, nodes.Assign, nodes.AssignBlock, nodes.Continue, nodes.Break),
    *(nodes.Name, nodes.NSRef, nodes.Const, nodes.Tuple, nodes.List, nodes.Dict, nodes.Pair, nodes.Keyword),
    *(nodes.CondExpr, nodes.Filter, nodes.Test, nodes.Call, nodes.Getitem, nodes.Getattr, nodes.Slice),
    *(nodes.Concat, nodes.Compare, nodes.Operand, nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv),
    *(nodes.Mod, nodes.Pow, nodes.And, nodes.Or, nodes.Not, nodes.Neg, nodes.Pos, nodes.ExtensionAttribute),
)
INTEGER_BITS = 4096
"""The largest whole number that a template may compute with."""

_NODES_PER_UNIT = 4
_MAX_NODES = 10_000


def check(tree: nodes.Template) -> None:
    """Refuse a parsed template that reaches for other templates or for features that no chat needs.

    Example: `{% include 'x' %}`, `{% for a in b recursive %}` and `{% filter upper %}` are refused.

    Raises:
        ChatTemplateError: names the first such statement and its line.
    """
    for count, node in enumerate(tree.find_all(nodes.Node)):
        if count > _MAX_NODES:
            raise refusal(f"it has more than {_MAX_NODES:,} parts")
        unwanted = _unwanted(node)
        if unwanted:
            raise refusal(f"line {node.lineno} uses {unwanted}")


def _unwanted(node: nodes.Node) -> str | None:
    """Return what is wrong with a node, apart from the nodes in it; `None` if it is allowed."""
    if type(node) not in _ALLOWED:
        return f"`{type(node).__name__.lower()}`"
    if isinstance(node, nodes.For) and node.recursive:
        return "a recursive `for`"
    if isinstance(node, nodes.AssignBlock) and node.filter is not None:
        return "`set` with a filter"
    if (
        isinstance(node, nodes.Const)
        and isinstance(node.value, int)
        and node.value.bit_length() > INTEGER_BITS
    ):
        return "a very large number"
    return None


def meter(tree: nodes.Template, environment: Environment) -> nodes.Template:
    """Rewrite a checked template so that its work is counted; what it prints stays the same.

    Example: `{% for m in messages %}…` becomes what `{% for m in messages|count_items(3) %}…` would mean.
    """
    metered = cast("nodes.Template", _Meter().visit(tree))
    metered.set_environment(environment)
    return metered


def _through(name: str, value: nodes.Node, *args: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(value, name, list(args), [], None, None)


def _price(node: nodes.Node) -> nodes.Const:
    """Return what running a body once costs, in units."""
    return nodes.Const(1 + sum(1 for _ in node.find_all(nodes.Node)) // _NODES_PER_UNIT)


class _Meter(NodeTransformer):
    """Visits every node, the innermost first."""

    def get_visitor(self, node: nodes.Node) -> Callable[..., nodes.Node] | None:
        """Return what rewrites this kind of node, or `None`: only its children are visited."""
        step = _STEPS.get(type(node))
        return None if step is None else functools.partial(step, self)

    def _loop(self, node: nodes.For) -> nodes.For:
        price = _price(node)
        self.generic_visit(node)
        node.iter = _through(COUNT_ITEMS, node.iter, price)
        return node

    def _body(self, node: nodes.Macro | nodes.CallBlock) -> nodes.Node:
        price = _price(node)
        self.generic_visit(node)
        node.body.insert(0, nodes.Output([_through(CHARGE, price)]))
        return node

    def _constant(self, node: nodes.TemplateData) -> nodes.Node:
        return nodes.Const(node.data)

    def _concatenation(self, node: nodes.Concat) -> nodes.Filter:
        self.generic_visit(node)
        return _through(CONCATENATE, nodes.List(node.nodes))

    def _container(self, node: nodes.List | nodes.Dict) -> nodes.Filter:
        self.generic_visit(node)
        return _through(WEIGH, node)

    def _tuple(self, node: nodes.Tuple) -> nodes.Expr:
        self.generic_visit(node)
        return _through(WEIGH, node) if node.ctx == "load" else node

    def _comparison(self, node: nodes.Compare) -> nodes.Compare:
        self.generic_visit(node)
        node.expr = _through(WEIGH, node.expr)
        for operand in node.ops:
            operand.expr = _through(WEIGH, operand.expr)
        return node

    def _item(self, node: nodes.Getitem) -> nodes.Getitem:
        self.generic_visit(node)
        if isinstance(node.arg, nodes.Slice):
            node.node = _through(WEIGH_SHALLOW, node.node)
        return node


_STEPS: dict[type[nodes.Node], Callable[..., nodes.Node]] = {
    nodes.For: _Meter._loop,
    nodes.Macro: _Meter._body,
    nodes.CallBlock: _Meter._body,
    nodes.TemplateData: _Meter._constant,
    nodes.Concat: _Meter._concatenation,
    nodes.List: _Meter._container,
    nodes.Dict: _Meter._container,
    nodes.Tuple: _Meter._tuple,
    nodes.Compare: _Meter._comparison,
    nodes.Getitem: _Meter._item,
}
