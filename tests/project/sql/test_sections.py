"""Sections, comments, Jinja, and lines of a task's SQL."""

import pytest
from project_folder import ProjectFolder

from starlake_dagster_components.project.model import Connection
from starlake_dagster_components.project.reader import read_project
from starlake_dagster_components.project.sql.references import find_dialect, find_references
from starlake_dagster_components.project.sql.sections import SqlPart, render_task, split_sections, strip_comments
from starlake_dagster_components.project.templating import TemplateError


def test_sql_without_markers_is_one_query() -> None:
    sections = split_sections("\n  select 1\n\n   from x  \n")
    assert sections.sql == SqlPart("select 1\nfrom x", (2, 4))
    assert sections.presql == sections.postsql == ()


def test_markers_split_sql_into_sections() -> None:
    text = (
        "set a = 1\n--SL_PRESQL\ncreate t\n-- SL_SQL\n\nselect 1\n--  SL_POSTSQL  \ndrop t\n-- SL_PRESQL\nagain\n -- SL_SQL\n--sl_sql\nmore"
    )
    sections = split_sections(text)
    assert sections.sql == SqlPart("set a = 1", (1,))  # the first section that is not empty counts
    assert [part.text for part in sections.presql] == ["create t", "again\n-- SL_SQL\n--sl_sql\nmore"]
    assert [(part.text, part.line) for part in sections.postsql] == [("drop t", 8)]


def test_blank_sql_has_no_query() -> None:
    assert split_sections("  \n").sql is None


@pytest.mark.parametrize(
    ("text", "expected", "lines"),
    [
        ("select 1 -- one\nfrom x", "select 1 \nfrom x", (1, 2)),
        ("select '--', 'it''s /*' /* c\nc */ from x", "select '--', 'it''s /*' \n from x", (1, 2)),
        ("-- a\nselect 1;", "select 1", (2,)),
        ("select 1; ;", "select 1; ", (1,)),
        ("select 1 /* open", "select 1 ", (1,)),
        ("/* a\nb */\n\nselect 'x\n\ny'", "select 'x\ny'", (4, 6)),
    ],
)
def test_comments_are_removed_as_starlake_does(text: str, expected: str, lines: tuple[int, ...]) -> None:
    assert strip_comments(SqlPart(text)) == SqlPart(expected, lines)


def test_a_rendered_task(folder: ProjectFolder) -> None:
    folder.write("metadata/env.sl.yml", "version: 1\nenv: {SCHEMA: sales}\n")
    folder.write("metadata/macros.j2", "{% macro cents(x) %}({{ x }} * 100){% endmacro %}")
    folder.write(
        "metadata/transform/kpi/t.sql.j2",
        """
        {% import 'macros.j2' as m %}
        -- SL_PRESQL
        create table tmp(i int); -- for now
        -- SL_SQL
        /* the
           query */
        select {{ m.cents('amount') }}, '${MODE}', '{{ sl_start }}'
        from {{ SCHEMA }}.orders;
        -- SL_POSTSQL
        drop table tmp
        """,
    )
    folder.write("metadata/transform/kpi/t.sl.yml", "version: 1\ntask:\n  presql: [first, '-- nothing']\n  postsql: [last]\n")
    project = read_project(folder.root, environ={})
    (task,) = project.tasks
    assert not project.problems
    assert [(ref.text, ref.location.line) for ref in task.references] == [("sales.orders", 8)]
    sections = render_task(project, task, {"MODE": "full"})
    assert [part.text for part in sections.presql] == ["create table tmp(i int)", "first"]
    assert [part.text for part in sections.postsql] == ["last", "drop table tmp"]
    assert sections.sql == SqlPart("select (amount * 100), 'full', ''\nfrom sales.orders", (7, 8))
    assert sections.sql.find_source_line(2) == 8
    assert sections.sql.find_source_line(99) == 8


def test_markers_are_recognized_only_in_sql_files(folder: ProjectFolder) -> None:
    folder.write("metadata/transform/kpi/t.sl.yml", "version: 1\ntask:\n  sql: |\n    -- SL_PRESQL\n    select 1\n    from a.b\n")
    project = read_project(folder.root, environ={})
    sections = render_task(project, project.tasks[0])
    assert sections.presql == ()
    assert sections.sql == SqlPart("select 1\nfrom a.b", (5, 6))
    assert str(project.tasks[0].references[0].location) == "metadata/transform/kpi/t.sl.yml:6"


def test_only_tables_in_the_query_section_are_references(folder: ProjectFolder) -> None:
    folder.write(
        "metadata/transform/kpi/t.sql",
        "--SL_PRESQL\ndelete from x.y where i in (select i from p.q)\n--SL_SQL\nselect 1 from a.b\n--SL_POSTSQL\nselect 1 from c.d",
    )
    project = read_project(folder.root, environ={})
    assert [ref.text for ref in project.tasks[0].references] == ["a.b"]


def test_a_broken_template_is_a_warning_and_the_text_is_scanned(folder: ProjectFolder) -> None:
    folder.write("metadata/transform/kpi/t.sql", "select *\nfrom a.b\n{% if %}\n")
    project = read_project(folder.root, environ={})
    (problem,) = project.problems
    assert str(problem).startswith("metadata/transform/kpi/t.sql:3: warning: is not a Jinja template:")
    assert [(ref.text, ref.kind) for ref in project.tasks[0].references] == [("a.b", "scanned")]
    with pytest.raises(TemplateError) as error:
        render_task(project, project.tasks[0])
    assert error.value.line == 3


def test_references_keep_their_lines_through_loops(folder: ProjectFolder) -> None:
    folder.write(
        "metadata/transform/kpi/t.sql",
        """
        -- all shops
        {% for shop in ['a', 'b'] %}
        select *
        from raw.{{ shop }}
        {% if not loop.last %}union all{% endif %}
        {% endfor %}
        union all
        select * from raw.z
        """,
    )
    (task,) = read_project(folder.root, environ={}).tasks
    assert [(ref.text, ref.location.line) for ref in task.references] == [("raw.a", 4), ("raw.b", 4), ("raw.z", 8)]


@pytest.mark.parametrize(
    ("sql", "dialect", "line", "tables"),
    [
        ("select *\nfrom a.b join c.d on ((", "duckdb", 1, "a.b c.d"),
        ("select 1 from a.b;\nselect (x;\nselect 2 from c.d", "duckdb", 2, "a.b c.d"),
        ("select 1 from a.b;\n\nbegin foo from x.y, x.z where 'from no.no' -- join no.no\nend", "postgres", 3, "a.b x.y x.z"),
        ("select 'open from a.b", "duckdb", 1, ""),
        ("with q as (select 1 from a.b) select * from q, `c.d`, extract(year from z) where (", "", 1, "a.b c.d"),
        ("call proc(select 1 from a.b)", "snowflake", 1, "a.b"),
        ("merge into t.u using s.v on ( when", "duckdb", 1, "s.v"),
    ],
)
def test_sql_that_cannot_be_parsed_is_scanned_with_a_warning(sql: str, dialect: str, line: int, tables: str) -> None:
    references, problems = find_references(sql, dialect, "x.sql", 11)
    assert [reference.text for reference in references] == tables.split()
    (problem,) = problems
    assert (problem.severity, problem.location and problem.location.line) == ("warning", line + 10)
    assert "cannot be parsed" in problem.message


def test_lines_of_a_text_inside_a_file() -> None:
    references, _ = find_references("select 1\nfrom a.b\njoin\nc.d on true", "duckdb", "x.sql", 10)
    assert [reference.location.line for reference in references] == [11, 13]
    references, _ = find_references("select 1\nfrom a.b", "duckdb", "x.sql", lines=(3, 7))
    assert [reference.location.line for reference in references] == [7]


def test_references_are_found_after_hundreds_of_comments() -> None:
    references, problems = find_references("/* a */ /* b */\n" * 200 + "select 1 from a.b", "duckdb", "x.sql")
    assert [(reference.text, reference.location.line) for reference in references] == [("a.b", 201)]
    assert problems == ()


def test_parser_messages_stay_out_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    find_references("call something()", "duckdb", "x.sql")
    assert [record for record in caplog.records if record.name.startswith("starlake")] == []


@pytest.mark.parametrize(
    ("url", "kind", "dialect"),
    [
        ("jdbc:duckdb:x.db", "jdbc", "duckdb"),
        ("jdbc:postgresql://h/d", "jdbc", "postgres"),
        ("jdbc:snowflake://x", "jdbc", "snowflake"),
        ("jdbc:redshift://x", "jdbc", "redshift"),
        ("", "bigquery", "bigquery"),
        ("", "fs", "spark"),
        ("", "databricks", "databricks"),
        ("jdbc:h2:mem", "jdbc", ""),
    ],
)
def test_dialects(url: str, kind: str, dialect: str) -> None:
    assert find_dialect(Connection("c", kind, options={"url": url})) == dialect


def test_sql_without_a_connection_is_read_without_a_dialect() -> None:
    assert find_dialect(None) == ""
    references, problems = find_references('select * from "a".b, c', "", "x.sql")
    assert [ref.text for ref in references] == ["a.b", "c"]
    references, problems = find_references("select * from `a`.b lateral view explode(c) d", "", "x.sql")
    assert [ref.text for ref in references] == ["a.b"]
    assert problems == ()
