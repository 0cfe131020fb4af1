"""Dependencies from JSON."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_builders import list_messages, table, task
from plan_builders import plan as plan_with_jobs

from starlake_dagster_components.pipelines.json_documents import InvalidJson, Lines, parse_json
from starlake_dagster_components.pipelines.pipeline import Plan


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "metadata").mkdir()
    return tmp_path


def plan(root: Path, *nodes: Any, dependencies: str = "auto", **values: Any) -> Plan:
    return plan_with_jobs(*nodes, root=root, dependencies=dependencies, load=None, **{"transform": None, **values})


def build_node(name: str, *children: Any, typ: str = "task", **data: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"data": {"name": name, "typ": typ, **data}, "task": typ == "task"}
    return {**made, "children": list(children)} if children else made


def write(root: Path, value: Any, name: str = "metadata/dependencies.json") -> None:
    (root / name).write_text(value if isinstance(value, str) else json.dumps(value, indent=1))


def list_reads(made: Plan, name: str) -> list[tuple[str, str, str]]:
    return [(d.kind, d.name, d.source) for d in made.dependencies.get_direct(name)]


NODES = (table("shop.orders", final="mart.orders"), task("k.a", "mart.orders"), task("k.b", "k.a"), task("k.c", "k.b", "out.x"))


def test_json_takes_precedence_for_the_tasks_that_it_names(root: Path) -> None:
    write(root, [build_node("k.b", build_node("mart.ORDERS", typ="table"))])
    made = plan(root, *NODES)
    assert list_reads(made, "k.b") == [("table", "shop.orders", "json")]
    assert list_reads(made, "k.a") == [("table", "shop.orders", "sql")]
    assert str(made.dependencies.get_direct("k.b")[0].location) == "metadata/dependencies.json:11"
    assert list_messages(made) == [
        "metadata/dependencies.json:4: warning: k.b reads the task k.a (metadata/transform/k/b.sql:2), "
        "which is not in its dependencies here; "
        "JSON takes precedence",
        "metadata/dependencies.json:11: warning: k.b depends on the table shop.orders here, which its SQL (metadata/transform/k/b.sql:1) "
        "does not read; JSON takes precedence",
    ]


def test_json_that_agrees_with_sql_is_not_reported(root: Path) -> None:
    write(root, [build_node("k.c", build_node("k.b", build_node("k.a", build_node("mart.orders", typ="table"))))])
    made = plan(root, *NODES)
    assert made.problems == ()
    assert list_reads(made, "k.c") == [("task", "k.b", "json"), ("external", "out.x", "sql")]
    assert list_reads(made, "k.a") == [("table", "shop.orders", "json")]


def test_a_task_named_without_children_reads_nothing(root: Path) -> None:
    write(root, [build_node("K.A")])
    made = plan(root, *NODES)
    assert list_reads(made, "k.a") == []
    assert len(made.problems) == 1


def test_a_task_without_sql_has_nothing_to_disagree(root: Path) -> None:
    write(root, [build_node("k.p", build_node("k.q")), build_node("k.q", build_node("mart.orders", typ="table"))])
    made = plan(
        root, table("shop.orders", final="mart.orders"), task("k.p", sql_text=None, python_file="p.py"), task("k.q", parse_sql=False)
    )
    assert made.problems == ()
    assert list_reads(made, "k.p") == [("task", "k.q", "json")]


def test_json_resolves_names_that_are_ambiguous_in_sql(root: Path) -> None:
    write(root, [build_node("k.t", build_node("m.a"))])
    made = plan(root, task("k.a"), task("m.a"), task("k.t", "a"))
    assert list_reads(made, "k.t") == [("task", "m.a", "json")]
    assert not [p for p in made.problems if p.severity == "error"]


def test_stale_names_are_warnings_with_the_closest_known(root: Path) -> None:
    write(root, [build_node("k.aa", build_node("k.gone")), build_node("k.b", build_node("k.bb"), build_node("mart.order", typ="table"))])
    made = plan(root, *NODES)
    said = [m for m in list_messages(made) if "is not in the project" in m]
    assert said == [
        "metadata/dependencies.json:4: warning: the dependencies name the task 'k.aa', which is not in the project (did you mean 'k.a'?)",
        "metadata/dependencies.json:11: warning: the dependencies name the task 'k.gone', which is not in the project",
        "metadata/dependencies.json:27: warning: the dependencies name the task 'k.bb', which is not in the project (did you mean 'k.b'?)",
        "metadata/dependencies.json:34: warning: the dependencies name the table 'mart.order', which is not in the project "
        "(did you mean 'mart.orders'?)",
    ]
    assert list_reads(made, "k.b") == [("external", "mart.order", "json")]


def test_self_references_are_dropped(root: Path) -> None:
    write(root, [build_node("k.a", build_node("k.a"), build_node("mart.orders", typ="table"))])
    assert list_reads(plan(root, *NODES), "k.a") == [("table", "shop.orders", "json")]


def test_a_cycle_through_json_is_found(root: Path) -> None:
    write(root, [build_node("k.a", build_node("k.c", build_node("k.b")))])
    made = plan(root, task("k.a", parse_sql=False), task("k.b", parse_sql=False), task("k.c", parse_sql=False), task("k.d", "k.a"))
    assert list_messages(made) == []
    write(root, [build_node("k.a", build_node("k.b")), build_node("k.b", build_node("k.a"))])
    (message,) = list_messages(plan(root, task("k.a", parse_sql=False), task("k.b", parse_sql=False)))
    assert message == (
        "metadata/dependencies.json:11: circular dependency: k.a reads k.b (metadata/dependencies.json:11), "
        "k.b reads k.a (metadata/dependencies.json:27)"
    )


TREE = [build_node("k.b", build_node("k.a", build_node("mart.orders", typ="table")))]
AGREED = [("task", "k.a", "json")]


@pytest.mark.parametrize(
    "document",
    [
        TREE,
        TREE[0],
        {"dependencies": TREE},
        {"task_deps": TREE},
        {"context": {"dependencies": TREE}},
        {"cron": "None", "dependencies": json.dumps(TREE, indent=1), "sl_project_id": "-1"},
        {"items": [{"id": "k.b", "displayType": "task"}, {"id": "k.a", "displayType": "task"},
                   {"id": "mart.orders", "displayType": "table"}],
         "relations": [{"source": "mart.orders", "target": "k.a", "relationType": "task"},
                       {"source": "k.a", "target": "k.b", "relationType": "task"}],
         "diagramType": "task"},
        {"relations": [{"source": "k.a", "target": "k.b", "relationType": "task"},
                       {"source": "mart.orders", "target": "k.a", "relationType": "task"}]},
        # Up to 1.1: no sink, no cron. Up to 1.5.15: the sink of a table is its cron.
        [{"data": {"name": "k.b", "typ": "task", "parent": "k.a", "parentTyp": "task", "parentRef": "k.a"}, "task": True,
          "children": [{"data": {"name": "k.a", "typ": "task", "sink": "k.a", "cron": "0 0 * * *", "freshness": 0}, "task": True,
                        "children": [{"data": {"name": "mart.orders", "typ": "table", "parentTyp": "unknown", "sink": "0 0 * * *"},
                                      "task": False}]}]}],
        [{"data": {"name": "k.b"}, "task": True,
          "children": [{"data": {"name": "k.a"}, "task": True,
                        "children": [{"data": {"name": "mart.orders", "sink": "None"}, "task": False}]}]}],
    ],
    ids=["list", "node", "dependencies", "task_deps", "context", "text", "diagram", "relations", "1.5.15", "without typ"],
)  # fmt: skip
def test_every_supported_json_layout_gives_the_same_dependencies(root: Path, document: Any) -> None:
    write(root, document)
    made = plan(root, *NODES)
    assert made.problems == ()
    assert list_reads(made, "k.b") == AGREED
    assert list_reads(made, "k.a") == [("table", "shop.orders", "json")]
    assert list_reads(made, "k.c")[0] == ("task", "k.b", "sql")


def test_the_setting_chooses_the_dependency_files(root: Path) -> None:
    write(root, TREE, "metadata/dependencies.kpi.json")
    write(root, [build_node("k.c", build_node("k.b"))], "metadata/dependencies-more.json")
    (root / "elsewhere").mkdir()
    write(root, [build_node("k.b")], "elsewhere/one.json")

    def list_sources(setting: str) -> list[str]:
        made = plan(root, *NODES, dependencies=setting)
        return [d.source for t in ("k.b", "k.c") for d in made.dependencies.get_direct(t) if d.kind != "external"]

    assert list_sources("auto") == ["json", "json"]
    assert list_sources("sql") == ["sql", "sql"]
    assert (
        list_sources("elsewhere/*.json") == list_sources("elsewhere/one.json") == list_sources(str(root / "elsewhere/one.json")) == ["sql"]
    )
    # A tree is complete: k.b is named there, without anything that it reads.
    assert list_sources("metadata/**/dependencies-*.json") == ["json"]
    made = plan(root, *NODES, dependencies="nowhere/*.json")
    assert list_messages(made) == [
        f"dependencies: no file matches 'nowhere/*.json' in {root}; expected auto, sql, or a path or glob relative to the project"
    ]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ('[\n {"data": {"name": "k.a",}}\n]', 2, "not JSON: "),
        ("- SL_ENV=DUCKDB\n[]", 1, "run starlake lineage with --output"),
        ('[\n\n\n{"data"', 4, "not JSON: Expecting ':'"),
        ("", 1, "not JSON: Expecting value"),
        ('{"x": 1}', 1, "expected the tree that dag-generate writes"),
        ("[1]", 1, "expected the tree that dag-generate writes"),
        ('[\n{"task": true}]', 2, "a node has no 'data' with a 'name'"),
        ('{"dependencies":\n "[ {"}', 1, "the JSON in this string is invalid on its line 1"),
    ],
)
def test_broken_json_is_an_error_with_its_line(root: Path, text: str, line: int, said: str) -> None:
    write(root, text)
    (message,) = list_messages(plan(root, *NODES))
    assert message.startswith(f"metadata/dependencies.json:{line}: ")
    assert said in message


def test_a_file_that_is_not_utf_8_is_reported(root: Path) -> None:
    (root / "metadata/dependencies.json").write_bytes(b'["\xe9"]')
    (message,) = list_messages(plan(root, *NODES))
    assert message.startswith("metadata/dependencies.json: not UTF-8")


def test_dependencies_json_defines_tasks_without_project_files(root: Path) -> None:
    write(
        root,
        [
            build_node(
                "kpi.b",
                build_node(
                    "kpi.a",
                    build_node("shop.orders", typ="table", sink="shop.orders", cron="0 0 * * *"),
                    sink="kpi.a_t",
                    cron="None",
                    freshness=0,
                ),
                sink="kpi.b",
                cron="0 2 * * *",
                freshness=3600,
                writeStrategy={"type": "UPSERT_BY_KEY", "key": ["id"], "on": "TARGET"},
            )
        ],
    )
    from plan_builders import TRANSFORM, dag

    made = plan(root, dag("transform", "{{task}}.py", TRANSFORM), transform="transform")
    assert list_messages(made) == []
    assert [t.full_name for t in made.project.tasks] == ["kpi.a", "kpi.b"]
    a, b = made.project.tasks
    assert (a.table, a.schedule, b.schedule) == ("a_t", None, "0 2 * * *")
    assert b.write_strategy
    assert (b.write_strategy.type, b.write_strategy.key, b.write_strategy.on) == ("UPSERT_BY_KEY", ("id",), "TARGET")
    assert b.freshness
    assert b.freshness.error
    assert b.freshness.error.total_seconds() == 3600
    assert str(b.origin.locate("schedule")) == "metadata/dependencies.json:4"
    assert list_reads(made, "kpi.b") == [("task", "kpi.a", "json")]
    assert list_reads(made, "kpi.a") == [("external", "shop.orders", "json")]
    assert made.dependencies.get_direct("kpi.a")[0].awaited
    assert {p.name: p.schedule.cron if p.schedule else None for p in made.pipelines} == {"kpi_a": None, "kpi_b": "0 2 * * *"}


def test_a_tree_as_deep_as_a_chain_of_3000_tasks(root: Path) -> None:
    text = "".join(f'{{"data": {{"name": "k.t{i}", "typ": "task"}}, "task": true, "children": [\n' for i in range(3000)) + "]}" * 3000
    write(root, f"[{text}]")
    made = plan(root, *(task(f"k.t{i}", parse_sql=False) for i in range(3000)))
    assert made.problems == ()
    assert list_reads(made, "k.t1500") == [("task", "k.t1501", "json")]
    assert made.dependencies.get_direct("k.t1500")[0].location.line == 1502  # type: ignore[union-attr]


_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4)),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(_JSON, st.sampled_from([None, 1]), st.booleans())
def test_values_are_the_same_as_with_pythons_json(value: Any, indent: int | None, ascii_only: bool) -> None:
    assert parse_json(json.dumps(value, indent=indent, ensure_ascii=ascii_only)) == value


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet='{}[]:,"a1\\ \ntrue-.', max_size=14))
def test_documents_are_rejected_exactly_if_pythons_json_rejects_them(text: str) -> None:
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(InvalidJson):
            parse_json(text)
    else:
        assert parse_json(text) == expected


def _nest(levels: int, inside: str) -> str:
    """Return a document whose innermost value is so many levels deep, with a line per level."""
    return '[\n{"a": [1],\n "b": ' * levels + inside + '}, "[{\\""]' * levels


@pytest.mark.parametrize("levels", [1, 74, 75, 76, 2000])
def test_deeply_nested_json_is_parsed_with_lines(levels: int) -> None:
    text = _nest(levels, '{\n"here": "}]"}')
    found = document = parse_json(text)
    for _ in range(levels):
        assert found[1] == '[{"'
        assert found[0]["a"] == [1]
        found = found[0]["b"]
    assert found == {"here": "}]"}
    lines = Lines(text, document)
    assert (lines.find(found), lines.find(found, "here")) == (2 * levels + 1, 2 * levels + 2)
    assert lines.find(found, "elsewhere") == 2 * levels + 1


@pytest.mark.parametrize("broken", ["{", "[1}", "nul", '{"a" 1}', "]"])
def test_a_mistake_at_any_depth_has_its_line(broken: str) -> None:
    for levels in (2, 1500):
        with pytest.raises(InvalidJson) as error:
            parse_json(_nest(levels, broken))
        assert abs(error.value.line - (2 * levels + 1)) <= 1


def test_lines_are_left_out_where_a_key_appears_twice() -> None:
    text = '[{"a": 1,\n"a": {"b": 2}},\n{"c": 3}]'
    document = parse_json(text)
    lines = Lines(text, document)
    assert (lines.find(document[0]), lines.find(document[1], "c")) == (1, 0)
