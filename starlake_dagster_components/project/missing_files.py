"""Explain why a load finds no file, by what is in its folders instead. Reads folders of this machine only."""

import difflib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from .file_patterns import compile_pattern
from .model import Domain, Project, Table

MAX_NAMED = 3
"""Number of file names that a message lists; the rest are counted."""
_WITHOUT_PATTERN = ".*"


@dataclass(frozen=True, slots=True)
class MissingFiles:
    """The folders that were searched for a table's files, and what was found instead.

    Attributes:
        table: the table, with its pattern.
        stage: folder of its domain in the stage area.
        incoming: ``metadata.directory`` of its domain; None if it has none, or if it is not a folder of this machine.
        stage_exists, incoming_exists: whether the folders exist.
        waiting: names of files in ``incoming`` that match the table.
        strangers: names of files in either folder that match no table of the domain, each with the closest pattern.
    """

    table: Table
    stage: str
    incoming: str | None
    stage_exists: bool
    incoming_exists: bool
    waiting: tuple[str, ...] = ()
    strangers: tuple[tuple[str, str], ...] = field(default=())

    @property
    def is_suspicious(self) -> bool:
        """True if there is another cause than a file that has not arrived yet."""
        return bool(self.waiting or self.strangers) or not (self.stage_exists or self.incoming_exists)

    def describe(self, strategy: str) -> str:
        """Return the explanation, without a period at the end.

        Args:
            strategy: the pre-load strategy of the domain; ``none`` if it has none.
        """
        pattern = self.table.pattern or _WITHOUT_PATTERN
        text = f"no file in {self.stage} matches {pattern}"
        if not self.stage_exists:
            text = f"no file matches {pattern}: the folder {self.stage} does not exist"
        if self.waiting:
            advice = (
                "set pre_load_strategy: imported, or run stage" if strategy == "none" else "run the pre-load of the domain again, or stage"
            )
            some = len(self.waiting) > 1
            text += f"; {len(self.waiting)} that {'match wait' if some else 'matches waits'} in {self.incoming}: {advice}"
        elif self.incoming and not self.incoming_exists:
            text += f"; the folder {self.incoming} (metadata.directory) does not exist either"
        if self.strangers:
            named = ", ".join(f"{name} (closest pattern: {closest})" for name, closest in self.strangers[:MAX_NAMED])
            rest = len(self.strangers) - MAX_NAMED
            text += f"; these files match no table of {self.table.domain}: {named}{f' and {rest} more' if rest > 0 else ''}"
        return text


def find_missing_files(project: Project, table: Table) -> MissingFiles | None:
    """Explain why a load of a table finds no file. Return None if there is a file, or if the folder is not on this machine.

    Args:
        project: the project.
        table: one of its load tables.
    """
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
        strangers=tuple((name, _find_closest(name, domain)) for name in names if _is_stranger(name, domain, project)),
    )


def get_local_folder(text: str, root: str | os.PathLike[str]) -> str | None:
    """Return the absolute local folder of a setting; None for other storage (``gs://...``)."""
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
    try:
        return bool(table.pattern) and compile_pattern(table.pattern or "").fullmatch(name) is not None
    except ValueError:
        return False


def _is_stranger(name: str, domain: Domain, project: Project) -> bool:
    """Return whether a file belongs to no table of a domain: it matches no pattern and is not an ack file."""
    acks = {t.metadata.ack for t in domain.tables} | {domain.metadata.ack, project.application.ack}
    if any(ack and name.endswith(f".{ack}") for ack in acks):
        return False
    return not any(_matches(name, table) for table in domain.tables)


def _find_closest(name: str, domain: Domain) -> str:
    patterns: Sequence[str] = [t.pattern for t in domain.tables if t.pattern]
    # A pattern is compared by its letters: "customers.*\\.csv" looks like "customerscsv".
    return max(
        patterns, key=lambda p: difflib.SequenceMatcher(None, _keep_letters(p), _keep_letters(name)).ratio(), default=_WITHOUT_PATTERN
    )


def _keep_letters(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalpha())
