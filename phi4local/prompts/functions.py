"""The filters, tests and globals that chat templates have, each with its price.

What can make much out of little (`replace`, `join`, `tojson`, `~`, `*`) checks the length before it works.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeAlias

from jinja2 import pass_context
from jinja2.filters import FILTERS, do_int, do_map
from jinja2.tests import TESTS
from jinja2.utils import Cycler, Joiner, Namespace

from phi4local.errors import ChatTemplateError
from phi4local.prompts import metering
from phi4local.prompts.budget import Budget, Value, current, refusal
from phi4local.prompts.operations import check_replace, check_strip, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from jinja2.runtime import Context

    Functions: TypeAlias = dict[str, Callable[..., Value]]

_SHALLOW_FILTERS = (
    "abs count d default first float items last length list map reject rejectattr reverse select selectattr"
)
_DEEP_FILTERS = "dictsort max min sort unique"
_TEXT_FILTERS = "capitalize e escape lower safe upper"
_TESTS = (
    "boolean callable defined divisibleby even false float integer iterable mapping none number odd sameas "
    "sequence string true undefined"
)
_TEXT_TESTS = "lower upper"
_COMPARING_TESTS = "!= < <= == > >= eq equalto ge greaterthan gt in le lessthan lt ne"
_INDENT_CHARACTERS = 16
_JSON_FACTOR = 2
_FORMAT_CHARACTERS = 256
_NUMBER_CHARACTERS = 1000
_RANGE_ITEMS = 100_000


def filters() -> Functions:
    """Return all filters by name, those that `metering` inserts included."""
    shallow = {name: _metered(FILTERS[name], Budget.charge_shallow) for name in _SHALLOW_FILTERS.split()}
    deep = {name: _metered(FILTERS[name], Budget.charge_deep) for name in _DEEP_FILTERS.split()}
    text = {name: _of_text(FILTERS[name]) for name in _TEXT_FILTERS.split()}
    making: Functions = {"join": _join, "replace": _replace, "string": _string, "tojson": _tojson}
    reading: Functions = {"int": _int, "trim": _trim}
    inserted: Functions = {
        metering.COUNT_ITEMS: _count_items,
        metering.CHARGE: _charge,
        metering.CONCATENATE: _concatenate,
        metering.WEIGH: _weigh,
        metering.WEIGH_SHALLOW: _weigh_shallow,
    }
    return {**shallow, **deep, **text, **making, **reading, **inserted}


def tests() -> Functions:
    """Return all tests by name."""
    shallow = {name: _metered(TESTS[name], Budget.charge_shallow) for name in _TESTS.split()}
    deep = {name: _metered(TESTS[name], Budget.charge_deep) for name in _COMPARING_TESTS.split()}
    text = {name: _of_text(TESTS[name]) for name in _TEXT_TESTS.split()}
    return {**shallow, **deep, **text}


def globals_() -> dict[str, Value]:
    """Return all globals by name: those of transformers, less `lipsum`."""
    return {
        "cycler": Cycler,
        "dict": _dictionary,
        "joiner": Joiner,
        "namespace": _TemplateNamespace,
        "raise_exception": _raise_exception,
        "range": _range,
        "strftime_now": _strftime_now,
    }


@pass_context
def printed(_context: Context, value: Value) -> str:
    """Return a value as the template prints it; see `text_of`. Jinja calls it for everything it prints."""
    return text_of(value)


def _metered(function: Value, charge: Callable[[Budget, Value], object]) -> Callable[..., Value]:
    """Return a filter or test that pays for its arguments; Jinja cannot run it at compile time any more."""
    wanted = getattr(function, "jinja_pass_arg", None)

    @pass_context
    def metered(context: Context, *args: Value, **kwargs: Value) -> Value:
        budget = current.get()
        for value in (*args, *kwargs.values()):
            charge(budget, value)
        leading = {"context": context, "eval_context": context.eval_ctx, "environment": context.environment}
        return function(*([leading[wanted.name]] if wanted else ()), *args, **kwargs)

    return metered


def _of_text(function: Value) -> Callable[..., Value]:
    """Return a filter or test of one text; anything else becomes the text that it prints."""

    @pass_context
    def metered(_context: Context, value: Value) -> Value:
        text = text_of(value)
        return function(value if isinstance(value, str) else text)

    return metered


@pass_context
def _count_items(_context: Context, items: Iterable[Value], price: int) -> Iterator[Value]:
    budget = current.get()
    for item in items:
        budget.charge(price)
        yield item


@pass_context
def _charge(_context: Context, price: int) -> str:
    current.get().charge(price)
    return ""


@pass_context
def _weigh(_context: Context, value: Value) -> Value:
    current.get().charge_deep(value)
    return value


@pass_context
def _weigh_shallow(_context: Context, value: Value) -> Value:
    current.get().charge_shallow(value)
    return value


@pass_context
def _concatenate(_context: Context, values: list[Value]) -> str:
    texts = [text_of(value) for value in values]
    current.get().charge_length(sum(map(len, texts)))
    return "".join(texts)


@pass_context
def _join(context: Context, value: Iterable[Value], d: str = "", attribute: str | None = None) -> str:
    items = value if attribute is None else do_map(context, value, attribute=attribute)
    texts = [text_of(item) for item in items]
    separator = text_of(d)
    current.get().charge_length(sum(map(len, texts)) + len(separator) * len(texts))
    return separator.join(texts)


@pass_context
def _replace(_context: Context, s: str, old: str, new: str, count: int | None = None) -> str:
    text, old, new = text_of(s), text_of(old), text_of(new)
    check_replace(current.get(), text, old, new)
    return text.replace(old, new, -1 if count is None else count)


@pass_context
def _string(_context: Context, value: Value) -> str:
    return value if isinstance(value, str) else text_of(value)


@pass_context
def _trim(_context: Context, value: str, chars: str | None = None) -> str:
    check_strip(chars)
    return text_of(value).strip(chars)


@pass_context
def _int(_context: Context, value: Value, default: int = 0, base: int = 10) -> int:
    if isinstance(value, str) and len(value) > _NUMBER_CHARACTERS:
        raise refusal(f"it reads a number of more than {_NUMBER_CHARACTERS} characters")
    return do_int(value, default, base)


@pass_context
def _tojson(
    _context: Context,
    x: Value,
    ensure_ascii: Value = False,  # noqa: FBT002 - transformers' names, places and defaults
    indent: Value = None,
    separators: tuple[str, str] | None = None,
    sort_keys: Value = False,  # noqa: FBT002
) -> str:
    budget = current.get()
    size = budget.charge_deep(x)
    spaces = max(indent, 0) if isinstance(indent, int) else len(indent or "")
    if max(spaces, *map(len, separators or ()), 0) > _INDENT_CHARACTERS:
        raise refusal(f"it indents or separates JSON with more than {_INDENT_CHARACTERS} characters")
    budget.charge_length(size.characters + size.items * (_JSON_FACTOR + size.levels * spaces))
    text = json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
    budget.charge_length(len(text))
    return text


class _TemplateNamespace(Namespace):
    """Jinja's namespace without names that begin with an underscore."""

    def __init__(*args: Value, **kwargs: Value) -> None:
        self, rest = args[0], args[1:]
        values = dict(*rest, **kwargs)
        for name in values:
            _check_name(name)
        Namespace.__init__(self, values)

    def __setitem__(self, name: str, value: Value) -> None:
        _check_name(name)
        Namespace.__setitem__(self, name, value)


def _check_name(name: Value) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise refusal(f"it stores `{name}` in a namespace")


def _dictionary(*args: Value, **kwargs: Value) -> dict[Value, Value]:
    """Stand before `dict`, so that a template gets no class into its hands."""
    return dict(*args, **kwargs)


def _raise_exception(message: Value) -> None:
    shown = " ".join(text_of(message).split())[:300]
    raise ChatTemplateError(
        f"the chat template does not take these messages: {shown}",
        hint="change the order or the roles of the messages",
    )


def _range(*args: int) -> range:
    numbers = range(*args)
    if numbers[_RANGE_ITEMS:]:
        raise refusal(f"it counts further than {_RANGE_ITEMS:,}")
    return numbers


def _strftime_now(form: str) -> str:
    if len(form) > _FORMAT_CHARACTERS:
        raise refusal(f"its time format is longer than {_FORMAT_CHARACTERS} characters")
    return current.get().now.strftime(form)
