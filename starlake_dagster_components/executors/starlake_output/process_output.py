"""Read the output of a Starlake process: lines with their level, row counts, and the reason for a failure."""

import json
import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from ...commands import LoadTable
from ...masking import Mask
from ..base import Counters, Level, Log
from .audit_log import AuditLines
from .audit_rows import AuditRow, ExpectationRow
from .failed_statement import FailedStatement, shorten_message
from .load_log import LoadLines
from .log_levels import EXCEPTION, RECORD, USAGE, parse_level, shorten_exception

Stream = Literal["out", "err"]

TAIL = 100
"""Number of lines that are kept for the message of a failure."""

LONGEST_SHOWN = 8_000
"""Maximum number of characters of a line to log."""

LONGEST_READ = 4 * 1024 * 1024
"""Maximum number of bytes of a line to read. The line with the row counts names every file of a load."""

_LONGEST_BINARY = 200
"""Maximum number of characters to log of a line with many bytes that are not text. Each such byte takes four characters."""

_STACK = re.compile(r"^\s+at |^\s*\.\.\. \d+ more|^Caused by: ")
_NOTE = "NOTE: Picked up JDK_JAVA_OPTIONS:"
"""Java writes this line at each start if the variable is set."""
_NO_JAVA = ("Error: Could not create the Java Virtual Machine.", "Error occurred during initialization of VM")
_COUNTERS = "IngestionCounters:"
_SUMMARY = re.compile(r"^(Input records|Accepted|Rejected): (-?\d+)$")
_LOADED = "Data successfully loaded from "
_REASON_LINES = 5


class Output:
    r"""Takes the bytes of a process, logs them line by line, and keeps the relevant information.

    A line ends with LF, CR, or both, so that progress shown by CR appears while it happens; blank lines are left out. Bytes that are not
    UTF-8 are shown as ``\xe9``. Only the beginning of a very long line is shown. Memory is bounded for any output.
    """

    def __init__(self, log: Log, mask: Mask, report: Log | None = None) -> None:
        """Take the receiver of the lines, the mask of secrets, and the receiver of this package's own lines (default: the same)."""
        self.load = LoadLines()
        """The part of the output about the tables of a load."""
        self.has_no_java = False
        """True if Java did not start, so that nothing has run."""
        self._audit = AuditLines()
        self._log = log
        self._report = report or log
        self._mask = mask
        self._open: dict[Stream, _Line] = {"out": _Line(), "err": _Line()}
        self._tail: deque[str] = deque(maxlen=TAIL)
        self._reason = _Reason()
        self._statement = FailedStatement()
        self._summary = _Summary()
        self._counters: Counters | None = None

    def feed(self, stream: Stream, data: bytes) -> None:
        """Take a piece of output."""
        line = self._open[stream]
        *ends, rest = data.replace(b"\r", b"\n").split(b"\n")
        for end in ends:
            line.add(end)
            self._take(line)
            line = self._open[stream] = _Line()
        line.add(rest)

    def close(self) -> None:
        """Take the rest, which has no line end."""
        for stream, line in self._open.items():
            self._take(line)
            self._open[stream] = _Line()
        self.load.close()
        self._audit.close()

    @property
    def trail(self) -> "OutputTrail":
        """The part of the output about single files and expectations. Call it after :meth:`close`."""
        expectations = tuple(
            replace(row, result=replace(row.result, sql=self._mask_text(row.result.sql), error=self._mask_text(row.result.error)))
            for row in self._audit.expectations
        )
        return OutputTrail(tuple(self._audit.rows), expectations, self.load)

    def _mask_text(self, text: str | None) -> str | None:
        return text and self._mask(text)

    def report(self, level: Level, text: str) -> None:
        """Log a line of this package, which the process did not write."""
        self._report(level, self._mask(text))

    @property
    def tail(self) -> tuple[str, ...]:
        """The last lines, oldest first."""
        return tuple(self._tail)

    @property
    def counters(self) -> Counters | None:
        """Row counts, from the line that ``SL_API`` requests, otherwise from the summary."""
        return self._counters or self._summary.counters

    @property
    def reason(self) -> str | None:
        """The reason for a failure in one line; empty if it is not in the output."""
        return self._reason.text

    @property
    def statement(self) -> str | None:
        """The lines of the SQL statement that failed around its error, if the reason for the failure is about a statement."""
        return self._mask_text(self._statement.show(self.reason))

    @property
    def has_exception(self) -> bool:
        """True if the program ended with an exception, and not only with an exit code."""
        return self._reason.exception is not None

    def _take(self, line: "_Line") -> None:
        raw = line.text
        self._statement.take(raw)
        if not raw.strip() or raw.startswith(_NOTE):
            return
        self.has_no_java = self.has_no_java or raw.startswith(_NO_JAVA)
        # A line is masked before it is shortened, so that no part of a secret remains at its end.
        text = self._mask(raw[: 2 * LONGEST_SHOWN])
        if raw.startswith(_COUNTERS):
            self._counters = parse_counters(raw[len(_COUNTERS) :]) or self._counters
        self._summary.take(raw)
        self.load.take(raw)
        self._audit.take(raw)
        if len(raw) > _LONGEST_BINARY and raw.count("\\x") * 8 > len(raw):
            text = f"{text[:_LONGEST_BINARY]} ... ({line.size} bytes that are not text)"
        elif len(text) > LONGEST_SHOWN or len(raw) > 2 * LONGEST_SHOWN or line.size > LONGEST_READ:
            text = f"{text[:LONGEST_SHOWN]} ... ({line.size} bytes)"
        level, message = parse_level(text)
        self._reason.take(level, message, text)
        self._tail.append(text)
        self._log(level, text)


@dataclass(frozen=True, slots=True)
class OutputTrail:
    """The information in the output of a command, in addition to its result.

    Attributes:
        rows: the rows that it writes to the audit, if they are in its log (level info).
        expectations: the rows that it writes about expectations.
        load: the part about the files of a load.
    """

    rows: tuple[AuditRow, ...]
    expectations: tuple[ExpectationRow, ...]
    load: LoadLines


class _Line:
    """A line that is not complete yet."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self.size = 0

    def add(self, data: bytes) -> None:
        self.size += len(data)
        self._kept += data[: LONGEST_READ - len(self._kept)]

    @property
    def text(self) -> str:
        # A database of events may reject NUL in a string.
        return self._kept.decode("utf-8", "backslashreplace").replace("\0", "\\x00")


def parse_counters(text: str) -> Counters | None:
    """Return the row counts of an ``IngestionCounters`` line; None if it cannot be parsed. Starlake: LoadCmd, IngestionCounters.

    Negative counts are sums of "unknown" and become None.
    """
    try:
        data = json.loads(text)
        paths = tuple(str(p) for p in data.get("paths") or ())
        read, accepted, rejected = (parse_count(data.get(name)) for name in ("inputCount", "acceptedCount", "rejectedCount"))
    except (ValueError, AttributeError, TypeError):
        return None
    return Counters(read, accepted, rejected, paths)


def drop_growth(counters: Counters | None, tables: Iterable[LoadTable]) -> Counters | None:
    """Return counts without those of the native loader that do not count rows, but the growth of the table.

    Starlake: DuckDbNativeLoader.run. The native loader does not know how many rows were rejected; the Spark loader does.
    """
    if counters is None or counters.rejected is not None or not counters.files:
        return counters
    return counters if all(table.appends for table in tables) else Counters(files=counters.files)


def parse_count(count: object) -> int | None:
    """Return a count that Starlake has printed; None if it is negative or not a number."""
    return count if isinstance(count, int) and count >= 0 else None


class _Summary:
    """Reads the human-readable summary of a load. Starlake: Job.scala, IngestionCounters.toString."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._files: list[str] = []
        self._in_files = False

    def take(self, line: str) -> None:
        if line.startswith(_LOADED):
            self._in_files = True
            self._files = [line[len(_LOADED) :].strip()] if line[len(_LOADED) :].strip() else []
        elif self._in_files and line.startswith("\t"):
            self._files.append(line.strip())
        else:
            self._in_files = False
            match = _SUMMARY.match(line)
            if match:
                self._counts[match[1]] = int(match[2])

    @property
    def counters(self) -> Counters | None:
        if not self._counts and not self._files:
            return None
        read, accepted, rejected = (parse_count(self._counts.get(name)) for name in ("Input records", "Accepted", "Rejected"))
        return Counters(read, accepted, rejected, tuple(self._files))


class _Reason:
    """Finds the reason for a failure.

    It is the message of the exception that ended the program, with all its lines, otherwise the first error in the log.
    """

    def __init__(self) -> None:
        self.exception: list[str] | None = None
        self._usage: str | None = None
        self._first_error: str | None = None
        self._goes_on = False

    def take(self, level: Level, message: str, line: str) -> None:
        if EXCEPTION.match(line):
            self.exception = [message]
            self._goes_on = True
            return
        if self._goes_on and self.exception is not None:
            self._goes_on = not _STACK.match(line) and RECORD.match(line) is None and len(self.exception) < _REASON_LINES
            if self._goes_on:
                self.exception.append(line.strip())
                return
        if USAGE.match(line):
            self._usage = self._usage or message
        elif level == "error":
            self._first_error = self._first_error or message

    @property
    def text(self) -> str | None:
        if self.exception is not None:
            return shorten_message(shorten_exception(" ".join(self.exception)))[:1000] or None
        found = self._usage or self._first_error
        return found[:1000] if found else None
