"""The cursor of a sensor: its state between ticks."""

import json
import math
from datetime import datetime, timezone

import dagster as dg
import pytest

from starlake_dagster_components.definitions.sensors.cursor import read_cursor, write_cursor
from starlake_dagster_components.definitions.sensors.rule import Consumption

KEYS = {"orders": dg.AssetKey("orders"), "lines": dg.AssetKey(["shop", "lines"])}
RUN = datetime(2026, 1, 9, 12, 30, tzinfo=timezone.utc)


def test_a_written_cursor_is_read_back() -> None:
    consumption = Consumption(storage_ids={"orders": 7, "lines": 9}, watermark=1_700_000_000.25, last_run=RUN)
    found = read_cursor(write_cursor(consumption, KEYS), KEYS)
    assert found.storage_ids == {"orders": 7, "lines": 9}
    assert found.last_run == RUN


@pytest.mark.parametrize("time", [1_700_000_000.0, 1_700_000_000.123456, 1_700_000_000.9999999, 1_764_385_200.333333])
def test_a_consumed_materialization_never_looks_younger_than_the_watermark(time: float) -> None:
    found = read_cursor(write_cursor(Consumption(watermark=time), KEYS), KEYS)
    assert time < found.watermark <= time + 3e-6


def test_the_watermark_is_the_next_microsecond() -> None:
    written = json.loads(write_cursor(Consumption(watermark=1_700_000_000.0), KEYS))
    assert written["starlake"][1] == 1_700_000_000_000_001


def test_entries_of_another_form_are_not_read() -> None:
    cursor = json.dumps({str(KEYS["orders"]): [None, 5], str(KEYS["lines"]): [None, 7, {}]})
    assert read_cursor(cursor, KEYS).storage_ids == {"lines": 7}


def test_before_the_first_run_no_state_is_kept() -> None:
    assert read_cursor(None, KEYS) == Consumption()
    assert read_cursor("[1]", KEYS) == Consumption()


def test_assets_that_are_no_longer_watched_are_forgotten() -> None:
    cursor = write_cursor(Consumption(storage_ids={"orders": 7, "gone": 3}, watermark=1.0), KEYS)
    assert read_cursor(cursor, KEYS).storage_ids == {"orders": 7}
    assert read_cursor(write_cursor(Consumption(storage_ids={"orders": 7, "lines": 2}), KEYS), {"lines": KEYS["lines"]}).storage_ids == {
        "lines": 2
    }


def test_the_cursor_of_dagster_s_own_sensors_is_read() -> None:
    cursor = json.dumps({str(KEYS["orders"]): [None, 5, {}], str(KEYS["lines"]): [None, None, {}]})
    found = read_cursor(cursor, KEYS)
    assert found.storage_ids == {"orders": 5}
    assert math.isinf(found.watermark)
    assert found.last_run is None


def test_an_infinite_watermark_is_read_back() -> None:
    cursor = write_cursor(Consumption(storage_ids={"orders": 5}, watermark=math.inf), KEYS)
    assert json.loads(cursor)["starlake"] == [None, None, {}]
    assert math.isinf(read_cursor(cursor, KEYS).watermark)
