"""The room that chat templates run in.

A template comes with a model file: it is code that a stranger wrote. It runs in Jinja's immutable sandbox
with the tags, filters and globals that transformers gives to chat templates, and less of everything else:

- Attributes: only the methods in `_METHODS`, by type. Nothing that begins with an underscore, no attribute
  of functions, classes or generators, no `str.format`, no `%` on text, no `|attr`.
- Filters, tests and globals: only those of `phi4local.prompts.functions`. No `lipsum`, no `random`.
- No `import`, `include`, `extends`, `block`, `filter` or `autoescape` statements (see `metering`).

Bounded, by the units and characters of `phi4local.prompts.budget`: loops, calls, recursion, operators,
comparisons, every text and list that is made, and the output. The source is bounded by its length.
Not bounded: seconds as such (the same units take longer on a slower machine); memory, except through the
units (some 16 million characters, or 250,000 list items, can be alive at once).

Sources: CVE-2024-34359 (templates run without a sandbox), CVE-2024-56326 and CVE-2025-27516 (`str.format`
reached around the sandbox), CVE-2016-10745 and CVE-2019-10906 (the same, earlier).
"""

from __future__ import annotations

import functools
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Cycler, Namespace

from phi4local.errors import ChatTemplateError
from phi4local.prompts import functions, metering, operations
from phi4local.prompts.budget import REFUSED_HINT, Budget, Value, current, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jinja2.parser import Parser
    from jinja2.runtime import Context, Macro

_TEXT_METHODS = (
    "capitalize casefold count endswith find index isalnum isalpha isascii isdecimal isdigit islower "
    "isnumeric isspace istitle isupper join lower lstrip partition removeprefix removesuffix replace rfind "
    "rindex rpartition rsplit rstrip split splitlines startswith strip swapcase title upper"
)
_LOOP_NAMES = "changed cycle depth depth0 first index index0 last length nextitem previtem revindex revindex0"
_METHODS: tuple[tuple[type, frozenset[str]], ...] = (
    (str, frozenset(_TEXT_METHODS.split())),
    (dict, frozenset(("get", "items", "keys", "values"))),
    (LoopContext, frozenset(_LOOP_NAMES.split())),
    (Cycler, frozenset(("current", "next", "reset"))),
)
_FOREIGN = (
    *(jinja2.TemplateError, ArithmeticError, AttributeError, LookupError, NameError, RuntimeError),
    *(SyntaxError, TypeError, ValueError),
)
_ERROR_CHARACTERS = 300
_LOOK_UP_UNITS = 3


def compile_template(source: str) -> jinja2.Template:
    """Parse, check, meter and compile the text of a template.

    Example: `compile_template("{{ messages[0].content }}")`.

    Raises:
        ChatTemplateError: a syntax error, or something that templates may not use.
    """
    room = _room()
    with _translated():
        tree = room.parse(source)
        metering.check(tree)
        code = room.compile(metering.meter(tree, room), "chat template", "<chat template>")
        return jinja2.Template.from_code(room, code, room.make_globals(None))


def run(template: jinja2.Template, variables: dict[str, Value], budget: Budget) -> str:
    """Render a compiled template within a budget.

    Example: `run(template, {"messages": [{"role": "user", "content": "Hi"}]}, Budget.of(messages, now))`.

    Raises:
        ChatTemplateError: the template does not take the messages, fails, or costs too much.
    """
    token = current.set(budget)
    try:
        with _translated():
            text = template.render(variables)
    finally:
        current.reset(token)
    budget.charge_length(len(text))
    return text


@contextmanager
def _translated() -> Iterator[None]:
    """Turn what Jinja, and Python below it, raise on a bad template into `ChatTemplateError`."""
    try:
        yield
    except _FOREIGN as error:
        cause = " ".join(str(error).split())[:_ERROR_CHARACTERS] or type(error).__name__
        where = f" (line {error.lineno})" if isinstance(error, jinja2.TemplateSyntaxError) else ""
        raise ChatTemplateError(f"the chat template fails{where}: {cause}", hint=REFUSED_HINT) from error


@functools.cache
def _room() -> _Room:
    room = _Room(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[_Generation, "jinja2.ext.loopcontrols"],
        finalize=functions.printed,
        optimized=False,
    )
    room.filters = functions.filters()
    room.tests = functions.tests()  # type: ignore[assignment]
    room.globals = functions.globals_()
    return room


class _Room(ImmutableSandboxedEnvironment):
    """Jinja's sandbox with a list of what is allowed, where Jinja has one of what is not."""

    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "%", "**"))

    def getattr(self, obj: Value, attribute: str) -> Value:
        current.get().charge(_LOOK_UP_UNITS)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Value, argument: Value) -> Value:
        current.get().charge(_LOOK_UP_UNITS)
        current.get().charge_deep(argument)
        return super().getitem(obj, argument)

    def is_safe_attribute(self, obj: Value, attr: str, value: Value) -> bool:
        if not super().is_safe_attribute(obj, attr, value):
            return False
        if isinstance(obj, Namespace):
            return True
        return any(isinstance(obj, kind) and attr in names for kind, names in _METHODS)

    def unsafe_undefined(self, obj: Value, attribute: str) -> NoReturn:
        """Refuse at once; Jinja would print an empty text unless the value is used."""
        raise refusal(f"it uses the attribute `{attribute}` of a value of type {type(obj).__name__}")

    def wrap_str_format(self, value: Value) -> None:
        """Leave `str.format` to `is_safe_attribute`, which refuses it."""

    def call_filter(self, name: str, value: Value, *args: Value, **kwargs: Value) -> Value:
        """Apply a filter that `map` names; those that `metering` inserts have a space in their names."""
        if " " in name:
            raise refusal(f"it uses the filter `{name}`")
        return super().call_filter(name, value, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Value, right: Value) -> Value:
        operations.check_operands(current.get(), operator, left, right)
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Context, __obj: Value, *args: Value, **kwargs: Value) -> Value:  # noqa: N805
        budget = current.get()
        budget.charge(1)
        owner = getattr(__obj, "__self__", None)
        charge = budget.charge_shallow if owner is None else budget.charge_deep
        for value in (*args, *kwargs.values()):
            charge(value)
        if isinstance(owner, str):
            args = operations.check_text_method(budget, __obj.__name__, owner, args)
        result = super().call(__context, __obj, *args, **kwargs)
        budget.charge_deep(result)
        return result


class _Generation(Extension):
    """Read `{% generation %}…{% endgeneration %}`, which marks answers in training texts, as its content."""

    tags = {"generation"}  # noqa: RUF012 - declared so by Extension

    def parse(self, parser: Parser) -> nodes.CallBlock:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_content"), [], [], body).set_lineno(line)  # type: ignore[return-value]

    def _content(self, caller: Macro) -> str:
        return caller()
