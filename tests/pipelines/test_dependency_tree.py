"""Dependencies in Starlake's formats."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from plan_builders import plan as plan_with_jobs
from plan_builders import table, task

from starlake_dagster_components.errors import UnknownName
from starlake_dagster_components.pipelines.dependency_trees import build_dependency_diagram, build_dependency_tree, format_starlake_json
from starlake_dagster_components.pipelines.pipeline import Plan
from starlake_dagster_components.project.model import Attribute, Freshness, WriteStrategy


@pytest.fixture
def made() -> Plan:
    """The project whose real output spec/starlake.md shows."""
    return plan_with_jobs(
        table("raw.orders", "0 2 * * *", final="sales.orders", write=WriteStrategy("UPSERT_BY_KEY", key=("id",)),
              freshness=Freshness(error=timedelta(days=3)),
              attributes=(Attribute("id", "long", rename="ID", comment="The key"), Attribute("c", foreign_key="clients.id")),
              primary_key=("ID",)),
        table("raw.clients", "daily", final="sales.clients", freshness=Freshness(warn=timedelta(days=9), error=timedelta(hours=2))),
        task("kpi.revenue", "sales.orders", "sales.clients", schedule="hourly", write_strategy=WriteStrategy("OVERWRITE")),
        task("kpi.summary", "revenue", "out.x", table="summary_t", freshness=Freshness(error=timedelta(minutes=30))),
        task("kpi.nop", "out.first"),
        load=None,
        transform=None,
    )  # fmt: skip


def test_the_tree_matches_starlakes_output(made: Plan) -> None:
    assert (
        format_starlake_json(build_dependency_tree(made, ["kpi.summary"]))
        == """[ {
  "data" : {
    "name" : "kpi.summary",
    "typ" : "task",
    "parent" : "kpi.revenue",
    "parentTyp" : "task",
    "parentRef" : "revenue",
    "sink" : "kpi.summary_t",
    "cron" : "None",
    "freshness" : 1800
  },
  "children" : [ {
    "data" : {
      "name" : "kpi.revenue",
      "typ" : "task",
      "parent" : "sales.orders",
      "parentTyp" : "table",
      "parentRef" : "sales.orders",
      "writeStrategy" : {
        "type" : "OVERWRITE"
      },
      "sink" : "kpi.revenue",
      "cron" : "0 * * * *",
      "freshness" : 0
    },
    "children" : [ {
      "data" : {
        "name" : "sales.clients",
        "typ" : "table",
        "parentTyp" : "unknown",
        "sink" : "sales.clients",
        "cron" : "0 0 * * *",
        "freshness" : 7200
      },
      "task" : false
    }, {
      "data" : {
        "name" : "sales.orders",
        "typ" : "table",
        "parentTyp" : "unknown",
        "writeStrategy" : {
          "type" : "UPSERT_BY_KEY",
          "key" : [ "id" ]
        },
        "sink" : "sales.orders",
        "cron" : "0 2 * * *",
        "freshness" : 259200
      },
      "task" : false
    } ],
    "task" : true
  } ],
  "task" : true
} ]"""
    )


def test_roots_are_in_the_order_asked_for_and_all_by_default(made: Plan) -> None:
    assert [n["data"]["name"] for n in build_dependency_tree(made)] == ["kpi.nop", "kpi.revenue", "kpi.summary"]
    assert [n["data"]["name"] for n in build_dependency_tree(made, ["kpi.summary", "kpi.nop"])] == ["kpi.summary", "kpi.nop"]
    with pytest.raises(UnknownName, match=r"unknown task 'kpi.sumary' \(did you mean 'kpi.summary'"):
        build_dependency_tree(made, ["kpi.sumary"])


def test_an_unknown_first_reference(made: Plan) -> None:
    (node,) = build_dependency_tree(made, ["kpi.nop"])
    assert node == {
        "data": {
            "name": "kpi.nop", "typ": "task", "parentTyp": "unknown", "parentRef": "out.first", "sink": "kpi.nop", "cron": "None",
            "freshness": 0,
        },
        "task": True,
    }  # fmt: skip


def test_every_key_of_a_write_strategy() -> None:
    strategy = WriteStrategy("SCD2", {"a": "b"}, ("k", "l"), "ts", "x > 1", "TARGET", "s", "e")
    made = plan_with_jobs(task("k.t", write_strategy=strategy), transform=None)
    (node,) = build_dependency_tree(made)
    assert list(node["data"]["writeStrategy"].items()) == [
        ("type", "SCD2"),
        ("types", {"a": "b"}),
        ("key", ["k", "l"]),
        ("timestamp", "ts"),
        ("queryFilter", "x > 1"),
        ("on", "TARGET"),
        ("startTs", "s"),
        ("endTs", "e"),
    ]


def test_the_diagram_matches_starlakes_output(made: Plan) -> None:
    assert build_dependency_diagram(made) == {
        "items": [
            {"id": "sales.clients", "label": "sales.clients", "displayType": "table"},
            {
                "id": "sales.orders",
                "label": "sales.orders",
                "displayType": "table",
                "columns": [
                    {
                        "id": "sales.orders.ID",
                        "name": "ID",
                        "columnType": "long",
                        "comment": "The key",
                        "primaryKey": True,
                        "foreignKey": False,
                    },
                    {"id": "sales.orders.c", "name": "c", "columnType": "string", "primaryKey": False, "foreignKey": True},
                ],
                "options": {"writeStrategy": "UPSERT_BY_KEY"},
            },
            {"id": "kpi.nop", "label": "kpi.nop", "displayType": "task"},
            {"id": "kpi.revenue", "label": "kpi.revenue", "displayType": "task", "options": {"writeStrategy": "OVERWRITE"}},
            {"id": "kpi.summary", "label": "kpi.summary", "displayType": "task"},
        ],
        "relations": [
            {"source": "sales.clients", "target": "kpi.revenue", "relationType": "task"},
            {"source": "sales.orders", "target": "kpi.revenue", "relationType": "task"},
            {"source": "kpi.revenue", "target": "kpi.summary", "relationType": "task"},
        ],
        "diagramType": "task",
    }


@pytest.mark.parametrize("write", [build_dependency_tree, build_dependency_diagram])
def test_written_values_can_be_read_back(made: Plan, write, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata/dependencies.json").write_text(format_starlake_json(write(made)))
    from dataclasses import replace

    from starlake_dagster_components.pipelines.plan import plan_project
    from starlake_dagster_components.project.dependency_files import read_dependency_files

    project = made.project
    files = read_dependency_files(tmp_path, tmp_path / "metadata", "auto", [])
    again = plan_project(replace(project, root=tmp_path, dependency_files=files))
    assert again.problems == ()

    def list_names(plan: Plan) -> dict[str, set[tuple[str, str]]]:
        return {t: {(d.kind, d.name) for d in reads} for t, reads in plan.dependencies.direct.items()}

    assert list_names(again) == list_names(made)
    assert {d.source for reads in again.dependencies.direct.values() for d in reads if d.kind != "external"} == {"json"}
    assert [n.get("children") for n in build_dependency_tree(again)] == [n.get("children") for n in build_dependency_tree(made)]


def test_a_chain_of_3000_tasks() -> None:
    made = plan_with_jobs(*(task(f"k.t{i:04}", *([f"k.t{i - 1:04}"] if i else [])) for i in range(3000)), transform=None)
    (node,) = build_dependency_tree(made, ["k.t2999"])
    text = format_starlake_json([node])
    assert text.count('"typ" : "task"') == 3000


def test_a_shared_ancestor_is_built_once() -> None:
    layers = [[task(f"k.l{i}{s}", *([f"k.l{i - 1}a", f"k.l{i - 1}b"] if i else [])) for s in "ab"] for i in range(40)]
    made = plan_with_jobs(*(t for layer in layers for t in layer), transform=None)
    (node,) = build_dependency_tree(made, ["k.l39a"])
    assert node["children"][0]["children"][0] is node["children"][1]["children"][0]


def test_a_cycle_does_not_hang() -> None:
    made = plan_with_jobs(task("k.a", "k.b"), task("k.b", "k.a"), transform=None)
    assert len(build_dependency_tree(made)) == 2


def test_json_is_formatted_as_by_jackson() -> None:
    value = {"a": [], "b": {}, "c": [1, "é\n", None, True], "d": [[{"x": 0.5}]]}
    text = format_starlake_json(value)
    assert text == '{\n  "a" : [ ],\n  "b" : { },\n  "c" : [ 1, "é\\n", null, true ],\n  "d" : [ [ {\n    "x" : 0.5\n  } ] ]\n}'
    assert json.loads(text) == value
