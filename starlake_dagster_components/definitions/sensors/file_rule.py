"""When waiting files start a load: a pure function of the files in the folders, of earlier ticks, and of the runs requested so far."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from hashlib import blake2b

MAX_NAMED = 5
"""File names that a reason names; the rest is counted."""

BACKOFF = (timedelta(minutes=5), timedelta(minutes=15), timedelta(hours=1), timedelta(hours=6), timedelta(hours=24))
"""How long a file that a run did not take waits for the next one, by the number of runs that it has had; the last one holds from then on.
"""


@dataclass(frozen=True, slots=True)
class WaitingFile:
    """A file that waits for a load.

    Attributes:
        path: its absolute path or address.
        version: changes when its content does: size and time of change, or what the storage calls a version.
        complete: whether it is known to be whole: its ack file is there, or its storage shows files only when they are whole.
        missing: the ack file that it waits for; empty when it waits for none.
        table: full name of the table that takes it; empty for the ack file of a domain.
        modified: when it changed last, seconds since 1970.
    """

    path: str
    version: str
    complete: bool = False
    missing: str = ""
    table: str = ""
    modified: float = 0.0

    @property
    def name(self) -> str:
        """Its name without folders."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class SeenFile:
    """What former ticks know of a file.

    Attributes:
        version: the version that was seen.
        runs: runs that were requested for this version.
        requested: when the last one was, seconds since 1970.
    """

    version: str
    runs: int = 0
    requested: float = 0.0


@dataclass(frozen=True, slots=True)
class FileMemory:
    """What a file sensor remembers between ticks.

    Attributes:
        files: fingerprint of a path -> what is known of the file.
        run_key: key of the last run that was requested; empty before the first.
        requested: when it was, seconds since 1970.
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
    """Skip the tick, for this reason."""

    reason: str


def decide_load(
    waiting: Sequence[WaitingFile], memory: FileMemory, now: datetime, unfinished: str = ""
) -> tuple[StartLoad | KeepWaiting, FileMemory]:
    """Say whether waiting files start a run.

    A file is complete when its ack file is there, or when two ticks in a row see the same version of it. Nothing starts while a file is
    still being written, as a run takes every file that is there, so that a burst of files is one run; and nothing while the last run goes
    on. A file that a run did not take starts another one only after a while (:data:`BACKOFF`).

    Args:
        waiting: the files that tables of the job take.
        memory: what former ticks remember.
        now: the time of this tick.
        unfinished: the id of the last requested run while it goes on; empty when it has ended.

    Returns:
        The decision, and what to remember. The same files, memory and time give the same run key.
    """
    prints = {file.path: fingerprint(file.path) for file in waiting}
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


def fingerprint(path: str) -> str:
    """Return a short name for a path: a cursor has to have room for thousands of them."""
    return blake2b(path.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


def name_files(files: Sequence[WaitingFile]) -> str:
    """Return the names of files for people, at most :data:`MAX_NAMED` of them."""
    names = [file.name for file in files[:MAX_NAMED]]
    more = len(files) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def get_next_try(seen: SeenFile) -> datetime | None:
    """Return when a file that a run did not take may start another run, in UTC; None for a file that has had no run."""
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
    """Return a key that is the same for the same versions of the same files: Dagster starts no second run for it."""
    lines = sorted(f"{file.path}\0{file.version}\0{seen[file.path].runs}" for file in files)
    return f"starlake-files-{blake2b(chr(10).join(lines).encode('utf-8', 'surrogateescape'), digest_size=16).hexdigest()}"
