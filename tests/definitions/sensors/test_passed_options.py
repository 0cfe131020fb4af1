"""Sensors pass the options of materializations on to their runs, as those of starlake-dagster do."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster_home import open_instance
from ticking_sensor import LINES, ORDERS, Ticking, build_reports_sensor, materialize

from starlake_dagster_components.definitions.steps.run_options import InvalidRunOptions

UNION = {"policy": "union", "separator": "|"}


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with open_instance(tmp_path) as found:
        yield found


def carry(options: dict[str, Any], merge: dict[str, Any] | None = None) -> dict[str, Any]:
    metadata = {"sl_options": dg.MetadataValue.json(options)}
    return {"metadata": {**metadata, **({"sl_options_merge": dg.MetadataValue.json(merge)} if merge else {})}}


def read(request: dg.RunRequest, name: str = "sl_options") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(request.tags[name])
    return found


def test_options_that_agree_are_merged(instance: dg.DagsterInstance) -> None:
    ticking = Ticking(instance, build_reports_sensor())
    materialize(instance, ORDERS, **carry({"all": {"country": "FR", "level": 1}}))
    materialize(instance, LINES, **carry({"all": {"level": "1"}, "kpi.top": {"country": "DE"}}))
    started = ticking.expect_run()
    assert read(started) == {"all": {"country": "FR", "level": 1}, "kpi.top": {"country": "DE"}}
    assert "sl_options_merge" not in started.tags


def test_without_options_a_run_has_no_tag(instance: dg.DagsterInstance) -> None:
    materialize(instance, ORDERS, LINES)
    assert "sl_options" not in Ticking(instance, build_reports_sensor()).expect_run().tags


def test_options_that_contradict_each_other_start_nothing(instance: dg.DagsterInstance) -> None:
    ticking = Ticking(instance, build_reports_sensor())
    materialize(instance, ORDERS, **carry({"all": {"country": "FR"}}))
    materialize(instance, LINES, **carry({"all": {"country": "DE"}}))
    with pytest.raises(InvalidRunOptions, match=r"different values for the option all\.country: 'FR' and 'DE'"):
        ticking.tick()
    assert ticking.cursor is None
    materialize(instance, LINES, **carry({"all": {"country": "FR"}}))
    assert read(ticking.expect_run()) == {"all": {"country": "FR"}}


def test_sets_are_merged_with_those_of_earlier_materializations(instance: dg.DagsterInstance) -> None:
    ticking = Ticking(instance, build_reports_sensor())
    materialize(instance, ORDERS, **carry({"all": {"days": "1"}}))
    materialize(instance, LINES)
    ticking.expect_run()
    materialize(instance, ORDERS, **carry({"all": {"days": "4 | 2", "level": "a"}}))
    materialize(instance, ORDERS, **carry({"all": {"days": ["3", "2"], "level": "b"}}, {"all": {"days": {"policy": "union"}}}))
    materialize(instance, LINES, **carry({"all": {"days": ""}}))
    started = ticking.expect_run()
    assert read(started) == {"all": {"days": "2|3|4", "level": "b"}}
    assert read(started, "sl_options_merge") == {"all": {"days": UNION}}


@pytest.mark.parametrize(
    ("declaration", "message"),
    [
        ({"policy": "add"}, "expected"),
        ({"policy": "union", "seperator": ";"}, "expected"),
        ({"policy": "union", "separator": ", "}, "expected a separator without spaces"),
        ("union", "expected"),
        ({"policy": "strict"}, "different merge policies"),
    ],
)
def test_wrong_merge_declarations_are_errors(instance: dg.DagsterInstance, declaration: object, message: str) -> None:
    materialize(instance, ORDERS, **carry({"all": {"days": "1"}}, {"all": {"days": declaration}}))
    materialize(instance, LINES, **carry({"all": {"days": "1"}}, {"all": {"days": UNION}}))
    with pytest.raises(InvalidRunOptions, match=message):
        Ticking(instance, build_reports_sensor()).tick()


def test_dry_runs_start_nothing_and_hide_nothing(instance: dg.DagsterInstance) -> None:
    ticking = Ticking(instance, build_reports_sensor())
    dry = {"metadata": {"sl_dry_run": dg.MetadataValue.bool(True)}}
    materialize(instance, ORDERS, LINES, **dry)
    assert ticking.expect_skip() == "No materializations observed"
    materialize(instance, ORDERS, LINES)
    materialize(instance, ORDERS, ORDERS, LINES, **dry)
    ticking.expect_run()
    assert ticking.expect_skip() == "No materializations observed"
