"""Attacks on the machine: no template reads, writes, imports or learns anything."""

from __future__ import annotations

import os

import pytest

from phi4local.errors import ChatTemplateError
from phi4local.messages import Message
from phi4local.prompts import ChatTemplate

CANARY = "canary-4e1f"
MESSAGES = [Message("system", "s"), Message("user", "{0.__class__} %s"), Message("assistant", "a")]

WALKS = [
    # CVE-2024-34359: templates of model files, run without a sandbox
    "{% for c in ().__class__.__base__.__subclasses__() %}{% if 'warning' in c.__name__ %}"
    "{{ c()._module.__builtins__['__import__']('os').system('touch $CANARY_FILE') }}{% endif %}{% endfor %}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__']['__base__'] }}",
    "{{ messages.__class__ }}",
    "{{ messages[0].__init__.__globals__ }}",
    "{{ messages[0]['__class__'] }}",
    "{{ (1).__class__ }}{{ 1.0.__class__ }}",
    "{{ none.__class__ }}",
    "{{ [].__reduce_ex__(2) }}",
    "{{ {}.__getattribute__('__class__') }}",
]
GLOBALS = [
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{{ cycler.__init__.__globals__.os.system('touch $CANARY_FILE') }}",
    "{{ joiner.__init__.__globals__ }}",
    "{{ namespace.__init__.__globals__['sys'] }}",
    "{{ namespace(a=1)._Namespace__attrs }}",
    "{% set n = namespace(__class__=1) %}",
    "{% set n = namespace() %}{% set n.__init__ = 1 %}",
    "{{ dict.mro() }}",
    "{{ range.__class__ }}",
    "{{ raise_exception.__globals__ }}",
    "{{ strftime_now.__closure__ }}",
    "{{ strftime_now.__code__ }}",
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context.environment }}",
    "{{ url_for.__globals__ }}{{ get_flashed_messages.__globals__ }}",
    "{{ caller.__globals__ }}",
    "{% macro m() %}{% endmacro %}{{ m.__init__.__globals__ }}",
    "{% macro m() %}{% endmacro %}{{ m._func.__globals__ }}",
    "{% for m in messages %}{{ loop.__init__.__globals__ }}{% endfor %}",
    "{% for m in messages %}{{ loop._iterator.gi_frame }}{% endfor %}",
    "{% for m in messages %}{{ loop._undefined }}{% endfor %}",
    "{{ (messages|map('upper')).gi_frame.f_globals }}",
    "{{ x.__init__.__globals__ }}",
    "{{ cycler(1).items }}",
]
ATTRIBUTES = [
    # CVE-2025-27516: the `attr` filter found `str.format` around the sandbox
    "{{ ''|attr('__class__') }}",
    "{{ ('{0.__class__.__init__.__globals__}'|attr('format'))(messages) }}",
    "{{ messages|map('attr', '__class__')|list }}",
    "{{ messages|map(attribute='__class__')|list }}",
    "{{ messages|map(attribute='role.__class__')|list }}",
    "{{ messages|selectattr('__class__')|list }}",
    "{{ messages|sort(attribute='__class__') }}",
    "{{ messages|join(',', attribute='__class__') }}",
    "{{ messages|groupby('__class__') }}",
    "{{ messages|sum(attribute='__class__') }}",
    "{{ messages|unique(attribute='__class__')|list }}",
    "{{ messages|min(attribute='__class__') }}",
    "{{ [1]|attr('append') }}",
]
FORMATS = [
    # CVE-2016-10745, CVE-2019-10906, CVE-2024-56326: `str.format` looks attributes up itself
    "{{ '{0.__class__}'.format(messages) }}",
    "{{ '{a.__class__}'.format_map({'a': 1}) }}",
    "{% set f = '{0.__class__}'.format %}{{ f(messages) }}",
    "{{ ['{0.__class__}'.format]|map('string')|list }}",
    "{{ ('{0.__class__}'|safe).format(messages) }}",
    "{{ ('{0.__class__}'|e).format_map({}) }}",
    "{{ '%(a)s' % messages[0] }}{{ ('%s'|safe) % 1 }}",
    "{{ '%s'|format(messages) }}",
    "{{ messages[1].content.format(messages) }}",
    "{{ ''.join.__self__ }}",
    "{{ 'a'.translate({97: '{0.__class__}'}) }}",
    "{{ 'a'.encode().__class__ }}",
    "{{ ('a'|safe).striptags.__globals__ }}{{ ('a'|safe).__html__() }}",
]
STATEMENTS = [
    "{% include '/etc/passwd' %}",
    "{% include ['a', 'b'] ignore missing %}",
    "{% import '/etc/passwd' as p %}",
    "{% from 'os' import system %}",
    "{% extends '/etc/passwd' %}",
    "{% block a %}{{ self.a() }}{% endblock %}",
    "{% autoescape true %}{{ 1 }}{% endautoescape %}",
    "{% filter upper %}a{% endfilter %}",
    "{% set a | upper %}a{% endset %}",
    "{% for m in messages recursive %}{{ loop(messages) }}{% endfor %}",
    "{% debug %}",
    "{% do messages.append(1) %}",
    "{% trans %}a{% endtrans %}",
    "{% python %}open(os.environ['CANARY_FILE'], 'w'){% endpython %}",
]
CHANGES = [
    "{{ messages.append(1) }}",
    "{{ messages.clear() }}",
    "{{ messages[0].update(role='user') }}",
    "{{ messages[0].pop('role') }}",
    "{{ messages[0].setdefault('a', 1) }}",
    "{% set messages.a = 1 %}",
    "{% set messages[0].role = 'user' %}",
]
PRINTED = [
    "{{ range }}",
    "{{ messages|map('upper') }}",
    "{{ dict }}",
    "{{ namespace() }}",
    "{{ [cycler] }}",
    "{{ loop }}{% for m in messages %}{{ loop }}{% endfor %}",
    "{% macro m() %}{% endmacro %}{{ m }}",
    "{{ self }}",
    "{{ ''.upper }}",
    "{{ [range]|tojson }}",
]


@pytest.fixture(autouse=True)
def canaries(tmp_path, monkeypatch):
    target = tmp_path / "canary"
    monkeypatch.setenv("CANARY_FILE", str(target))
    monkeypatch.setenv("CANARY", CANARY)
    monkeypatch.setattr(os, "system", lambda *_: pytest.fail("the template ran a command"))
    monkeypatch.setattr(os, "popen", lambda *_: pytest.fail("the template ran a command"))
    yield
    assert not target.exists()


@pytest.mark.parametrize("source", [*WALKS, *GLOBALS, *ATTRIBUTES, *FORMATS, *STATEMENTS, *CHANGES, *PRINTED])
def test_an_attack_is_refused_in_one_line_with_a_hint(source):
    with pytest.raises(ChatTemplateError) as caught:
        ChatTemplate(source).render(MESSAGES)
    assert caught.value.hint
    assert "\n" not in str(caught.value)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["os", "sys", "open", "eval", "exec", "environment", "context", "__import__", "missing"]
)
def test_names_of_python_and_jinja_are_undefined(name):
    assert ChatTemplate(f"{{{{ {name} is defined }}}}").render(MESSAGES) == "False"


@pytest.mark.parametrize(
    "name", ["lipsum", "random", "urlize", "pprint", "attr", "xmlattr", "filesizeformat"]
)
def test_filters_and_globals_that_no_chat_needs_are_not_there(name):
    with pytest.raises(ChatTemplateError):
        ChatTemplate(f"{{{{ ['a']|{name} }}}}").render(MESSAGES)
    assert ChatTemplate(f"{{{{ {name} is defined }}}}").render(MESSAGES) == "False"


def test_a_template_cannot_change_the_messages_of_the_next_rendering():
    source = "{% set ns = namespace(l=messages) %}{% set ns.l = ns.l + [1] %}{{ ns.l|length }}"
    template = ChatTemplate(source)
    assert template.render(MESSAGES) == template.render(MESSAGES) == "4"


def test_what_a_person_types_is_never_run_as_a_template(phi4):
    typed = "{{ 7 * 7 }}{% include 'x' %}{0.__class__}"
    assert typed in phi4.render([Message("user", typed)])
