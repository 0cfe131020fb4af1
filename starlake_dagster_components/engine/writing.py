"""Write groups of files to their tables, each in one transaction that includes the move of the files. Starlake: DuckDbNativeLoader."""

import contextlib
import time
import traceback
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import duckdb

from ..errors import CommandCanceled, EngineError, StarlakeError
from ..full_disk import explain_full_disk
from ..project.model import Table
from ..project.sql.sections import SqlPart
from ..project.templating import TemplateError, render
from . import audit_tables as audit
from . import journal
from .areas import Identity, find_free_name, format_uri, show_path
from .batch_select import build_select, list_hash_queries
from .casts import normalize_type
from .database import Column, Database
from .ddl import TypedAttribute, create_table, resolve_attributes, write_comments
from .duckdb_errors import describe_error
from .engine_errors import BadFile, BadSetting, ExpectationsFailed
from .evolution import evolve_table
from .expectations import TransactionLost, evaluate_expectations, raise_for_failed
from .formats import Reading, describe_source, explain_failure, find_layouts, get_format
from .privacy import fill_hashes
from .rejected_by_starlake import report_rejected_expectations, report_rejected_order, report_rejected_structs
from .result import ExpectationOutcome, TableLoad
from .scratch import Scratch
from .scripts import Script, make_hint, run_script
from .session import Session, get_time
from .sqltext import quote_list
from .strategies import Strategy, Target, check_columns, read_strategy, write_batch
from .unsupported import check_table

_GROUP = "sl_group_of_files"
_NOT_THE_FILE = (duckdb.OutOfMemoryException, duckdb.FatalException, duckdb.InternalException)
_SMALL = 4_000_000
"""Number of bytes that one processor reads at once."""


@dataclass(slots=True)
class Loads:
    """The result of a ``load``, by table.

    Attributes:
        tables: logical ``domain.table`` -> counts of its load.
        jobs: ids of the audit rows, one per group of files.
        failures: the errors, in order.
        failures_of: the same by table.
        finished: the tables that were processed, including failed ones and those without files.
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
        """Record a failure of some tables."""
        self.failures.append(error)
        for table in tables:
            self.failures_of.setdefault(table, []).append(error)

    def add(self, loaded: TableLoad) -> None:
        """Add the rows of a group of files."""
        before = self.tables.get(loaded.table, TableLoad(loaded.table))
        self.paths.extend(loaded.files)
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
    """Files that are loaded in one transaction.

    Attributes:
        chosen: the type of the write strategy that ``types`` chose.
        error: why the files cannot be loaded.
        again: whether an earlier load of them failed.
    """

    table: Table
    files: tuple[Path, ...]
    chosen: str | None = None
    error: EngineError | None = None
    again: bool = False


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A table that is ready to be loaded."""

    table: Table
    attributes: list[TypedAttribute]
    strategy: Strategy
    columns: list[Column]

    @property
    def names(self) -> list[str]:
        return [c.name for c in self.columns]

    @property
    def has_own_sql(self) -> bool:
        """Return whether statements of the project run during a load. They may change any table or setting."""
        table = self.table
        return bool(table.presql or table.postsql or table.expectations or self.strategy.template)


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A table as the last group of files has left it. Nothing else writes to it during a load."""

    prepared: _Prepared
    columns: list[Column]
    rows: int


class Writer:
    """Writes groups of files into the tables of one database."""

    def __init__(
        self,
        session: Session,
        database: Database,
        loads: Loads,
        entries: list[audit.Entry],
        checks: list[audit.Checks],
        unfinished: list[journal.LoadedFile],
        *,
        archived: bool,
    ) -> None:
        self._session = session
        self._database = database
        self._loads = loads
        self._entries = entries
        self._checks = checks
        self._archived = archived
        self._noted = False
        self._unfinished = unfinished
        self._attributes: Sequence[TypedAttribute] = ()
        self._layouts: Mapping[Path, Mapping[str, str]] = {}
        self._last: _Loaded | None = None
        self._prepared: dict[tuple[str, str | None], _Prepared] = {}

    def load_group(self, group: Group) -> None:
        """Load a group of files. A failure is recorded, and written to the audit."""
        table = group.table
        paths = [format_uri(file) for file in group.files]
        out = self._session.out
        out("Loading")
        out(f"Format: {get_format(table)}")
        out(f"File(s): {','.join(paths)}")
        out(f"Table: {table.final_full_name}")
        began = get_time()
        job = self._session.make_job_id(f"{table.domain}-{table.name}-{show_path(group.files[0].name)}")
        logical = audit.Entry(job, ",".join(paths), table.domain, table.name, "LOAD", True, began)
        try:
            if group.error is not None:
                raise group.error
            loaded, files = self._load_group(group, logical)
        except CommandCanceled:
            raise
        except StarlakeError as error:
            self._record_failure(group, logical, error)
            return
        except Exception as error:  # noqa: BLE001 -- any fault of one file must not keep the others from being loaded
            self._session.log("debug", traceback.format_exc())
            self._record_failure(group, logical, _make_failure(group, error))
            return
        self._loads.add(loaded)
        self._loads.jobs.append(job)
        self._archive_files(table, files)

    def close(self) -> None:
        """Remove the records of files that were moved, even if the command was canceled. Records of all others are kept."""
        if self._noted:
            with contextlib.suppress(duckdb.Error):
                journal.forget_files(self._database, self._unfinished)

    def _load_group(self, group: Group, entry: audit.Entry) -> tuple[TableLoad, list[journal.LoadedFile]]:
        failing: dict[str, str] = {}
        identities = [_identify(file) for file in group.files]
        self._layouts = {}
        with Scratch() as scratch:
            while True:
                self._attributes = self._prepare(group).attributes
                try:
                    return self._write_group(group, entry, scratch, failing, identities)
                except TransactionLost as lost:
                    failing[lost.expect] = lost.reason
                except duckdb.Error as error:
                    _check_unchanged(group.files, identities)
                    if not self._find_layouts(group, scratch, error):
                        raise self._explain_rejection(group, scratch, error) from error

    def _write_group(
        self, group: Group, entry: audit.Entry, scratch: Scratch, failing: Mapping[str, str], identities: Sequence[Identity]
    ) -> tuple[TableLoad, list[journal.LoadedFile]]:
        session, database, table = self._session, self._database, group.table
        prepared = self._prepare(group)
        outcomes: tuple[ExpectationOutcome, ...] = ()
        target = Target(database, table.final_domain, table.final_name)
        if sum(identity.size for identity in identities) > _SMALL:
            database.expect_large()
        last, self._last = self._last, None

        def make_checks(outcomes: Sequence[ExpectationOutcome]) -> list[audit.Checks]:
            return [audit.Checks(entry.job, target.schema, target.name, outcomes)]

        try:
            with database.begin_transaction():
                if last is None or last.prepared is not prepared:
                    last = _Loaded(prepared, self._make_table(prepared, target), database.fetch_count(f"SELECT count(*) FROM {target.sql}"))
                    database.set_search_path([table.final_domain])
                existing, before = last.columns, last.rows
                self._run_scripts(table.presql, table, "presql")
                self._attributes = fit_attributes(prepared.attributes, existing)
                checked = {c.name.lower() for c in prepared.columns if not c.nullable}
                if not prepared.strategy.needs_whole_batch:
                    # NULLs that the table itself rejects. Rows that another row of the batch replaces are never written to it.
                    checked &= {c.name.lower() for c in existing if c.nullable}
                loaded = self._write_rows(group, target, checked, scratch)
                self._run_scripts(table.postsql, table, "postsql")
                outcomes = evaluate_expectations(session, database, table.final_full_name, table.expectations, failing)
                raise_for_failed(outcomes)
                report_rejected_expectations(session, table, outcomes)
                appended = prepared.strategy.type == "APPEND" and not prepared.has_own_sql
                rows = before + loaded.accepted if appended else database.fetch_count(f"SELECT count(*) FROM {target.sql}")
                self._write_audit(self._list_entries(group, entry, rows - before), make_checks(outcomes))
                files = self._record_files(group, identities)
                _check_unchanged(group.files, identities)
        except ExpectationsFailed:
            self._loads.expectations.extend(outcomes)
            self._write_audit([], make_checks(outcomes), afterwards=True)
            raise
        self._loads.expectations.extend(outcomes)
        if not prepared.has_own_sql:
            self._last = _Loaded(prepared, existing, rows)
        return replace(loaded, row_count=rows), files

    def _write_rows(self, group: Group, target: Target, checked: Collection[str], scratch: Scratch) -> TableLoad:
        """Write the rows of a group's files, one file after the other, so that memory usage does not depend on their number."""
        session, database, table = self._session, self._database, group.table
        prepared = self._prepare(group)
        chosen, names = prepared.strategy, prepared.names
        collected = len(group.files) > 1 and chosen.needs_whole_batch
        accepted = rejected = filtered = 0
        for index, file in enumerate(group.files):
            session.check_canceled()
            read = describe_source(self._make_reading(group, file, scratch))
            if queries := list_hash_queries(session, table, self._attributes, read):
                fill_hashes(database, queries, scratch)
            batch = build_select(session, table, self._attributes, read, file, checked)
            if collected:
                rows = f"SELECT {quote_list(names)} FROM (\n{batch}\n) AS {_GROUP}"
                begin = f"INSERT INTO temp.{_GROUP}" if index else f"CREATE OR REPLACE TEMP TABLE {_GROUP} AS"
                database.execute(f"{begin} {rows}")
            else:
                accepted += write_batch(target, replace(chosen, type="APPEND") if index else chosen, batch, names)
            rejected += database.fetch_count(read.skipped) if read.skipped else 0
            filtered += database.fetch_count(f"SELECT count(*) FROM {read.relation}") if table.filter else 0
        if collected:
            accepted = write_batch(target, chosen, f"SELECT {quote_list(names)} FROM temp.{_GROUP}", names)
            database.execute(f"DROP TABLE temp.{_GROUP}")
        read_rows = (filtered if table.filter else accepted) + rejected
        return TableLoad(table.full_name, read_rows, accepted, rejected, tuple(format_uri(file) for file in group.files))

    def _prepare(self, group: Group) -> _Prepared:
        key = (group.table.full_name, group.chosen)
        if key not in self._prepared:
            self._prepared[key] = prepare_table(self._session, group.table, group.chosen)
        return self._prepared[key]

    def _make_table(self, prepared: _Prepared, target: Target) -> list[Column]:
        """Create or adapt the table, and return its columns."""
        database, table = self._database, prepared.table
        wanted, extra = prepared.columns, prepared.strategy.extra_columns
        existing = database.list_columns(target.schema, target.name)
        comments = {a.attribute.final_name: a.attribute.comment for a in prepared.attributes if not a.attribute.ignore}
        if not existing:
            create_table(database, target.schema, target.name, [*wanted, *extra])
            write_comments(database, target.schema, target.name, table.comment, comments)
            return [*wanted, *extra]
        if database.find_kind(target.schema, target.name) == "view":
            raise BadSetting(table.origin.locate(), f"{target} is a view: rows cannot be loaded into it")
        there = {c.name.lower() for c in existing}
        emptied = prepared.strategy.type == "OVERWRITE"
        report_rejected_structs(self._session, table, existing, wanted)
        changed = evolve_table(target, existing, wanted, extra, emptied=emptied, location=table.origin.locate("attributes"))
        if changed:
            added = {name: text for name, text in comments.items() if name.lower() not in there}
            write_comments(database, target.schema, target.name, None, added)
            existing = database.list_columns(target.schema, target.name)
        place, names = table.origin.locate("attributes"), [column.name for column in existing]
        report_rejected_order(self._session, place, table.full_name, prepared.strategy.type, prepared.names, names)
        return existing

    def _run_scripts(self, texts: Sequence[str], table: Table, key: str) -> None:
        session = self._session
        for index, text in enumerate(texts):
            place = table.origin.locate(f"{key}[{index}]")
            try:
                rendered = render(text, session.variables, metadata_folder=session.project.metadata_folder)
            except TemplateError as error:
                raise BadSetting(place, str(error)) from error
            run_script(self._database, Script(SqlPart(rendered), place), make_hint(session.project))

    def _list_entries(self, group: Group, entry: audit.Entry, growth: int) -> list[audit.Entry]:
        """Return the audit's entries of a group. Starlake's native loader counts the rows that the table has gained."""
        entries = [replace(entry, count=growth, accepted=growth)]
        if _has_second_step(self._prepare(group)):
            # Starlake records the second step first: IngestionJob.run.
            schema, name = group.table.final_domain, group.table.final_name
            entries.insert(0, audit.Entry(entry.job, name, schema, name, "TRANSFORM", True, entry.began))
        return entries

    def _write_audit(self, entries: Sequence[audit.Entry], checks: Sequence[audit.Checks], *, afterwards: bool = False) -> None:
        """Write audit rows, or keep them if their database is not open. ``afterwards`` means that the transaction was rolled back."""
        if self._session.find_audit_database() not in (None, self._database.path):
            self._entries.extend(entries)
            self._checks.extend(checks)
            return
        with self._database.begin_transaction() if afterwards else contextlib.nullcontext():
            audit.write_rows(self._session, self._database, entries, checks)

    def _record_files(self, group: Group, identities: Sequence[Identity]) -> list[journal.LoadedFile]:
        if not self._archived:
            return []
        areas = self._session.project.areas
        files = []
        for path, identity in zip(group.files, identities, strict=True):
            target = find_free_name(Path(areas.archive, group.table.domain), path.name) if self._session.settings.archive else None
            files.append(journal.LoadedFile(path, Path(areas.stage, group.table.domain, path.name), target, identity))
        journal.record_files(self._database, files)
        self._noted = True
        return files

    def _archive_files(self, table: Table, files: Sequence[journal.LoadedFile]) -> None:
        """Move loaded files away. A file that cannot be moved is recorded, and the next load moves it."""
        began = time.monotonic()
        for file in files:
            try:
                now = journal.archive_file(file)
                added = journal.count_added_bytes(file, now)
            except OSError as error:
                self._unfinished.append(file)
                self._report(table, journal.make_failure(file.path, error))
                continue
            if added is not None:
                reason = f"the file was written to after it was loaded ({added:+} bytes); the change is not in {table.full_name}"
                self._report(table, BadFile(str(now), reason))
        if files and self._session.settings.archive:
            self._session.out(f"Archive duration takes {round((time.monotonic() - began) * 1000)} ms")

    def _report(self, table: Table, error: StarlakeError) -> None:
        self._session.log("error", str(error))
        self._loads.fail(error, table.full_name)

    def _make_reading(self, group: Group, file: Path, scratch: Scratch) -> Reading:
        return Reading(self._session, group.table, tuple(self._attributes), file, scratch, self._layouts.get(file, {}))

    def _find_layouts(self, group: Group, scratch: Scratch, error: duckdb.Error) -> bool:
        """Find formats of dates that the files show, after the group was rejected. Return whether it can be loaded with them."""
        if self._layouts or not _concerns_file(error):
            return False
        found = {file: find_layouts(self._make_reading(group, file, scratch)) for file in group.files}
        self._layouts = {file: layouts for file, layouts in found.items() if layouts}
        return bool(self._layouts)

    def _explain_rejection(self, group: Group, scratch: Scratch, error: duckdb.Error) -> StarlakeError:
        """Return the exception for a batch that DuckDB has rejected, with the bad values of the file if they can be found."""
        if _concerns_file(error):
            for file in group.files:
                found = explain_failure(self._make_reading(group, file, scratch))
                if isinstance(found, StarlakeError):
                    return found
        return _make_failure(group, error)

    def _record_failure(self, group: Group, entry: audit.Entry, error: StarlakeError) -> None:
        table = group.table
        if group.again:
            error.args = (
                f"{error}\n  An earlier load of this file also failed. Every load tries it again until it is corrected or removed",
            )
        self._report(table, error)
        before = self._loads.tables.get(table.full_name, TableLoad(table.full_name))
        self._loads.tables[table.full_name] = replace(before, failed=(*before.failed, *(format_uri(f) for f in group.files)))
        failed = replace(entry, success=False, count=0, accepted=0, rejected=0, message=str(error))
        try:
            self._write_audit([failed], [], afterwards=True)
        except duckdb.Error as lost:
            self._session.log("warning", f"the failure of {table.full_name} cannot be written to the audit: {describe_error(lost)}")


def _identify(file: Path) -> Identity:
    identity = Identity.read(file)
    if identity is None:
        raise BadFile(show_path(file), "the file is gone: another program has moved or removed it")
    return identity


def _check_unchanged(files: Sequence[Path], identities: Sequence[Identity]) -> None:
    """Raise BadFile if a file has changed since it was read."""
    for file, identity in zip(files, identities, strict=True):
        if Identity.read(file) != identity:
            reason = "the file changed while it was read: it is still being written, or was replaced"
            raise BadFile(str(file), f"{reason}. None of its rows are loaded, and it stays where it is")


def _concerns_file(error: duckdb.Error) -> bool:
    """Return whether the content of a file may be the reason for an error."""
    return not isinstance(error, _NOT_THE_FILE) and not explain_full_disk(error)


def _make_failure(group: Group, error: Exception) -> EngineError:
    """Return the error of a group that cannot be loaded. If a disk is full, the same load may succeed later."""
    files = ", ".join(map(show_path, group.files[:3])) + (", ..." if len(group.files) > 3 else "")
    reason = describe_error(error)
    return EngineError(f"{files}: {reason}") if explain_full_disk(error) else BadFile(files, reason)


def fit_attributes(attributes: Sequence[TypedAttribute], existing: Sequence[Column]) -> list[TypedAttribute]:
    """Return attributes with the types of their columns in the table, if these differ."""
    types = {column.name.lower(): normalize_type(column.type) for column in existing}
    fitted = []
    for typed in attributes:
        there = types.get(typed.attribute.final_name.lower())
        differs = there is not None and not typed.attribute.ignore and there != normalize_type(typed.type)
        fitted.append(replace(typed, in_table=there) if differs else typed)
    return fitted


def _has_second_step(prepared: _Prepared) -> bool:
    """Return whether Starlake first loads the rows into a work table, which its audit shows (DuckDbNativeLoader.requireTwoSteps)."""
    attributes = [a.attribute for a in prepared.attributes]
    return (
        not any(a.type == "variant" for a in attributes)
        or any(a.script or a.ignore or (a.privacy or "").upper().startswith("SQL:") for a in attributes)
        or prepared.strategy.type not in ("APPEND", "OVERWRITE")
        or bool(prepared.table.filter)
        or get_format(prepared.table) == "POSITION"
    )


def prepare_table(session: Session, table: Table, chosen: str | None) -> _Prepared:
    """Return a table with all that its load needs. Raise BadSetting or NotSupported for a setting that is invalid or not supported."""
    check_table(session, table)
    attributes = resolve_attributes(session.project, table)
    found = read_strategy(session, table, chosen)
    columns = [a.column for a in attributes if not a.attribute.ignore]
    if not columns:
        raise BadSetting(table.origin.locate("attributes"), f"{table.full_name} has no column")
    check_columns(found, [c.name for c in columns], table.full_name)
    return _Prepared(table, attributes, found, columns)
