"""Sensors in real Dagster instances."""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import dagster as dg
import pytest
from dagster_home import open_instance
from sqlalchemy import event
from sqlalchemy.engine import Engine
from ticking_sensor import LINES, ORDERS, Ticking, build_reports_sensor, materialize

from starlake_dagster_components.definitions.sensors.rule import DatasetTiming
from starlake_dagster_components.pipelines.pipeline import TransformTrigger
from starlake_dagster_components.pipelines.sensor_triggers import InvalidTrigger


@pytest.fixture(params=["memory", "disk"])
def instance(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() if request.param == "memory" else open_instance(tmp_path) as instance:
        yield instance


def read_consumed(request: dg.RunRequest) -> dict[str, list[object]]:
    found: dict[str, list[object]] = json.loads(request.tags[".dagster/starlake_triggered_by"])
    return found


class TestDefinition:
    def test_a_sensor_has_starlakes_defaults(self) -> None:
        built = build_reports_sensor(description="Starts reports")
        assert isinstance(built, dg.MultiAssetSensorDefinition)
        assert built.name == "reports_sensor"
        assert built.job_name == "reports"
        assert built.minimum_interval_seconds == 60
        assert built.default_status is dg.DefaultSensorStatus.RUNNING
        assert built.description == "Starts reports"

    def test_options_override_the_defaults_of_a_sensor(self) -> None:
        built = build_reports_sensor(default_status=dg.DefaultSensorStatus.STOPPED, minimum_interval_seconds=5, tags={"team": "sales"})
        assert built.default_status is dg.DefaultSensorStatus.STOPPED
        assert built.minimum_interval_seconds == 5
        assert built.tags["team"] == "sales"

    def test_building_a_sensor_emits_no_warnings(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            build_reports_sensor()

    def test_a_sensor_can_be_part_of_definitions(self) -> None:
        definitions = dg.Definitions(
            assets=[dg.AssetsDefinition(specs=[dg.AssetSpec("report")])],
            jobs=[dg.define_asset_job("reports", selection="report")],
            sensors=[build_reports_sensor()],
        )
        assert definitions.resolve_sensor_def("reports_sensor").job_name == "reports"

    def test_an_unknown_dataset_is_an_error(self) -> None:
        with pytest.raises(InvalidTrigger, match=r"unknown dataset 'sales\.order'"):
            build_reports_sensor(trigger=TransformTrigger(strategy="sales.order and sales.lines"))


class TestTicks:
    def test_a_run_starts_once_all_assets_are_materialized(self, instance: dg.DagsterInstance) -> None:
        ticking = Ticking(instance, build_reports_sensor())
        assert ticking.expect_skip() == "No materializations observed"
        materialize(instance, LINES)
        assert ticking.expect_skip() == "Observed materializations for ['sales/lines'], but not for ['sales_orders']"
        materialize(instance, ORDERS)
        request = ticking.expect_run()
        assert set(read_consumed(request)) == {"sales_orders", "sales/lines"}
        assert ticking.expect_skip() == "No materializations observed"

    def test_a_new_sensor_consumes_only_the_latest_materializations_once(self, instance: dg.DagsterInstance) -> None:
        for _ in range(5):
            materialize(instance, ORDERS, LINES)
        ticking = Ticking(instance, build_reports_sensor())
        ticking.expect_run()
        assert ticking.expect_skip() == "No materializations observed"

    def test_several_in_one_tick_are_one_run(self, instance: dg.DagsterInstance) -> None:
        ticking = Ticking(instance, build_reports_sensor())
        materialize(instance, ORDERS, ORDERS, LINES, ORDERS)
        ticking.expect_run()
        assert ticking.expect_skip() == "No materializations observed"

    def test_materializations_during_an_evaluation_are_not_lost(
        self, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ticking = Ticking(instance, build_reports_sensor())
        materialize(instance, ORDERS, LINES)
        read = instance.get_asset_records

        def read_and_be_overtaken(keys: object = None) -> object:
            records = read(keys)  # type: ignore[arg-type]
            monkeypatch.undo()
            materialize(instance, ORDERS, LINES)
            return records

        monkeypatch.setattr(instance, "get_asset_records", read_and_be_overtaken)
        first = ticking.expect_run()
        second = ticking.expect_run()
        assert first.run_key != second.run_key
        assert ticking.expect_skip() == "No materializations observed"

    def test_the_same_materializations_have_the_same_run_key(self, instance: dg.DagsterInstance) -> None:
        """If the daemon died before it stored the cursor, Dagster recognizes the run by its key, and does not start another."""
        ticking = Ticking(instance, build_reports_sensor())
        materialize(instance, ORDERS, LINES)
        first = ticking.tick(keep=False)
        again = ticking.expect_run()
        assert isinstance(first, dg.RunRequest)
        assert first.run_key == again.run_key
        materialize(instance, ORDERS, LINES)
        assert ticking.expect_run().run_key != again.run_key

    def test_progress_survives_a_restart(self, tmp_path: Path) -> None:
        cursor = None
        for keys, fires in (((ORDERS,), False), ((), False), ((LINES,), True), ((), False), ((LINES,), False), ((ORDERS,), True)):
            with open_instance(tmp_path) as instance:
                materialize(instance, *keys)
                ticking = Ticking(instance, build_reports_sensor())
                ticking.cursor = cursor
                assert isinstance(ticking.tick(), dg.RunRequest) == fires
                cursor = ticking.cursor

    def test_cursors_of_dagsters_sensors_are_read(self, instance: dg.DagsterInstance) -> None:
        """A generated sensor with the same name may have stored its cursor."""
        materialize(instance, ORDERS, LINES)
        ticking = Ticking(instance, build_reports_sensor())
        with dg.build_multi_asset_sensor_context(
            monitored_assets=ticking.keys, instance=instance, repository_def=ticking.repository
        ) as context:
            assert isinstance(context, dg.MultiAssetSensorEvaluationContext)
            context.advance_all_cursors()  # type: ignore[no-untyped-call]
            context.update_cursor_after_evaluation()
            ticking.cursor = context.cursor
        assert ticking.expect_skip() == "No materializations observed"
        materialize(instance, ORDERS, LINES)
        ticking.expect_run()
        assert ticking.expect_skip() == "No materializations observed"

    def test_dagster_understands_the_cursor(self, instance: dg.DagsterInstance) -> None:
        ticking = Ticking(instance, build_reports_sensor())
        materialize(instance, ORDERS, LINES)
        ticking.expect_run()
        materialize(instance, LINES)
        with dg.build_multi_asset_sensor_context(
            monitored_assets=ticking.keys, instance=instance, cursor=ticking.cursor, repository_def=ticking.repository
        ) as context:
            assert isinstance(context, dg.MultiAssetSensorEvaluationContext)
            found = context.latest_materialization_records_by_key()
        assert {key: record is not None for key, record in found.items()} == {ORDERS: False, LINES: True}

    def test_an_upstream_that_fails_and_is_repaired(self, instance: dg.DagsterInstance) -> None:
        broken = True

        @dg.asset(key=LINES)
        def lines() -> None:
            if broken:
                raise dg.Failure("no file")

        ticking = Ticking(instance, build_reports_sensor())
        materialize(instance, ORDERS)
        assert not dg.materialize([lines], instance=instance, raise_on_error=False).success
        assert "but not for ['sales/lines']" in (ticking.expect_skip() or "")
        broken = False
        assert dg.materialize([lines], instance=instance).success
        ticking.expect_run()

    def test_observations_and_plans_are_not_materializations(self, instance: dg.DagsterInstance) -> None:
        ticking = Ticking(instance, build_reports_sensor())
        for key in (ORDERS, LINES):
            instance.report_runless_asset_event(dg.AssetObservation(key))
        assert ticking.expect_skip() == "No materializations observed"

    def test_a_sensor_waits_again_for_a_wiped_asset(self, instance: dg.DagsterInstance) -> None:
        ticking = Ticking(instance, build_reports_sensor())
        materialize(instance, ORDERS, LINES)
        instance.wipe_assets([LINES])
        assert ticking.expect_skip() == "Observed materializations for ['sales_orders'], but not for ['sales/lines']"
        materialize(instance, LINES)
        ticking.expect_run()

    def test_materializations_of_many_partitions_are_consumed(self, instance: dg.DagsterInstance) -> None:
        """Generated DAGs give each materialization its own partition. Dagster's advance_cursor fails at the 25th."""
        ticking = Ticking(instance, build_reports_sensor())
        for day in range(1, 29):
            materialize(instance, ORDERS, partition=f"2026-01-{day:02}")
        materialize(instance, LINES)
        ticking.expect_run()
        for day in range(1, 29):
            materialize(instance, ORDERS, partition=f"2026-02-{day:02}")
        assert "but not for ['sales/lines']" in (ticking.expect_skip() or "")
        materialize(instance, LINES)
        ticking.expect_run()

    def test_materializations_with_reused_ids_are_consumed(self, tmp_path: Path) -> None:
        @dg.multi_asset(specs=[dg.AssetSpec(ORDERS), dg.AssetSpec(LINES)])
        def both():  # type: ignore[no-untyped-def]
            yield dg.MaterializeResult(ORDERS)
            yield dg.MaterializeResult(LINES)

        with open_instance(tmp_path) as instance:
            ticking = Ticking(instance, build_reports_sensor())
            started = []
            for _ in range(3):
                run_id = dg.materialize([both], instance=instance).run_id
                started.append(ticking.expect_run())
                assert ticking.expect_skip() == "No materializations observed"
                instance.delete_run(run_id)
        assert len({json.dumps([entry[0] for entry in read_consumed(request).values()]) for request in started}) == 1
        assert len({request.run_key for request in started}) == 3

    def test_an_asset_may_have_two_dataset_names(self, instance: dg.DagsterInstance) -> None:
        watched = {"sales.orders": ORDERS, "SALES.ORDERS": ORDERS}
        ticking = Ticking(instance, build_reports_sensor(watched), watched)
        materialize(instance, ORDERS)
        assert list(read_consumed(ticking.expect_run())) == ["sales_orders"]

    def test_strategies_and_cycles_start_runs(self, instance: dg.DagsterInstance) -> None:
        any_of = Ticking(instance, build_reports_sensor(trigger=TransformTrigger(strategy="any")))
        expression = Ticking(instance, build_reports_sensor(trigger=TransformTrigger(strategy="sales.orders & sales.lines")))
        cycle = Ticking(
            instance,
            build_reports_sensor(
                trigger=TransformTrigger(data_cycle_enabled=True, data_cycle="0 0 * * *", optional_dataset_enabled=True),
                timings={"sales.lines": DatasetTiming("0 0 * * 1")},
            ),
        )
        materialize(instance, ORDERS)
        any_of.expect_run()
        cycle.expect_run()
        assert (expression.expect_skip() or "").endswith("but not for ['sales/lines'] (strategy: sales.orders & sales.lines)")

    def test_min_timedelta_between_runs_delays_the_next_run(self, instance: dg.DagsterInstance) -> None:
        ticking = Ticking(
            instance, build_reports_sensor(trigger=TransformTrigger(strategy="any", min_timedelta_between_runs=timedelta(hours=1)))
        )
        materialize(instance, ORDERS)
        ticking.expect_run()
        materialize(instance, LINES)
        assert "(min_timedelta_between_runs)" in (ticking.expect_skip() or "")


class TestTags:
    def build_metadata(self, text: str) -> dict[str, object]:
        return {"metadata": {"starlake/scheduled_date": text}}

    def test_the_logical_time_is_the_newest_one(self, instance: dg.DagsterInstance) -> None:
        materialize(instance, ORDERS, **self.build_metadata("2026-01-05T02:00:00+01:00"))
        materialize(instance, LINES, **self.build_metadata("2026-01-05T00:30:00+00:00"))
        tags = Ticking(instance, build_reports_sensor()).expect_run().tags
        assert tags["starlake/scheduled_date"] == "2026-01-05T01:00:00+00:00"
        assert tags["starlake/data_interval_start"] == "1970-01-01T00:00:00+00:00"
        assert tags["starlake/data_interval_end"] == "2026-01-05T01:00:00+00:00"

    @pytest.mark.parametrize(
        "arguments",
        [
            {"metadata": {"starlake/scheduled_date": dg.MetadataValue.timestamp(datetime(2130, 1, 5, tzinfo=timezone.utc))}},
            {"metadata": {"sl_scheduled_date": dg.MetadataValue.timestamp(datetime(2130, 1, 5, tzinfo=timezone.utc))}},
            {"tags": {"sl_data_interval_end": "2130-01-05T00.00.00_0000"}},
            {"partition": "2130-01-05T00:00:00+0000"},
            {"partition": "2130-01-05", "metadata": {"starlake/scheduled_date": "nonsense"}},
        ],
    )
    def test_the_logical_time_is_read_as_starlake_dagster_writes_it(
        self, instance: dg.DagsterInstance, arguments: dict[str, object]
    ) -> None:
        materialize(instance, ORDERS, **arguments)
        materialize(instance, LINES)
        assert Ticking(instance, build_reports_sensor()).expect_run().tags["starlake/scheduled_date"] == "2130-01-05T00:00:00+00:00"

    def test_without_a_logical_time_the_time_of_the_event_is_used(self, instance: dg.DagsterInstance) -> None:
        before = datetime.now(timezone.utc)
        materialize(instance, ORDERS, LINES, partition="FR")
        found = datetime.fromisoformat(Ticking(instance, build_reports_sensor()).expect_run().tags["starlake/scheduled_date"])
        assert before <= found <= datetime.now(timezone.utc)

    def test_tags_follow_the_time_zone_and_start_date(self, instance: dg.DagsterInstance) -> None:
        materialize(instance, ORDERS, LINES, **self.build_metadata("2026-07-05T00:00:00+00:00"))
        tags = (
            Ticking(instance, build_reports_sensor(trigger=TransformTrigger(timezone="Europe/Paris"), start_date=date(2026, 1, 1)))
            .expect_run()
            .tags
        )
        assert tags["starlake/data_interval_end"] == "2026-07-05T02:00:00+02:00"
        assert tags["starlake/data_interval_start"] == "2026-01-01T00:00:00+01:00"

    def test_the_interval_begins_with_the_last_successful_run_before(self, instance: dg.DagsterInstance) -> None:
        @dg.op
        def work(context: dg.OpExecutionContext) -> None:
            if "fail" in context.run.tags:
                raise dg.Failure("as told")

        @dg.job
        def reports() -> None:
            work()

        @dg.job
        def other() -> None:
            work()

        def run(job: dg.JobDefinition, end: str, **tags: str) -> None:
            job.execute_in_process(instance=instance, tags={"starlake/data_interval_end": end, **tags}, raise_on_error=False)

        run(reports, "2026-01-03T00:00:00+00:00")
        run(reports, "2026-01-01T00:00:00+00:00")
        run(reports, "2026-01-04T00:00:00+00:00", fail="yes")
        run(reports, "2026-01-05T00:00:00+00:00")
        run(other, "2026-01-04T12:00:00+00:00")
        reports.execute_in_process(instance=instance)
        materialize(instance, ORDERS, LINES, **self.build_metadata("2026-01-05T00:00:00+00:00"))
        tags = Ticking(instance, build_reports_sensor()).expect_run().tags
        assert tags["starlake/data_interval_start"] == "2026-01-03T00:00:00+00:00"

    def test_consumed_materializations_are_recorded(self, instance: dg.DagsterInstance) -> None:
        materialize(instance, ORDERS, LINES)
        found = read_consumed(Ticking(instance, build_reports_sensor()).expect_run())
        records = {r.asset_entry.asset_key: r.asset_entry.last_materialization_record for r in instance.get_asset_records([ORDERS, LINES])}
        expected = {key.to_user_string(): [record.storage_id, record.run_id] for key, record in records.items() if record}
        assert found == expected


@contextmanager
def record_statements() -> Iterator[list[str]]:
    """Record the SQL that reads or writes rows of Dagster's tables, without queries about the schema."""
    seen: list[str] = []

    def note(connection: object, cursor: object, statement: str, *_: object) -> None:
        if not statement.startswith("PRAGMA") and "FROM secondary_indexes" not in statement and "alembic_version" not in statement:
            seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


class TestCost:
    @pytest.mark.parametrize("count", [2, 500])
    def test_the_number_of_queries_of_a_tick_is_constant(self, count: int) -> None:
        watched = {f"d.t{i}": dg.AssetKey(f"d_t{i}") for i in range(count)}
        with dg.DagsterInstance.ephemeral() as instance:
            ticking = Ticking(instance, build_reports_sensor(watched), watched)
            *most, last = watched.values()
            with record_statements() as idle:
                ticking.expect_skip()
            materialize(instance, *most)
            with record_statements() as some:
                ticking.expect_skip()
            materialize(instance, last)
            with record_statements() as starting:
                ticking.expect_run()
            with record_statements() as done:
                ticking.expect_skip()
        assert [len(seen) for seen in (idle, some, starting, done)] == [2, 2, 3, 2]

    def test_the_first_tick_does_not_read_the_history(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with dg.DagsterInstance.ephemeral() as instance:
            for _ in range(200):
                materialize(instance, ORDERS)
            materialize(instance, LINES)
            ticking = Ticking(instance, build_reports_sensor())
            returned: list[int] = []
            storage = instance.event_log_storage
            for name in ("fetch_materializations", "get_event_records", "get_logs_for_run", "fetch_observations"):
                monkeypatch.setattr(storage, name, lambda *_, **__: pytest.fail("reads events one by one"))
            read = instance.get_asset_records
            monkeypatch.setattr(instance, "get_asset_records", lambda keys: returned.append(len(found := read(keys))) or found)  # type: ignore[func-returns-value]
            with record_statements() as seen:
                ticking.expect_run()
        assert returned == [2]
        assert len(seen) == 3

    def test_the_cursor_has_one_entry_per_asset(self, instance: dg.DagsterInstance) -> None:
        ticking = Ticking(instance, build_reports_sensor())
        sizes = []
        for _ in range(4):
            materialize(instance, ORDERS, LINES)
            ticking.expect_run()
            sizes.append(len(json.loads(ticking.cursor or "")))
        assert sizes == [3, 3, 3, 3]
