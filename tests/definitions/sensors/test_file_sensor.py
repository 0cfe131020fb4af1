"""File sensors on real folders, with a real instance."""

import json
import os
import sys
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import fsspec
import pytest

from starlake_dagster_components.definitions.sensors.file_listing import FolderUnreadable, list_folder_files
from starlake_dagster_components.definitions.sensors.file_sensor import build_file_sensor, build_incoming_asset
from starlake_dagster_components.errors import InvalidSetting
from starlake_dagster_components.pipelines.waiting_files import TableFiles, WaitingFolder

INCOMING = dg.AssetKey(["shop", "incoming"])


@dg.asset
def orders() -> None: ...


JOB = dg.define_asset_job("load_shop", selection=["orders"])


class Ticking:
    """A file sensor that is evaluated again and again."""

    def __init__(self, instance: dg.DagsterInstance, *folders: WaitingFolder) -> None:
        self.instance = instance
        self.sensor = build_file_sensor(name="load_shop_files_sensor", job_name="load_shop", folders=folders, incoming={"shop": INCOMING})
        self.repository = dg.Definitions(assets=[orders], jobs=[JOB], sensors=[self.sensor]).get_repository_def()
        self.cursor: str | None = None

    def tick(self) -> dg.SensorResult | dg.SkipReason:
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor, repository_def=self.repository)
        result = self.sensor(context)
        assert isinstance(result, (dg.SensorResult, dg.SkipReason))
        if isinstance(result, dg.SensorResult):
            self.cursor = result.cursor
        return result

    def expect_skip(self) -> str:
        result = self.tick()
        reason = result if isinstance(result, dg.SkipReason) else result.skip_reason
        assert isinstance(reason, dg.SkipReason), result
        return str(reason.skip_message)

    def expect_run(self) -> dg.RunRequest:
        result = self.tick()
        assert isinstance(result, dg.SensorResult)
        assert result.run_requests, result
        (request,) = result.run_requests
        return request


@pytest.fixture
def incoming(tmp_path: Path) -> Path:
    folder = tmp_path / "incoming"
    folder.mkdir()
    return folder


def watch(folder: object, ack: str = "", ack_file: str = "") -> WaitingFolder:
    return WaitingFolder("shop", str(folder), (TableFiles("shop.orders", "orders.*\\.csv", ack),), ack_file)


def test_a_file_that_arrives_starts_a_run(instance: dg.DagsterInstance, incoming: Path) -> None:
    ticking = Ticking(instance, watch(incoming))
    assert ticking.expect_skip() == "No files are waiting"
    (incoming / "orders-1.csv").write_text("1")
    (incoming / "others.txt").write_text("1")
    assert ticking.expect_skip() == "Waiting until orders-1.csv no longer changes"
    (incoming / "orders-1.csv").write_text("12")
    assert ticking.expect_skip() == "Waiting until orders-1.csv no longer changes"
    assert ticking.expect_run().tags["starlake/files"] == "1"


def test_a_file_waits_for_its_ack_file(instance: dg.DagsterInstance, incoming: Path) -> None:
    ticking = Ticking(instance, watch(incoming, ack="ack"))
    (incoming / "orders-1.csv").write_text("1")
    assert ticking.expect_skip() == "orders-1.csv: waiting for orders-1.ack"
    (incoming / "orders-1.ack").touch()
    ticking.expect_run()


def test_files_wait_for_the_ack_file_of_their_domain(instance: dg.DagsterInstance, incoming: Path) -> None:
    ticking = Ticking(instance, watch(incoming, ack_file=f"{incoming}/{{YYYY-MM-DD}}.ack"))
    (incoming / "orders-1.csv").write_text("1")
    assert ticking.expect_skip() == "No files are waiting"
    # The next day may begin before the sensor looks.
    for moment in (datetime.now(), datetime.now() + timedelta(minutes=10)):
        (incoming / f"{moment:%Y-%m-%d}.ack").touch()
    ticking.expect_run()


def test_an_unfinished_run_is_waited_for(instance: dg.DagsterInstance, incoming: Path) -> None:
    ticking = Ticking(instance, watch(incoming, ack="ack"))
    for name in ("orders-1.csv", "orders-1.ack"):
        (incoming / name).touch()
    key = ticking.expect_run().run_key
    run = instance.create_run_for_job(ticking.repository.get_job("load_shop"), tags={"dagster/run_key": str(key)})
    (incoming / "orders-2.csv").touch()
    (incoming / "orders-2.ack").touch()
    assert ticking.expect_skip() == f"Run {run.run_id}, which this sensor started, is loading files"
    instance.report_run_failed(run)
    assert ticking.expect_run().run_key != key


def test_observations_list_the_waiting_files(instance: dg.DagsterInstance, incoming: Path) -> None:
    ticking = Ticking(instance, watch(incoming))
    for number in range(25):
        (incoming / f"orders-{number:02}.csv").write_text("1")
    os.utime(incoming / "orders-00.csv", (1_700_000_000, 1_700_000_000))
    first = ticking.tick()
    assert isinstance(first, dg.SensorResult)
    (event,) = first.asset_events
    assert isinstance(event, dg.AssetObservation)
    assert event.asset_key == INCOMING
    assert event.metadata["starlake/files"].value == 25
    assert event.metadata["starlake/oldest"].value == 1_700_000_000
    assert "and 5 more" in str(event.metadata["starlake/names"].value)
    again = ticking.tick()
    assert isinstance(again, dg.SensorResult)
    assert not again.asset_events


def test_an_incoming_asset_can_be_observed(instance: dg.DagsterInstance, incoming: Path) -> None:
    (incoming / "orders-1.csv").write_text("1")
    asset = build_incoming_asset(watch(incoming), INCOMING, group_name="shop", op_name="shop__incoming")
    job = dg.define_asset_job("look", selection=dg.AssetSelection.assets(INCOMING))
    assert dg.Definitions(assets=[asset], jobs=[job]).resolve_job_def("look").execute_in_process(instance=instance).success
    event = instance.fetch_observations(INCOMING, limit=1).records[0].asset_observation
    assert event is not None
    assert event.metadata["starlake/files"].value == 1


def test_a_missing_folder_is_empty_and_one_that_cannot_be_read_is_reported(incoming: Path) -> None:
    assert list_folder_files(watch(incoming / "nothing")) == []
    (incoming / "file").touch()
    with pytest.raises(FolderUnreadable, match="is not a folder"):
        list_folder_files(watch(incoming / "file"))


def test_names_with_characters_of_globs_and_hidden_files(incoming: Path) -> None:
    for name in ("orders[1].csv", "orders*.csv", ".orders.csv", "orders?.csv"):
        (incoming / name).touch()
    found = list_folder_files(watch(incoming))
    assert sorted(file.name for file in found) == ["orders*.csv", "orders?.csv", "orders[1].csv"]


def test_object_stores_through_fsspec(instance: dg.DagsterInstance) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/bucket/shop/orders-1.csv", b"1")
    try:
        ticking = Ticking(instance, watch("memory://bucket/shop"))
        assert ticking.expect_run().tags["starlake/files"] == "1"
    finally:
        memory.rm("/bucket", recursive=True)
    assert ticking.expect_skip() == "No files are waiting"


def test_a_storage_without_its_package_is_reported(instance: dg.DagsterInstance) -> None:
    with pytest.raises(InvalidSetting, match="nosuch://bucket/shop cannot be listed"):
        list_folder_files(watch("nosuch://bucket/shop"))


def test_the_extra_of_a_storage_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(InvalidSetting, match=r"s3://bucket/shop cannot be listed: install starlake-dagster-components with the 's3' extra"):
        list_folder_files(watch("s3://bucket/shop"))


def test_cursors_are_json_or_compressed(instance: dg.DagsterInstance, incoming: Path) -> None:
    ticking = Ticking(instance, watch(incoming))
    (incoming / "orders-1.csv").touch()
    ticking.tick()
    assert len(json.loads(ticking.cursor or "")["files"]) == 1
