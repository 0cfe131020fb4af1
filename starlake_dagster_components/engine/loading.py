"""``load``: files of the stage area into their tables. Starlake: IngestionWorkflow.load, DuckDbNativeLoader."""

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import duckdb

from ..errors import CommandCancelled, EngineError, StarlakeError, unknown
from ..project.model import Domain, Table
from ..project.sql import SqlPart
from ..project.templating import TemplateError, render
from . import audit, journal
from .adaptive import choose
from .areas import Identity, free_name, list_files, make_folders, matches, move, table_of, uri
from .arguments import Arguments
from .batch import hashed, select
from .database import Column, Database, opened
from .ddl import TypedAttribute, comment, create_table, typed
from .errors import BadArguments, BadFile, BadSetting, DatabaseFailed, ExpectationsFailed
from .evolution import evolve
from .expectations import TransactionLost, evaluate, raise_for_failed
from .formats import Scratch, explain, format_of, source
from .privacy import make_hashes
from .result import ExpectationOutcome, TableLoad
from .scripts import Script, explained, made_by, run
from .session import Session, now
from .strategies import Strategy, Target, check_columns, strategy, write

_SMALL = 4_000_000
"""Bytes that one processor reads at once."""


@dataclass(slots=True)
class Loads:
    """What a ``load`` did, table by table.

    Attributes:
        tables: logical ``domain.table`` -> what was loaded.
        jobs: ids of the audit rows, one per group of files.
        failures: what went wrong, in order.
        expectations: what became of the expectations.
    """

    tables: dict[str, TableLoad] = field(default_factory=dict)
    jobs: list[str] = field(default_factory=list)
    failures: list[StarlakeError] = field(default_factory=list)
    expectations: list[ExpectationOutcome] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    def add(self, loaded: TableLoad) -> None:
        """Add what a group of files brought."""
        before = self.tables.get(loaded.table)
        self.paths.extend(loaded.files)
        if before is None:
            self.tables[loaded.table] = loaded
            return
        self.tables[loaded.table] = replace(
            loaded,
            input=before.input + loaded.input,
            accepted=before.accepted + loaded.accepted,
            rejected=before.rejected + loaded.rejected,
            files=before.files + loaded.files,
            failed=before.failed + loaded.failed,
            row_count=loaded.row_count if loaded.row_count is not None else before.row_count,
        )


@dataclass(frozen=True, slots=True)
class _Group:
    """Files that are loaded in one transaction."""

    table: Table
    files: tuple[Path, ...]
    chosen: str | None = None
    error: EngineError | None = None


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A table, ready to be loaded."""

    table: Table
    attributes: list[TypedAttribute]
    strategy: Strategy
    columns: list[Column]

    @property
    def names(self) -> list[str]:
        return [c.name for c in self.columns]


def load(session: Session, arguments: Arguments) -> Loads:
    """Load the files that wait in the stage area, and those that an earlier load left in the ingesting area.

    Each file is one transaction, or all files of a table with ``SL_GROUPED``. A file that cannot be loaded stays in the ingesting area,
    where the next load takes it from; the others are loaded nevertheless.
    """
    project = session.project
    selected = select_tables(session, arguments)
    make_folders(project.areas, [domain for domain, _ in selected])
    _copy_files(session, arguments, selected)
    loads = Loads()
    for path, tables in _by_database(session, selected, loads):
        _load_database(session, arguments, path, tables, loads)
    return loads


def select_tables(session: Session, arguments: Arguments) -> list[tuple[Domain, list[Table]]]:
    """Return the domains and tables that a command names, by their logical names; unknown names are said in the log and left out."""
    domains = session.project.domains
    known = {d.folder for d in domains} | {d.name for d in domains}
    for name in arguments.domains:
        if name not in known:
            _say_unknown(session, "domain", name, {d.final_name: d.name for d in domains}, sorted(known))
    chosen = [d for d in domains if not arguments.domains or d.folder in arguments.domains or d.name in arguments.domains]
    tables = {t.name for d in chosen for t in d.tables}
    for name in arguments.tables:
        if name not in tables:
            _say_unknown(session, "table", name, {t.final_name: t.name for d in chosen for t in d.tables}, sorted(tables))
    return [(d, [t for t in d.tables if not arguments.tables or t.name in arguments.tables]) for d in chosen]


def _say_unknown(session: Session, kind: str, name: str, finals: Mapping[str, str], known: Sequence[str]) -> None:
    if name in finals:
        session.log("warning", f"{kind} '{name}' is known to the command line as '{finals[name]}': nothing is done for it")
    else:
        session.log("warning", f"{unknown(kind, name, known)}: nothing is done for it")


def _copy_files(session: Session, arguments: Arguments, selected: Sequence[tuple[Domain, list[Table]]]) -> None:
    """Copy the files of ``--files`` into the stage area; they also stay where they are."""
    if not arguments.files or arguments.in_place:
        return
    for domain, _ in selected:
        folder = Path(session.project.areas.stage, domain.name)
        for name in arguments.files:
            file = _local(session, name)
            target = folder / file.name
            if file.parent.resolve() == folder.resolve():
                continue
            if target.exists():
                raise BadArguments(f"--files: {folder} already has a file {file.name}, which is not loaded yet")
            partial = target.with_name(f".{target.name}.part")
            shutil.copy2(file, partial)
            partial.replace(target)


def _local(session: Session, name: str) -> Path:
    file = Path(session.project.root, name.removeprefix("file://").removeprefix("file:"))
    if not file.is_file():
        raise BadArguments(f"--files: there is no file {file}")
    return file


def _by_database(
    session: Session, selected: Sequence[tuple[Domain, list[Table]]], loads: Loads
) -> list[tuple[Path, list[tuple[Domain, list[Table]]]]]:
    """Return the selected tables by the database that they are written to."""
    found: dict[Path, list[tuple[Domain, list[Table]]]] = {}
    for domain, tables in selected:
        for table in tables:
            try:
                path = session.database_of(table)
            except EngineError as error:
                if _waiting(session, domain, [table]):
                    loads.failures.append(error)
                continue
            domains = found.setdefault(path, [])
            if not domains or domains[-1][0] is not domain:
                domains.append((domain, []))
            domains[-1][1].append(table)
    return sorted(found.items())


def _waiting(session: Session, domain: Domain, tables: Sequence[Table]) -> bool:
    """Say whether any file waits for these tables."""
    areas = session.project.areas
    return any(table_of(file.name, tables) for folder in (areas.ingesting, areas.stage) for file in list_files(Path(folder, domain.name)))


def _load_database(session: Session, arguments: Arguments, path: Path, domains: Sequence[tuple[Domain, list[Table]]], loads: Loads) -> None:
    if not arguments.in_place:
        for domain, _ in domains:
            if not arguments.tables:
                _set_unresolved_aside(session, domain)
        if not any(_waiting(session, domain, tables) for domain, tables in domains):
            return
    entries: list[audit.Entry] = []
    checks: list[audit.Checks] = []
    names = ", ".join(f"{domain.name}.{table.name}" for domain, tables in domains for table in tables)
    try:
        with opened(path, cancelled=session.cancelled, log=session.log, holder=f"load of {names}") as database:
            for file in journal.recover(database):
                session.log("warning", f"{file} was loaded by a command that was killed before it could archive it; archived now")
            writer = _Writer(session, database, loads, entries, checks, archived=not arguments.in_place)
            for group in _groups(session, arguments, domains):
                session.check_cancelled()
                writer.load(group)
            writer.close()
    except DatabaseFailed as error:
        loads.failures.append(error)
    other = session.audit_database()
    if other is not None and other != path and (entries or checks):
        audit.write_elsewhere(session, other, entries, checks)


def _set_unresolved_aside(session: Session, domain: Domain) -> None:
    """Move files of the stage area that are no table's to the unresolved area."""
    areas = session.project.areas
    for file in list_files(Path(areas.stage, domain.name)):
        if table_of(file.name, domain.tables) is None:
            target = free_name(Path(areas.unresolved, domain.name), file.name)
            session.log("warning", f"{file.name} matches the pattern of no table of {domain.name}: moved to {target}")
            move(file, target)


def _groups(session: Session, arguments: Arguments, domains: Sequence[tuple[Domain, list[Table]]]) -> Iterator[_Group]:
    """Yield the files to load, in the order in which they are loaded, moved to the ingesting area."""
    areas = session.project.areas
    for domain, tables in domains:
        if arguments.in_place:
            files = [_local(session, name) for name in arguments.files]
            for table in tables:
                yield from _split(session, table, [f for f in files if matches(f.name, table)])
            continue
        left = list_files(Path(areas.ingesting, domain.name))
        staged = list_files(Path(areas.stage, domain.name))
        for table in tables:
            old = [f for f in left if table_of(f.name, tables) is table]
            new = [f for f in staged if table_of(f.name, tables) is table]
            for file in old:
                session.log(
                    "warning", f"{file.name} was left in the ingesting area by an earlier load of {table.full_name}: it is loaded now"
                )
            # What could not be loaded before must not keep back what is new.
            for files in (old, new):
                for group in _split(session, table, files):
                    yield replace(group, files=tuple(_into_ingesting(session, domain, file) for file in group.files))


def _into_ingesting(session: Session, domain: Domain, file: Path) -> Path:
    areas = session.project.areas
    target = Path(areas.ingesting, domain.name, file.name)
    if file == target:
        return file
    if target.exists():
        # A file of this name was tried just before, and refused: the new one stands for it.
        aside = free_name(Path(areas.unresolved, domain.name), file.name)
        session.log("warning", f"{target} could not be loaded, and a new file of this name has come: the old one is moved to {aside}")
        move(target, aside)
    move(file, target)
    return target


def _split(session: Session, table: Table, files: Sequence[Path]) -> Iterator[_Group]:
    """Yield files of a table in the groups that are loaded together."""
    run: list[Path] = []
    current: str | None = None
    for file in files:
        try:
            chosen = _chosen(session, table, file)
        except EngineError as error:
            yield _Group(table, (file,), error=error)
            continue
        if run and (chosen != current or not session.settings.grouped):
            yield _Group(table, tuple(run), current)
            run = []
        run.append(file)
        current = chosen
    if run:
        yield _Group(table, tuple(run), current)


def _chosen(session: Session, table: Table, file: Path) -> str | None:
    written = table.metadata.write_strategy
    return choose(table, file, session.project.application.timezone) if written and written.types else None


class _Writer:
    """Writes groups of files into the tables of one database."""

    def __init__(
        self, session: Session, database: Database, loads: Loads, entries: list[audit.Entry], checks: list[audit.Checks], *, archived: bool
    ) -> None:
        self._session = session
        self._database = database
        self._loads = loads
        self._entries = entries
        self._checks = checks
        self._archived = archived
        self._noted = False
        self._prepared: dict[tuple[str, str | None], _Prepared] = {}

    def load(self, group: _Group) -> None:
        """Load a group of files; what goes wrong is noted, and told to the audit."""
        table = group.table
        paths = [uri(file) for file in group.files]
        out = self._session.out
        out("Loading")
        out(f"Format: {format_of(table)}")
        out(f"File(s): {','.join(paths)}")
        out(f"Table: {table.final_full_name}")
        began = now()
        job = self._session.job_id(f"{table.domain}-{table.name}-{group.files[0].name}")
        logical = audit.Entry(job, ",".join(paths), table.domain, table.name, "LOAD", True, began)
        try:
            if group.error is not None:
                raise group.error
            loaded = self._loaded(group, logical)
        except CommandCancelled:
            raise
        except StarlakeError as error:
            self._failed(group, logical, error)
            return
        self._loads.add(loaded)
        self._loads.jobs.append(job)

    def close(self) -> None:
        """Forget what was noted about moved files."""
        if self._noted:
            journal.forget(self._database)

    def _loaded(self, group: _Group, entry: audit.Entry) -> TableLoad:
        failing: dict[str, str] = {}
        with Scratch() as scratch:
            while True:
                try:
                    return self._transaction(group, entry, scratch, failing)
                except TransactionLost as lost:
                    failing[lost.expect] = lost.reason
                except duckdb.Error as error:
                    raise self._refusal(group, scratch, error) from error

    def _transaction(self, group: _Group, entry: audit.Entry, scratch: Scratch, failing: Mapping[str, str]) -> TableLoad:
        session, database, table = self._session, self._database, group.table
        prepared = self._prepare(group)
        sources = [source(session, table, prepared.attributes, file, scratch) for file in group.files]
        outcomes: tuple[ExpectationOutcome, ...] = ()
        target = Target(database, table.final_domain, table.final_name)
        if sum(file.stat().st_size for file in group.files) > _SMALL:
            database.expect_large()
        try:
            with database.transaction():
                existing = self._make_table(prepared, target)
                before = database.count(f"SELECT count(*) FROM {target.sql}")
                database.search([table.final_domain])
                self._run(table.presql, table, "presql")
                checked = {c.name.lower() for c in prepared.columns if not c.nullable} & {c.name.lower() for c in existing if c.nullable}
                for read in sources:
                    if queries := hashed(session, table, prepared.attributes, read):
                        make_hashes(database, queries)
                batch = "\nUNION ALL\n".join(
                    select(session, table, prepared.attributes, read, file, checked)
                    for read, file in zip(sources, group.files, strict=True)
                )
                accepted = write(target, prepared.strategy, batch, prepared.names).rows
                rejected = sum(database.count(read.skipped) for read in sources if read.skipped)
                read_rows = accepted
                if table.filter:
                    read_rows = sum(database.count(f"SELECT count(*) FROM {read.relation}") for read in sources)
                self._run(table.postsql, table, "postsql")
                outcomes = evaluate(session, database, table.final_full_name, table.expectations, failing)
                raise_for_failed(outcomes)
                rows = database.count(f"SELECT count(*) FROM {target.sql}")
                loaded = TableLoad(table.full_name, read_rows + rejected, accepted, rejected, tuple(uri(f) for f in group.files), (), rows)
                self._audit(group, entry, rows - before, outcomes)
                files = self._note(group)
        except ExpectationsFailed:
            self._audit_expectations(table, entry, outcomes)
            raise
        self._loads.expectations.extend(outcomes)
        self._archive(files)
        return loaded

    def _prepare(self, group: _Group) -> _Prepared:
        table = group.table
        key = (table.full_name, group.chosen)
        found = self._prepared.get(key)
        if found is None:
            found = prepare(self._session, table, group.chosen)
            self._prepared[key] = found
        return found

    def _make_table(self, prepared: _Prepared, target: Target) -> list[Column]:
        """Make the table or adapt it; returns its columns."""
        database, table = self._database, prepared.table
        wanted, extra = prepared.columns, prepared.strategy.extra_columns
        existing = database.columns(target.schema, target.name)
        comments = {a.attribute.final_name: a.attribute.comment for a in prepared.attributes if not a.attribute.ignore}
        if not existing:
            create_table(database, target.schema, target.name, [*wanted, *extra])
            comment(database, target.schema, target.name, table.comment, comments)
            return [*wanted, *extra]
        if database.kind(target.schema, target.name) == "view":
            raise BadSetting(table.origin.at(), f"{target} is a view: rows cannot be loaded into it")
        there = {c.name.lower() for c in existing}
        emptied = prepared.strategy.type == "OVERWRITE"
        if evolve(target, existing, wanted, extra, emptied=emptied, location=table.origin.at("attributes")):
            added = {name: text for name, text in comments.items() if name.lower() not in there}
            comment(database, target.schema, target.name, None, added)
            return database.columns(target.schema, target.name)
        return existing

    def _run(self, texts: Sequence[str], table: Table, key: str) -> None:
        session = self._session
        for index, text in enumerate(texts):
            place = table.origin.at(f"{key}[{index}]")
            try:
                rendered = render(text, session.variables, metadata_folder=session.project.metadata_folder)
            except TemplateError as error:
                raise BadSetting(place, str(error)) from error
            run(self._database, Script(SqlPart(rendered), place), made_by(session.project))

    def _audit(self, group: _Group, entry: audit.Entry, growth: int, outcomes: Sequence[ExpectationOutcome]) -> None:
        table = group.table
        entries = [
            # Starlake's native loader counts by how much the table has grown.
            replace(entry, count=growth, accepted=growth),
            audit.Entry(entry.job, table.final_name, table.final_domain, table.final_name, "TRANSFORM", True, entry.began),
        ]
        checks = [audit.Checks(entry.job, table.final_domain, table.final_name, outcomes)]
        path = self._session.audit_database()
        if path == self._database.path or path is None:
            audit.write(self._session, self._database, entries, checks)
        else:
            self._entries.extend(entries)
            self._checks.extend(checks)

    def _audit_expectations(self, table: Table, entry: audit.Entry, outcomes: Sequence[ExpectationOutcome]) -> None:
        self._loads.expectations.extend(outcomes)
        checks = [audit.Checks(entry.job, table.final_domain, table.final_name, outcomes)]
        self._audit_afterwards([], checks)

    def _audit_afterwards(self, entries: Sequence[audit.Entry], checks: Sequence[audit.Checks]) -> None:
        """Write audit rows of what was rolled back."""
        path = self._session.audit_database()
        if path == self._database.path or path is None:
            with self._database.transaction():
                audit.write(self._session, self._database, entries, checks)
        else:
            self._entries.extend(entries)
            self._checks.extend(checks)

    def _note(self, group: _Group) -> list[journal.LoadedFile]:
        if not self._archived:
            return []
        areas = self._session.project.areas
        files = []
        for path in group.files:
            identity = Identity.of(path)
            assert identity is not None
            target = free_name(Path(areas.archive, group.table.domain), path.name) if self._session.settings.archive else None
            files.append(journal.LoadedFile(path, Path(areas.stage, group.table.domain, path.name), target, identity))
        journal.note(self._database, files)
        self._noted = True
        return files

    def _archive(self, files: Sequence[journal.LoadedFile]) -> None:
        began = time.monotonic()
        for file in files:
            journal.finish(file)
        if files and self._session.settings.archive:
            self._session.out(f"Archive duration takes {round((time.monotonic() - began) * 1000)} ms")

    def _refusal(self, group: _Group, scratch: Scratch, error: duckdb.Error) -> StarlakeError:
        """Return the exception for a batch that DuckDB refused: what is wrong in which file, where that can be found."""
        session, table = self._session, group.table
        prepared = self._prepare(group)
        existing = {c.name.lower(): c for c in self._database.columns(table.final_domain, table.final_name)}
        attributes = [
            replace(a, in_table=there.type)
            if (there := existing.get(a.attribute.final_name.lower())) and there.type != _normal(a.type)
            else a
            for a in prepared.attributes
        ]
        for file in group.files:
            found = explain(session, table, attributes, file, scratch)
            if isinstance(found, StarlakeError):
                return found
        return BadFile(", ".join(map(str, group.files)), explained(error)[0])

    def _failed(self, group: _Group, entry: audit.Entry, error: StarlakeError) -> None:
        table = group.table
        self._session.log("error", str(error))
        self._loads.failures.append(error)
        before = self._loads.tables.get(table.full_name, TableLoad(table.full_name))
        self._loads.tables[table.full_name] = replace(before, failed=(*before.failed, *(uri(f) for f in group.files)))
        failed = replace(entry, success=False, count=0, accepted=0, rejected=0, message=str(error))
        self._audit_afterwards([failed], [])


_NAMES = {
    "TIMESTAMPTZ": "TIMESTAMP WITH TIME ZONE",
    "STRING": "VARCHAR",
    "TEXT": "VARCHAR",
    "INT": "INTEGER",
    "LONG": "BIGINT",
    "FLOAT8": "DOUBLE",
}


def _normal(ddl: str) -> str:
    """Write a type as DuckDB does."""
    upper = ddl.upper().replace(" ", "") if ddl.upper().startswith("DECIMAL") else ddl.upper()
    if upper.startswith(("VARCHAR(", "CHAR(")):
        return "VARCHAR"
    return _NAMES.get(upper, upper if "STRUCT" not in upper else ddl)


def prepare(session: Session, table: Table, chosen: str | None) -> _Prepared:
    """Return a table with all that its load needs to know, checked.

    Raises:
        BadSetting, NotSupported: the table's description.
    """
    if table.database:
        from .errors import NotSupported

        raise NotSupported(
            table.origin.at("database"), f"{table.full_name}: database '{table.database}' is not supported by the embedded engine"
        )
    attributes = typed(session.project, table)
    metadata = table.metadata
    found = strategy(
        metadata.write_strategy,
        metadata.sink,
        table.primary_key,
        table.origin,
        "metadata.",
        start=session.settings.scd2_start,
        end=session.settings.scd2_end,
        chosen=chosen,
    )
    columns = [a.column for a in attributes if not a.attribute.ignore]
    if not columns:
        raise BadSetting(table.origin.at("attributes"), f"{table.full_name} has no column")
    check_columns(found, [c.name for c in columns], table.full_name)
    for name, key in ((table.acl, "acl"), (table.rls, "rls")):
        if name:
            session.log("warning", f"{table.origin.at(key)}: {key} of {table.full_name} has no effect: DuckDB knows no users")
    return _Prepared(table, attributes, found, columns)
