"""The output and logs of each step are stored with this step."""

# mypy: disable-error-code="union-attr, attr-defined, arg-type, return-value"

import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import step_jobs
from dagster._core.storage.cloud_storage_compute_log_manager import CloudStorageComputeLogManager  # the base of Dagster's S3, GCS, Azure
from dagster._core.storage.compute_log_manager import ComputeIOType
from dagster._core.storage.local_compute_log_manager import IO_TYPE_EXTENSION, LocalComputeLogManager
from step_jobs import SPEAKERS, resolve

OUT, ERR = ComputeIOType.STDOUT, ComputeIOType.STDERR


def read_captured(instance: dg.DagsterInstance, run_id: str) -> dict[str, tuple[str, str]]:
    """The captured output of each step, as the UI finds it."""
    found = {}
    manager = instance.compute_log_manager
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.LOGS_CAPTURED):
        data = entry.dagster_event.logs_captured_data
        log_key = manager.build_log_key_for_run(run_id, data.file_key)
        assert manager.is_capture_complete(log_key)
        texts = tuple((manager.get_log_data_for_type(log_key, kind, 0, None)[0] or b"").decode() for kind in (OUT, ERR))
        for step in data.step_keys:
            found[step] = texts
    return found


def run_speakers(instance: dg.DagsterInstance) -> str:
    result = dg.execute_job(dg.reconstructable(step_jobs.speakers), instance)
    assert result.success
    return result.run_id


def test_each_step_has_its_own_output(instance: dg.DagsterInstance) -> None:
    before = sys.stdout, sys.stderr
    found = read_captured(instance, run_speakers(instance))
    assert (sys.stdout, sys.stderr) == before
    assert set(found) == set(SPEAKERS)
    for name in SPEAKERS:
        out, err = found[name]
        assert out.splitlines() == [*[f"{name} prints {i}" for i in range(20)], f"{name} in another thread"]
        assert [line for line in err.splitlines() if "complains" in line] == [f"{name} complains {i}" for i in range(20)]
        assert f"{name} reports 19" in err  # Dagster's console log goes to stderr
        assert not any(other in out + err for other in SPEAKERS if other != name)


def test_each_step_has_its_own_log_lines(instance: dg.DagsterInstance) -> None:
    run_id = run_speakers(instance)
    lines: dict[str, list[str]] = {}
    for entry in instance.all_logs(run_id):
        if entry.dagster_event is None and (" logs " in entry.user_message or " reports " in entry.user_message):
            lines.setdefault(entry.step_key, []).append(entry.user_message)
    assert lines == {name: [f"{name} {verb} {i}" for i in range(20) for verb in ("logs", "reports")] for name in SPEAKERS}


def thread_of_its_own() -> dg.JobDefinition:
    @dg.asset
    def starts_a_thread(context: dg.AssetExecutionContext) -> None:
        def work() -> None:
            context.log.info("through the context")
            dg.get_dagster_logger().info("through a shared logger")

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    return resolve([starts_a_thread])


def test_logs_of_threads_that_a_step_starts_are_kept(instance: dg.DagsterInstance) -> None:
    """Their logs are kept, but not assigned to a step if the logger is shared."""
    result = dg.execute_job(dg.reconstructable(thread_of_its_own), instance)
    lines = {e.user_message: e.step_key for e in instance.all_logs(result.run_id) if e.dagster_event is None}
    assert lines["through the context"] == "starts_a_thread"
    assert lines["through a shared logger"] is None


class FolderLogManager(CloudStorageComputeLogManager):
    """A "cloud" in a folder. Like Dagster's, it keeps files only while a log is written."""

    def __init__(self, folder: Path) -> None:
        self._cloud = folder / "cloud"
        self._cloud.mkdir()
        self._local = LocalComputeLogManager(str(folder / "local"))

    @property
    def local_manager(self) -> Any:
        return self._local

    @property
    def upload_interval(self) -> Any:
        return None

    def _object(self, log_key: Sequence[str], io_type: ComputeIOType) -> Any:
        return self._cloud / ("-".join(log_key) + "." + IO_TYPE_EXTENSION[io_type])

    def delete_logs(self, log_key: Sequence[str] | None = None, prefix: Sequence[str] | None = None) -> None:
        raise NotImplementedError

    def download_url_for_type(self, log_key: Sequence[str], io_type: ComputeIOType) -> Any:
        return None

    def display_path_for_type(self, log_key: Sequence[str], io_type: ComputeIOType) -> Any:
        return str(self._object(log_key, io_type))

    def cloud_storage_has_logs(self, log_key: Sequence[str], io_type: ComputeIOType, partial: bool = False) -> Any:
        return not partial and self._object(log_key, io_type).exists()

    def upload_to_cloud_storage(self, log_key: Sequence[str], io_type: ComputeIOType, partial: bool = False) -> None:
        local = Path(self._local.get_captured_local_path(log_key, IO_TYPE_EXTENSION[io_type]))
        self._object(log_key, io_type).write_text(local.read_text() if local.exists() else "")

    def download_from_cloud_storage(self, log_key: Sequence[str], io_type: ComputeIOType, partial: bool = False) -> None:
        local = Path(self._local.get_captured_local_path(log_key, IO_TYPE_EXTENSION[io_type]))
        local.parent.mkdir(parents=True, exist_ok=True)
        local.write_bytes(self._object(log_key, io_type).read_bytes())


def test_logs_are_stored_in_a_cloud_storage(instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = FolderLogManager(tmp_path)
    monkeypatch.setattr(type(instance), "compute_log_manager", manager)
    found = read_captured(instance, run_speakers(instance))
    assert set(found) == set(SPEAKERS)
    for name in SPEAKERS:
        assert f"{name} prints 19" in found[name][0]
        assert f"{name} complains 19" in found[name][1]


def test_log_managers_that_capture_only_processes_get_one_log(home: Path, work: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """One log for all steps, as with Dagster's in-process executor; with the default settings of a test there is none."""
    with dg.DagsterInstance.ephemeral() as ephemeral:
        result = dg.execute_job(dg.reconstructable(step_jobs.speakers), ephemeral)
        assert result.success
        (event,) = [e for e in result.all_events if e.event_type_value == "LOGS_CAPTURED"]
        assert set(event.logs_captured_data.step_keys) == set(SPEAKERS)


def loud() -> dg.JobDefinition:
    def shouts(number: int) -> Any:
        @dg.asset(name=f"loud_{number}")
        def body() -> None:
            for line in range(50):
                print(f"loud_{number} {line}")  # noqa: T201

        return body

    return resolve([shouts(i) for i in range(80)], step_jobs.starlake_step_executor(max_concurrent=80))


def test_more_steps_than_files_may_be_open(instance: dg.DagsterInstance) -> None:
    result = dg.execute_job(dg.reconstructable(loud), instance)
    found = read_captured(instance, result.run_id)
    for number in range(80):
        assert found[f"loud_{number}"][0].splitlines() == [f"loud_{number} {line}" for line in range(50)]


def test_lost_output_does_not_fail_a_step(instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = FolderLogManager(tmp_path)

    def broken(*_args: Any, **_kwargs: Any) -> None:
        raise OSError("the cloud is gone")

    monkeypatch.setattr(manager, "upload_to_cloud_storage", broken)
    monkeypatch.setattr(type(instance), "compute_log_manager", manager)
    result = dg.execute_job(dg.reconstructable(step_jobs.speakers), instance)
    assert result.success
    told = [e for e in result.all_events if e.event_type_value == "ENGINE_EVENT" and "compute log" in (e.message or "")]
    assert {e.step_key for e in told} == set(SPEAKERS)


def nesting() -> dg.JobDefinition:
    @dg.asset
    def inner() -> None:
        pass

    @dg.asset
    def starts_runs(context: dg.AssetExecutionContext) -> None:
        for _ in range(5):
            assert dg.materialize([inner], instance=context.instance).success

    def noisy(number: int) -> Any:
        @dg.asset(name=f"noisy_{number}")
        def body(context: dg.AssetExecutionContext) -> None:
            for line in range(30):
                context.log.info(f"{line}")

        return body

    return resolve([starts_runs, *[noisy(i) for i in range(16)]], step_jobs.starlake_step_executor(max_concurrent=5))


def test_a_step_may_start_other_runs(instance: dg.DagsterInstance) -> None:
    """Beginning a run configures Python's logging, which takes the locks of all handlers while other steps store events."""
    assert dg.execute_job(dg.reconstructable(nesting), instance).success
