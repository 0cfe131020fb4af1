"""Names in SQL, and the tasks and tables that they refer to."""

from typing import Any

import pytest
from plan_builders import list_messages, table, task
from plan_builders import plan as plan_with_jobs

from starlake_dagster_components.pipelines.pipeline import Plan

ORDERS = table("shop.orders", final="mart.o")


def plan(*nodes: Any, **values: Any) -> Plan:
    return plan_with_jobs(*nodes, load=None, transform=None, **values)


def list_reads(made: Plan, name: str) -> list[tuple[str, str]]:
    return [(d.kind, d.name) for d in made.dependencies.get_direct(name)]


def test_tasks_by_name_and_by_table() -> None:
    made = plan(task("k.a", table="t"), task("k.by_name", "K.A"), task("k.by_table", "k.T"))
    assert list_reads(made, "k.by_name") == list_reads(made, "k.by_table") == [("task", "k.a")]


def test_load_tables_by_final_names() -> None:
    made = plan(ORDERS, task("k.t", "MART.O", "shop.orders"))
    assert list_reads(made, "k.t") == [("table", "shop.orders"), ("external", "shop.orders")]


def test_tasks_override_load_tables() -> None:
    made = plan(table("s.x"), task("s.y", table="x"), task("k.t", "s.x"))
    assert list_reads(made, "k.t") == [("task", "s.y")]


def test_the_writer_of_a_table_overrides_a_task_of_that_name() -> None:
    made = plan(task("k.a", table="other"), task("k.b", table="a"), task("k.t", "k.a"))
    assert list_reads(made, "k.t") == [("task", "k.b")]


def test_all_writers_of_a_table() -> None:
    made = plan(task("k.one", table="x"), task("k.two", table="x"), task("k.t", "k.x"))
    assert list_reads(made, "k.t") == [("task", "k.one"), ("task", "k.two")]
    assert list_messages(made) == []


def test_a_task_does_not_depend_on_itself() -> None:
    made = plan(task("k.t", "k.t", "t", "K.x", table="x"), table("k.x"), task("k.one", "k.two", table="two"))
    assert list_reads(made, "k.t") == list_reads(made, "k.one") == []


def test_each_dependency_once_in_order_with_its_line() -> None:
    made = plan(ORDERS, task("k.a"), task("k.t", "k.a", "mart.o", "k.a", "else.where"))
    assert [(d.name, str(d.location), d.source) for d in made.dependencies.get_direct("k.t")] == [
        ("k.a", "metadata/transform/k/t.sql:2", "sql"),
        ("shop.orders", "metadata/transform/k/t.sql:3", "sql"),
        ("else.where", "metadata/transform/k/t.sql:5", "sql"),
    ]


def test_three_parts_drop_the_database_unless_it_is_another() -> None:
    made = plan(
        table("s.mine", database="Prod"),
        table("s.any"),
        task("k.t", "prod.s.mine", "test.s.mine", "whatever.s.any"),
        task("k.u", database="prod"),
    )
    assert list_reads(made, "k.t") == [("table", "s.mine"), ("external", "test.s.mine"), ("table", "s.any")]


def test_names_with_four_parts_are_external() -> None:
    made = plan(task("k.t", "a.b.c.d"))
    assert list_reads(made, "k.t") == [("external", "a.b.c.d")]
    assert list_messages(made) == [
        "metadata/transform/k/t.sql:2: warning: k.t reads 'a.b.c.d', which has 4 parts; it is treated as an external table"
    ]


def test_short_names() -> None:
    made = plan(ORDERS, task("k.a"), task("k.b", table="tee"), task("k.t", "a", "TEE", "O", "nothing"))
    assert list_reads(made, "k.t") == [("task", "k.a"), ("task", "k.b"), ("table", "shop.orders"), ("external", "nothing")]


def test_a_short_name_of_a_task_must_have_its_case() -> None:
    made = plan(task("k.A", table="t"), task("k.t2", "a"))
    assert list_reads(made, "k.t2") == [("external", "a")]


def test_an_ambiguous_short_name_is_an_error() -> None:
    made = plan(task("k.a"), task("m.a"), task("k.t", "a"))
    assert list_messages(made) == [
        "metadata/transform/k/t.sql:2: k.t reads 'a', which could be any of the tasks k.a, m.a; write domain.table"
    ]
    made = plan(task("k.a"), task("m.a"), task("k.t", "a", kind="scanned"))
    assert [p.severity for p in made.problems] == ["warning"]


def test_an_ambiguous_short_name_of_load_tables_is_the_first() -> None:
    made = plan(table("a.x"), table("b.x"), task("k.t", "x"))
    assert list_reads(made, "k.t") == [("table", "a.x")]
    assert [p.severity for p in made.problems] == ["warning"]


def test_short_names_that_were_only_scanned_are_not_made_up() -> None:
    assert list_reads(plan(task("k.t", "dt", "some.where", kind="scanned")), "k.t") == [("external", "some.where")]


def test_an_external_table_has_one_spelling() -> None:
    made = plan(task("k.a", "Else.Where", "WH.T"), task("k.b", "ELSE.where"), external=[table("wh.t")])
    assert list_reads(made, "k.a") == [("external", "Else.Where"), ("external", "wh.t")]
    assert list_reads(made, "k.b") == [("external", "Else.Where")]


def test_schemas_of_the_database_itself_are_not_dependencies() -> None:
    assert list_reads(plan(task("k.t", "information_schema.tables", "db.INFORMATION_SCHEMA.columns")), "k.t") == []


def test_streams_are_resolved_to_their_tables() -> None:
    made = plan(
        table("s.x", streams=("s.x_stream",)), task("k.a", streams={"a_stream": ""}), task("k.b", streams={"b_stream": "s.x"}),
        task("k.t", "S.X_STREAM", "a_stream"), task("k.u", "b_stream"),
    )  # fmt: skip
    assert list_reads(made, "k.t") == [("table", "s.x"), ("task", "k.a")]
    assert list_reads(made, "k.u") == [("table", "s.x")]


def test_transitive_dependencies() -> None:
    made = plan(ORDERS, task("k.a", "mart.o", "out.x"), task("k.b", "k.a"), task("k.c", "k.b", "mart.o"))
    assert [d.name for d in made.dependencies.get_transitive("k.c")] == ["k.b", "shop.orders", "k.a", "out.x"]
    assert [d.awaited for d in made.dependencies.get_direct("k.a")] == [True, False]


@pytest.mark.parametrize("length", [2, 3, 20])
def test_a_cycle_is_an_error_that_names_its_tasks_in_order(length: int) -> None:
    tasks = [task(f"k.t{i:04}", f"k.t{(i + 1) % length:04}") for i in range(length)]
    made = plan(*tasks, task("k.outside", "k.t0000"))
    (message,) = list_messages(made)
    said = [f"k.t{i:04} reads k.t{(i + 1) % length:04} (metadata/transform/k/t{i:04}.sql:2)" for i in range(length)]
    assert message == "metadata/transform/k/t0000.sql:2: circular dependency: " + ", ".join(said)


def test_a_long_cycle_is_shortened_in_the_message() -> None:
    (message,) = list_messages(plan(*(task(f"k.t{i:04}", f"k.t{(i + 1) % 2000:04}") for i in range(2000))))
    assert message.endswith("k.t0019 reads k.t0020 (metadata/transform/k/t0019.sql:2) and so on over 2000 tasks back to k.t0000")


def test_the_shortest_of_several_cycles_is_shown() -> None:
    made = plan(task("k.a", "k.b"), task("k.b", "k.c", "k.a"), task("k.c", "k.a"), task("x.a", "x.b"), task("x.b", "x.a"))
    first, second = list_messages(made)
    assert first.endswith(
        "k.a reads k.b (metadata/transform/k/a.sql:2), k.b reads k.a (metadata/transform/k/b.sql:3); also in this group: k.c"
    )
    assert "x.a reads x.b" in second


def test_a_chain_of_2000_tasks() -> None:
    made = plan(*(task(f"k.t{i:04}", *([f"k.t{i - 1:04}"] if i else [])) for i in range(2000)))
    assert made.problems == ()
    assert len(made.dependencies.get_transitive("k.t1999")) == 1999
