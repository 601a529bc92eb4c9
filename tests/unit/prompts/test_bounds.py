"""Attacks on time and memory: a template is stopped by what it does, not by a clock."""

from __future__ import annotations

import contextlib
import sys
import tracemalloc
from datetime import datetime

import pytest

from phi4local.errors import ChatTemplateError
from phi4local.messages import Message
from phi4local.prompts import ChatTemplate, sandbox
from phi4local.prompts.budget import Budget

HI = [Message("user", "Hi")]
pytestmark = pytest.mark.timeout(60)  # 0.1 to 0.6 s on an idle core; what hangs is ended, not measured
MEBIBYTE = 1 << 20
BIG = "{% set a = 'x ' * 450000 %}{% set b = 'x ' * 450000 %}"
GROW = "{% set ns = namespace(a='x') %}{% for i in range(60) %}"
FOREVER = "{% for i in range(100000) %}"
END = "{% endfor %}"

LOOPS = {
    "nested loops": FOREVER * 3 + END * 3,
    "nested loops that print": FOREVER * 2 + "x" + END * 2,
    "loops that skip everything": "{% for i in range(100000) if false %}{% endfor %}" * 1000,
    "a long body": FOREVER + "{% if i %}{% endif %}" * 3000 + END,
    "a body of sums": FOREVER + "{{ " + " + ".join("i" * 90) + " }}" + END,
    "a body of missing names": FOREVER + "{% if " + " and ".join(["not i.x"] * 80) + " %}{% endif %}" + END,
    "a long text": FOREVER + "x" * 60_000 + END,
    "a long text that is kept": "{% set y %}" + FOREVER + "x" * 60_000 + END + "{% endset %}",
    "a macro that calls itself twice": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}"
    "{% endmacro %}{{ f(60) }}",
    "a macro without an end": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "a macro with a long body": "{% macro m() %}"
    + "{% if a %}{% endif %}" * 3000
    + "{% endmacro %}"
    + FOREVER
    + "{{ m() }}"
    + END,
    "a call block with a long body": "{% macro m() %}{{ caller() }}{% endmacro %}"
    + FOREVER
    + "{% call m() %}"
    + "{% if a %}{% endif %}" * 3000
    + "{% endcall %}"
    + END,
    "a long range": "{{ range(10**9)|list }}",
    "an endless range": "{{ range(10**100) }}",
    "lists of numbers": FOREVER + "{% set x = range(100000)|list %}" + END,
    "texts of numbers": FOREVER + "{% set x = range(100000)|map('string')|join %}" + END,
    "sorting": "{% set a = range(100000)|list %}" + FOREVER + "{% set b = a|sort %}" + END,
    "searching": "{% set a = range(50000)|list %}{{ a|select('in', a)|list|length }}",
    "cycling": "{% set c = cycler(1, 2) %}" + FOREVER * 2 + "{{ c.next() }}" + END * 2,
}
OPERATIONS = {
    name: BIG + FOREVER + "{% set c = " + expression + " %}" + END
    for name, expression in {
        "comparing": "a == b",
        "looking for a text": "'xx' in a",
        "cutting": "a[1:]",
        "upper case": "a|upper",
        "upper case by method": "a.upper()",
        "titles": "a.title()",
        "splitting": "a.split()",
        "lines": "a.splitlines()",
        "finding": "a.find('x ' * 1000 ~ 'y')",
        "counting": "a.count('x ' * 1000 ~ 'y')",
        "replacing": "a.replace('x', 'y')",
        "replacing by filter": "a|replace('x', 'y')",
        "escaping": "a|e",
        "trimming": "a|trim",
        "changes": "loop.changed(a) or loop.changed(b)",
        "JSON": "a|tojson",
        "equality as a test": "a is eq(b)",
        "equality in a filter": "[a]|select('eq', b)|list",
        "joining": "['', '']|join(a)",
        "characters": "a|list",
        "concatenation": "a ~ i",
        "addition": "a + 'b'",
        "multiplication": "a * 1",
        "keeping": "[a + 'b']",
    }.items()
}
GROWTH = {
    "concatenation": GROW + "{% set ns.a = ns.a ~ ns.a %}" + END,
    "addition": GROW + "{% set ns.a = ns.a + ns.a %}" + END,
    "list addition": GROW + "{% set ns.a = (ns.a|list) + (ns.a|list) %}" + END,
    "a block that is set": GROW + "{% set b %}{{ ns.a }}{{ ns.a }}{% endset %}{% set ns.a = b %}" + END,
    "a macro": "{% macro m(x) %}{{ x }}{{ x }}{% endmacro %}" + GROW + "{% set ns.a = m(ns.a) %}" + END,
    "replace": GROW + "{% set ns.a = ns.a|replace('x', 'xx') %}" + END,
    "replace by method": GROW + "{% set ns.a = ns.a.replace('x', 'xx') %}" + END,
    "replace nothing": "{% set a = 'x' * 900000 %}{{ a|replace('', a) }}",
    "replace in map": "{% set a = 'x' * 900000 %}{{ [a, a]|map('replace', 'x', 'yyyyyyyyy')|list }}",
    "join": GROW + "{% set ns.a = [ns.a, ns.a]|join %}" + END,
    "join by method": GROW + "{% set ns.a = ns.a.join([ns.a, ns.a]) %}" + END,
    "escape": GROW + "{% set ns.a = (ns.a ~ '<')|e|string|replace('&', '<<') %}" + END,
    "many long lists": "{% set a = range(90000)|list %}{% set b = [a] * 90000 %}{{ b == b }}",
    "lists in lists": GROW + "{% set ns.a = [ns.a, ns.a] %}" + END + "{{ ns.a }}",
    "tuples in tuples": GROW + "{% set ns.a = (ns.a, ns.a) %}" + END + "{{ {ns.a: 1} }}",
    "mappings in mappings": GROW + "{% set ns.a = {1: ns.a, 2: ns.a} %}" + END + "{{ ns.a|tojson }}",
    "mappings by call": GROW + "{% set ns.a = dict(a=ns.a, b=ns.a) %}" + END + "{{ ns.a == ns.a }}",
    "namespaces in namespaces": GROW + "{% set ns.a = namespace(a=ns.a, b=ns.a) %}" + END + "{{ ns.a }}",
    "multiplied text": "{{ 'a' * 10**9 }}",
    "text multiplied from the right": "{{ 10**9 * 'a' }}",
    "a multiplied list": "{{ [1] * 10**9 }}",
    "a power": "{{ 10 ** (10 ** 10) }}",
    "powers of powers": "{% set ns = namespace(a=3) %}" + FOREVER + "{% set ns.a = ns.a * ns.a %}" + END,
    "a wide format": "{{ '{:>999999999}'.format(1) }}",
    "a wide percent format": "{{ '%999999999d' % 1 }}",
    "centred text": "{{ 'a'.center(999999999) }}",
    "centred text by filter": "{{ 'a'|center(999999999) }}",
    "zeros": "{{ 'a'.zfill(999999999) }}",
    "tabs": "{{ '\\t'.expandtabs(999999999) }}",
    "indented JSON": "{{ [[1]]|tojson(indent=999999999) }}",
    "JSON indented with text": "{{ [[1]]|tojson(indent='x' * 1000) }}",
    "JSON with long separators": "{{ [1, 2]|tojson(separators=('x' * 1000, ':')) }}",
    "deep indented JSON": "{% set ns = namespace(a=range(90000)|list) %}{% for i in range(9) %}"
    "{% set ns.a = [ns.a] %}" + END + "{{ ns.a|tojson(indent=16) }}",
    "escaped JSON": "{{ ('\\x01' * 900000)|tojson }}",
    "groups": "{{ [1]|batch(999999999, 'x')|list }}",
    "a time format": "{{ strftime_now('%c' * 1000) }}",
    "stripped characters": "{{ 'a'.strip('ab' * 100000) }}",
    "trimmed characters": "{{ 'a'|trim('ab' * 100000) }}",
    "hexadecimal text": "{% set a = ('f' * 900000)|int(base=16) %}" + FOREVER + "{% set b = a // 3 %}" + END,
    "a hexadecimal number": "{{ 0x" + "f" * 60_000 + " }}",
    "sums of sums": "{% set ns = namespace(a=3) %}" + FOREVER + "{% set ns.a = ns.a + ns.a %}" + END,
    "differences": "{% set ns = namespace(a=3) %}" + FOREVER + "{% set ns.a = ns.a - (0 - ns.a) %}" + END,
    "output": "{% for i in range(1000) %}" + "x" * 5000 + END,
}
SOURCES = {
    "names": "{{a}}" * 13_000,
    "concatenations": "{{a" + "~a" * 32_000 + "}}",
    "sums": "{{1" + "+1" * 32_000 + "}}",
    "filters": "{{a" + "|e" * 32_000 + "}}",
    "attributes": "{{a" + ".a" * 32_000 + "}}",
    "comparisons": "{{a" + "<a" * 32_000 + "}}",
    "parentheses": "{{" + "(" * 32_000 + "1" + ")" * 32_000 + "}}",
    "lists": "{{" + "[" * 32_000 + "]" * 32_000 + "}}",
    "negations": "{{" + "not " * 16_000 + "a}}",
    "minuses": "{{" + "-" * 65_000 + "1}}",
    "openings": "{{" * 32_000,
    "comments": "{#" * 32_000,
    "raw blocks": "{% raw %}" * 7_000,
    "loops in loops": "{% for a in a %}" * 1_700 + "{% endfor %}" * 1_700,
    "conditions in conditions": "{% if a %}" * 3_000 + "{% endif %}" * 3_000,
    "other conditions": "{% if a %}" + "{% elif a %}" * 4_000 + "{% endif %}",
    "macros in macros": "{% macro a() %}" * 1_500 + "{% endmacro %}" * 1_500,
    "digits": "{{1" + "0" * 64_000 + "}}",
}


NESTED = GROW.replace("60", "14") + "{% set ns.a = (ns.a, ns.a) %}" + END
NESTED += "{% set first = ns.a %}" + NESTED + "{% set second = ns.a %}"
RING = "{% set ns = namespace() %}{% set ns.a = ns %}{% set l = [ns] * 1000 %}"
HIDDEN = {
    "comparing in changed": NESTED
    + FOREVER
    + "{% if loop.changed(first) or loop.changed(second) %}{% endif %}"
    + END,
    "keys": NESTED + "{% set d = {first: 1} %}" + FOREVER + "{% set x = d[second] %}" + END,
    "keys by method": NESTED + "{% set d = {first: 1} %}" + FOREVER + "{% set x = d.get(second) %}" + END,
    "upper case of a list": NESTED + FOREVER + "{% set x = first|upper %}" + END,
    "escaping of a list": NESTED + FOREVER + "{% set x = first|e %}" + END,
    "a test of a list": NESTED + FOREVER + "{% if first is lower %}{% endif %}" + END,
    "upper case of namespaces": GROW
    + "{% set ns.a = namespace(a=ns.a, b=ns.a) %}"
    + END
    + "{{ ns.a|upper }}",
    "a long way": RING + "{{ l|map(attribute='a.' * 100000 ~ 'a')|list|length }}",
    "a long way to sort": RING + "{{ l|sort(attribute='a.' * 100000 ~ 'a')|length }}",
    "a long way to join": RING + "{{ l|join('', attribute='a.' * 100000 ~ 'a')|length }}",
    "earning units": "{{ [-10**9]|map('charge units')|list }}",
    "losing count": "{{ ['nan'|float]|map('charge units')|list }}",
    "free items": "{{ [range(100000)]|map('count items', -9)|map('list')|list|length }}",
}
GREEDY = (
    "many long lists",
    *("keeping", "characters", "concatenation", "addition", "a block that is set", "join", "replace in map"),
    *(
        "lists in lists",
        "mappings in mappings",
        "a multiplied list",
        "deep indented JSON",
        "escaped JSON",
        "output",
    ),
)


def check_refused(source):
    with pytest.raises(ChatTemplateError) as caught:
        ChatTemplate(source).render(HI)
    assert caught.value.hint
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", LOOPS)
def test_endless_work_is_stopped(name):
    check_refused(LOOPS[name])


@pytest.mark.parametrize("name", OPERATIONS)
def test_many_operations_on_long_texts_are_stopped(name):
    check_refused(OPERATIONS[name])


@pytest.mark.parametrize("name", GROWTH)
def test_growth_is_stopped(name):
    check_refused(GROWTH[name])


@pytest.mark.parametrize("name", HIDDEN)
def test_work_that_hides_in_other_work_is_stopped(name):
    check_refused(HIDDEN[name])


@pytest.mark.parametrize("name", SOURCES)
def test_a_hostile_source_is_refused_or_compiled_in_bounded_time(name):
    # Python 3.13 compiles some of these without trouble; what counts is that none runs for ever.
    with contextlib.suppress(ChatTemplateError):
        ChatTemplate(SOURCES[name])


@pytest.mark.parametrize("name", GREEDY)
def test_a_refused_template_never_holds_much_memory(name):
    source = {**GROWTH, **OPERATIONS}[name]
    tracemalloc.start()
    try:
        with pytest.raises(ChatTemplateError):
            ChatTemplate(source).render(HI)
        assert tracemalloc.get_traced_memory()[1] < 80 * MEBIBYTE
    finally:
        tracemalloc.stop()


def test_deep_recursion_of_a_tree_that_a_chat_may_hold_is_not_stopped():
    source = "{% macro f(n) %}({% if n %}{{ f(n - 1) }}{% endif %}){% endmacro %}{{ f(40) }}"
    assert ChatTemplate(source).render(HI) == "(" * 41 + ")" * 41


def test_the_same_template_is_stopped_at_the_same_place_every_time():
    left = []
    for _ in range(2):
        budget = Budget.of(HI, datetime(2025, 1, 1))
        with pytest.raises(ChatTemplateError):
            sandbox.run(sandbox.compile_template(LOOPS["nested loops"]), {}, budget)
        left.append(budget.units)
    assert left[0] == left[1] < 0


def test_the_budget_grows_with_the_conversation():
    now = datetime(2025, 1, 1)
    budget = Budget.of([Message("user", "x" * 1000)], now)
    assert (budget.units, budget.characters) == (253_000, 1_052_576)


def test_the_recursion_limit_of_the_process_is_left_alone():
    before = sys.getrecursionlimit()
    check_refused(LOOPS["a macro without an end"])
    assert sys.getrecursionlimit() == before
