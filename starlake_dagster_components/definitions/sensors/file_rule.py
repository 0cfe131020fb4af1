"""Decide when waiting files start a load, by a pure function of the files in the folders, earlier ticks, and the runs requested so far."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from hashlib import blake2b

MAX_NAMED = 5
"""Number of file names in a reason; the rest are counted."""

BACKOFF = (timedelta(minutes=5), timedelta(minutes=15), timedelta(hours=1), timedelta(hours=6), timedelta(hours=24))
"""Wait of a file that a run did not load before the next run, by the number of its runs so far. The last value is repeated.
"""


@dataclass(frozen=True, slots=True)
class WaitingFile:
    """A file that waits for a load.

    Attributes:
        path: its absolute path or address.
        version: changes with the content: size and modification time, or the storage's own version.
        complete: whether it is known to be complete: its ack file exists, or its storage shows only complete files.
        missing: the ack file that it waits for; empty if none.
        table: full name of the table that it belongs to; empty for the ack file of a domain.
        modified: time of the last change, in seconds since 1970.
    """

    path: str
    version: str
    complete: bool = False
    missing: str = ""
    table: str = ""
    modified: float = 0.0

    @property
    def name(self) -> str:
        """Its name, without folders."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class SeenFile:
    """The state of a file after earlier ticks.

    Attributes:
        version: the version that was seen.
        runs: number of runs that were requested for this version.
        requested: time of the last request, in seconds since 1970.
    """

    version: str
    runs: int = 0
    requested: float = 0.0


@dataclass(frozen=True, slots=True)
class FileMemory:
    """The memory of a file sensor between ticks.

    Attributes:
        files: fingerprint of a path -> state of the file.
        run_key: key of the last requested run; empty before the first run.
        requested: time of that request, in seconds since 1970.
    """

    files: Mapping[str, SeenFile] = field(default_factory=dict)
    run_key: str = ""
    requested: float = 0.0


@dataclass(frozen=True, slots=True)
class StartLoad:
    """Request a run for these files."""

    run_key: str
    files: tuple[WaitingFile, ...]


@dataclass(frozen=True, slots=True)
class KeepWaiting:
    """Skip the tick for a reason."""

    reason: str


def decide_load(
    waiting: Sequence[WaitingFile], memory: FileMemory, now: datetime, unfinished: str = ""
) -> tuple[StartLoad | KeepWaiting, FileMemory]:
    """Decide whether waiting files start a run.

    A file is complete if its ack file exists, or if two consecutive ticks see the same version of it. No run starts while a file is
    still being written, because a run takes every file in the folder, so that a burst of files is one run. No run starts while the last run
    is in progress. A file that a run did not take starts another run only after a delay (:data:`BACKOFF`).

    Args:
        waiting: the files that belong to tables of the job.
        memory: the memory of earlier ticks.
        now: the time of this tick.
        unfinished: ID of the last requested run while it is in progress; empty after it has ended.

    Returns:
        The decision, and the new memory. The same files, memory, and time give the same run key.
    """
    prints = {file.path: shorten_path(file.path) for file in waiting}
    complete, growing, held = [], [], []
    files: dict[str, SeenFile] = {}
    for file in waiting:
        before = memory.files.get(prints[file.path])
        same = before is not None and before.version == file.version
        files[file.path] = before if before is not None and same else SeenFile(file.version)
        if file.missing:
            held.append(file)
        elif file.complete or same:
            complete.append(file)
        else:
            growing.append(file)
    memory = replace(memory, files={prints[path]: seen for path, seen in files.items()})
    if unfinished:
        return KeepWaiting(f"Run {unfinished}, which this sensor started, is loading files"), memory
    if growing:
        return KeepWaiting(f"Waiting until {name_files(growing)} no longer {'change' if len(growing) > 1 else 'changes'}"), memory
    if not any(_is_due(files[file.path], now) for file in complete):
        return KeepWaiting(_explain_waiting(complete, held, files)), memory
    key, moment = _make_run_key(complete, files), now.timestamp()
    requested = {prints[file.path]: SeenFile(file.version, files[file.path].runs + 1, moment) for file in complete}
    return StartLoad(key, tuple(complete)), FileMemory({**memory.files, **requested}, key, moment)


def shorten_path(path: str) -> str:
    """Return a short fingerprint of a path, because a cursor must have room for thousands of them."""
    return blake2b(path.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


def name_files(files: Sequence[WaitingFile]) -> str:
    """Return the names of files for a message, at most :data:`MAX_NAMED` of them."""
    names = [file.name for file in files[:MAX_NAMED]]
    more = len(files) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def get_next_try(seen: SeenFile) -> datetime | None:
    """Return when a file that a run did not take may start another run, in UTC; None for a file without a run."""
    if not seen.runs:
        return None
    return datetime.fromtimestamp(seen.requested, timezone.utc) + BACKOFF[min(seen.runs, len(BACKOFF)) - 1]


def _is_due(seen: SeenFile, now: datetime) -> bool:
    next_try = get_next_try(seen)
    return next_try is None or next_try <= now


def _explain_waiting(complete: Sequence[WaitingFile], held: Sequence[WaitingFile], files: Mapping[str, SeenFile]) -> str:
    reasons = []
    if held:
        missing = [file.missing for file in held[:MAX_NAMED]]
        more = f" and {len(held) - len(missing)} more" if len(held) > len(missing) else ""
        reasons.append(f"{name_files(held)}: waiting for {', '.join(missing)}{more}")
    if complete:
        tries = [next_try for file in complete if (next_try := get_next_try(files[file.path])) is not None]
        runs = max(files[file.path].runs for file in complete)
        reasons.append(
            f"{name_files(complete)}: still there after {runs} run{'' if runs == 1 else 's'}; the next one starts at "
            f"{min(tries).isoformat(timespec='seconds')}, or when another file arrives"
        )
    return "; ".join(reasons) or "No files are waiting"


def _make_run_key(files: Sequence[WaitingFile], seen: Mapping[str, SeenFile]) -> str:
    """Return a key that is the same for the same versions of the same files, so that Dagster does not start a second run for them."""
    lines = sorted(f"{file.path}\0{file.version}\0{seen[file.path].runs}" for file in files)
    return f"starlake-files-{blake2b(chr(10).join(lines).encode('utf-8', 'surrogateescape'), digest_size=16).hexdigest()}"
