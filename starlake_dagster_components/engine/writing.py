"""Groups of files into their tables: one transaction each, the files included. Starlake: DuckDbNativeLoader."""

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import duckdb

from ..errors import CommandCancelled, EngineError, StarlakeError
from ..project.model import Table
from ..project.sql.sections import SqlPart
from ..project.templating import TemplateError, render
from . import audit_tables as audit
from . import journal
from .areas import Identity, find_free_name, format_uri
from .batch_select import build_select, list_hash_queries
from .database import Column, Database
from .ddl import TypedAttribute, create_table, type_attributes, write_comments
from .engine_errors import BadFile, BadSetting, ExpectationsFailed
from .evolution import evolve_table
from .expectations import TransactionLost, evaluate_expectations, raise_for_failed
from .formats import Scratch, describe_source, explain_failure, get_format
from .privacy import fill_hashes
from .result import ExpectationOutcome, TableLoad
from .scripts import Script, explain_error, make_hint, run_script
from .session import Session, now
from .strategies import Strategy, Target, check_columns, read_strategy, write_batch

_SMALL = 4_000_000
"""Bytes that one processor reads at once."""


@dataclass(slots=True)
class Loads:
    """What a ``load`` did, table by table.

    Attributes:
        tables: logical ``domain.table`` -> what was loaded.
        jobs: ids of the audit rows, one per group of files.
        failures: what went wrong, in order.
        failures_of: the same by table.
        finished: the tables that were gone through, failing ones and those without files too.
        expectations: the outcome of each expectation.
    """

    tables: dict[str, TableLoad] = field(default_factory=dict)
    jobs: list[str] = field(default_factory=list)
    failures: list[StarlakeError] = field(default_factory=list)
    failures_of: dict[str, list[StarlakeError]] = field(default_factory=dict)
    finished: list[str] = field(default_factory=list)
    expectations: list[ExpectationOutcome] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    def fail(self, error: StarlakeError, *tables: str) -> None:
        """Note what went wrong with some tables."""
        self.failures.append(error)
        for table in tables:
            self.failures_of.setdefault(table, []).append(error)

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
class Group:
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


class Writer:
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
        self._noted = self._unfinished = False
        self._prepared: dict[tuple[str, str | None], _Prepared] = {}

    def load_group(self, group: Group) -> None:
        """Load a group of files; a failure is noted, and written to the audit."""
        table = group.table
        paths = [format_uri(file) for file in group.files]
        out = self._session.out
        out("Loading")
        out(f"Format: {get_format(table)}")
        out(f"File(s): {','.join(paths)}")
        out(f"Table: {table.final_full_name}")
        began = now()
        job = self._session.make_job_id(f"{table.domain}-{table.name}-{group.files[0].name}")
        logical = audit.Entry(job, ",".join(paths), table.domain, table.name, "LOAD", True, began)
        try:
            if group.error is not None:
                raise group.error
            loaded = self._load_group(group, logical)
        except CommandCancelled:
            raise
        except StarlakeError as error:
            self._note_failure(group, logical, error)
            return
        self._loads.add(loaded)
        self._loads.jobs.append(job)

    def close(self) -> None:
        """Forget what was noted about files that were moved, also when the command is cancelled; not while one of them could not be moved."""
        if self._noted and not self._unfinished:
            with contextlib.suppress(duckdb.Error):
                journal.forget_files(self._database)

    def _load_group(self, group: Group, entry: audit.Entry) -> TableLoad:
        failing: dict[str, str] = {}
        with Scratch() as scratch:
            while True:
                try:
                    return self._write_group(group, entry, scratch, failing)
                except TransactionLost as lost:
                    failing[lost.expect] = lost.reason
                except duckdb.Error as error:
                    raise self._explain_refusal(group, scratch, error) from error

    def _write_group(self, group: Group, entry: audit.Entry, scratch: Scratch, failing: Mapping[str, str]) -> TableLoad:
        session, database, table = self._session, self._database, group.table
        prepared = self._prepare(group)
        sources = [describe_source(session, table, prepared.attributes, file, scratch) for file in group.files]
        outcomes: tuple[ExpectationOutcome, ...] = ()
        target = Target(database, table.final_domain, table.final_name)
        if sum(file.stat().st_size for file in group.files) > _SMALL:
            database.expect_large()
        try:
            with database.transaction():
                existing = self._make_table(prepared, target)
                before = database.fetch_count(f"SELECT count(*) FROM {target.sql}")
                database.set_search_path([table.final_domain])
                self._run_scripts(table.presql, table, "presql")
                checked = {c.name.lower() for c in prepared.columns if not c.nullable} & {c.name.lower() for c in existing if c.nullable}
                for read in sources:
                    if queries := list_hash_queries(session, table, prepared.attributes, read):
                        fill_hashes(database, queries)
                batch = "\nUNION ALL\n".join(
                    build_select(session, table, prepared.attributes, read, file, checked)
                    for read, file in zip(sources, group.files, strict=True)
                )
                accepted = write_batch(target, prepared.strategy, batch, prepared.names).rows
                rejected = sum(database.fetch_count(read.skipped) for read in sources if read.skipped)
                read_rows = accepted
                if table.filter:
                    read_rows = sum(database.fetch_count(f"SELECT count(*) FROM {read.relation}") for read in sources)
                self._run_scripts(table.postsql, table, "postsql")
                outcomes = evaluate_expectations(session, database, table.final_full_name, table.expectations, failing)
                raise_for_failed(outcomes)
                rows = database.fetch_count(f"SELECT count(*) FROM {target.sql}")
                loaded = TableLoad(
                    table.full_name, read_rows + rejected, accepted, rejected, tuple(format_uri(f) for f in group.files), (), rows
                )
                self._write_audit(group, entry, rows - before, outcomes)
                files = self._note_files(group)
        except ExpectationsFailed:
            self._write_expectations(table, entry, outcomes)
            raise
        self._loads.expectations.extend(outcomes)
        self._archive_files(files)
        return loaded

    def _prepare(self, group: Group) -> _Prepared:
        table = group.table
        key = (table.full_name, group.chosen)
        found = self._prepared.get(key)
        if found is None:
            found = prepare_table(self._session, table, group.chosen)
            self._prepared[key] = found
        return found

    def _make_table(self, prepared: _Prepared, target: Target) -> list[Column]:
        """Make the table or adapt it; returns its columns."""
        database, table = self._database, prepared.table
        wanted, extra = prepared.columns, prepared.strategy.extra_columns
        existing = database.list_columns(target.schema, target.name)
        comments = {a.attribute.final_name: a.attribute.comment for a in prepared.attributes if not a.attribute.ignore}
        if not existing:
            create_table(database, target.schema, target.name, [*wanted, *extra])
            write_comments(database, target.schema, target.name, table.comment, comments)
            return [*wanted, *extra]
        if database.find_kind(target.schema, target.name) == "view":
            raise BadSetting(table.origin.at(), f"{target} is a view: rows cannot be loaded into it")
        there = {c.name.lower() for c in existing}
        emptied = prepared.strategy.type == "OVERWRITE"
        if evolve_table(target, existing, wanted, extra, emptied=emptied, location=table.origin.at("attributes")):
            added = {name: text for name, text in comments.items() if name.lower() not in there}
            write_comments(database, target.schema, target.name, None, added)
            return database.list_columns(target.schema, target.name)
        return existing

    def _run_scripts(self, texts: Sequence[str], table: Table, key: str) -> None:
        session = self._session
        for index, text in enumerate(texts):
            place = table.origin.at(f"{key}[{index}]")
            try:
                rendered = render(text, session.variables, metadata_folder=session.project.metadata_folder)
            except TemplateError as error:
                raise BadSetting(place, str(error)) from error
            run_script(self._database, Script(SqlPart(rendered), place), make_hint(session.project))

    def _write_audit(self, group: Group, entry: audit.Entry, growth: int, outcomes: Sequence[ExpectationOutcome]) -> None:
        table = group.table
        # Starlake's native loader counts by how much the table has grown.
        entries = [replace(entry, count=growth, accepted=growth)]
        if _has_second_step(self._prepare(group)):
            # Starlake notes the second step first: IngestionJob.run.
            second = audit.Entry(entry.job, table.final_name, table.final_domain, table.final_name, "TRANSFORM", True, entry.began)
            entries.insert(0, second)
        checks = [audit.Checks(entry.job, table.final_domain, table.final_name, outcomes)]
        path = self._session.find_audit_database()
        if path == self._database.path or path is None:
            audit.write_rows(self._session, self._database, entries, checks)
        else:
            self._entries.extend(entries)
            self._checks.extend(checks)

    def _write_expectations(self, table: Table, entry: audit.Entry, outcomes: Sequence[ExpectationOutcome]) -> None:
        self._loads.expectations.extend(outcomes)
        checks = [audit.Checks(entry.job, table.final_domain, table.final_name, outcomes)]
        self._write_audit_afterwards([], checks)

    def _write_audit_afterwards(self, entries: Sequence[audit.Entry], checks: Sequence[audit.Checks]) -> None:
        """Write audit rows of what was rolled back."""
        path = self._session.find_audit_database()
        if path == self._database.path or path is None:
            with self._database.transaction():
                audit.write_rows(self._session, self._database, entries, checks)
        else:
            self._entries.extend(entries)
            self._checks.extend(checks)

    def _note_files(self, group: Group) -> list[journal.LoadedFile]:
        if not self._archived:
            return []
        areas = self._session.project.areas
        files = []
        for path in group.files:
            identity = Identity.of(path)
            assert identity is not None
            target = find_free_name(Path(areas.archive, group.table.domain), path.name) if self._session.settings.archive else None
            files.append(journal.LoadedFile(path, Path(areas.stage, group.table.domain, path.name), target, identity))
        journal.note_files(self._database, files)
        self._noted = True
        return files

    def _archive_files(self, files: Sequence[journal.LoadedFile]) -> None:
        began = time.monotonic()
        self._unfinished = True
        for file in files:
            journal.archive_file(file)
        self._unfinished = False
        if files and self._session.settings.archive:
            self._session.out(f"Archive duration takes {round((time.monotonic() - began) * 1000)} ms")

    def _explain_refusal(self, group: Group, scratch: Scratch, error: duckdb.Error) -> StarlakeError:
        """Return the exception for a batch that DuckDB refused: the bad values of the file that has them, where they can be found."""
        session, table = self._session, group.table
        prepared = self._prepare(group)
        existing = {c.name.lower(): c for c in self._database.list_columns(table.final_domain, table.final_name)}
        attributes = [
            replace(a, in_table=there.type)
            if (there := existing.get(a.attribute.final_name.lower())) and there.type != _normalize_type(a.type)
            else a
            for a in prepared.attributes
        ]
        for file in group.files:
            found = explain_failure(session, table, attributes, file, scratch)
            if isinstance(found, StarlakeError):
                return found
        return BadFile(", ".join(map(str, group.files)), explain_error(error)[0])

    def _note_failure(self, group: Group, entry: audit.Entry, error: StarlakeError) -> None:
        table = group.table
        self._session.log("error", str(error))
        self._loads.fail(error, table.full_name)
        before = self._loads.tables.get(table.full_name, TableLoad(table.full_name))
        self._loads.tables[table.full_name] = replace(before, failed=(*before.failed, *(format_uri(f) for f in group.files)))
        failed = replace(entry, success=False, count=0, accepted=0, rejected=0, message=str(error))
        self._write_audit_afterwards([failed], [])


def _has_second_step(prepared: _Prepared) -> bool:
    """Say whether Starlake would load into a work table first, which it tells its audit. Starlake: DuckDbNativeLoader.requireTwoSteps."""
    table = prepared.table
    return (
        not any(a.attribute.type == "variant" for a in prepared.attributes)
        or any(
            a.attribute.script or a.attribute.ignore or (a.attribute.privacy or "").upper().startswith("SQL:") for a in prepared.attributes
        )
        or prepared.strategy.type not in ("APPEND", "OVERWRITE")
        or bool(table.filter)
        or get_format(table) == "POSITION"
    )


_NAMES = {
    "TIMESTAMPTZ": "TIMESTAMP WITH TIME ZONE",
    "STRING": "VARCHAR",
    "TEXT": "VARCHAR",
    "INT": "INTEGER",
    "LONG": "BIGINT",
    "FLOAT8": "DOUBLE",
}


def _normalize_type(ddl: str) -> str:
    """Write a type as DuckDB does."""
    upper = ddl.upper().replace(" ", "") if ddl.upper().startswith("DECIMAL") else ddl.upper()
    if upper.startswith(("VARCHAR(", "CHAR(")):
        return "VARCHAR"
    return _NAMES.get(upper, upper if "STRUCT" not in upper else ddl)


def prepare_table(session: Session, table: Table, chosen: str | None) -> _Prepared:
    """Return a table with all that its load needs to know, checked.

    Raises:
        BadSetting, NotSupported: the table's description.
    """
    if table.database:
        from .engine_errors import NotSupported

        raise NotSupported(
            table.origin.at("database"), f"{table.full_name}: database '{table.database}' is not supported by the embedded engine"
        )
    attributes = type_attributes(session.project, table)
    metadata = table.metadata
    found = read_strategy(
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
    return _Prepared(table, attributes, found, columns)
