"""Explain why a load finds no file by listing the contents of its folders. Only local folders are read."""

import difflib
import os
from dataclasses import dataclass

from ..errors import Location, join_names
from .file_patterns import compile_file_pattern
from .model import Domain, Project, Table

MAX_NAMED = 3
"""Number of file names that a message lists; the rest are counted."""
_WITHOUT_PATTERN = ".*"


@dataclass(frozen=True, slots=True)
class MissingFiles:
    """The folders that were searched for a table's files, and the files that were found instead.

    Attributes:
        table: the table, with its pattern.
        stage: folder of its domain in the stage area.
        incoming: ``metadata.directory`` of its domain; None if it is not set or not a local folder.
        stage_exists, incoming_exists: whether the folders exist.
        waiting: names of files in ``incoming`` that match the table.
        unmatched: (name, closest pattern) of the files in either folder that match no table of the domain.
    """

    table: Table
    stage: str
    incoming: str | None
    stage_exists: bool
    incoming_exists: bool
    waiting: tuple[str, ...] = ()
    unmatched: tuple[tuple[str, str], ...] = ()

    @property
    def is_suspicious(self) -> bool:
        """True if the cause is something other than a file that has not arrived yet."""
        return bool(self.waiting or self.unmatched) or not (self.stage_exists or self.incoming_exists)

    def describe(self, strategy: str | None, setting: Location | None = None) -> str:
        """Return the explanation as one sentence, without the period.

        ``strategy`` is the pre-load strategy of the domain: ``none`` if it has none, None if it is unknown. ``setting`` is where it is, or
        is to be, set.
        """
        pattern = self.table.pattern or _WITHOUT_PATTERN
        text = f"no file in {self.stage} matches {pattern}"
        if not self.stage_exists:
            text = f"no file matches {pattern}: the folder {self.stage} does not exist"
        if self.waiting:
            advice = "run stage, as a job with pre_load_strategy: imported does before its loads"
            if strategy == "none":
                advice = f"set pre_load_strategy: imported{f' in {setting}' if setting else ''}, or run stage"
            elif strategy:
                advice = "run the pre-load of the domain again, or stage"
            count = len(self.waiting)
            files = "1 matching file is" if count == 1 else f"{count} matching files are"
            text += f"; {files} in {self.incoming}: {advice}"
        elif self.incoming and not self.incoming_exists:
            text += f"; the folder {self.incoming} (metadata.directory) does not exist{'' if self.stage_exists else ' either'}"
        return f"{text}; {self._describe_unmatched()}" if self.unmatched else text

    def describe_mistake(self, strategy: str, directory: Location) -> str | None:
        """Return a sentence with the reason why a pre-load finds no files; None if they have just not arrived yet.

        ``directory`` is where ``metadata.directory`` of the domain is set.
        """
        if strategy == "imported" and self.incoming and not self.incoming_exists:
            return f"the folder {self.incoming} does not exist: create it, or change metadata.directory in {directory}"
        return self._describe_unmatched() if self.unmatched and strategy in ("imported", "pending") else None

    def _describe_unmatched(self) -> str:
        named = [f"{name} (closest pattern: {closest})" for name, closest in self.unmatched]
        return f"these files match no table of {self.table.domain}: {join_names(named, MAX_NAMED)}"


def find_missing_files(project: Project, table: Table) -> MissingFiles | None:
    """Explain why a load of a table finds no file. Return None if there is a file, or if the stage folder is not local."""
    domain = next((d for d in project.domains if d.name == table.domain), None)
    stage = get_local_folder(f"{project.areas.stage}/{table.domain}", project.root)
    if domain is None or stage is None:
        return None
    ingesting = get_local_folder(f"{project.areas.ingesting}/{table.domain}", project.root)
    if any(_matches(name, table) for folder in (stage, ingesting) if folder for name in _list_names(folder) or ()):
        return None
    directory = domain.metadata.directory
    incoming = get_local_folder(directory, project.root) if directory else None
    staged, arrived = _list_names(stage), _list_names(incoming) if incoming else None
    names = sorted({*(staged or ()), *(arrived or ())})
    return MissingFiles(
        table=table,
        stage=stage,
        incoming=incoming,
        stage_exists=staged is not None,
        incoming_exists=arrived is not None,
        waiting=tuple(name for name in arrived or () if _matches(name, table)),
        unmatched=tuple((name, _find_closest(name, domain)) for name in names if _is_unmatched(name, domain, project)),
    )


def get_local_folder(text: str, root: str | os.PathLike[str]) -> str | None:
    """Return the absolute path of a local folder, which may be relative to the project; None for other storage (``gs://...``)."""
    if text.startswith("file:"):
        text = "/" + text[len("file:") :].lstrip("/")
    return None if "://" in text else os.path.normpath(os.path.join(root, text))


def _list_names(folder: str) -> list[str] | None:
    """Return the names of the files in a folder, sorted; None if the folder does not exist."""
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if not e.name.startswith(".") and e.is_file())
    except OSError:
        return None


def _matches(name: str, table: Table) -> bool:
    return bool(table.pattern) and compile_file_pattern(table.pattern).fullmatch(name) is not None


def _is_unmatched(name: str, domain: Domain, project: Project) -> bool:
    """Return whether a file matches no table's pattern and is not an ack file."""
    acks = {t.metadata.ack for t in domain.tables} | {domain.metadata.ack, project.application.ack}
    is_ack = any(ack and name.endswith(f".{ack}") for ack in acks)
    return not is_ack and not any(_matches(name, table) for table in domain.tables)


def _find_closest(name: str, domain: Domain) -> str:
    def compare(pattern: str) -> float:
        # Only letters are compared: "customers.*\\.csv" becomes "customerscsv".
        first, second = ("".join(filter(str.isalpha, text.lower())) for text in (pattern, name))
        return difflib.SequenceMatcher(None, first, second).ratio()

    return max((t.pattern for t in domain.tables if t.pattern), key=compare, default=_WITHOUT_PATTERN)
