"""Violations of Starlake's JSON schema: a warning with the embedded engine, an error if Starlake runs the commands."""

from pathlib import Path
from typing import Any

import pytest
from project_folder import ProjectFolder

from starlake_dagster_components import load_definitions_from_starlake_project
from starlake_dagster_components.errors import InvalidProject
from starlake_dagster_components.project.reader import read_project
from starlake_dagster_components.project.schema_check import find_schema_violations

TABLE = {"name": "orders", "pattern": "orders.*", "attributes": [{"name": "id", "type": "long", "required": True}]}


@pytest.mark.parametrize(
    ("root", "body", "rejected"),
    [
        ("table", TABLE, []),
        ("table", {**TABLE, "comment": None, "rename": 7, "tags": ["a", True, 1.5]}, []),
        ("table", {"name": "x", "pattern": "y"}, ["table needs 'attributes', which is missing"]),
        ("table", {**TABLE, "metadata": {"withHeader": "yes"}}, ["metadata.withHeader: expected true or false, found the string 'yes'"]),
        ("table", {**TABLE, "metadata": {"multiline": None}}, ["metadata.multiline: expected true or false, found nothing"]),
        (
            "table",
            {**TABLE, "metadata": {"writeStrategy": {"on": "source"}}},
            ["one of TARGET, SOURCE_AND_TARGET, found"],
        ),
        ("table", {**TABLE, "metadata": {"writeStrategy": {"type": "MY_OWN", "types": {"A": "x"}}}}, []),
        (
            "table",
            {**TABLE, "metadata": {"writeStrategy": {"key": "id"}}},
            ["metadata.writeStrategy.key: expected a list"],
        ),
        ("table", {**TABLE, "tags": [["a"]]}, ["tags[0]: expected a string, found a list"]),
        ("table", {**TABLE, "expectation": []}, ["unknown key 'expectation'"]),
        ("table", {**TABLE, "attributes": [{"name": "a", "position": {"first": 0}}]}, ["attributes[0].position needs 'last'"]),
        ("table", {**TABLE, "attributes": [{"name": "a", "trim": "Left"}]}, ["attributes[0].trim: expected one of LEFT"]),
        (
            "table",
            {**TABLE, "attributes": [{"name": "s", "attributes": [{"name": "x", "array": 1}]}]},
            ["attributes[0].attributes[0]"],
        ),
        ("task", {"taskTimeoutMs": 5.0, "connectionRef": "duck", "parseSQL": False}, []),
        (
            "task",
            {"taskTimeoutMs": "5", "connectionRef": 7},
            ["taskTimeoutMs: expected a whole", "connectionRef: expected a"],
        ),
        ("task", {"acl": [{"grants": ["a"]}]}, ["acl[0] needs 'role'"]),
        ("transform", {"default": {"write": "OVERWRITE"}}, ["unknown key 'write'"]),
        ("load", {"name": "sales", "metadata": {"format": "dsv"}}, ["metadata.format: expected one of DATAFRAME, DSV"]),
        ("dag", {"filename": "x.py", "options": {"a": 1}}, ["dag needs 'template'"]),
        ("application", {"connections": {"duck": {"options": {"url": "x"}}}}, ["connections.duck needs 'type'"]),
        ("application", {"spark": {"anything": {"at": ["all"]}}, "hadoop": {"a": True}, "groupedMax": 10}, []),
        (
            "application",
            {"expectations": {"failOnError": "true"}, "groupedMax": True},
            ["expectations.failOnError", "groupedMax"],
        ),
        ("types", {"version": 1, "types": [{"name": "a", "pattern": ".*", "primitiveType": "String"}]}, ["types[0].primitiveType"]),
        ("refs", {"refs": [{"input": {"table": "a"}, "output": {"table": "b"}}]}, ["output needs 'database'", "output needs 'domain'"]),
        ("nothing we know", {"a": 1}, []),
    ],
)  # fmt: skip
def test_violations_of_the_schema(root: str, body: dict[str, Any], rejected: list[str]) -> None:
    found = [violation.message for violation in find_schema_violations(root, body)]
    assert len(found) == len(rejected)
    for expected, message in zip(rejected, found, strict=True):
        assert expected in message


def add_rejected_values(shop: ProjectFolder) -> None:
    table = next(path for path in sorted((shop.root / "metadata/load").rglob("*.sl.yml")) if not path.name.startswith("_config"))
    table.write_text(table.read_text() + "  rls: [{name: a}]\n  nonsense: 1\n")
    application = shop.root / "metadata/application.sl.yml"
    application.write_text(application.read_text().rstrip() + "\n  expectations:\n    active: true\n    failOnError: 'true'\n")


def test_each_rejection_has_its_line_and_is_reported_once(shop: ProjectFolder) -> None:
    add_rejected_values(shop)
    rejected = [problem for problem in read_project(shop.root).problems if problem.rejected]
    messages = [problem.message for problem in rejected]
    assert len(messages) == 3, messages
    assert [problem.severity for problem in rejected] == ["warning"] * 3
    for problem in rejected:
        assert problem.location
        line = (shop.root / problem.location.file).read_text().splitlines()[problem.location.line - 1]
        assert line.strip().partition(":")[0] in ("rls", "nonsense", "failOnError")


def test_the_engine_continues_although_starlake_would_not(shop: ProjectFolder) -> None:
    add_rejected_values(shop)
    assert load_definitions_from_starlake_project(shop.root, executor="duckdb")
    with pytest.raises(InvalidProject) as raised:
        load_definitions_from_starlake_project(shop.root, executor="shell", on_error="fail")
    assert len([problem for problem in raised.value.problems if problem.severity == "error"]) == 3


def find_projects(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob("**/metadata") if path.is_dir())


REJECTED_BY_THE_REAL_ONE = {
    "starlake-samples-postgres": ["unknown key 'delete'", "unknown key 'write'"],
    "sp_quoted_bool": ["expectations.failOnError"],
}


@pytest.mark.parametrize("where", ["corpus", "oracle/runs/projects", "cases/real"])
def test_projects_that_starlake_accepts_are_not_rejected(shared: Path, where: str) -> None:
    """The real one was run on all of them."""
    for root in find_projects(shared / where):
        try:
            problems = read_project(root).problems
        except InvalidProject:
            continue
        found = [problem.message for problem in problems if problem.rejected]
        expected = REJECTED_BY_THE_REAL_ONE.get(root.name, [])
        assert len(found) == len(expected), (root, found)
        assert all(any(text in message for message in found) for text in expected), (root, found)
