"""Decide when waiting files start a load, based on the files, earlier ticks, and the runs requested so far."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from hashlib import blake2b

from ...errors import join_names

MAX_NAMED = 5
"""Maximum number of file names in a skip reason."""

BACKOFF = (timedelta(minutes=5), timedelta(minutes=15), timedelta(hours=1), timedelta(hours=6), timedelta(hours=24))
"""Time until a file that a run did not load may start another run, by the number of its runs so far. The last value is repeated."""


@dataclass(frozen=True, slots=True)
class WaitingFile:
    """A file that waits for a load.

    Attributes:
        path: its absolute path or URL.
        version: a string that changes with the content, made from size and modification time, or from the storage's own version.
        complete: whether it is known to be complete: it has an ack file, or its storage lists only complete files.
        missing: name of its ack file, if that does not exist yet; otherwise empty.
        table: full name of the table that it belongs to; empty for the ack file of a domain.
        modified: time of the last modification, in seconds since 1970.
    """

    path: str
    version: str
    complete: bool = False
    missing: str = ""
    table: str = ""
    modified: float = 0.0

    @property
    def name(self) -> str:
        """The file's name, without folders."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class SeenFile:
    """The state of a file: its version at the last tick, the number of runs requested for this version, and the time of the last request.

    The time is in seconds since 1970.
    """

    version: str
    runs: int = 0
    requested: float = 0.0


@dataclass(frozen=True, slots=True)
class FileMemory:
    """The state of a file sensor after earlier ticks.

    Attributes:
        files: fingerprint of a path (:func:`compute_path_fingerprint`) -> state of the file.
        run_key: key of the last requested run; empty before the first run.
        observed: logical name of a domain -> digest of the files in its last observation.
    """

    files: Mapping[str, SeenFile] = field(default_factory=dict)
    run_key: str = ""
    observed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StartLoad:
    """A decision to request a run for some files."""

    run_key: str
    files: tuple[WaitingFile, ...]


@dataclass(frozen=True, slots=True)
class KeepWaiting:
    """A decision to skip the tick. The UI shows the reason."""

    reason: str


def decide_load(
    waiting: Sequence[WaitingFile], memory: FileMemory, now: datetime, unfinished: str = ""
) -> tuple[StartLoad | KeepWaiting, FileMemory]:
    """Decide whether waiting files start a run.

    A file is complete if its ack file exists, if its storage lists only complete files, or if it has not changed since the last tick. No
    run starts while a file is still being written, because a run loads every file in the folder, and so that files that arrive together
    start only one run. No run starts while the last one is in progress. A file that a run did not load may start another run only after a
    delay (:data:`BACKOFF`).

    ``waiting`` are the files that belong to tables of the job. ``unfinished`` is the ID of the last requested run if it is still in
    progress; otherwise empty.

    Returns:
        The decision, and the new state. The run key depends only on the arguments.
    """
    prints = {file.path: compute_path_fingerprint(file.path) for file in waiting}
    complete, changing, without_ack = [], [], []
    files: dict[str, SeenFile] = {}
    for file in waiting:
        before = memory.files.get(prints[file.path])
        unchanged = before if before and before.version == file.version else None
        files[file.path] = unchanged or SeenFile(file.version)
        if file.missing:
            without_ack.append(file)
        elif file.complete or unchanged:
            complete.append(file)
        else:
            changing.append(file)
    memory = replace(memory, files={prints[path]: seen for path, seen in files.items()})
    if unfinished:
        return KeepWaiting(f"Run {unfinished}, which this sensor started, is loading files"), memory
    if changing:
        return KeepWaiting(f"Waiting until {name_files(changing)} no longer {'change' if len(changing) > 1 else 'changes'}"), memory
    if not any((next_try := get_next_try(files[file.path])) is None or next_try <= now for file in complete):
        return KeepWaiting(_explain_waiting(complete, without_ack, files)), memory
    key, moment = _make_run_key(complete, files), now.timestamp()
    requested = {prints[file.path]: SeenFile(file.version, files[file.path].runs + 1, moment) for file in complete}
    return StartLoad(key, tuple(complete)), replace(memory, files={**memory.files, **requested}, run_key=key)


def compute_path_fingerprint(path: str) -> str:
    """Return a short fingerprint of a path, so that a cursor can contain thousands of them."""
    return blake2b(path.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


def name_files(files: Sequence[WaitingFile]) -> str:
    """Return the names of files for a message, at most :data:`MAX_NAMED` of them."""
    return join_names([file.name for file in files], MAX_NAMED)


def get_next_try(seen: SeenFile) -> datetime | None:
    """Return the time, in UTC, at which a file that a run did not load may start another run; None if it has not started one."""
    if not seen.runs:
        return None
    return datetime.fromtimestamp(seen.requested, timezone.utc) + BACKOFF[min(seen.runs, len(BACKOFF)) - 1]


def _explain_waiting(complete: Sequence[WaitingFile], without_ack: Sequence[WaitingFile], files: Mapping[str, SeenFile]) -> str:
    reasons = []
    if without_ack:
        missing = join_names([file.missing for file in without_ack], MAX_NAMED)
        reasons.append(f"{name_files(without_ack)}: waiting for {missing}")
    if complete:
        tries = [next_try for file in complete if (next_try := get_next_try(files[file.path])) is not None]
        runs = max(files[file.path].runs for file in complete)
        reasons.append(
            f"{name_files(complete)}: still there after {runs} run{'' if runs == 1 else 's'}; the next one starts at "
            f"{min(tries).isoformat(timespec='seconds')}, or when another file arrives"
        )
    return "; ".join(reasons) or "No files are waiting"


def _make_run_key(files: Sequence[WaitingFile], seen: Mapping[str, SeenFile]) -> str:
    """Return a run key that identifies the versions of the files, so that Dagster does not start a second run for them."""
    lines = sorted(f"{file.path}\0{file.version}\0{seen[file.path].runs}" for file in files)
    return f"starlake-files-{blake2b(chr(10).join(lines).encode('utf-8', 'surrogateescape'), digest_size=16).hexdigest()}"
