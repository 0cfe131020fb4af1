"""Read the output of a ``load`` about its tables. Starlake: IngestionWorkflow.load, ingest.

A load processes one table after another. For each file (or group of files) it writes the format, the files, and the table to standard
output. After they are loaded, it writes how long it took to move them to the archive. It does not write this line for a file that fails.
Row counts are printed only if every table was loaded, and they are sums.
"""

import re
from dataclasses import dataclass

from ..base import Progress
from .audit_rows import is_raised_after_commit, split_paths
from .log_levels import RECORD, shorten_exception

_FILES = "File(s): "
_TABLE = "Table: "
_ARCHIVED = "Archive duration takes "
_RESOLVED = "Ingest resolved file : "
_INFORMS = "Watch Domain: "
_COMPLETE = "Some tables failed to be loaded"
_BROKEN = "Error during ingestion"

PATTERN = "|".join(("^File.s.: ", "^Table: ", "^Archive duration takes ", _RESOLVED, _INFORMS, f"{_COMPLETE}$", f"{_BROKEN}$"))
"""Regular expression (RE2) for the relevant lines."""

_FAILED_JOB = re.compile(r"\bERROR\b.*\bIngestionWorkflow: (?!Some tables failed|Error during ingestion)")
_LONGEST_FAILURE = 200
"""Maximum number of lines of an exception to read."""


@dataclass(slots=True)
class FileJob:
    """A file, or several files that are loaded together, whose load has begun according to the output.

    Attributes:
        table: final name of the table with its domain.
        paths: the files.
        archived: whether the output says that they were moved to the archive.
    """

    table: str
    paths: tuple[str, ...]
    archived: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the files, without folders."""
        return tuple(path.rpartition("/")[2] for path in self.paths)


@dataclass(frozen=True, slots=True)
class JobFailure:
    """The reason why the load of a file, or of several files, failed.

    Attributes:
        after_commit: whether their rows are in the table, because expectations failed.
        message: the first line of the exception.
    """

    after_commit: bool
    message: str


class LoadLines:
    """Reads the log of a ``load`` line by line.

    A log that was read over a network may lack lines. The outcome of its tables is then unknown.
    """

    def __init__(self) -> None:
        self._files: list[str] = []
        self._jobs_of: dict[str, list[FileJob]] = {}
        self._resolved: set[str] = set()
        self._informs = False
        """The log has level info."""
        self._current: str | None = None
        self._ended = self._broken = False
        self._has_gaps = False
        self.jobs: list[FileJob] = []
        """The loads of files, in order."""
        self.failures: list[JobFailure] = []
        """The exceptions of the failed loads, in order."""
        self._failure: list[str] | None = None

    def take(self, line: str) -> None:
        """Take a line. Most lines are not about tables."""
        self._take_failure(line)
        if line.startswith(_TABLE):
            self._has_gaps |= not self._files
            self._current = table = line[len(_TABLE) :].strip()
            self.jobs.append(FileJob(table, tuple(self._files)))
            self._jobs_of.setdefault(table, []).append(self.jobs[-1])
            self._files = []
        elif line.startswith(_FILES):
            self._has_gaps |= bool(self._files)
            self._files = list(split_paths(line[len(_FILES) :].strip()))
            self._current = None
        elif line.startswith(_ARCHIVED):
            self._has_gaps |= self._current is None or self.jobs[-1].archived
            if self._current is not None:
                self.jobs[-1].archived = True
        elif _RESOLVED in line:
            self._resolved.add(line.rpartition(" as table ")[2].strip())
        elif _INFORMS in line:
            self._informs = True
        elif line.endswith(_COMPLETE):
            self._ended = True
        elif line.endswith(_BROKEN):
            self._broken = True

    def _take_failure(self, line: str) -> None:
        """Take the exceptions that Starlake logs one by one, before it logs a summary.

        Starlake: IngestionWorkflow.ingest, Utils.logException.
        """
        if not RECORD.match(line):
            if self._failure is not None and len(self._failure) < _LONGEST_FAILURE:
                self._failure.append(line)
            return
        self.close()
        if not self._ended and _FAILED_JOB.search(line):
            self._failure = [line]

    def close(self) -> None:
        """End the current record: no more of its lines will follow."""
        if self._failure is not None:
            message = shorten_exception(self._failure[0].partition("IngestionWorkflow: ")[2])
            self.failures.append(JobFailure(is_raised_after_commit("\n".join(self._failure)), message))
            self._failure = None

    @property
    def progress(self) -> Progress:
        """The progress of a failed load, according to its output."""
        if self._ended and not self._broken:
            return "complete"
        return "begun" if self.jobs else "none"

    @property
    def tried(self) -> int:
        """Number of files that were tried."""
        return sum(len(job.paths) for job in self.jobs)

    def list_files(self, table: str) -> tuple[str, ...]:
        """Return the paths of the files that were tried for a table (its final name with its domain)."""
        return tuple(path for job in self._jobs_of.get(table, ()) for path in job.paths)

    def was_loaded(self, table: str, logical: str) -> bool | None:
        """Return whether a failed load has loaded a table; None if that is not in its output.

        Args:
            table: final name with the domain, as on standard output.
            logical: logical name with the domain, as in the log.
        """
        if self._lacks_lines:
            return None
        jobs, complete = self._jobs_of.get(table), self.progress == "complete"
        if not jobs:
            return True if complete and logical not in self._resolved else None
        if not complete and table == self._current:
            return None
        if all(job.archived for job in jobs):
            return True
        # Without an archive (archive: false), there is no line about a loaded file.
        return False if any(job.archived for job in self.jobs) else None

    def is_untouched(self, logical: str) -> bool:
        """Return whether a load certainly ended before it started on the files of a table.

        At level info, the log has a line before the files are moved.
        """
        return (
            not self._lacks_lines
            and (self._informs or bool(self._resolved))
            and logical not in self._resolved
            and self.progress != "complete"
        )

    @property
    def _lacks_lines(self) -> bool:
        """True if lines are missing."""
        return self._has_gaps or bool(self._files) or (self.progress == "complete" and len(self._resolved) > len(self._jobs_of))
