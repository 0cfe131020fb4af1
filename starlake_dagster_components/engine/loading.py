"""``load``: choose the files of each table, and load them in order. Starlake: IngestionWorkflow.load."""

import contextlib
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import EngineError, describe_unknown
from ..project.model import Domain, Table
from . import audit_tables as audit
from . import journal
from .adaptive import choose_strategy
from .areas import find_free_name, find_table, is_utf8, list_files, make_folders, matches_table, move_file, show_path
from .arguments import Arguments
from .connection_options import read_setup
from .database import open_database
from .engine_errors import BadArguments, BadFile, DatabaseFailed, DatabaseReadOnly, NotSupported
from .session import Session
from .unsupported import check_areas, warn_about_unused_options
from .writing import Group, Loads, Writer

Selected = tuple[Domain, list[Table]]
"""A domain, and its tables that a command names."""


def load_tables(session: Session, arguments: Arguments) -> Loads:
    """Load the files that wait in the stage area, and those that an earlier load left in the ingesting area.

    Each file is one transaction, or all files of a table with ``SL_GROUPED``. A file that cannot be loaded stays in the ingesting area,
    where the next load finds it. The others are loaded anyway.
    """
    project = session.project
    check_areas(project)
    selected = select_tables(session, arguments)
    make_folders(project.areas, [domain for domain, _ in selected])
    _copy_files(session, arguments, selected)
    loads = Loads()
    for path, tables in _group_by_database(session, selected, loads):
        _load_database(session, arguments, path, tables, loads)
    return loads


def select_tables(session: Session, arguments: Arguments) -> list[Selected]:
    """Return the domains and tables that a command names by their logical names. Unknown names are logged and ignored."""
    domains = session.project.domains
    known = {d.folder for d in domains} | {d.name for d in domains}
    for name in arguments.domains:
        if name not in known:
            _warn_about_unknown(session, "domain", name, {d.final_name: d.name for d in domains}, sorted(known))
    chosen = [d for d in domains if not arguments.domains or d.folder in arguments.domains or d.name in arguments.domains]
    tables = {t.name for d in chosen for t in d.tables}
    for name in arguments.tables:
        if name not in tables:
            _warn_about_unknown(session, "table", name, {t.final_name: t.name for d in chosen for t in d.tables}, sorted(tables))
    return [(d, [t for t in d.tables if not arguments.tables or t.name in arguments.tables]) for d in chosen]


def _warn_about_unknown(session: Session, kind: str, name: str, finals: Mapping[str, str], known: Sequence[str]) -> None:
    if name in finals:
        session.log("warning", f"{kind} '{name}' is ignored: on the command line, use the name '{finals[name]}'")
    else:
        session.log("warning", f"{describe_unknown(kind, name, known)}; it is ignored")


def _copy_files(session: Session, arguments: Arguments, selected: Sequence[Selected]) -> None:
    """Copy the files of ``--files`` to the stage area. The originals are kept."""
    if not arguments.files or arguments.in_place:
        return
    for domain, _ in selected:
        folder = Path(session.project.areas.stage, domain.name)
        for name in arguments.files:
            file = _find_local_file(session, name)
            target = folder / file.name
            if file.parent.resolve() == folder.resolve():
                continue
            if target.exists():
                raise BadArguments(f"--files: {folder} already contains a file {file.name} that is not loaded yet")
            partial = target.with_name(f".{target.name}.part")
            shutil.copy2(file, partial)
            partial.replace(target)


def _find_local_file(session: Session, name: str) -> Path:
    file = Path(session.project.root, name.removeprefix("file://").removeprefix("file:"))
    if not file.is_file():
        raise BadArguments(f"--files: {file} does not exist")
    return file


def _group_by_database(session: Session, selected: Sequence[Selected], loads: Loads) -> list[tuple[Path, list[Selected]]]:
    """Return the selected tables, grouped by the database that they are written to."""
    found: dict[Path, list[Selected]] = {}
    for domain, tables in selected:
        for table in tables:
            try:
                path = session.find_database(table)
            except EngineError as error:
                if _has_files(session, domain, [table]):
                    loads.fail(error, table.full_name)
                loads.finished.append(table.full_name)
                continue
            domains = found.setdefault(path, [])
            if not domains or domains[-1][0] is not domain:
                domains.append((domain, []))
            domains[-1][1].append(table)
    return sorted(found.items())


def _has_files(session: Session, domain: Domain, tables: Sequence[Table]) -> bool:
    """Return whether there are files to load for these tables."""
    areas = session.project.areas
    return any(find_table(file.name, tables) for folder in (areas.ingesting, areas.stage) for file in list_files(Path(folder, domain.name)))


def _load_database(session: Session, arguments: Arguments, path: Path, domains: Sequence[Selected], loads: Loads) -> None:
    names = [table.full_name for _, tables in domains for table in tables]
    loads.finished.extend(names)
    if not arguments.in_place:
        for domain, _ in domains:
            if not arguments.tables:
                _set_unresolved_aside(session, domain)
        if not any(_has_files(session, domain, tables) for domain, tables in domains):
            return
    connection = session.project.find_connection(domains[0][1][0])
    warn_about_unused_options(session, connection)
    entries: list[audit.Entry] = []
    checks: list[audit.Checks] = []
    try:
        setup = read_setup(connection, session.zone)
        if setup.read_only:
            raise DatabaseReadOnly(f"{setup.read_only}: connection '{setup.name}' is read-only")
        with open_database(path, canceled=session.canceled, log=session.log, holder=f"load of {', '.join(names)}", setup=setup) as database:
            recovered = journal.recover_files(database, Path(session.project.areas.unresolved))
            for one in recovered:
                _report_recovered(session, one, domains, loads)
            stuck = [one for one in recovered if one.error]
            writer = Writer(session, database, loads, entries, checks, [one.file for one in stuck], archived=not arguments.in_place)
            try:
                for group in _form_groups(session, arguments, domains, {(one.path.parent.name, one.path.name) for one in stuck}):
                    session.check_canceled()
                    writer.load_group(group)
            finally:
                writer.close()
    except (DatabaseFailed, NotSupported) as error:
        session.log("error", str(error))
        loads.fail(error, *(t.full_name for domain, tables in domains for t in tables if _has_files(session, domain, [t])))
    other = session.find_audit_database()
    if other is not None and other != path and (entries or checks):
        audit.write_rows_elsewhere(session, other, entries, checks)


def _report_recovered(session: Session, recovered: journal.Recovered, domains: Sequence[Selected], loads: Loads) -> None:
    error: EngineError
    if recovered.error:
        error = journal.make_failure(recovered.path, recovered.error)
    elif recovered.aside:
        reason = "an earlier command loaded this file, and it was written to since; it is not loaded again, and was moved to"
        error = BadFile(str(recovered.path), f"{reason} {recovered.aside}")
    else:
        session.log("warning", f"{recovered.path} was loaded by an earlier command that could not archive it; it is archived now")
        return
    session.log("error", str(error))
    table = find_table(recovered.path.name, [t for domain, tables in domains if domain.name == recovered.path.parent.name for t in tables])
    loads.fail(error, *([table.full_name] if table else []))


def _set_unresolved_aside(session: Session, domain: Domain) -> None:
    """Move files of the stage area that match no table to the unresolved area."""
    areas = session.project.areas
    for file in list_files(Path(areas.stage, domain.name)):
        if find_table(file.name, domain.tables) is None:
            target = find_free_name(Path(areas.unresolved, domain.name), file.name)
            # Another command may already have moved it.
            with contextlib.suppress(FileNotFoundError):
                move_file(file, target)
                reason = f"does not match the pattern of any table of {domain.name}"
                session.log("warning", f"{show_path(file.name)} {reason}; moved to {show_path(target)}")


def _form_groups(
    session: Session, arguments: Arguments, domains: Sequence[Selected], stuck: Collection[tuple[str, str]]
) -> Iterator[Group]:
    """Move the files to load to the ingesting area, and yield them in the order in which they are loaded.

    ``stuck`` are the domains and names of loaded files that cannot be moved. New files of these names wait until they are.
    """
    areas = session.project.areas
    for domain, tables in domains:
        if arguments.in_place:
            files = [_find_local_file(session, name) for name in arguments.files]
            for table in tables:
                yield from _split_files(session, table, [f for f in files if matches_table(f.name, table)])
            continue
        left, staged = (
            _sort_by_table([file for file in list_files(Path(area, domain.name)) if (domain.name, file.name) not in stuck], tables)
            for area in (areas.ingesting, areas.stage)
        )
        for table in tables:
            for file in left.get(table.name, ()):
                reason = f"was left in the ingesting area by an earlier load of {table.full_name}"
                session.log("warning", f"{show_path(file.name)} {reason}; it is loaded now")
            # Files that could not be loaded before must not hold up new ones.
            for again, sorted_files in ((True, left), (False, staged)):
                for group in _split_files(session, table, sorted_files.get(table.name, ())):
                    yield _move_group(session, domain, replace(group, again=again))


def _sort_by_table(files: Sequence[Path], tables: Sequence[Table]) -> Mapping[str, list[Path]]:
    """Return the files of each table, by the table's name."""
    found: dict[str, list[Path]] = {}
    for file in files:
        table = find_table(file.name, tables)
        if table is not None:
            found.setdefault(table.name, []).append(file)
    return found


def _move_group(session: Session, domain: Domain, group: Group) -> Group:
    """Return a group with its files in the ingesting area."""
    if group.error is not None:
        return group
    moved: list[Path] = []
    for file in group.files:
        try:
            moved.append(_move_into_ingesting(session, domain, file))
        except OSError as error:
            reason = f"the file cannot be moved to the ingesting area: {error.strerror}"
            return replace(group, files=(*moved, *group.files[len(moved) :]), error=BadFile(str(file), reason))
    return replace(group, files=tuple(moved))


def _move_into_ingesting(session: Session, domain: Domain, file: Path) -> Path:
    areas = session.project.areas
    target = Path(areas.ingesting, domain.name, file.name)
    if file == target:
        return file
    if target.exists():
        # A file with this name could not be loaded. The new one replaces it.
        aside = find_free_name(Path(areas.unresolved, domain.name), file.name)
        session.log("warning", f"{target} could not be loaded, and a new file with this name has arrived; the old one was moved to {aside}")
        move_file(target, aside)
    move_file(file, target)
    return target


def _split_files(session: Session, table: Table, files: Sequence[Path]) -> Iterator[Group]:
    """Yield the files of a table in groups that are loaded together."""
    written = table.metadata.write_strategy
    run: list[Path] = []
    current: str | None = None
    for file in files:
        try:
            if not is_utf8(file.name):
                raise BadFile(show_path(file), "the name of the file is not UTF-8: rename it; it stays where it is")
            chosen = choose_strategy(table, file, session.project.application.timezone) if written and written.types else None
        except EngineError as error:
            yield Group(table, (file,), error=error)
            continue
        if run and (chosen != current or not session.settings.grouped):
            yield Group(table, tuple(run), current)
            run = []
        run.append(file)
        current = chosen
    if run:
        yield Group(table, tuple(run), current)
