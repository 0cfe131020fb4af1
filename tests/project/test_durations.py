"""Scala's durations."""

from datetime import timedelta

import pytest

from starlake_dagster_components.project.durations import parse_duration


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3 days", timedelta(days=3)),
        ("1 day", timedelta(days=1)),
        ("3d", timedelta(days=3)),
        ("3day", timedelta(days=3)),
        ("2 h", timedelta(hours=2)),
        ("2 hours", timedelta(hours=2)),
        ("2 hrs", timedelta(hours=2)),
        ("30 m", timedelta(minutes=30)),
        ("30 min", timedelta(minutes=30)),
        ("30 mins", timedelta(minutes=30)),
        ("30 minutes", timedelta(minutes=30)),
        ("1.5 hours", timedelta(minutes=90)),
        ("45 seconds", timedelta(seconds=45)),
        ("250 ms", timedelta(milliseconds=250)),
        (" 1  d ", timedelta(days=1)),
        ("-5 min", timedelta(minutes=-5)),
        ("0 days", timedelta(0)),
    ],
)
def test_durations(text: str, expected: timedelta) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize("text", ["1 week", "1 month", "5", "3 D", "days", "", "one day", "3 ds", "1,5 h", "Inf", "400000 days", "1 d 2 h"])
def test_durations_that_scala_rejects(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a duration|is too long"):
        parse_duration(text)
