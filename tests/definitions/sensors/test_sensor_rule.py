"""The rule by which a sensor starts a run, as a pure function."""

# mypy: disable-error-code="arg-type"

from datetime import datetime, timedelta, timezone

import pytest

from starlake_dagster_components.definitions.sensors.cron_ticks import find_interval_before
from starlake_dagster_components.definitions.sensors.rule import (
    Consumption,
    DatasetTiming,
    Decision,
    Materialization,
    Start,
    Wait,
    build_rule,
    decide_run,
    find_trigger_problems,
)
from starlake_dagster_components.pipelines.pipeline import TransformTrigger
from starlake_dagster_components.pipelines.sensor_triggers import InvalidTrigger

NOW = datetime(2026, 1, 9, 12, tzinfo=timezone.utc)
WATCHED = {"sales.orders": "sales_orders", "sales.lines": "sales_lines", "ref.country": "ref_country"}
ORDERS, LINES, COUNTRY = WATCHED.values()
DAILY, WEEKLY = "0 0 * * *", "0 0 * * 1"


def parse_utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


def build_materialization(storage_id: int, logical_time: str = "2026-01-09T10:00") -> Materialization:
    return Materialization(storage_id, f"run{storage_id}", 1_000_000.0 + storage_id, parse_utc(logical_time))


def decide(
    latest: dict[str, Materialization],
    *,
    consumption: Consumption | None = None,
    timings: dict[str, DatasetTiming] | None = None,
    now: datetime = NOW,
    **options: object,
) -> Decision:
    rule = build_rule(TransformTrigger(**options), WATCHED, timings or {})
    return decide_run(rule, latest, consumption or Consumption(), now, find_interval_before)


class TestAll:
    def test_nothing(self) -> None:
        assert decide({}) == Wait("No materializations observed")

    def test_a_missing_asset_is_waited_for(self) -> None:
        decision = decide({LINES: build_materialization(1)})
        assert decision == Wait("Observed materializations for ['sales_lines'], but not for ['sales_orders', 'ref_country']")

    def test_a_run_starts_if_all_assets_are_new(self) -> None:
        latest = {
            ORDERS: build_materialization(1, "2026-01-05"),
            LINES: build_materialization(3, "2026-01-07"),
            COUNTRY: build_materialization(2, "2026-01-06"),
        }
        decision = decide(latest)
        assert decision == Start(latest)
        assert isinstance(decision, Start)
        assert decision.logical_time == parse_utc("2026-01-07")

    def test_consumed_materializations_are_not_new(self) -> None:
        latest = {ORDERS: build_materialization(1), LINES: build_materialization(3), COUNTRY: build_materialization(2)}
        consumption = Consumption().record(latest, NOW)
        assert decide(latest, consumption=consumption) == Wait("No materializations observed")
        assert decide({**latest, LINES: build_materialization(4)}, consumption=consumption) == Wait(
            "Observed materializations for ['sales_lines'], but not for ['sales_orders', 'ref_country']"
        )

    def test_a_newly_watched_asset_counts_if_it_was_materialized_before(self) -> None:
        consumption = Consumption().record({ORDERS: build_materialization(1), LINES: build_materialization(3)}, NOW)
        decision = decide(
            {ORDERS: build_materialization(4), LINES: build_materialization(5), COUNTRY: build_materialization(2)}, consumption=consumption
        )
        assert isinstance(decision, Start)
        assert set(decision.consumed) == {ORDERS, LINES, COUNTRY}

    def test_reused_ids_are_noticed(self) -> None:
        """SQLite reuses the ids of a deleted run."""
        consumption = Consumption().record(
            {ORDERS: build_materialization(7), LINES: build_materialization(8), COUNTRY: build_materialization(9)}, NOW
        )
        again = {a: Materialization(7, "other", 1_000_050.0, NOW) for a in (ORDERS, LINES, COUNTRY)}
        assert isinstance(decide(again, consumption=consumption), Start)

    def test_an_older_materialization_that_appears_later_is_not_new(self) -> None:
        """Two writers may store their materializations of an asset in the wrong order."""
        consumption = Consumption().record(
            {ORDERS: build_materialization(7), LINES: build_materialization(8), COUNTRY: build_materialization(9)}, NOW
        )
        assert decide({ORDERS: build_materialization(6)}, consumption=consumption) == Wait("No materializations observed")

    def test_a_long_list_ends_with_a_count(self) -> None:
        watched = {f"d.t{i}": f"d_t{i}" for i in range(300)}
        decision = decide_run(
            build_rule(TransformTrigger(), watched), {"d_t0": build_materialization(1)}, Consumption(), NOW, find_interval_before
        )
        assert isinstance(decision, Wait)
        assert decision.reason.startswith("Observed materializations for ['d_t0'], but not for ['d_t1', 'd_t2'")
        assert decision.reason.endswith("'d_t100'] and 199 more")


class TestAny:
    def test_nothing(self) -> None:
        assert decide({}, strategy="any") == Wait("No materializations observed")

    def test_one_new_asset_starts_a_run(self) -> None:
        assert decide({LINES: build_materialization(1)}, strategy="any") == Start({LINES: build_materialization(1)})

    def test_all_new_materializations_are_consumed(self) -> None:
        latest = {LINES: build_materialization(1), ORDERS: build_materialization(2)}
        assert decide(latest, strategy=" ANY ") == Start(latest)


class TestExpression:
    EXPRESSION = "sales.orders and (sales.lines or ref.country)"

    @pytest.mark.parametrize(
        ("new", "starts"),
        [
            ((), False),
            ((ORDERS,), False),
            ((LINES, COUNTRY), False),
            ((ORDERS, LINES), True),
            ((ORDERS, COUNTRY), True),
            ((ORDERS, LINES, COUNTRY), True),
        ],
    )
    def test_an_expression_starts_a_run_if_it_is_true(self, new: tuple[str, ...], starts: bool) -> None:
        assert isinstance(decide({a: build_materialization(1) for a in new}, strategy=self.EXPRESSION), Start) == starts

    @pytest.mark.parametrize("strategy", ["sales.orders & (sales.lines | ref.country)", "SALES.Orders && (sales.lines || ref.country)"])
    def test_starlakes_operators_and_case(self, strategy: str) -> None:
        assert isinstance(decide({ORDERS: build_materialization(1), COUNTRY: build_materialization(2)}, strategy=strategy), Start)
        assert isinstance(decide({ORDERS: build_materialization(1)}, strategy=strategy), Wait)

    def test_asset_keys_are_names_too(self) -> None:
        assert isinstance(decide({ORDERS: build_materialization(1)}, strategy="sales_orders or sales_lines"), Start)

    def test_names_that_differ_in_case_only_are_two_datasets(self) -> None:
        watched = {"d.Members": "upper", "d.members": "lower"}
        for name, asset in watched.items():
            rule = build_rule(TransformTrigger(strategy=name), watched)
            assert isinstance(decide_run(rule, {asset: build_materialization(1)}, Consumption(), NOW, find_interval_before), Start)

    def test_the_reason_contains_the_expression(self) -> None:
        assert decide({ORDERS: build_materialization(1)}, strategy=self.EXPRESSION) == Wait(
            "Observed materializations for ['sales_orders'], but not for ['sales_lines', 'ref_country'] "
            "(strategy: sales.orders and (sales.lines or ref.country))"
        )

    def test_an_unknown_name_is_an_error(self) -> None:
        with pytest.raises(InvalidTrigger, match=r"unknown dataset 'sales.order' \(did you mean 'sales.orders'\?\)"):
            build_rule(TransformTrigger(strategy="sales.order or ref.country"), WATCHED)

    def test_datasets_outside_of_the_expression_are_consumed_too(self) -> None:
        latest = {ORDERS: build_materialization(1), LINES: build_materialization(2)}
        assert decide(latest, strategy="sales.orders or ref.country") == Start(latest)


class TestMinTimedeltaBetweenRuns:
    OPTIONS = {"strategy": "any", "min_timedelta_between_runs": timedelta(minutes=15)}

    def test_the_first_run_does_not_wait(self) -> None:
        assert isinstance(decide({ORDERS: build_materialization(1)}, **self.OPTIONS), Start)

    def test_later_runs_wait_and_then_consume_everything(self) -> None:
        consumption = Consumption().record({ORDERS: build_materialization(1)}, NOW)
        waiting = decide({ORDERS: build_materialization(2)}, consumption=consumption, now=NOW + timedelta(minutes=5), **self.OPTIONS)
        assert waiting == Wait(
            "Observed materializations for ['sales_orders'], but the last run was requested at 2026-01-09T12:00:00+00:00, "
            "so the next one can be requested in 600 s (min_timedelta_between_runs)"
        )
        latest = {ORDERS: build_materialization(3), LINES: build_materialization(4)}
        later = decide(latest, consumption=consumption, now=NOW + timedelta(minutes=15), **self.OPTIONS)
        assert later == Start(latest)

    def test_without_a_minimum_runs_follow_immediately(self) -> None:
        consumption = Consumption().record({ORDERS: build_materialization(1)}, NOW)
        assert isinstance(decide({ORDERS: build_materialization(2)}, consumption=consumption, now=NOW, strategy="any"), Start)


class TestDataCycle:
    """Orders and lines arrive daily, country weekly. The cycle is daily."""

    TIMINGS = {"sales.orders": DatasetTiming(DAILY), "sales.lines": DatasetTiming(DAILY), "ref.country": DatasetTiming(WEEKLY)}
    CYCLE = {"data_cycle_enabled": True, "data_cycle": DAILY}

    def consume_monday(self) -> Consumption:
        """A run on Monday the 5th consumed all three."""
        monday = {
            ORDERS: build_materialization(1, "2026-01-05"),
            LINES: build_materialization(2, "2026-01-05"),
            COUNTRY: build_materialization(3, "2026-01-05"),
        }
        return Consumption().record(monday, NOW)

    def test_a_dataset_that_is_updated_less_often_counts_until_its_next_tick(self) -> None:
        latest = {
            ORDERS: build_materialization(4, "2026-01-06"),
            LINES: build_materialization(5, "2026-01-06"),
            COUNTRY: build_materialization(3, "2026-01-05"),
        }
        assert isinstance(decide(latest, consumption=self.consume_monday(), timings=self.TIMINGS), Wait)
        decision = decide(latest, consumption=self.consume_monday(), timings=self.TIMINGS, **self.CYCLE)
        assert isinstance(decision, Start)
        assert set(decision.consumed) == {ORDERS, LINES}
        assert decision.logical_time == parse_utc("2026-01-06")

    def test_a_dataset_that_is_overdue_is_waited_for(self) -> None:
        latest = {
            ORDERS: build_materialization(4, "2026-01-20"),
            LINES: build_materialization(5, "2026-01-20"),
            COUNTRY: build_materialization(3, "2026-01-05"),
        }
        assert decide(latest, consumption=self.consume_monday(), timings=self.TIMINGS, **self.CYCLE) == Wait(
            "Observed materializations for ['sales_orders', 'sales_lines'], but not for ['ref_country'] "
            "(data cycle: since 2026-01-19T00:00:00+00:00)"
        )

    def test_all_datasets_must_be_in_the_same_cycle(self) -> None:
        options = {**self.CYCLE, "consumption": self.consume_monday(), "timings": self.TIMINGS}
        country = {COUNTRY: build_materialization(3, "2026-01-05")}
        apart = {ORDERS: build_materialization(4, "2026-01-06"), LINES: build_materialization(5, "2026-01-08"), **country}
        assert isinstance(decide(apart, **options), Wait)
        assert isinstance(decide({**apart, ORDERS: build_materialization(6, "2026-01-08")}, **options), Start)

    def test_the_previous_cycle_counts_until_the_next_one_is_complete(self) -> None:
        options = {**self.CYCLE, "consumption": self.consume_monday()}
        unscheduled = {
            ORDERS: build_materialization(4, "2026-01-07T09:00"),
            LINES: build_materialization(5, "2026-01-08T10:30"),
            COUNTRY: build_materialization(6, "2026-01-08T10:00"),
        }
        assert isinstance(decide(unscheduled, **options), Start)
        assert isinstance(decide({**unscheduled, ORDERS: build_materialization(4, "2026-01-06T23:00")}, **options), Wait)

    def test_any_starts_a_run_if_all_others_are_in_the_cycle(self) -> None:
        """One dataset is new, and all others have been materialized in the cycle, whether consumed or not."""
        consumption = self.consume_monday().record(
            {ORDERS: build_materialization(4, "2026-01-06"), LINES: build_materialization(5, "2026-01-06")}, NOW
        )
        options = {**self.CYCLE, "strategy": "any", "consumption": consumption, "timings": self.TIMINGS}
        latest = {
            ORDERS: build_materialization(7, "2026-01-06"),
            LINES: build_materialization(5, "2026-01-06"),
            COUNTRY: build_materialization(3, "2026-01-05"),
        }
        assert decide(latest, **options) == Start({ORDERS: build_materialization(7, "2026-01-06")})
        assert isinstance(decide({**latest, ORDERS: build_materialization(8, "2026-01-08")}, **options), Wait)

    def test_an_expression_is_combined_with_the_cycle(self) -> None:
        options = {**self.CYCLE, "strategy": "sales.orders and ref.country", "timings": self.TIMINGS}
        latest = {ORDERS: build_materialization(4, "2026-01-06"), COUNTRY: build_materialization(3, "2026-01-05")}
        assert isinstance(decide(latest, consumption=self.consume_monday(), **options), Start)

    def test_a_slower_optional_dataset_is_not_waited_for(self) -> None:
        """A dataset whose period is longer than the cycle is not waited for."""
        latest = {ORDERS: build_materialization(4, "2026-01-06"), LINES: build_materialization(5, "2026-01-06")}
        assert isinstance(decide(latest, timings=self.TIMINGS, **self.CYCLE), Wait)
        assert isinstance(decide(latest, timings=self.TIMINGS, optional_dataset_enabled=True, **self.CYCLE), Start)
        assert isinstance(decide(latest, timings=self.TIMINGS, optional_dataset_enabled=True, strategy="any", **self.CYCLE), Start)

    @pytest.mark.parametrize(("cron", "starts"), [("0 0 */2 * *", True), (DAILY, False)])
    def test_datasets_that_arrive_every_second_day_are_optional(self, cron: str, starts: bool) -> None:
        latest = {ORDERS: build_materialization(4, "2026-01-06"), LINES: build_materialization(5, "2026-01-06")}
        timings = {**self.TIMINGS, "ref.country": DatasetTiming(cron)}
        decision = decide(latest, timings=timings, optional_dataset_enabled=True, **self.CYCLE)
        assert isinstance(decision, Start) == starts

    def test_a_dataset_is_slower_if_its_period_exceeds_the_cycle_by_half(self) -> None:
        """The hours 0, 4, 8, and so on are the cycle. Five hours exceed four by a quarter, six by a half."""
        latest = {ORDERS: build_materialization(4, "2026-01-06T12:00"), LINES: build_materialization(5, "2026-01-06T12:00")}
        for hours, starts in ((5, False), (6, True)):
            timings = {"ref.country": DatasetTiming(f"0 */{hours} * * *")}
            decision = decide(latest, timings=timings, optional_dataset_enabled=True, data_cycle_enabled=True, data_cycle="0 */4 * * *")
            assert isinstance(decision, Start) == starts

    @pytest.mark.parametrize("strategy", ["all", "any"])
    def test_the_reason_does_not_name_optional_datasets(self, strategy: str) -> None:
        decision = decide(
            {ORDERS: build_materialization(4, "2026-01-06")},
            timings=self.TIMINGS,
            optional_dataset_enabled=True,
            strategy=strategy,
            **self.CYCLE,
        )
        assert isinstance(decision, Wait)
        assert "but not for ['sales_lines'] (data cycle" in decision.reason

    def test_freshness_makes_a_dataset_optional(self) -> None:
        """Without a schedule, the period of a dataset is its freshness."""
        latest = {ORDERS: build_materialization(4, "2026-01-06"), LINES: build_materialization(5, "2026-01-06")}
        for days, starts in ((2, True), (1, False)):
            timings = {**self.TIMINGS, "ref.country": DatasetTiming(freshness=timedelta(days=days))}
            decision = decide(latest, timings=timings, optional_dataset_enabled=True, **self.CYCLE)
            assert isinstance(decision, Start) == starts

    def test_optional_has_no_effect_without_a_cycle(self) -> None:
        latest = {ORDERS: build_materialization(4, "2026-01-06"), LINES: build_materialization(5, "2026-01-06")}
        assert isinstance(decide(latest, timings=self.TIMINGS, optional_dataset_enabled=True), Wait)

    @pytest.mark.parametrize(("strategy", "missing"), [("all", "['sales_orders', 'ref_country']"), ("any", "['ref_country']")])
    def test_missing_materializations_depend_on_the_strategy(self, strategy: str, missing: str) -> None:
        """The orders of the cycle are consumed, which is enough for ``any``."""
        consumption = Consumption().record({ORDERS: build_materialization(4, "2026-01-06")}, NOW)
        latest = {
            ORDERS: build_materialization(4, "2026-01-06"),
            LINES: build_materialization(5, "2026-01-06"),
            COUNTRY: build_materialization(3, "2025-12-01"),
        }
        assert decide(latest, consumption=consumption, strategy=strategy, **self.CYCLE) == Wait(
            f"Observed materializations for ['sales_lines', 'ref_country'], but not for {missing} "
            "(data cycle: since 2026-01-05T00:00:00+00:00)"
        )

    @pytest.mark.parametrize(("days", "starts"), [(1, False), (6, False), (7, True)])
    def test_only_datasets_that_may_miss_a_cycle_may_be_late(self, days: int, starts: bool) -> None:
        timings = {"sales.orders": DatasetTiming(DAILY, freshness=timedelta(days=days))}
        latest = {
            ORDERS: build_materialization(1, "2026-01-10T12:00"),
            LINES: build_materialization(2, "2026-01-12"),
            COUNTRY: build_materialization(3, "2026-01-12"),
        }
        decision = decide(latest, timings=timings, data_cycle_enabled=True, data_cycle=WEEKLY)
        assert isinstance(decision, Start) is starts

    def test_months_of_different_lengths_have_the_same_period(self) -> None:
        """A month of 31 days before February does not make the period of a dataset longer than a month."""
        timings = {"ref.country": DatasetTiming("0 0 25 * *")}
        consumption = Consumption().record({COUNTRY: build_materialization(3, "2026-02-10")}, NOW)
        latest = {
            ORDERS: build_materialization(4, "2026-03-01"),
            LINES: build_materialization(5, "2026-03-01"),
            COUNTRY: build_materialization(3, "2026-02-10"),
        }
        options = {"timings": timings, "data_cycle_enabled": True, "data_cycle": "0 0 1 * *"}
        assert isinstance(decide(latest, consumption=consumption, **options), Wait)
        assert isinstance(decide({**latest, COUNTRY: build_materialization(6, "2026-02-25")}, consumption=consumption, **options), Start)

    def test_a_dataset_may_be_late_by_its_freshness(self) -> None:
        """A dataset may be late by its freshness."""
        late = {"ref.country": DatasetTiming(WEEKLY, freshness=timedelta(days=3))}
        timings = {**self.TIMINGS, **late}
        latest = {
            ORDERS: build_materialization(4, "2026-01-20"),
            LINES: build_materialization(5, "2026-01-20"),
            COUNTRY: build_materialization(3, "2026-01-10"),
        }
        options = {**self.CYCLE, "timings": timings, "consumption": self.consume_monday()}
        assert isinstance(decide(latest, **options), Start)
        assert isinstance(decide(latest, beyond_data_cycle_enabled=False, **options), Wait)
        assert isinstance(decide({**latest, COUNTRY: build_materialization(3, "2026-01-09")}, **options), Wait)

    @pytest.mark.parametrize(
        ("options", "freshness", "days"),
        [
            ({}, 0, [5, 12]),
            (CYCLE, 0, [5, 6, 7, 8, 9, 10, 11, 12]),
            ({**CYCLE, "optional_dataset_enabled": True}, 0, [5, 6, 7, 8, 9, 10, 11, 12]),
            (CYCLE, 3, [5, 6, 7, 8, 9, 10, 11, 12]),
        ],
    )
    def test_runs_start_as_in_the_documentations_example(self, options: dict[str, object], freshness: int, days: list[int]) -> None:
        """Orders arrive daily. Countries arrive on Monday the 5th and, depending on the case, on the 12th."""
        timings = {**self.TIMINGS, "ref.country": DatasetTiming(WEEKLY, freshness=timedelta(days=freshness))}
        consumption, runs = Consumption(), []
        latest: dict[str, Materialization] = {}
        for day in range(5, 13):
            for asset in (ORDERS, LINES, *((COUNTRY,) if day in (5, 12) else ())):
                latest[asset] = build_materialization(day * 10, f"2026-01-{day:02}")
            decision = decide(dict(latest), consumption=consumption, timings=timings, **options)
            if isinstance(decision, Start):
                runs.append(day)
                consumption = consumption.record(decision.consumed, NOW)
        assert runs == days
        of_the_5th = {COUNTRY: build_materialization(50, "2026-01-05")}
        consumption = Consumption().record(of_the_5th, NOW)
        missing = {
            day: isinstance(
                decide(
                    {a: build_materialization(day * 10, f"2026-01-{day:02}") for a in (ORDERS, LINES)} | of_the_5th,
                    consumption=consumption,
                    timings=timings,
                    **options,
                ),
                Start,
            )
            for day in (12, 19)
        }
        optional = bool(options.get("optional_dataset_enabled"))
        assert missing == {12: optional or freshness == 3, 19: optional}

    def test_the_cycle_follows_from_the_schedules_when_all_have_one(self) -> None:
        latest = {
            ORDERS: build_materialization(4, "2026-01-06"),
            LINES: build_materialization(5, "2026-01-06"),
            COUNTRY: build_materialization(3, "2026-01-05"),
        }
        derived = decide(latest, consumption=self.consume_monday(), timings=self.TIMINGS, data_cycle_enabled=True)
        assert isinstance(derived, Start)
        incomplete = {k: v for k, v in self.TIMINGS.items() if k != "sales.lines"}
        assert isinstance(decide(latest, consumption=self.consume_monday(), timings=incomplete, data_cycle_enabled=True), Wait)
        unscheduled = {**self.TIMINGS, "sales.lines": DatasetTiming(freshness=timedelta(days=1))}
        assert isinstance(decide(latest, consumption=self.consume_monday(), timings=unscheduled, data_cycle_enabled=True), Wait)

    def test_data_cycle_without_data_cycle_enabled_has_no_effect(self) -> None:
        latest = {
            ORDERS: build_materialization(4, "2026-01-06"),
            LINES: build_materialization(5, "2026-01-06"),
            COUNTRY: build_materialization(3, "2026-01-05"),
        }
        assert isinstance(decide(latest, consumption=self.consume_monday(), timings=self.TIMINGS, data_cycle=DAILY), Wait)

    def test_a_daily_schedule_in_another_zone_is_not_slower_when_the_clock_changes(self) -> None:
        timings = {**self.TIMINGS, "sales.orders": DatasetTiming(DAILY, "Europe/Paris")}
        latest = {
            LINES: build_materialization(5, "2026-10-26"),
            COUNTRY: build_materialization(6, "2026-10-26"),
            ORDERS: build_materialization(1, "2026-10-25T22:00"),
        }
        decision = decide(latest, consumption=Consumption({ORDERS: 1}, 2e9), timings=timings, **self.CYCLE)
        assert isinstance(decision, Wait)


class TestFilteredDatasets:
    def test_filtered_datasets_are_not_waited_for(self) -> None:
        latest = {ORDERS: build_materialization(1), LINES: build_materialization(2)}
        assert isinstance(decide(latest), Wait)
        assert decide({**latest, COUNTRY: build_materialization(3)}, filtered_datasets=frozenset({"REF.country"})) == Start(latest)

    def test_filtered_datasets_may_have_the_names_of_assets(self) -> None:
        latest = {ORDERS: build_materialization(1), LINES: build_materialization(2)}
        assert decide(latest, filtered_datasets=frozenset({"Ref_Country"})) == Start(latest)

    def test_nothing_starts_if_all_datasets_are_filtered(self) -> None:
        assert decide({ORDERS: build_materialization(1)}, filtered_datasets=frozenset(WATCHED)) == Wait("No materializations observed")


class TestProblems:
    def find_problems(self, timings: dict[str, DatasetTiming] | None = None, **options: object) -> list[tuple[str, str, str]]:
        found = find_trigger_problems(TransformTrigger(**options), WATCHED, timings or {})
        return [(p.severity, p.option, p.message) for p in found]

    def test_valid_options_cause_no_problems(self) -> None:
        assert self.find_problems() == []
        assert self.find_problems(strategy="sales.orders or ref.country", data_cycle_enabled=True, data_cycle=DAILY) == []
        assert (
            self.find_problems(
                strategy="sales.orders or ref.country", optional_dataset_enabled=True, data_cycle_enabled=True, data_cycle=DAILY
            )
            == []
        )

    def test_an_unknown_dataset_in_a_strategy_is_an_error(self) -> None:
        message = "option 'dataset_triggering_strategy': unknown dataset 'ref.county' (did you mean 'ref.country'?)"
        assert self.find_problems(strategy="sales.orders or ref.county") == [("error", "dataset_triggering_strategy", message)]

    def test_a_cycle_without_schedules_is_a_warning(self) -> None:
        ((severity, option, message),) = self.find_problems(data_cycle_enabled=True, timings={"sales.orders": DatasetTiming(DAILY)})
        assert (severity, option) == ("warning", "data_cycle_enabled")
        assert "because ref_country, sales_lines have no schedule" in message
        timings = {**TestDataCycle.TIMINGS, "sales.lines": DatasetTiming(freshness=timedelta(days=1))}
        ((_, _, message),) = self.find_problems(data_cycle_enabled=True, timings=timings)
        assert "because sales_lines has no schedule" in message

    def test_optional_datasets_without_a_cycle_are_a_warning(self) -> None:
        ((severity, option, _),) = self.find_problems(optional_dataset_enabled=True)
        assert (severity, option) == ("warning", "optional_dataset_enabled")
