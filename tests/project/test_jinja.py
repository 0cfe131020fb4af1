"""Jinja with Jinjava's rules: recorded results, and the limits of templates."""

import json
from pathlib import Path
from typing import Any

import pytest

from starlake_dagster_components.project.jinja.budget import BudgetExceeded, ProjectBudget, TemplateBudget
from starlake_dagster_components.project.templating import Renderer, TemplateError, render

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "jinjava.json").read_text(encoding="utf-8"))
RULES = {
    "accepted": "what Jinjava rejects for its syntax and Python's Jinja knows",
    "rejected": "what Jinjava knows and Python's Jinja does not: an error",
    "array": "Java's arrays print their address; here they print their items",
    "tuple": "the first of several values with commas; here a tuple",
    "sameas": "whether two strings are one object",
    "unknown test": "the negation of an unknown test gives nothing; here true",
}
"""Templates whose output differs from Jinjava's, as listed in docs/engine.md."""


def _render(template: str) -> str | None:
    try:
        return Renderer(None)._render_jinja(template, RECORDED["variables"])[0]
    except TemplateError:
        return None


@pytest.mark.parametrize("case", RECORDED["cases"], ids=lambda case: case[0])
def test_rendered_as_jinjava_does(case: list[Any]) -> None:
    template, expected, *difference = case
    found = _render(template)
    if not difference:
        assert found == expected
        return
    rule, ours = difference
    assert rule in RULES
    assert found == ours
    if rule == "accepted":
        assert expected is None
    if rule == "rejected":
        assert ours is None


def _write_row(*cells: str) -> str:
    """Return a row of a table: code in each cell, in which a bar is written with a backslash."""
    return "| " + " | ".join(f"`{text}`".replace("|", "\\|") if text.strip() else "*empty*" for text in cells) + " |"


def test_the_documentation_shows_the_compared_expressions() -> None:
    same = [case for case in RECORDED["cases"] if len(case) == 2 and case[1] is not None]
    short = [case for case in same if len(case[0]) <= 44 and len(case[1]) <= 40 and not any(sign in case[0] + case[1] for sign in "`\n")]
    page = (Path(__file__).parents[2] / "docs/reference/jinja.md").read_text(encoding="utf-8")
    variables = [_write_row(*row) for row in RECORDED["variables"].items()]
    rows = [
        line for line in page.splitlines() if line.startswith("| ") and not line.endswith(" Output |") and not line.endswith(" Value |")
    ]
    assert rows == [*variables, *(_write_row(*case) for case in short)]
    assert len(short) > 500
    text = " ".join(page.split())
    assert f"Of the {len(RECORDED['cases'])} templates" in text
    assert f"this page shows {len(short)}" in text


def test_most_expressions_agree_with_jinjava() -> None:
    same = [case for case in RECORDED["cases"] if len(case) == 2]
    assert len(same) > 500


@pytest.mark.parametrize(
    ("template", "line", "message"),
    [
        ("a\n{{ 'x' | nosuch }}", 2, "unknown filter 'nosuch': Starlake renders it as an empty string"),
        ("{% if x is nosuch %}{% endif %}", 1, "unknown test 'nosuch': Starlake treats it as false"),
        ("{% for x in [] %}{% else %}y{% endfor %}", 1, "Starlake renders a loop's 'else' in each iteration, and never for an empty loop"),
        ("\n{{ -3 }}", 2, "Starlake drops a minus sign at the beginning of {{ }}: put the expression in parentheses"),
        (
            "{{ not x }}{{ not x is none }}{{ not (x == 'a') }}\n{% if y and not x == 'a' %}{% endif %}",
            2,
            "Starlake applies 'not' only to the first value after it: put the comparison in parentheses",
        ),
    ],
)
def test_templates_that_starlake_silently_ignores_cause_warnings(template: str, line: int, message: str) -> None:
    renderer = Renderer(None)
    renderer.render(template, {})
    assert renderer.warnings == [(line, message)]
    renderer.render("{{ x }}", {})
    assert renderer.warnings == []


DOUBLING = (
    "{% set ns = namespace(x=['a'], y=['a']) %}"
    "{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}"
)
LONG = (
    "{% set x = [] %}{% set y = [] %}"
    "{% for i in range(300) %}{% for j in range(100) %}"
    "{% do x.append(i * 100 + j) %}{% do y.append(-1 - i * 100 - j) %}{% endfor %}{% endfor %}"
)
HOSTILE = [
    "{% for i in range(1000) %}{% for j in range(1000) %}{% for k in range(1000) %}{% endfor %}{% endfor %}{% endfor %}",
    "{% set ns = namespace(x='a') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}",
    "{% set ns = namespace(x='a') %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
    "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
    "{% set l = [1] %}{% for i in range(60) %}{% do l.extend(l) %}{% endfor %}",
    "{% set ns = namespace(x='aa') %}{% for i in range(60) %}{% set ns.x = ns.x|replace('a', 'aaaa') %}{% endfor %}",
    "{% set ns = namespace(x='a') %}{% for i in range(60) %}{% set ns.x = ns.x.replace('a', 'aaaa') %}{% endfor %}",
    "{% set ns = namespace(x='a') %}{% for i in range(60) %}{% set ns.x %}{{ ns.x }}{{ ns.x }}{% endset %}{% endfor %}",
    "{% set ns = namespace(x=['a']) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
    f"{DOUBLING}{{{{ ns.x|tojson }}}}",
    f"{DOUBLING}{{{{ ns.x == ns.y }}}}",
    f"{DOUBLING}{{{{ ns.x in [ns.y] }}}}",
    f"{DOUBLING}{{{{ [ns.x]|select('==', ns.y)|list }}}}",
    f"{DOUBLING}{{{{ [ns.x]|difference([ns.y]) }}}}",
    f"{DOUBLING}{{{{ {{'a': ns.x}} == {{'a': ns.y}} }}}}",
    f"{DOUBLING}{{{{ {{'a': ns.x}}|tojson }}}}",
    f"{LONG}{{{{ x is containingall(y) }}}}",
    f"{LONG}{{{{ x|select('in', y)|list }}}}",
    "{% macro a() %}" + "x" * 1000 + "{% endmacro %}{% for i in range(1000) %}{% for j in range(1000) %}{{ a() }}{% endfor %}{% endfor %}",
    "{% for i in range(1000) %}{% for j in range(1000) %}" + "x" * 1000 + "{% endfor %}{% endfor %}",
    "{% macro a(n) %}{{ b(n) }}{{ b(n) }}{% endmacro %}{% macro b(n) %}{{ a(n) }}{% endmacro %}{{ a(1) }}{% for i in range(1000) %}"
    "{% for j in range(1000) %}{{ a(1) }}{% endfor %}{% endfor %}",
    "{{ 'x'|center(1000000000) }}",
    "{{ 'x'|indent(1000000000, true) }}",
    "{{ '%1000000000d'|format(1) }}",
    "{{ '%.1000000000f'|format(1.5) }}",
    "{{ 'x'.repeat(1000000000) }}",
    "{{ [1]|batch(1000000000, 'x') }}",
    "{{ 1|round(1000000000) }}",
    "{{ ('a'.repeat(5000) ~ '!')|regex_replace('(a+)+$', '') }}",
    "{{ 'a'.repeat(1000000).matches('(a|a)*b') }}",
    "{{ [1,2,3]|join('x'.repeat(1500000)) }}",
    "{{ ('1' ~ '0'.repeat(1000000))|int }}{{ 1 / 0 % 'x' }}",
    "{{ '1e999999999'|round }}",
    "{% set x = 9 ** 9 ** 9 ** 9 %}{{ 'a' * x }}",
    "{{ (" + "[" * 300 + "1" + "]" * 300 + ")|string|length }}{{ 1 // 0 }}",
    "{{ " + "(" * 2000 + "1" + ")" * 2000 + " }}",
    "{{ " + "-" * 3000 + "1 }}",
    "{% include 'self.j2' %}",
]


@pytest.mark.parametrize("template", HOSTILE)
def test_a_template_that_uses_too_much_is_one_error(template: str, tmp_path: Path) -> None:
    (tmp_path / "self.j2").write_text("{% include 'self.j2' %}{% include 'self.j2' %}")
    with pytest.raises(TemplateError) as caught:
        render(template, {}, metadata_folder=tmp_path)
    assert len(str(caught.value)) < 400


UNCOMMON = [
    "{% call foo() %}a{% endcall %}",
    "{{ 'a'|truncate(1) }}",
    "{% break %}",
    "{% macro m(a,a) %}{% endmacro %}",
    "{{ cycler() }}",
    "{{ '1e400'|int }}{{ 1e400|int }}",
    "{{ 1e400 }}",
    "{% for i in [1] recursive %}{{ loop([i]) }}{% endfor %}",
    "{{ range(1, 2, 3, 4, 5) }}",
    "{{ namespace(1) }}",
    "{% set a.b = 1 %}",
    "{% from 'x.j2' import a %}",
    "{% extends 'x.j2' %}",
    "{% block a %}{% endblock %}{% block a %}{% endblock %}",
    "{{ super() }}",
    "{{ caller() }}",
    "{{ loop.index }}",
    "{{ self.a() }}",
    "{{ {'a': 1}|dictsort(1, 2, 3) }}",
    "{{ 'x'|default }}",
    "{{ [1]|map }}",
    "{{ [none]|sort }}",
    "{{ ['a', 1]|sort }}",
    "{{ 'x'|b64decode }}",
    "{{ {[1]: 2} }}",
    "{{ {} | attr }}",
    "{{ 'a'.split() }}",
    "{% trans %}x{% endtrans %}",
    "{{ \ud800 }}",
]


@pytest.mark.parametrize("template", UNCOMMON)
def test_every_failure_is_a_one_line_template_error(template: str) -> None:
    try:
        result = render(template, {})
    except TemplateError as error:
        result = str(error).replace("\n", "more than a line")
    assert "more than a line" not in result


@pytest.mark.parametrize("body", ["{% for i in range(150) %}{{ x|sort|length }}{% endfor %}", "{{ x|sort|length }}" * 150])
def test_time_is_checked_after_each_slow_filter(body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sorted_lists = 0

    def count(self: TemplateBudget) -> None:
        nonlocal sorted_lists
        sorted_lists += 1
        if sorted_lists > 5:
            raise BudgetExceeded("it takes too long")

    monkeypatch.setattr(TemplateBudget, "check_time", count)
    monkeypatch.setattr("starlake_dagster_components.project.jinja.budget._ITERATIONS_BETWEEN_CHECKS", 10**9)
    with pytest.raises(TemplateError, match="too long"):
        render("{% set x = 'a,'.repeat(3000).split(',') %}" + body, {})


def test_all_templates_of_a_project_share_one_budget() -> None:
    project = ProjectBudget(seconds=0.5)
    renderer = Renderer(None, budget=project)
    slow = "{% for i in range(1000) %}{% for j in range(1000) %}{% set x = i * j %}{% endfor %}{% endfor %}{{ x }}"
    messages = []
    for _ in range(5):
        with pytest.raises(TemplateError) as caught:
            renderer.render(slow, {})
        messages.append(str(caught.value))
    assert messages[-1] == "cannot be rendered: the templates of the project together take too long"
    assert renderer.render("plain {{ X }}", {"X": "text"}).text == "plain text"


@pytest.mark.parametrize("tag", ["{{ x + }}", "{{ x }}{% if x %}{% endif %}"])
def test_a_template_with_a_million_tags_does_not_hang(tag: str) -> None:
    project = ProjectBudget(seconds=5)
    with pytest.raises(TemplateError):
        Renderer(None, budget=project).render(tag * 200_000 + "{{ x | }}", {"x": "text"})
    assert project.seconds > 0, "parsing ended with the template's own limit"


def test_an_expression_with_a_million_parts_does_not_hang() -> None:
    with pytest.raises(TemplateError, match=r"cannot be rendered: it (takes too long|loops too often)"):
        render("{{ [" + "x, " * 600_000 + "x] }}", {})
