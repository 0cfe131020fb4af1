"""Store the captured output of steps in the instance's compute log manager, with one log per attempt if possible."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .._dagster import ComputeIOType, ComputeLogManager, LocalComputeLogManager, create_compute_log_file_key
from .output import FileOutput, Stream

_TYPES = {"stdout": ComputeIOType.STDOUT, "stderr": ComputeIOType.STDERR}


class StepLogs:
    """Opens the logs of steps in the instance's compute log manager.

    Attributes:
        per_step: whether each step gets its own log. It does if logs are local files, with or without a copy in cloud
            storage. All other managers can capture only a whole process, so all steps share one log, as with Dagster's
            in-process executor.
    """

    def __init__(self, manager: ComputeLogManager[Any]) -> None:
        self._manager = manager
        self._files = _find_local_manager(manager)
        self.per_step = self._files is not None

    def build_log_key(self, run_id: str) -> Sequence[str]:
        """Return a new log key."""
        return self._manager.build_log_key_for_run(run_id, create_compute_log_file_key())  # type: ignore[no-untyped-call]

    def open(self, log_key: Sequence[str]) -> FileOutput:
        """Return the output of a step. Call it only if ``per_step`` is set."""
        files = self._files
        manager: Any = self._manager
        assert files is not None

        def open_stream(stream: Stream) -> Any:
            return files.open_log_stream(log_key, _TYPES[stream])

        def finish_log() -> None:
            if manager is files:
                # The UI knows by this file that a log is complete.
                marker = Path(files.complete_artifact_path(log_key))
                marker.parent.mkdir(parents=True, exist_ok=True)
                marker.touch()
                return
            # Cloud managers do the same for the log of a captured process.
            for kind in _TYPES.values():
                manager.upload_to_cloud_storage(log_key, kind)
            files.delete_logs(log_key=log_key)

        return FileOutput(open_stream, finish_log)


def _find_local_manager(manager: ComputeLogManager[Any]) -> LocalComputeLogManager | None:
    """Return the manager of the local log files. Cloud managers contain one and upload its files."""
    if isinstance(manager, LocalComputeLogManager):
        return manager
    files = getattr(manager, "local_manager", None)
    return files if isinstance(files, LocalComputeLogManager) and hasattr(manager, "upload_to_cloud_storage") else None
