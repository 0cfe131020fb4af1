"""Presets, inline crons and time zones."""

import pytest
from plan_builders import TRANSFORM, dag, list_messages, plan, table, task

from starlake_dagster_components.errors import InvalidSetting
from starlake_dagster_components.pipelines.pipeline import Plan


def list_crons(made: Plan) -> dict[str, str | None]:
    return {p.name: p.schedule.cron if p.schedule else None for p in made.pipelines}


@pytest.mark.parametrize(
    ("schedule", "cron"),
    [
        ("daily", "0 0 * * *"),
        ("weekly", "0 0 * * 1"),
        ("hourly", "0 * * * *"),
        ("monthly", "0 0 1 * *"),
        ("yearly", "0 0 1 1 *"),
        ("0 6 * * 1-5", "0 6 * * 1-5"),
        (" 0  6 * * 1-5 ", "0 6 * * 1-5"),
        ("@daily", "@daily"),
        ("nightly", "30 2 * * *"),
        ("None", None),
        ("none", None),
        ("", None),
        (None, None),
        ("never", None),
    ],
)
def test_presets_and_crons(schedule: str | None, cron: str | None) -> None:
    presets = {"nightly": "30 2 * * *", "never": "None"}
    nodes = (table("a.x", schedule), dag("load", "l.py"), task("k.t", schedule=schedule), dag("transform", "t.py", TRANSFORM))
    made = plan(*nodes, presets=presets)
    assert list_crons(made) == {"l": cron, "t": cron}
    assert list_messages(made) == []


def test_a_projects_preset_replaces_starlakes() -> None:
    made = plan(table("a.x", "daily"), dag("load", "l.py"), presets={"daily": "0 5 * * *"})
    assert list_crons(made) == {"l": "0 5 * * *"}


def test_every_spelling_of_no_schedule_gives_one_pipeline() -> None:
    made = plan(table("a.x", "None"), table("a.y", ""), table("a.z", "NONE"), table("a.w"), dag("load", "l.py"))
    assert list_crons(made) == {"l": None}


def test_an_unknown_preset_is_an_error_at_its_line() -> None:
    made = plan(table("a.x", "dayly"), table("a.y", "xyz"), dag("load", "l.py"))
    assert list_messages(made) == [
        "metadata/load/a/x.sl.yml:2: unknown schedule 'dayly' (did you mean 'daily'?): neither a preset nor a cron",
        "metadata/load/a/y.sl.yml:2: unknown schedule 'xyz': neither a preset nor a cron; "
        "known presets: daily, hourly, monthly, weekly, yearly",
    ]


def test_a_wrong_cron_is_an_error_at_every_place_that_sets_it() -> None:
    made = plan(table("a.x", "61 * * * *"), table("a.y", "61 * * * *"), dag("load", "l.py"))
    where = [str(p.location) for p in made.problems]
    assert where == ["metadata/load/a/x.sl.yml:2", "metadata/load/a/y.sl.yml:2"]
    assert "'61' (minute) is out of range" in list_messages(made)[0]


def test_a_quartz_cron_gets_its_equivalent() -> None:
    (message,) = list_messages(plan(task("k.t", schedule="0 0 1 * * ?"), dag("transform", "t.py", TRANSFORM)))
    assert message == (
        "metadata/transform/k/t.sl.yml:2: cron '0 0 1 * * ?' has 6 fields, like those of Quartz; expected five "
        "(minute, hour, day of month, month, day of week): write '0 1 * * *'"
    )


def test_a_wrong_preset_is_an_error_where_it_is_defined() -> None:
    made = plan(table("a.x", "mine"), table("b.y", "mine"), dag("load", "l.py"), presets={"mine": "0 0 0 * *"})
    (message,) = list_messages(made)
    assert message.startswith("metadata/application.sl.yml:4: preset 'mine': cron '0 0 0 * *'")


def test_the_schedule_of_a_task_that_is_not_followed_is_checked_as_well() -> None:
    made = plan(task("k.a", schedule="daily"), task("k.b", schedule="dialy"), dag("transform", "t.py", TRANSFORM))
    assert any("unknown schedule 'dialy' (did you mean 'daily'?)" in m for m in list_messages(made, "error"))


def get_zone(made: Plan) -> str | None:
    assert made.pipelines[0].schedule
    return made.pipelines[0].schedule.timezone


def test_the_time_zone_is_the_option_or_the_setting() -> None:
    x = table("a.x", "daily")
    assert get_zone(plan(x, dag("load", "l.py"))) is None
    assert get_zone(plan(x, dag("load", "l.py"), timezone="Asia/Tokyo")) == "Asia/Tokyo"
    assert get_zone(plan(x, dag("load", "l.py", SL_TIMEZONE="Europe/Paris"), timezone="Asia/Tokyo")) == "Europe/Paris"
    assert get_zone(plan(x, dag("load", "l.py", SL_TIMEZONE="Europe/Paris", timezone="America/Lima"))) == "America/Lima"


def test_an_unknown_time_zone() -> None:
    made = plan(table("a.x", "daily"), dag("load", "l.py", SL_TIMEZONE="Europe/Pariss"))
    assert list_messages(made) == [
        "metadata/dags/load.sl.yml:5: option 'SL_TIMEZONE': unknown time zone 'Europe/Pariss' (did you mean 'Europe/Paris'?); "
        "expected an IANA name like Europe/Paris"
    ]
    with pytest.raises(InvalidSetting, match="did you mean 'Europe/Paris'"):
        plan(timezone="Europe/Pari")


def test_a_preset_named_like_a_number_does_not_capture_an_inline_cron() -> None:
    made = plan(table("a.x", "0 7 * * *"), dag("load", "l.py"), presets={"cron1": "0 0 1 1 *"})
    assert list_crons(made) == {"l": "0 7 * * *"}
