"""Find the folders in which the files of a load pipeline wait for a run. Starlake: PreLoadCmd, IngestionWorkflow.stage."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ..project.file_patterns import match_patterns
from ..project.missing_files import get_local_folder
from ..project.model import Domain, Project
from .pipeline import Pipeline, PreLoad, insert_day


@dataclass(frozen=True, slots=True)
class TableFiles:
    """The files of one table in a folder.

    Attributes:
        table: full name.
        pattern: Java regular expression that the whole name of a file must match.
        ack: extension, without the dot, of the ack file that marks a file as complete; empty if none is required.
    """

    table: str
    pattern: str
    ack: str = ""


@dataclass(frozen=True, slots=True)
class WaitingFolder:
    """A folder in which files of a domain wait.

    Attributes:
        domain: logical name of the domain.
        path: absolute path, or a URL (``gs://bucket/incoming``).
        tables: the tables that take files from it, in order of precedence.
        ack_file: absolute path of the file that marks all files of the domain as complete (strategy ``ack``), with
            ``{YYYY-MM-DD}`` in place of the day; empty for other strategies.
    """

    domain: str
    path: str
    tables: tuple[TableFiles, ...] = ()
    ack_file: str = ""

    def get_ack_file(self, now: datetime) -> str:
        """Return the path of the ack file for a day."""
        return insert_day(self.ack_file, now)


def list_waiting_folders(project: Project, pipeline: Pipeline) -> tuple[WaitingFolder, ...]:
    """Return the folders in which files of a load pipeline wait, one per domain that has a pre-load strategy.

    With ``imported``, files wait in the domain's incoming folder (``metadata.directory``). With ``pending`` and ``ack``, they wait in its
    folder of the stage area.
    """
    domains = {domain.name: domain for domain in project.domains}
    found = (_find_folder(project, pipeline, domains[name], pre_load) for name, pre_load in pipeline.pre_load.items())
    return tuple([folder for folder in found if folder is not None])


def _find_folder(project: Project, pipeline: Pipeline, domain: Domain, pre_load: PreLoad) -> WaitingFolder | None:
    imported = pre_load.strategy == "imported"
    path = domain.metadata.directory if imported else f"{project.areas.stage}/{domain.name}"
    tables = [table for table in pipeline.tables if table.domain == domain.name]
    if pre_load.strategy == "none" or not path or not tables:
        return None
    # In Starlake, stage checks ack files, but preload with the strategy pending does not.
    ack = (domain.metadata.ack or project.application.ack or "") if imported else ""
    files = [TableFiles(t.full_name, t.pattern or "", ((t.metadata.ack if imported else None) or ack).lstrip(".")) for t in tables]
    ack_file = _resolve_path(project, pre_load.find_ack_file(project, domain)) if pre_load.strategy == "ack" else ""
    return WaitingFolder(domain.name, _resolve_path(project, path), tuple(files), ack_file)


def _resolve_path(project: Project, path: str) -> str:
    """Return the absolute path of a local folder or file. The URL of other storage is returned without a slash at the end."""
    return get_local_folder(path, project.root) or path.rstrip("/")


def match_tables(names: Sequence[str], tables: Sequence[TableFiles]) -> dict[str, TableFiles]:
    """Return file name -> the first table whose pattern matches, which takes the file. Ack files and unmatched files are left out."""
    endings = tuple(f".{table.ack}" for table in tables if table.ack)
    candidates = [name for name in names if not (endings and name.endswith(endings))]
    return {name: tables[index] for name, index in match_patterns(candidates, [table.pattern for table in tables]).items()}


def name_ack_file(name: str, table: TableFiles) -> str:
    """Return the name of the ack file that marks a file as complete (``orders.csv`` -> ``orders.ack``); empty if none is required."""
    return f"{name.rpartition('.')[0] or name}.{table.ack}" if table.ack else ""
