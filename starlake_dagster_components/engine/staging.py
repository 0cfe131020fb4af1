"""``stage``: move the files in the incoming folder of a domain to its stage area. Starlake: IngestionWorkflow.stage."""

import os
from collections.abc import Collection, Sequence
from pathlib import Path

from ..errors import EngineError
from ..full_disk import explain_full_disk
from ..locks import hold_lock
from ..project.model import Domain, Table
from .areas import finish_moves, format_uri, have_same_content, list_files, make_folders, matches_table, show_path, take_file
from .arguments import Arguments
from .engine_errors import BadSetting, NotSupported
from .loading import select_tables
from .session import Session
from .unsupported import check_areas

_ARCHIVES = (".zip", ".tgz", ".tar.gz", ".tar")


def stage_files(session: Session, arguments: Arguments) -> list[Path]:
    """Move the files that wait for the given tables to the stage area. Return their new paths."""
    check_areas(session.project)
    selected = select_tables(session, arguments)
    make_folders(session.project.areas, [domain for domain, _ in selected])
    moved: list[Path] = []
    for domain, tables in selected:
        if tables:
            source = Path(session.project.root, get_incoming_folder(domain))
            with hold_lock(f"files {os.path.realpath(source)}", beside=source, canceled=session.canceled, log=session.log):
                moved += _stage_domain(session, domain, tables, source)
    return moved


def _stage_domain(session: Session, domain: Domain, tables: Sequence[Table], source: Path) -> list[Path]:
    folder = Path(session.project.areas.stage, domain.name)
    moved = finish_moves(source, folder)
    for target in moved:
        session.log("warning", f"{show_path(target.name)} was being moved to {folder} when an earlier command was killed; it is there now")
    failures: list[str] = []
    found = list_incoming(session, domain, tables)
    session.out(f"Moving {len(found)} file(s) from {get_incoming_folder(domain)} to {format_uri(folder)}")
    for file, ack in found.items():
        target = folder / file.name
        if target.exists() and not have_same_content(file, target):
            why = f"{show_path(target)} has the same name and is not loaded yet; run stage again after the next load"
            session.log("warning", f"{show_path(file)} stays in the incoming folder: {why}")
            continue
        session.out(f"Moving {show_path(file.name)}")
        try:
            take_file(file, target)
        except OSError as error:
            reason = explain_full_disk(error) or error.strerror
            failures.append(f"{show_path(file)} cannot be moved to {folder}, and stays where it is: {reason}")
            continue
        if ack is not None:
            ack.unlink(missing_ok=True)
        moved.append(target)
    _report_archives(session, source, found)
    if failures:
        raise EngineError("\n".join(failures))
    return moved


def _report_archives(session: Session, folder: Path, taken: Collection[Path]) -> None:
    """Log the archives that are not staged. Starlake's documentation says that they are unpacked, but its code does not do so."""
    for file in list_files(folder):
        if file not in taken and file.name.lower().endswith(_ARCHIVES):
            reason = "is an archive and does not match the pattern of any table; as in Starlake, archives are not unpacked"
            session.log("warning", f"{show_path(file)} {reason}")


def get_incoming_folder(domain: Domain) -> str:
    """Return the incoming folder of a domain as written. Raise BadSetting if it is not set, and NotSupported if it is not local."""
    written = domain.metadata.directory
    if not written:
        raise BadSetting(domain.origin.locate("metadata"), f"domain {domain.name} has no metadata.directory to take files from")
    if "://" in written.removeprefix("file://"):
        raise NotSupported(domain.origin.locate("metadata.directory"), f"domain {domain.name}: {written} is not a local folder")
    return written.removeprefix("file://")


def list_incoming(session: Session, domain: Domain, tables: Sequence[Table]) -> dict[Path, Path | None]:
    """Return the files in a domain's incoming folder that belong to a table, with their ack files if the table requires these."""
    folder = Path(session.project.root, get_incoming_folder(domain))
    if not folder.is_dir():
        session.log("error", f"Input path : {folder} not found, {domain.name} Domain is ignored")
        return {}
    files = list_files(folder)
    found: dict[Path, Path | None] = {}
    for table in tables:
        extension = table.metadata.ack or domain.metadata.ack or session.project.application.ack or ""
        for file in files:
            is_ack = bool(extension) and file.name.endswith(f".{extension}")
            if file in found or is_ack or not matches_table(file.name, table):
                continue
            ack = file.with_name(f"{file.name.rpartition('.')[0] or file.name}.{extension}") if extension else None
            if ack is None or ack.exists():
                found[file] = ack
    return {file: found[file] for file in files if file in found}
