"""Sample rows: the rows that are shown, the columns that are hidden, and failures, which do not fail the step."""

import hashlib
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
from postgres_server import PostgresServer
from postgres_starlake import write_program
from project_folder import ProjectFolder

from starlake_dagster_components import DuckDBExecutor, InvalidSetting, ShellExecutor, load_definitions_from_starlake_project
from starlake_dagster_components.definitions.steps.table_rows import build_violations_query, format_rows
from starlake_dagster_components.settings.samples import Samples, check_samples


@pytest.fixture
def people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProjectFolder:
    monkeypatch.delenv("SL_ENV", raising=False)
    folder = ProjectFolder(tmp_path / "people")
    write(folder, "{type: jdbc, options: {url: 'jdbc:duckdb:{{SL_ROOT}}/x.db'}}", "native")
    return folder


def write(folder: ProjectFolder, connection: str, loader: str) -> None:
    folder.write(
        "metadata/application.sl.yml",
        f"""
        application:
          connectionRef: db
          loader: {loader}
          expectations: {{active: true, failOnError: false}}
          dagRef: {{load: loads, transform: tasks}}
          connections: {{db: {connection}}}
        """,
    )
    folder.write(
        "metadata/expectations/x.j2",
        "{% macro blank(c) %}select count(*) from sl_this where {{c}} is null or {{c}} = ''{% endmacro %}\n"
        "{% macro twice(c) %}select count(*) from (select {{c}} as value, count(*) as n from sl_this group by {{c}} having count(*) > 1)"
        "{% endmacro %}\n",
    )
    for name, kind in (("loads", "load/dagster__scheduled_table"), ("tasks", "transform/dagster__scheduled_task")):
        folder.write(f"metadata/dags/{name}.sl.yml", f"dag: {{template: {kind}__shell.py.j2, filename: '{name}_{{{{domain}}}}.py'}}\n")
    folder.write("metadata/load/s/_config.sl.yml", "load: {name: s, metadata: {withHeader: true, separator: ','}}\n")
    folder.write(
        "metadata/load/s/a.sl.yml",
        """
        table:
          name: a
          pattern: a.*.csv
          attributes:
            - {name: id, type: string}
            - {name: name, type: string}
            - {name: mail, type: string, privacy: SHA1}
            - {name: iban, type: string}
          expectations:
            - {expect: "blank('name')", failOnError: false}
            - {expect: "twice('mail')", failOnError: false}
        """,
    )
    folder.write("metadata/transform/k/n.sql", "select id, upper(mail) as contact, length(name) as n from s.a\n")
    folder.write("metadata/transform/k/m.sql", "select contact as hello, n from k.n\n")


FILE = "id,name,mail,iban\n1,Ann|x,ann@x.org,DE1\n2,,bob@x.org,DE2\n3,Cid,ann@x.org,DE3\n"


def run(folder: ProjectFolder, instance: dg.DagsterInstance, job: str, **settings: Any) -> dg.ExecuteInProcessResult:
    definitions = load_definitions_from_starlake_project(folder.root, **{"executor": DuckDBExecutor(), **settings})
    result = definitions.resolve_job_def(job).execute_in_process(instance=instance, raise_on_error=False)
    assert result.success
    return result


def read_metadata(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    found = {}
    for event in result.all_events:
        if event.is_step_materialization:
            made = event.step_materialization_data.materialization
            found[made.asset_key.to_user_string()] = {name: value.value for name, value in made.metadata.items()}
    return found


def test_the_first_rows_are_shown_without_private_columns(people: ProjectFolder, instance: dg.DagsterInstance) -> None:
    people.write("datasets/stage/s/a1.csv", FILE)
    result = run(people, instance, "loads_s", samples={"rows": 2, "mask": ["I*N"]})
    assert read_metadata(result)["s_a"]["starlake/sample"].splitlines() == [
        "| id | name | mail | iban |",
        "| --- | --- | --- | --- |",
        r"| 1 | Ann\|x | \*\*\* | \*\*\* |",
        r"| 2 |  | \*\*\* | \*\*\* |",
    ]


def test_columns_derived_from_private_columns_are_private(people: ProjectFolder, instance: dg.DagsterInstance) -> None:
    people.write("datasets/stage/s/a1.csv", FILE)
    run(people, instance, "loads_s")
    found = read_metadata(run(people, instance, "tasks_k", samples=1))
    assert found["k_n"]["starlake/sample"].splitlines()[2] == r"| 1 | \*\*\* | 5 |"
    assert found["k_m"]["starlake/sample"].splitlines()[2] == r"| \*\*\* | 5 |"


def test_nothing_is_shown_if_private_columns_cannot_be_followed(people: ProjectFolder, instance: dg.DagsterInstance) -> None:
    people.write("datasets/stage/s/a1.csv", FILE)
    run(people, instance, "loads_s")
    people.write("metadata/transform/k/n.sql", "from s.a select columns(c -> c like 'm%'), id as n, id as contact\n")
    found = read_metadata(run(people, instance, "tasks_k", samples=1))
    assert "starlake/sample" not in found["k_n"] or r"\*\*\*" in found["k_n"]["starlake/sample"]
    assert "ann@x.org" not in str(found)


@pytest.mark.parametrize(
    "query",
    [
        # DuckDB names these columns by itself.
        "select id, upper(mail) from s.a",
        "select mail as value, id as value, mail as value from s.a",
        "select mail, id, mail from s.a",
        # whole rows
        "select id, a as person from s.a a",
        "select any_value(p) as person from s.a p",
        "select max(person.mail) as contact from (select p as person from s.a p)",
        "select json_object('m', mail) as j from s.a",
        # fields
        "select person.contact as value from k.nested",
        "select contact.address as value from k.deeper",
        # names that an alias gives to columns
        "select name as value from s.a as x(id, iban, name, mail)",
        "select value from s.a as x(id, iban, value)",
        "with x(value) as (select mail from s.a) select value from x",
        "select sum(1) over w as n, first(mail) over w as value from s.a window w as (order by id)",
        "select mail.upper() as value, id from s.a",
        "select #3 as value from s.a",
        "select * from s.a unpivot (value for name in (mail, name))",
        "select id from s.a union all select mail from s.a",
        "select (select max(mail) from s.a) as value",
        "select id as value, mail as id from s.a qualify row_number() over (order by id) = 1",
    ],
)
def test_no_query_shows_a_private_value(people: ProjectFolder, instance: dg.DagsterInstance, query: str) -> None:
    people.write("datasets/stage/s/a1.csv", FILE)
    run(people, instance, "loads_s")
    people.write("metadata/transform/k/nested.sql", "select {'contact': mail, 'id': id} as person from s.a\n")
    people.write("metadata/transform/k/deeper.sql", "select {'address': mail} as contact, id from s.a\n")
    people.write("metadata/transform/k/n.sql", "select 1 as contact, 2 as n\n")
    people.write("metadata/transform/q/last.sql", f"{query}\n")
    run(people, instance, "tasks_k")
    found = read_metadata(run(people, instance, "tasks_q", samples=3))["q_last"]
    # The engine has hashed the addresses.
    assert hashlib.sha1(b"ann@x.org").hexdigest() not in str(found).lower()
    assert r"\*\*\*" in found.get("starlake/sample", r"\*\*\*")


def test_violating_rows_are_shown_with_the_check(people: ProjectFolder, instance: dg.DagsterInstance) -> None:
    people.write("datasets/stage/s/a1.csv", FILE)
    result = run(people, instance, "loads_s", samples=1)
    found = {e.check_name: e.metadata for e in result.get_asset_check_evaluations()}
    assert str(found["blank_name"]["starlake/violating_rows"].value).splitlines()[2:] == [r"| 2 |  | \*\*\* | DE2 |"]
    assert str(found["twice_mail"]["starlake/violating_rows"].value).splitlines() == ["| value | n |", "| --- | --- |", r"| \*\*\* | 2 |"]


def test_samples_are_off_by_default(people: ProjectFolder, instance: dg.DagsterInstance) -> None:
    people.write("datasets/stage/s/a1.csv", FILE)
    result = run(people, instance, "loads_s")
    assert "starlake/sample" not in read_metadata(result)["s_a"]
    assert all("starlake/violating_rows" not in e.metadata for e in result.get_asset_check_evaluations())


def test_rejected_rows_of_a_warehouse_have_their_reason(
    people: ProjectFolder, instance: dg.DagsterInstance, postgres: PostgresServer, tmp_path: Path
) -> None:
    options = ", ".join(f"{name}: '{value}'" for name, value in postgres.options.items())
    write(people, f"{{type: jdbc, options: {{{options}}}}}", "spark")
    drop = "drop schema if exists s cascade; drop schema if exists audit cascade"
    postgres.execute(f"{drop}; create schema audit")
    program = write_program(tmp_path / "bin", dsn=postgres.dsn, expectations={"s.a": "blank('name')"}, tasks={}, rejected=True)
    people.write("datasets/stage/s/a1.csv", "id,name\n1,x\n2,reject\n3,\n")
    result = run(people, instance, "loads_s", executor=ShellExecutor(starlake_path=str(program)), samples=5)
    found = read_metadata(result)["s_a"]
    assert found["starlake/sample"].splitlines() == ["| id | name |", "| --- | --- |", "| 1 | x |", "| 3 |  |"]
    assert found["starlake/rejected_sample"].splitlines()[2:] == ["| invalid row 2,reject | a1.csv |"]
    checks = {e.check_name: e.metadata for e in result.get_asset_check_evaluations()}
    assert str(checks["blank_name"]["starlake/violating_rows"].value).splitlines()[2:] == ["| 3 |  |"]
    postgres.execute(drop)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("select count(*) from t where a is null", "SELECT * FROM t WHERE a IS NULL LIMIT 20"),
        ("with x as (select * from s.t) select count(1) as c from x", "WITH x AS (SELECT * FROM s.t) SELECT * FROM x LIMIT 20"),
        ("select count(*) from t group by a", None),
        ("select count(distinct a) from t", None),
        ("select count(a) from t", None),
        ("select max(n) from t", None),
        ("select count(*), 1 from t", None),
        ("delete from t", None),
        ("select count(*) from t union select 1", None),
        ("not sql (", None),
    ],
)
def test_only_counts_of_rows_become_queries_for_rows(sql: str, expected: str | None) -> None:
    query = build_violations_query(sql, "duckdb", frozenset(), 20)
    assert (query[0] if query else None) == expected


@pytest.mark.parametrize(
    ("sql", "derived"),
    [
        ("select count(*) from (select upper(mail) as m, id from s.t)", {"m"}),
        ("select count(*) from (select t as m from s.t)", {"m"}),
        ("select count(*) from (select upper(mail), id from s.t)", None),
        ("select count(*) from (select any_value(t) from s.t)", None),
        ("select count(*) from s.t as x(a, b)", None),
        ("with x(a) as (select mail from s.t) select count(*) from x", None),
        ("select count(*) from (select upper(id) from s.t)", set()),
    ],
)
def test_violating_rows_hide_columns_that_are_derived_from_private_ones(sql: str, derived: set[str] | None) -> None:
    query = build_violations_query(sql, "duckdb", frozenset({"mail"}), 20)
    assert (query[1] if query else None) == derived


def test_values_are_cut_and_escaped() -> None:
    text = format_rows(["a|b", "c"], [["x\ny", "z" * 200], [None, "<b>*_[`"]])
    assert text.splitlines() == ["| a\\|b | c |", "| --- | --- |", f"| x y | {'z' * 100}... |", "|  | &lt;b>\\*\\_\\[\\` |"]


@pytest.mark.parametrize(
    ("given", "value"),
    [
        (False, Samples()),
        (None, Samples()),
        ("off", Samples()),
        (True, Samples(10)),
        ("5", Samples(5)),
        (5, Samples(5)),
        ({"mask": ["x"]}, Samples(10, ("x",))),
        ({"rows": "3", "mask": "x*"}, Samples(3, ("x*",))),
    ],
)
def test_valid_values_of_samples(given: Any, value: Samples) -> None:
    assert check_samples("samples", given) == value


@pytest.mark.parametrize("given", [-1, 101, "many", {"row": 1}, {"rows": 1.5}, {"mask": [1]}, [1]])
def test_invalid_values_of_samples(given: Any) -> None:
    with pytest.raises(InvalidSetting, match="samples"):
        check_samples("samples", given)


def test_a_database_that_another_process_writes_is_not_a_failure(people: ProjectFolder, instance: dg.DagsterInstance) -> None:
    people.write("datasets/stage/s/a1.csv", FILE)
    run(people, instance, "loads_s")
    from starlake_dagster_components.definitions.steps import table_rows

    with duckdb.connect(str(people.root / "x.db")), pytest.raises(duckdb.Error):
        table_rows._read_duckdb(str(people.root / "x.db"), "select 1")


def test_rows_are_read_even_if_the_machine_is_busy(
    people: ProjectFolder, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait for another command is over before this process gets to its first attempt."""
    from starlake_dagster_components.definitions.steps import table_rows

    monkeypatch.setattr(table_rows, "WAIT", 0.0)
    people.write("datasets/stage/s/a1.csv", FILE)
    assert "starlake/sample" in read_metadata(run(people, instance, "loads_s", samples=1))["s_a"]
    columns = read_metadata(run(people, instance, "tasks_k"))["k_n"]["dagster/column_schema"].columns
    assert [c.type for c in columns] == ["varchar", "varchar", "bigint"]


def test_tasks_without_attributes_show_their_real_columns_and_how_they_change(people: ProjectFolder, instance: dg.DagsterInstance) -> None:
    people.write("datasets/stage/s/a1.csv", FILE)
    run(people, instance, "loads_s")
    first = read_metadata(run(people, instance, "tasks_k"))["k_n"]
    assert [(c.name, c.type) for c in first["dagster/column_schema"].columns] == [
        ("id", "varchar"),
        ("contact", "varchar"),
        ("n", "bigint"),
    ]
    assert "starlake/columns_changed" not in first
    people.write("metadata/transform/k/n.sl.yml", "task: {name: n, writeStrategy: {type: OVERWRITE}}\n")
    people.write("metadata/transform/k/n.sql", "select id, length(name)::varchar as n, 1 as added, upper(mail) as contact from s.a\n")
    with duckdb.connect(str(people.root / "x.db")) as connection:
        connection.execute("drop table k.n")
    second = read_metadata(run(people, instance, "tasks_k"))["k_n"]
    assert second["starlake/columns_changed"] == "added: added (integer); changed: n (bigint -> varchar)"
    assert "starlake/columns_changed" not in read_metadata(run(people, instance, "tasks_k"))["k_n"]
