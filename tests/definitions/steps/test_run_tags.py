"""Tags with the times of a run, and with what started it."""

import json
from datetime import datetime, timezone

import pytest

from starlake_dagster_components.definitions.steps.run_tags import (
    MAX_TRIGGERED_BY,
    build_time_tags,
    format_triggered_by,
    parse_time,
    read_tagged_time,
)

UTC = timezone.utc


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-05T02:30:00+01:00", datetime(2026, 1, 5, 1, 30, tzinfo=UTC)),
        ("2026-01-05T02:30:00+0000", datetime(2026, 1, 5, 2, 30, tzinfo=UTC)),
        ("2026-01-05T02:30:00Z", datetime(2026, 1, 5, 2, 30, tzinfo=UTC)),
        ("2026-01-05T02:30:00", datetime(2026, 1, 5, 2, 30, tzinfo=UTC)),
        ("2026-01-05 02:30:00", datetime(2026, 1, 5, 2, 30, tzinfo=UTC)),
        ("2026-01-05", datetime(2026, 1, 5, tzinfo=UTC)),
        ("2026-01-05T02:30:00.123456+00:00", datetime(2026, 1, 5, 2, 30, 0, 123456, tzinfo=UTC)),
        ("2026-01-05T02.30.00_0000", datetime(2026, 1, 5, 2, 30, tzinfo=UTC)),
        ("2026-01-05T02.30.00_0200", datetime(2026, 1, 5, 0, 30, tzinfo=UTC)),
        ("2026-01-05T02.30.00-0500", datetime(2026, 1, 5, 7, 30, tzinfo=UTC)),
        ("", None),
        ("FR", None),
        ("2026", None),
        ("2026-13-05", None),
        ("2026-01-05-fr", None),
    ],
)
def test_times_in_tags_are_parsed(text: str, expected: datetime | None) -> None:
    assert parse_time(text) == expected


def test_time_tags_can_be_read_back() -> None:
    start, end = datetime(2026, 1, 4, tzinfo=UTC), datetime(2026, 1, 5, 1, 2, 3, tzinfo=UTC)
    tags = build_time_tags(end, start, end)
    assert tags == {
        "starlake/scheduled_date": "2026-01-05T01:02:03+00:00",
        "starlake/data_interval_start": "2026-01-04T00:00:00+00:00",
        "starlake/data_interval_end": "2026-01-05T01:02:03+00:00",
    }
    assert read_tagged_time(tags, "starlake/data_interval_start") == start
    assert read_tagged_time(tags, "other") is None


def test_the_origin_of_a_run() -> None:
    assert json.loads(format_triggered_by([("a", 12, "r1"), ("b", 3, "r2")])) == {"a": [12, "r1"], "b": [3, "r2"]}


@pytest.mark.parametrize("count", [0, 1, 10, 39, 40, 41, 42, 60, 500, 20_000])
def test_a_long_list_is_cut_and_ends_with_the_number_left_out(count: int) -> None:
    text = format_triggered_by((f"asset_{i}", i, "r" * 36) for i in range(count))
    assert len(text) <= MAX_TRIGGERED_BY
    listed = json.loads(text)
    assert listed.pop("...", 0) == count - len(listed)
    assert len(listed) >= min(count, 20)
