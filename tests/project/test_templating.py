"""Jinja as Starlake renders it, in a sandbox."""

from pathlib import Path

import pytest

from starlake_dagster_components.project.templating import Renderer, TemplateError, render, substitute

VARIABLES = {"X": "1", "Y": "two", "NAME": "from ${Y}", "LIST": "a,b", "SELF": "{{SELF}}", "TEXT": "one\ntwo"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no template", "no template"),
        ("{{X}} {{ Y }} {{undefined}}.", "1 two ."),
        ("${X} ${ Y } ${undefined}.", "1 two ${undefined}."),
        ("{{NAME}}", "from two"),
        ("{{SELF}}", "{{SELF}}"),
        ("{% if X == '1' %}yes{% else %}no{% endif %}", "yes"),
        ("{% for i in LIST.split(',') %}{{ i }};{% endfor %}", "a;b;"),
        ("{{ Z | default('y') }}", "y"),
        ("{{ X | default('y') }}", "1"),
        ("{{ my-var }}{{ undefined + 1 }}{% if undefined > 1 %}no{% endif %}.", "01."),
        ("{{ undefined.attribute }}{{ undefined['x'] }}{{ undefined.a.b(1) }}.", "."),
        ("{% for i in undefined %}x{% endfor %}-", "-"),
        ("{# a comment #}x", "x"),
        ("{% set a = 3 %}{{ a + 1 }}", "4"),
        ("{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(Y) }}", "<two>"),
        ("\n\n  {{X}}\n \t", "1"),
        ("{% raw %}{{X}}{% endraw %}", "1"),
        ("{{ true }}", "true"),
        ("{{ X }}{{ range(2) | join }}", "101"),
        ('json {"a": {"b": 1}}', 'json {"a": {"b": 1}}'),
        ("{{ sl_start_date }}", ""),
    ],
)
def test_templates_are_rendered_with_variables(text: str, expected: str) -> None:
    assert render(text, VARIABLES) == expected


def test_substitute_leaves_unknown_variables_unchanged() -> None:
    assert substitute("{{X}} {{ unknown }} ${unknown} {{ X | upper }}", VARIABLES) == "1 {{ unknown }} ${unknown} {{ X | upper }}"


def test_substitute_does_not_hang_on_cyclic_variables() -> None:
    assert substitute("${A}", {"A": "${B}", "B": "${A}"}) in ("${A}", "${B}")


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a\nb\n\nc", {"a": [1], "b": [2], "c": [4]}),
        ("\n\na\nb", {"a": [3], "b": [4]}),
        ("{{X}}\nb", {"1": [1], "b": [2]}),
        ("a {{TEXT}} b\nc", {"a one": [1], "two b": [1], "c": [2]}),
        ("a ${TEXT} b\nc", {"a one": [1], "two b": [1], "c": [2]}),
        ("{% if X %}{{TEXT}}{% endif %}\nc", {"one": [1], "two": [1], "c": [2]}),
        ("{% if X %}\nb\n{% endif %}\nd", {"b": [2], "d": [4]}),
        ("a\n{%- if X %}\nc\n{%- endif %}\ne", {"a": [1], "c": [3], "e": [5]}),
        ("a\n{% if not X %}\nb\nc\n{% else %}\nd\n{% endif %}\ne", {"a": [1], "d": [6], "e": [8]}),
        ("a\n{% for i in [1, 2] %}\nfrom t{{ i }}\n{% endfor %}\nz", {"a": [1], "from t1": [3], "from t2": [3], "z": [5]}),
        ("{% for i in [1, 2] -%}\nu\n{% endfor %}", {"u": [2, 2]}),
        ("{# one\n two #}\nc\nd", {"c": [3], "d": [4]}),
        ("{% set x %}\n a\n{% endset %}\n{{ x }}d", {"a": [4], "d": [4]}),
        ("{% macro m() %}\nq\n{% endmacro %}\n\n{{ m() }}r", {"q": [5], "r": [5]}),
        ("{% raw %}\n{{ x }}\n{% endraw %}z", {"{{ x }}": [2], "z": [3]}),
    ],
)
def test_lines_of_rendered_text_map_to_source_lines(text: str, lines: dict[str, list[int]]) -> None:
    rendered = Renderer(None).render(text, VARIABLES)
    found: dict[str, list[int]] = {}
    for number, (line, content) in enumerate(zip(rendered.list_lines(), rendered.text.split("\n"), strict=True), 1):
        assert rendered.get_line(number) == line
        if content.strip():
            found.setdefault(content, []).append(line)
    assert found == lines


def test_line_marks_are_absent_from_captured_text() -> None:
    text = "{% set x %}a{% endset %}{% if x == 'a' %}yes{% endif %}{% macro m() %}b{% endmacro %}{{ m()|upper }}"
    assert render(text, {}) == "yesB"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a\n{% if %}", 2, "is not a Jinja template"),
        ("a\nb {{ x", 2, "is not a Jinja template"),
        ("a\n\n{% for x in y %}", 3, "is not a Jinja template"),
        ("a\n{{ no_such_function(1) }}", 2, "could not resolve function 'no_such_function'"),
        ("a\n{{ 'x' | fromyaml }}", 2, "'fromyaml' is not supported"),
        ("a\n{{ 'a'.upper() }}", 2, "strings have no method 'upper'"),
        ("a\n{{ 1 // 0 }}", 2, "cannot be rendered"),
        ("a\n{% include 'nothing.j2' %}", 2, "'nothing.j2'"),
        ("a\n{{ 'a' * 10000000000 }}", 2, "'a' is not a whole number"),
        ("a\n{{ 'a'.repeat(10000000000) }}", 2, "longer than"),
    ],
)
def test_invalid_templates_are_located(text: str, line: int, words: str) -> None:
    with pytest.raises(TemplateError) as error:
        render(text, {})
    assert words in str(error.value)
    assert error.value.line == line


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ self.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.system('true') }}",
        "{{ X.__class__.__base__ }}",
        "{{ lipsum.__globals__ }}",
        "{{ [].append.__self__ }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ range.__globals__ }}",
        "{{ '{0.__class__}'.format(1) }}",
    ],
)
def test_templates_cannot_reach_python(text: str) -> None:
    try:
        result = render(text, VARIABLES)
    except TemplateError as error:
        assert "unsafe" in str(error) or "no method" in str(error) or "resolve function" in str(error)  # noqa: PT017
    else:
        assert result == ""


def test_includes_are_read_only_from_the_metadata_folder(tmp_path: Path) -> None:
    metadata = tmp_path / "project/metadata"
    (metadata / "sub").mkdir(parents=True)
    (metadata / "sub/part.j2").write_text("part {{X}}")
    (tmp_path / "project/beside.txt").write_text("beside")
    (tmp_path / "secret.txt").write_text("secret")
    (metadata / "link.txt").symlink_to(tmp_path / "secret.txt")
    assert render("{% include 'sub/part.j2' %}", VARIABLES, metadata_folder=metadata) == "part 1"
    assert render(f"{{% include '{metadata}/sub/part.j2' %}}", VARIABLES, metadata_folder=metadata) == "part 1"
    for name in ("../../secret.txt", str(tmp_path / "secret.txt"), "link.txt", "/etc/passwd", "no\0thing"):
        with pytest.raises(TemplateError):
            render(f"{{% include {name!r} %}}", VARIABLES, metadata_folder=metadata)
    with pytest.raises(TemplateError):
        render("{% include 'sub/part.j2' %}", VARIABLES)
    included: list[str] = []
    renderer = Renderer(metadata, tmp_path / "project", included.append)
    assert renderer.render("{% include '../beside.txt' %}", VARIABLES).text == "beside"
    assert included == [str(tmp_path / "project/beside.txt")]


def test_messages_of_jinja_have_no_period_in_the_middle_of_a_sentence() -> None:
    with pytest.raises(TemplateError) as caught:
        render("{{ }}", {})
    assert str(caught.value) == "is not a Jinja template: Expected an expression, got 'end of print statement'"
    with pytest.raises(TemplateError) as caught:
        render("{% unknown %}", {})
    assert str(caught.value).endswith("Encountered unknown tag 'unknown'")
