"""``transform``: write the result of a task's query to its table. Starlake: JdbcAutoTask, TransformStrategiesBuilder."""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import duckdb

from ..errors import CommandCanceled, EngineError, Location, StarlakeError
from ..project.model import TableReference, Task, WriteStrategy
from ..project.sinks import find_materialization
from ..project.sql.references import find_dialect, find_references
from ..project.sql.sections import SqlSections
from . import audit_tables as audit
from . import ddl
from .arguments import Arguments
from .connection_options import read_setup
from .database import Column, Database, open_database
from .engine_errors import BadSetting, DatabaseFailed, DatabaseReadOnly, ExpectationsFailed, NotSupported, TableDiffers
from .expectations import TransactionLost, evaluate_expectations, raise_for_failed
from .interactive_transform import show_rows
from .rejected_by_starlake import report_rejected_order, report_rejected_sql
from .result import ExpectationOutcome
from .scripts import Script, make_failure, make_file_script, make_hint, reject_transactions, render_sections, run_script, split_scripts
from .session import Session, get_time
from .sqltext import quote, quote_list, split_statements
from .strategies import Strategy, Target, check_columns, read_strategy, stage_batch, write_batch, write_staged_batch
from .strategy_templates import StrategyTemplate, TemplateInput, find_template
from .table_resolution import build_tree, find_task, index_names
from .unsupported import check_areas, check_task, warn_about_unused_options
from .view_query import add_schemas

# A query that reads an unknown amount of data from outside the database.
_MAY_BE_LARGE = re.compile(r"\b(?:read_\w+|\w+_scan|range|generate_series)\s*\(|\bfrom\s+'", re.IGNORECASE)
_MANY = 1_000_000
_VIEW = "VIEW"
_DESCRIBING = frozenset({"SUMMARIZE", "DESCRIBE", "DESC", "SHOW"})
_TABLE = "TABLE"


@dataclass(slots=True)
class Transformed:
    """The result of a ``transform``.

    Attributes:
        row_count: rows of the task's table afterward; None for a view and for SQL that writes its own tables.
        written: number of rows of the query.
        failures: the errors, in order.
        expectations: results of the expectations.
    """

    row_count: int | None = None
    written: int | None = None
    failures: list[StarlakeError] = field(default_factory=list)
    expectations: list[ExpectationOutcome] = field(default_factory=list)


def run_transform(session: Session, arguments: Arguments) -> Transformed:
    """Run a task. With ``--recursive``, first run the tasks upstream of it, each once; unlike in Starlake, stop at the first failure."""
    Path(session.project.areas.incoming).mkdir(parents=True, exist_ok=True)
    task = find_task(session.project, arguments.name)
    done = Transformed()
    tasks = [task]
    if arguments.recursive:
        lines, tasks = build_tree(session.project, task)
        for title in (f"Building dependency tree for task {task.full_name}...", f"Dependency tree built for task {task.full_name}"):
            for line in (title, *lines):
                session.out(line)
    for one in tasks:
        session.check_canceled()
        done.row_count = done.written = None
        if not _run_task(session, arguments, one, done):
            break
    return done


def _run_task(session: Session, arguments: Arguments, task: Task, done: Transformed) -> bool:
    """Run one task. A failure is recorded, written to the audit, and logged by the caller."""
    entry = audit.Entry(session.make_job_id(task.name), task.name, task.domain, task.table, "TRANSFORM", True, get_time())
    work = _Work(session, arguments, task, entry)
    try:
        work.run(done)
    except CommandCanceled:
        raise
    except StarlakeError as error:
        done.failures.append(error)
        if not arguments.interactive and not isinstance(error, DatabaseFailed):
            try:
                work.audit_failure(error)
            except EngineError as other:
                session.log("warning", f"the failure cannot be written to the audit: {other}")
    done.expectations.extend(work.outcomes)
    return not done.failures


class _Work:
    """A task of a command. The attributes after ``outcomes`` are set when it runs."""

    def __init__(self, session: Session, arguments: Arguments, task: Task, entry: audit.Entry) -> None:
        self._session = session
        self._arguments = arguments
        self._task = task
        self._entry = entry
        self._hint = make_hint(session.project)
        self._path: Path | None = None
        self.outcomes: tuple[ExpectationOutcome, ...] = ()
        self._references: Sequence[TableReference]
        self._database: Database
        self._target: Target
        self._main: Script

    def run(self, done: Transformed) -> None:
        """Run the task in one transaction."""
        session, task = self._session, self._task
        connection = session.project.find_connection(task)
        check_areas(session.project)
        check_task(session, task)
        _read_materialization(task)
        warn_about_unused_options(session, connection)
        self._path = session.find_database(task)
        sections = render_sections(session, task)
        self._references = self._find_references(sections)
        others = self._find_other_databases()
        failing: dict[str, str] = {}
        setup = read_setup(connection, session.zone)
        if setup.read_only and not self._arguments.interactive:
            raise DatabaseReadOnly(f"{setup.read_only}: task {task.full_name}: connection '{setup.name}' is read-only")
        holder = f"transform of {task.full_name}"
        with open_database(self._path, also=others, canceled=session.canceled, log=session.log, holder=holder, setup=setup) as database:
            if sections.sql is None:
                raise BadSetting(task.origin.locate(), f"task {task.full_name} has no SQL")
            self._main = make_file_script(session.project, sections.sql, task.sql_file, task.origin.locate("sql"))
            self._database, self._target = database, Target(database, task.domain, task.table)
            if self._arguments.interactive:
                self._set_search_path()
                show_rows(session, self._arguments, database, self._main, self._read_query(), self._hint)
                return
            while True:
                try:
                    self._run_transaction(sections, done, failing)
                    break
                except TransactionLost as lost:
                    failing[lost.expect] = lost.reason
        audit_path = session.find_audit_database()
        if audit_path is not None and audit_path != self._path:
            audit.write_rows_elsewhere(session, audit_path, [self._entry], [self._make_checks(self.outcomes)])

    def _find_references(self, sections: SqlSections) -> Sequence[TableReference]:
        """Return the tables that the query reads, which may depend on the command's variables."""
        task, session = self._task, self._session
        if sections.sql is None or not task.parse_sql:
            return ()
        if not session.options or not any(mark in (task.sql_text or "") for mark in ("{{", "{%", "${")):
            return task.references
        dialect = find_dialect(session.project.find_connection(task))
        return find_references(sections.sql.text, dialect, task.sql_file or task.origin.file, sections.sql.line)[0]

    def _find_other_databases(self) -> list[Path]:
        """Return the other database files of the project that the query reads from."""
        names = index_names(self._session.project)
        nodes = (node for reference in self._references if (meant := names.resolve(reference)) for node in meant.nodes)
        found = dict.fromkeys(self._session.find_database(node) for node in nodes)
        return [path for path in found if path != self._path and path.exists()]

    def _set_search_path(self) -> None:
        """Look up names without a schema in the task's own domain, and then in the schemas in which the project creates them."""
        names = index_names(self._session.project)
        meant = (names.resolve(reference) for reference in self._references if len(reference.parts) == 1)
        self._database.set_search_path([self._task.domain, *(one.schema for one in meant if one is not None)])

    def _run_transaction(self, sections: SqlSections, done: Transformed, failing: Mapping[str, str]) -> None:
        task, session, database, main = self._task, self._session, self._database, self._main
        before, after = split_scripts(session.project, task, sections)
        self._set_search_path()
        early = self._find_query_for_presql() if sections.presql and task.parse_sql else None
        with database.begin_transaction():
            ddl.create_schema(database, task.domain)
            self._set_search_path()
            if early:
                self._create_table(early, self._read_strategy())
            for script in before:
                run_script(database, script, self._hint)
            if _MAY_BE_LARGE.search(main.part.text):
                database.expect_large()
            if task.parse_sql:
                done.written = self._write_table()
                if (done.written or 0) > _MANY:
                    database.expect_large()
            else:
                run_script(database, main, self._hint)
            for script in after:
                run_script(database, script, self._hint)
            self.outcomes = evaluate_expectations(session, database, task.sink_name, task.expectations, failing)
            raise_for_failed(self.outcomes)
            if task.parse_sql and _read_materialization(task) == _TABLE:
                done.row_count = database.fetch_count(f"SELECT count(*) FROM {self._target.sql}")
            if session.find_audit_database() in (None, self._path):
                audit.write_rows(session, database, [self._entry], [self._make_checks(self.outcomes)])

    def _make_checks(self, outcomes: Sequence[ExpectationOutcome]) -> audit.Checks:
        return audit.Checks(self._entry.job, self._task.domain, self._task.table, outcomes)

    def audit_failure(self, error: StarlakeError) -> None:
        """Write the task's failure to the audit, unless no database could be opened."""
        path = self._session.find_audit_database() or self._path
        if path is None or not (self._session.settings.audit_active or self.outcomes):
            return
        entry = replace(self._entry, success=False, message=str(error))
        outcomes = self.outcomes if isinstance(error, ExpectationsFailed) else ()
        audit.write_rows_elsewhere(self._session, path, [entry], [self._make_checks(outcomes)])

    def _read_query(self) -> str:
        """Return the query, which must be a single SELECT."""
        task, main = self._task, self._main
        found = split_statements(main.part.text)
        if not found:
            raise BadSetting(task.origin.locate("sql"), f"task {task.full_name} has no SQL")
        reject_transactions(main, found[0])
        if len(found) > 1:
            place, _ = main.locate(found[1].offset)
            reason = f"task {task.full_name} has {len(found)} statements where one query is expected"
            advice = "put the others behind -- SL_PRESQL or -- SL_POSTSQL, and the query behind -- SL_SQL"
            raise BadSetting(place, f"{reason}; {advice}")
        report_rejected_sql(self._session, main.locate(found[0].offset)[0], task.full_name, found[0].text, found[0].keyword)
        # These statements cannot be the query of a table or view.
        return f"SELECT * FROM (\n{found[0].text}\n) AS sl_query" if found[0].keyword in _DESCRIBING else found[0].text

    @contextlib.contextmanager
    def _explain_errors(self, query: str) -> Iterator[None]:
        """Raise SqlFailed if the query, which the engine has put into a statement of its own, fails in the ``with`` block."""
        try:
            yield
        except duckdb.Error as error:
            offset, before = max(self._main.part.text.find(query), 0), self._database.last.find(query)
            raise make_failure(error, self._main, query, offset, self._hint, before=before) from error

    def _find_query_for_presql(self) -> str | None:
        """Return the query that creates the missing table before ``presql`` runs, so that its statements can name the table.

        None if the table exists, or if the query needs objects that these statements create. Call it before the transaction begins,
        because an invalid query would abort the transaction. Starlake: createEmptyTargetForPresql.
        """
        if _read_materialization(self._task) == _VIEW or self._database.find_kind(self._target.schema, self._target.name):
            return None
        query = self._read_query()
        try:
            self._database.fetch_rows(_describe_query(query))
        except duckdb.Error:
            return None
        return query

    def _create_table(self, query: str, chosen: Strategy) -> None:
        """Create the task's table, without rows."""
        self._database.execute(f"CREATE TABLE {self._target.sql} AS\n{query}\nWITH NO DATA")
        self._add_columns(chosen)

    def _read_strategy(self) -> Strategy:
        task = self._task
        if task.write_strategy and task.write_strategy.types:
            place = task.origin.locate("writeStrategy.types")
            self._session.warn(f"{place}: types depend on a file; as in Starlake, they have no effect for task {task.full_name}")
        return read_strategy(self._session, task)

    def _write_table(self) -> int | None:
        query = self._read_query()
        database, target = self._database, self._target
        with self._explain_errors(query):
            columns = [Column(str(row[0]), str(row[1])) for row in database.fetch_rows(_describe_query(query))]
        kind = database.find_kind(target.schema, target.name)
        if _read_materialization(self._task) == _VIEW:
            template = self._find_template("view")
            if template is not None:
                self._run_template(template, query, columns, exists=kind is not None)
            else:
                self._create_view(query, kind)
            return None
        if kind == "view":
            raise BadSetting(self._task.origin.locate(), f"{target} is a view, but the task creates a table: drop the view first")
        chosen = self._read_strategy()
        names = [c.name for c in columns]
        check_columns(chosen, names, self._task.full_name)
        template = self._find_template("create") if kind is None else chosen.template
        if template is not None:
            self._run_template(template, query, columns, exists=kind is not None)
            # Starlake: JdbcAutoTask.addSCD2Columns.
            self._add_columns(chosen, "IF NOT EXISTS ")
            return database.fetch_count(f"SELECT count(*) FROM {target.sql}") if kind is None else None
        if kind is not None:
            names = self._match_columns(chosen, columns)
        with self._explain_errors(query):
            if kind is None:
                self._create_table(query, chosen)
                chosen = chosen.for_new_table
            return self._write_rows(chosen, query, names)

    def _find_template(self, action: str) -> StrategyTemplate | None:
        """Return the project's template for an action; see :func:`find_template`."""
        session, task = self._session, self._task
        written = task.write_strategy or WriteStrategy()
        start, end = written.start_ts or session.settings.scd2_start, written.end_ts or session.settings.scd2_end
        seen = replace(written, type=written.type or "APPEND", start_ts=start, end_ts=end)
        return find_template(session, action, seen, task.sink)

    def _run_template(self, template: StrategyTemplate, query: str, columns: Sequence[Column], *, exists: bool) -> None:
        """Run a template of a write strategy. As in Starlake, unqualified names are first looked up in the task's domain."""
        target, materialization = self._target, find_materialization(self._task)
        names = [column.name for column in columns]
        given = TemplateInput(target.schema, target.name, query, names, exists, self._arguments.truncate, materialization)
        template.run(target.database, given)
        if target.database.find_kind(target.schema, target.name) is None:
            raise BadSetting(Location(template.file), f"the template did not create {target}")

    def _add_columns(self, chosen: Strategy, condition: str = "") -> None:
        """Add the columns of SCD2 to a table."""
        for column in chosen.extra_columns:
            self._database.execute(f"ALTER TABLE {self._target.sql} ADD COLUMN {condition}{quote(column.name)} {column.type}")

    def _write_rows(self, chosen: Strategy, query: str, names: Sequence[str]) -> int:
        target, truncate = self._target, self._arguments.truncate
        empties = chosen.type == "OVERWRITE" or truncate
        if empties and not chosen.needs_whole_batch and self._may_read_itself():
            staged = stage_batch(target, query, names)
            target.database.execute(f"TRUNCATE {target.sql}")
            write_staged_batch(target, chosen, staged)
            return staged.rows
        return write_batch(target, chosen, query, names, truncate=truncate)

    def _may_read_itself(self) -> bool:
        """Return whether the query may read the table that it fills. If so, emptying the table first would lose rows."""
        target = self._target
        for reference in self._references:
            schema, name = (["", *reference.parts])[-2:]
            if name.lower() == target.name.lower() and (not schema or schema.lower() == target.schema.lower()):
                return True
            if self._database.find_kind(schema or target.schema, name) != "table":
                # A view, or a table outside the project, which may depend on the target.
                return True
        return not self._references

    def _match_columns(self, chosen: Strategy, columns: Sequence[Column]) -> list[str]:
        """Return the table's names for the query's columns, which are matched by name."""
        target = self._target
        there = {c.name.lower(): c.name for c in self._database.list_columns(target.schema, target.name)}
        own = {c.name.lower() for c in chosen.extra_columns}
        if own - set(there):
            lacking = [c for c in chosen.extra_columns if c.name.lower() not in there]
            adding = "; ".join(f"ALTER TABLE {target.local_sql} ADD COLUMN {quote_list([c.name])} {c.type}" for c in lacking)
            raise TableDiffers(f"{chosen.location}: {target} lacks the columns of SCD2: run {adding}")
        names = [there.get(c.name.lower(), c.name) for c in columns]
        added = [c for c in columns if c.name.lower() not in there]
        absent = [name for key, name in there.items() if key not in own and key not in {c.name.lower() for c in columns}]
        if added or (absent and chosen.type != "APPEND"):
            raise TableDiffers(_explain_difference(self._task, target, added, absent))
        place = self._task.sql_file or self._task.origin.locate()
        report_rejected_order(self._session, place, f"task {self._task.full_name}", chosen.type, names, list(there.values()))
        return names

    def _create_view(self, query: str, kind: str | None) -> None:
        target = self._target
        if kind == "table":
            reason = f"{target} is a table, but the task creates a view: drop the table first if its rows are no longer needed"
            raise BadSetting(self._task.origin.locate("sink.materializedView"), reason)
        names = index_names(self._session.project)
        short = {
            r.parts[0].lower(): meant.schema for r in self._references if len(r.parts) == 1 and (meant := names.resolve(r)) is not None
        }
        own = {name: target.schema for name in short if target.database.find_kind(target.schema, name)}
        written = add_schemas(query, {**short, **own})
        if written is None:
            advice = f"qualify {', '.join(sorted(short))} with their domains"
            raise BadSetting(self._main.locate(0)[0], f"task {self._task.full_name}: the query of the view cannot be parsed: {advice}")
        with self._explain_errors(query):
            target.database.execute(f"CREATE OR REPLACE VIEW {target.sql} AS\n{written}")


def _read_materialization(task: Task) -> str:
    kind = find_materialization(task)
    if kind == "HYBRID":
        # Starlake: only BigQuery creates something other than a table for it.
        return _TABLE
    if kind not in (_TABLE, _VIEW):
        reason = f"task {task.full_name}: DuckDB has no {kind.replace('_', ' ').lower()}s; use TABLE or VIEW"
        raise NotSupported(task.origin.locate("sink.materializedView"), reason)
    return kind


def _describe_query(query: str) -> str:
    """Return the statement that describes a query's columns. If two have the same name, DuckDB renames the second."""
    return f"DESCRIBE SELECT * FROM (\n{query}\n) AS sl_query"


def _explain_difference(task: Task, target: Target, added: Sequence[Column], absent: Sequence[str]) -> str:
    parts = []
    if added:
        names = ", ".join(f"'{c.name}'" for c in added)
        adding = "; ".join(f"ALTER TABLE {target.local_sql} ADD COLUMN {quote_list([c.name])} {c.type}" for c in added)
        parts.append(f"the query returns {names}, which {target} does not have (to add: {adding})")
    if absent:
        names = ", ".join(f"'{name}'" for name in absent)
        dropping = "; ".join(f"ALTER TABLE {target.local_sql} DROP COLUMN {quote_list([name])}" for name in absent)
        parts.append(f"{target} has {names}, which the query does not return (to drop: {dropping})")
    place = task.sql_file or task.origin.locate()
    return f"{place}: task {task.full_name} does not match its table: {'; '.join(parts)}"
