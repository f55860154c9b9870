"""text.*: templates in their sandbox, splitting and joining."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from somagent.adapters.tools.text import join, split
from somagent.domain.actions.local import TextJoinParams, TextSplitParams
from somagent.domain.errors import Code
from somagent.tests.tools.bench import Bench


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("Hello {{ name }}\n", "Hello <Ada>\n"),
        ("{% for n in numbers %}{{ loop.index }}/{{ loop.length }}:{{ n }}{{ '' if loop.last else ', ' }}{% endfor %}",
         "1/3:1, 2/3:2, 3/3:3"),
        ("{{ numbers|join(', ') }} {{ numbers|sum }} {{ '%.2f'|format(2) }} {{ 1 ~ 2 }}", "1, 2, 3 6 2.00 12"),
        ("{{ deep.list[0].key|upper }} {{ deep.none|default('-') }}", "VALUE -"),
        ("{% macro m(x) %}[{{ x }}]{% endmacro %}{{ m(1) }}{{ m(2) }}", "[1][2]"),
        ("{{ numbers|tojson }}", "[1, 2, 3]"),
        ("no fields", "no fields"),
        ("", ""),
    ],
)  # fmt: skip
async def test_fills_templates(bench: Bench, template: str, text: str) -> None:
    values = {"name": "<Ada>", "numbers": [1, 2, 3], "deep": {"list": [{"key": "value"}]}}
    assert await bench.get("text.template", template=template, values=values) == {"text": text}


@pytest.mark.parametrize(
    "template",
    [
        "{{ missing }}",
        "{% for x in",
        "{{ 1 / 0 }}",
        "{{ name.__class__.__mro__ }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ '{0.__class__}'.format(1) }}",
        "{{ '{:99999999}'.format(1) }}",
        "{% include '/etc/passwd' %}",
        "{{ values.update({1: 2}) }}",
        "{{ 'x' * 10 ** 10 }}",
        "{{ [1] * 10 ** 9 }}",
        "{{ 'x'|center(10 ** 9) }}",
        "{{ 'x'.ljust(10 ** 9) }}",
        "{{ '%999999999d' % 3 }}",
        "{{ 3 ** (10 ** 10) }}",
        "{{ range(10 ** 9) }}",
        "{{ (range(100000)|list)|join('x' * 10000) }}",
        "{{ 'aaaa'|replace('a', 'b' * 10 ** 6)|replace('b', 'c' * 10 ** 6) }}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% set x %}twenty characters...{% endset %}" + "{% set x %}{{ x }}{{ x }}{% endset %}" * 60,
        "{% set n = namespace(x='ab') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
        "{% set n = namespace(x=3) %}{% for i in range(999) %}{% set n.x = n.x * n.x %}{% endfor %}",
    ],
)
async def test_templates_stay_in_their_sandbox(bench: Bench, template: str) -> None:
    await bench.refused("text.template", Code.TEMPLATE_INVALID, template=template, values={"name": "x", "values": {}})


async def test_texts_have_a_bound(bench: Bench) -> None:
    long = "{% for i in range(1000) %}{{ x }}{% endfor %}"
    await bench.refused("text.template", Code.OUTPUT_TOO_LARGE, template=long, values={"x": "y" * 6000})
    await bench.refused("text.split", Code.OUTPUT_TOO_LARGE, text="x" * 200_000, size=1)
    await bench.refused("text.join", Code.OUTPUT_TOO_LARGE, parts=[""] * 1000, **{"with": "x" * 10_000})


async def test_splits_and_joins(bench: Bench) -> None:
    assert await bench.get("text.split", text="a b  c", by=" ") == {"parts": ["a", "b", "", "c"]}
    assert await bench.get("text.split", text="abcde", size=2) == {"parts": ["ab", "cd", "e"]}
    assert await bench.get("text.join", parts=["a", 1, None, {"k": "é"}]) == {"text": 'a\n1\nnull\n{"k": "é"}'}
    assert await bench.get("text.join", parts=["a", "b"], **{"with": ", "}) == {"text": "a, b"}


@given(text=st.text(), by=st.text(min_size=1, max_size=3), size=st.integers(1, 10))
def test_joining_a_split_gives_the_text_again(text: str, by: str, size: int) -> None:
    parts = split(TextSplitParams(text=text, by=by))
    assert join(TextJoinParams.model_validate({"parts": parts, "with": by})) == text
    pieces = split(TextSplitParams(text=text, size=size))
    assert "".join(pieces) == text
    assert all(len(piece) == size for piece in pieces[:-1])
