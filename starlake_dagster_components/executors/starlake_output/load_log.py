"""What a ``load`` writes while it goes through its tables. Starlake: IngestionWorkflow.load, ingest.

It takes one table after another. For each file (or group of files) it announces format, files and table on standard output, and says how long moving
them to the archive took when they are loaded. A file that fails is followed by nothing of that kind. Only a command of which every table is loaded
prints row counts, and these are sums.
"""

from ..base import Progress

_FILES = "File(s): "
_TABLE = "Table: "
_ARCHIVED = "Archive duration takes "
_RESOLVED = "Ingest resolved file : "
_INFORMS = "Watch Domain: "
_COMPLETE = "Some tables failed to be loaded"
_BROKEN = "Error during ingestion"

PATTERN = "|".join(("^File.s.: ", "^Table: ", "^Archive duration takes ", _RESOLVED, _INFORMS, f"{_COMPLETE}$", f"{_BROKEN}$"))
"""Regular expression (RE2) that finds the lines that matter."""


class LoadLines:
    """Takes the lines of a ``load``, in their order.

    Where lines are missing, as in logs that have come over a network, it tells nothing rather than something wrong.
    """

    def __init__(self) -> None:
        self._files: list[str] = []
        self._begun: dict[str, int] = {}
        self._archived: dict[str, int] = {}
        self._files_of: dict[str, list[str]] = {}
        self._resolved: set[str] = set()
        self._informs = False
        """The log has level info."""
        self._current: str | None = None
        self._ended = self._broken = False
        self._has_gaps = False

    def take(self, line: str) -> None:
        """Take a line; most say nothing about tables."""
        if line.startswith(_TABLE):
            self._has_gaps = self._has_gaps or not self._files
            self._current = table = line[len(_TABLE) :].strip()
            self._begun[table] = self._begun.get(table, 0) + 1
            self._files_of.setdefault(table, []).extend(self._files)
            self._files = []
        elif line.startswith(_FILES):
            self._has_gaps = self._has_gaps or bool(self._files)
            self._files = [path for path in line[len(_FILES) :].strip().split(",") if path]
            self._current = None
        elif line.startswith(_ARCHIVED):
            self._has_gaps = self._has_gaps or self._current is None
            if self._current is not None:
                self._archived[self._current] = self._archived.get(self._current, 0) + 1
        elif _RESOLVED in line:
            self._resolved.add(line.rpartition(" as table ")[2].strip())
        elif _INFORMS in line:
            self._informs = True
        elif line.endswith(_COMPLETE):
            self._ended = True
        elif line.endswith(_BROKEN):
            self._broken = True

    @property
    def progress(self) -> Progress:
        """How far a load that failed says that it came."""
        if self._ended and not self._broken:
            return "complete"
        return "begun" if self._begun else "none"

    @property
    def tried(self) -> int:
        """How many files were tried."""
        return sum(map(len, self._files_of.values()))

    def files(self, table: str) -> tuple[str, ...]:
        """Return the paths of the files that were tried for a table (its final name with its domain)."""
        return tuple(self._files_of.get(table, ()))

    def loaded(self, table: str, logical: str) -> bool | None:
        """Say whether a load that failed has loaded a table; None when its output does not tell.

        Args:
            table: final name with the domain, as on standard output.
            logical: logical name with the domain, as in the log.
        """
        if self._is_patchy:
            return None
        begun, complete = self._begun.get(table, 0), self.progress == "complete"
        if not begun:
            return True if complete and logical not in self._resolved else None
        if not complete and table == self._current:
            return None
        if self._archived.get(table, 0) >= begun:
            return True
        # Without an archive (archive: false) nothing is said about a file that is loaded.
        return False if self._archived else None

    def untouched(self, logical: str) -> bool:
        """Say whether it is certain that a load ended before it took the files of a table. The log says so before it moves them, at level info."""
        return (
            not self._is_patchy
            and (self._informs or bool(self._resolved))
            and logical not in self._resolved
            and self.progress != "complete"
        )

    @property
    def _is_patchy(self) -> bool:
        """Whether lines are missing."""
        return (
            self._has_gaps
            or bool(self._files)
            or any(count > self._begun[table] for table, count in self._archived.items())
            or (self.progress == "complete" and len(self._resolved) > len(self._begun))
        )
