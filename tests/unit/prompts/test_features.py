"""What chat templates are written with: each feature prints what transformers prints."""

from __future__ import annotations

import warnings

import pytest

from phi4local.messages import Message
from phi4local.prompts import ChatTemplate

TURNS = [
    Message("system", " Be brief.\n"),
    Message("user", "Why \"is\" <b>é</b> 'so'?"),
    Message("assistant", "<think>hm</think>Because."),
    Message("user", ""),
]
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}

FEATURES = r"""
{% for m in messages %}{{ loop.index }}/{{ loop.length }}{{ loop.first }}{{ loop.last }}{{ m }}
{% endfor %}
====
{% for m in messages %}{{ loop.previtem is defined }}{{ (loop.nextitem or m).role }}
{{ loop.cycle('a', 'b') }}{% endfor %}
====
{% for m in messages if m.role == 'user' %}{{ loop.revindex0 }}{{ m.content|trim }}{% else %}
none{% endfor %}
====
{% for m in messages %}{% if loop.index0 % 2 %}{% continue %}{% endif %}{{ m.role }}{% break %}
{% endfor %}
====
{% for m in messages %}{% if loop.changed(m.role) %}{{ m.role|upper ~ 1 ~ none ~ 2.5 }}{% endif %}
{% endfor %}
====
{% set ns = namespace(n=0, seen=[]) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}
{% set ns.seen = ns.seen + [m.role] %}{% endfor %}{{ ns.n }}{{ ns.seen }}{{ ns.seen|join(', ') }}
====
{% macro turn(m, end='.') %}{{ caller() if caller else '' }}[{{ m.role }}{{ end }}]{% endmacro %}
{% for m in messages %}{{ turn(m) }}{% call turn(m, end='!') %}x{% endcall %}{% endfor %}
====
{% macro tree(x) %}{% if x is mapping %}{% for k, v in x|dictsort %}{{ k }}={{ tree(v) }}
;{% endfor %}{% else %}{{ x }}{% endif %}{% endmacro %}{{ tree({'b': {'c': 1}, 'a': [2]}) }}
====
{% generation %}{% set inside = 1 %}{{ messages[0].content }}{% endgeneration %}
{{ inside is defined }}
====
{{ messages|tojson }}
{{ messages|tojson(indent=2) }}
{{ {'b': 'é', 'a': none}|tojson(true, sort_keys=true) }}
====
{{ messages[1:]|length }}{{ messages[-1].role }}{{ messages[::2]|map(attribute='role')|join('+') }}
====
{{ messages|selectattr('role', 'equalto', 'user')|map(attribute='content')|list }}
====
{{ messages|rejectattr('role', 'in', ['user', 'system'])|list|length }}
{{ messages|map('length')|sort|first }}
====
{{ messages[2].content.split('</think>')[-1].strip() }}
{{ messages[2].content.startswith('<think>') }}
====
{{ 'a,b'.replace(',', ';').upper() }}{{ ' x '.lstrip() }}{{ 'ab'|replace('a', 'c') }}
{{ 'é'|capitalize }}
====
{{ bos_token }}{{ eos_token }}{{ unk_token }}{{ tools is none }}{{ documents is defined }}
{{ x is defined }}
====
{{ (1, 'a', 2.5, true, none, [1], {'a': (2,)}) }}{{ 7 // 2 }}{{ 7 / 2 }}{{ -7 % 3 }}{{ 2 ** 8 }}
{{ 'ab' * 2 }}
====
{{ 1 < 2 <= 2 }}{{ 'a' in 'abc' }}{{ 'role' in messages[0] }}{{ 3 not in [1, 2] }}{{ not x }}
{{ 1 if x }}
====
{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{% set c %}<{{ messages[0].role }}>{% endset %}
{{ c }}{{ c|length }}
====
{{ dict(a=1)|items|list }}{{ {'a': 1}.items()|list }}{{ {'a': 1}.get('b', 'no') }}
{{ {'a': 1}.keys()|list }}
====
{{ '<'|e }}{{ '<'|safe }}{{ ('<'|safe) + '<' }}{{ 'x'|default('y') }}{{ z|default('y') }}
{{ ''|d('y', true) }}
====
{% set j = joiner('|') %}{% for i in range(3) %}{{ j() }}{{ i }}{% endfor %}
{{ range(5, 0, -2)|list }}
====
  {% if true %}
    text
  {% endif %}

{%- if x is not defined -%}
 tight
{%- endif +%}

{# gone #}
end

====
{% raw %}{{ not this }}{% endraw %}{{ '\n\u00e9\'' }}{{ "{{ }}" }}
====
{{ messages|last }}{{ [3, 1, 2]|max }}{{ ['b', 'A']|sort|join }}{{ [1, 1, 2]|unique|list }}
{{ '12'|int + 1 }}
====
{{ ['b', 'A']|map('lower')|list }}{{ [0, 1]|select|list }}{{ 'abc'|reverse }}{{ 3.7|int }}
{{ '2.5'|float }}
====
{% for k, v in messages[0].items() %}{{ k }}:{{ v }}{% endfor %}{% for c in 'ab' %}{{ c }}
{% endfor %}
====
{{ raise_exception is defined }}{{ messages is iterable }}{{ messages[0] is mapping }}
{{ 1 is number }}
"""


@pytest.fixture(scope="module")
def rendered_by_transformers():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what transformers says while it is imported without torch
        pytest.importorskip("transformers")
        from transformers.utils import chat_template_utils

    def render(source, messages, **options):
        turns = [{"role": m.role, "content": m.content} for m in messages]
        return chat_template_utils.render_jinja_template([turns], chat_template=source, **options)[0][0]

    return render


@pytest.mark.parametrize("source", FEATURES.strip("\n").split("\n====\n"))
@pytest.mark.parametrize("opened", [True, False])
def test_a_feature_prints_what_transformers_prints(rendered_by_transformers, source, opened):
    expected = rendered_by_transformers(source, TURNS, add_generation_prompt=opened, **TOKENS)
    assert ChatTemplate(source, **TOKENS).render(TURNS, add_generation_prompt=opened) == expected
