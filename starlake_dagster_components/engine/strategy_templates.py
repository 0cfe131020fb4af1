"""A project's own templates of write strategies. Starlake: TransformStrategiesBuilder, AnyTemplateLoader.

``metadata/write-strategies/templates/duckdb/<action>.j2`` replaces the engine's own statements. The action is ``create`` if a task's table
does not exist yet, ``view`` for a task that creates a view, or else the type of the write strategy, which may be Starlake's or the
project's own.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from ..errors import Location
from ..project.model import Sink, WriteStrategy
from ..project.sql.sections import SqlPart
from ..project.templating import Renderer, TemplateError
from .database import Database
from .engine_errors import BadSetting, NotSupported
from .scripts import Script, make_hint, run_script
from .session import Session
from .sqltext import quote, split_statements

_ENGINE = "duckdb"
_QUOTE = '"'
_PLAIN_NAME = re.compile(r"[a-z_][a-z0-9_]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TemplateInput:
    """Values that a template gets in addition to the write strategy and the sink.

    Attributes:
        schema, table: the target.
        query: the SELECT whose rows are written.
        columns: the columns of the query.
        exists: whether the target exists.
        truncate: ``--truncate``.
        materialization: ``TABLE``, ``VIEW``, or ``HYBRID``.
    """

    schema: str
    table: str
    query: str
    columns: Sequence[str]
    exists: bool = True
    truncate: bool = False
    materialization: str = "TABLE"


@dataclass(frozen=True, slots=True)
class StrategyTemplate:
    """A template of a write strategy, for one table or task.

    ``file`` is its path, as messages name it. The strategy has its type and the columns of SCD2.
    """

    session: Session
    file: str
    text: str
    strategy: WriteStrategy
    sink: Sink | None

    def run(self, database: Database, given: TemplateInput) -> None:
        """Render the template and run its statements, inside the caller's transaction.

        Raises:
            BadSetting: the template cannot be rendered, or contains no statement.
            SqlFailed: one of its statements failed, or would end the transaction.
        """
        place = Location(self.file)
        variables: Mapping[str, Any] = {**_list_variables(self.strategy, self.sink, given), **make_macros(self.strategy)}
        folder = self.session.project.metadata_folder
        try:
            rendered = Renderer(folder).render(self.text, variables)
        except TemplateError as error:
            raise BadSetting(Location(self.file, error.line), str(error)) from error
        script = Script(SqlPart(rendered.text, tuple(rendered.list_lines())), place, tuple(self.text.split("\n")))
        if not split_statements(rendered.text):
            raise BadSetting(place, "the template of the write strategy contains no statement: the rows would be lost")
        before = set(_list_temporary(database))
        run_script(database, script, make_hint(self.session.project))
        # Starlake opens a connection for each file, and these objects disappear with it.
        for kind, name in _list_temporary(database):
            if (kind, name) not in before:
                database.execute(f"DROP {kind} temp.main.{quote(name)}")


def find_folder(session: Session) -> Path:
    """Return the folder of the project's templates, which need not exist. Raise NotSupported if it uses those of another database."""
    project = session.project
    written = project.application.raw.get("writeStrategies") or session.environ.get("SL_WRITE_STRATEGIES")
    folder = Path(project.root, str(written)) if written else Path(project.metadata_folder, "write-strategies")
    builder = str(project.application.find_raw("jdbcEngines", _ENGINE, "strategyBuilder") or _ENGINE)
    if builder.lower() != _ENGINE:
        place = project.application.origin.locate(f"jdbcEngines.{_ENGINE}.strategyBuilder")
        raise NotSupported(place, f"the write strategies of '{builder}' are not supported by the embedded engine (supported: {_ENGINE})")
    return folder / "templates" / _ENGINE


def find_template(session: Session, action: str, strategy: WriteStrategy, sink: Sink | None) -> StrategyTemplate | None:
    """Return the project's template for an action; None if it does not have one. Raise BadSetting if it cannot be read."""
    path = find_folder(session) / f"{action.lower()}.j2"
    if not path.is_file():
        return None
    root = session.project.root
    file = str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
    try:
        text = path.read_bytes().decode("utf-8").replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise BadSetting(Location(file), f"the template cannot be read: {error}") from error
    return StrategyTemplate(session, file, text, strategy, sink)


def _list_temporary(database: Database) -> list[tuple[str, str]]:
    """Return the temporary views and tables of a connection: (kind, name), views first."""
    tables = "SELECT 'TABLE', table_name FROM duckdb_tables() WHERE temporary"
    views = "SELECT 'VIEW', view_name FROM duckdb_views() WHERE temporary AND NOT internal"
    return [(str(kind), str(name)) for kind, name in database.fetch_rows(f"{views} UNION ALL {tables}")]


def _list_variables(strategy: WriteStrategy, sink: Sink | None, given: TemplateInput) -> dict[str, Any]:
    """Return the variables of a template. Starlake: StrategiesGenerationContext."""
    columns, key = list(given.columns), list(strategy.key)
    incoming = _quote_columns(columns, "SL_INCOMING.")
    updates = "SET " + ",".join(f"{quote(name)} = SL_INCOMING.{quote(name)}" for name in columns)
    inserted = f"({_quote_columns(columns)}) VALUES ({incoming})"
    joined = " AND ".join(f"SL_INCOMING.{quote(name)} = SL_EXISTING.{quote(name)}" for name in key)
    return {
        "selectStatement": given.query.strip().removesuffix(";"),
        "strategyType": strategy.type or "APPEND",
        "strategyTypes": dict(strategy.types),
        "strategyKey": key,
        "quotedStrategyKey": [quote(name) for name in key],
        "strategyTimestamp": strategy.timestamp or "",
        "strategyQueryFilter": strategy.query_filter or "",
        "strategyOn": (strategy.on or "TARGET").upper(),
        "strategyStartTs": strategy.start_ts or "",
        "strategyEndTs": strategy.end_ts or "",
        "strategyKeyCsv": _quote_columns(key),
        "strategyKeyJoinCondition": joined,
        "tableDatabase": "",
        "tableDomain": given.schema,
        "tableName": given.table,
        "tableFullName": f"{_write_name(given.schema)}.{_write_name(given.table)}",
        "tableColumnNames": columns,
        "quotedTableColumnNames": [quote(name) for name in columns],
        "tableColumnsCsv": _quote_columns(columns),
        "tableIncomingColumnsCsv": incoming,
        "tableParamsForInsertSql": inserted,
        "tableInsert": f"INSERT {inserted}",
        "tableParamsForUpdateSql": updates,
        "tableUpdateSetExpression": updates,
        "tableExists": given.exists,
        "tableTruncate": given.truncate,
        "tableFormat": (sink.format if sink else None) or "parquet",
        "materializedView": given.materialization,
        "partitionPruningKey": "",
        "quotedPartitionPruningKey": "",
        "quote": _QUOTE,
        "engineQuote": _QUOTE,
        "engineViewPrefix": "",
        "enginePreActions": "USE {{schema}};",
        "engineStrategyBuilder": _ENGINE,
        **_list_sink_variables(sink),
    }


def _list_sink_variables(sink: Sink | None) -> dict[str, Any]:
    """Return the variables of the sink; a key that is not set has no variable. Starlake: AllSinks.asMap."""
    found: dict[str, Any] = {
        "sinkFormat": "parquet",
        "sinkTableOptionsClause": "",
        "sinkTablePartitionClause": "",
        "sinkTableClusteringClause": "",
    }
    if sink is None:
        return found
    written: dict[str, Any] = {"ConnectionRef": sink.connection_ref, "Format": sink.format, "MaterializedView": sink.materialized_view}
    written |= {"Partition": list(sink.partition), "Clustering": list(sink.clustering)}
    written |= {key[:1].upper() + key[1:]: value for key, value in sink.options.items()}
    found |= {f"sink{key}": value for key, value in written.items() if value}
    options = sink.options.get("options")
    if isinstance(options, Mapping) and options:
        pairs = ",".join(f"'{key}'='{value}'" for key, value in options.items())
        found["sinkTableOptionsClause"] = f"OPTIONS({pairs})"
    return found


def _quote_columns(columns: Iterable[str], prefix: str = "") -> str:
    return ",".join(f"{prefix}{quote(name)}" for name in columns)


def _write_name(name: str) -> str:
    """Return a name as Starlake writes it, without quotes if possible."""
    is_reserved = any(kind == duckdb.token_type.keyword for _, kind in duckdb.tokenize(name))
    return name if _PLAIN_NAME.fullmatch(name) and not is_reserved else quote(name)


def make_macros(strategy: WriteStrategy) -> Mapping[str, Callable[..., str]]:
    """Return the macros that every template of a write strategy may call. Starlake: templates/write-strategies/default.j2."""
    # Most projects have no such template, and importing Jinja's values takes a while.
    from ..project.jinja.values import format_value, list_items

    own = {name.lower() for name in (strategy.start_ts, strategy.end_ts) if name}

    def unquote(column: Any = None, mark: Any = _QUOTE, *_: Any) -> str:
        text, sign = format_value(column).strip(), format_value(mark)
        return text[1:-1] if sign and len(text) > 2 and text[0] == text[-1] == sign else text

    def requote(column: Any) -> str:
        return f"{_QUOTE}{unquote(column)}{_QUOTE}"

    def join(columns: Any, write: Callable[[str], str], separator: str = ", ") -> str:
        return separator.join(write(format_value(column)) for column in list_items(columns))

    def write_null_pseudo(columns: Any = None, *_: Any) -> str:
        return join(columns, lambda name: f"NULL AS SL_PSEUDO_{name}")

    def write_pseudo(columns: Any = None, table: Any = None, *_: Any) -> str:
        return join(columns, lambda name: f"{format_value(table)}.{name} AS SL_PSEUDO_{name}")

    def join_pseudo(first: Any = None, second: Any = None, columns: Any = None, *_: Any) -> str:
        return join(columns, lambda name: f"{format_value(first)}.SL_PSEUDO_{name} = {format_value(second)}.{name}", " AND ")

    def leave_out_scd2(columns: Any = None, prefix: Any = None, *_: Any) -> str:
        kept = [column for column in list_items(columns) if unquote(column).lower() not in own]
        return join(kept, lambda name: f"{format_value(prefix)}{requote(name)}")

    def join_keys(first: Any = None, second: Any = None, columns: Any = None, *_: Any) -> str:
        return join(columns, lambda name: f"{format_value(first)}.{requote(name)} = {format_value(second)}.{requote(name)}", " AND ")

    def test_null(table: Any = None, columns: Any = None, *_: Any) -> str:
        return join(columns, lambda name: f"{format_value(table)}.{requote(name)} IS NULL", " AND ")

    def list_columns(table: Any = None, columns: Any = None, *_: Any) -> str:
        return join(columns, lambda name: f"{format_value(table)}.{requote(name)}")

    return {
        "unquote": unquote,
        "renderStrategyKeyAsNullPseudo": write_null_pseudo,
        "renderStrategyKeyAsPseudo": write_pseudo,
        "renderStrategyJoinConditionWithPseudo": join_pseudo,
        "renderColumnsWithoutScd2": leave_out_scd2,
        "renderStrategyKeyJoinCondition": join_keys,
        "renderStrategyKeyIsNull": test_null,
        "renderTableColumns": list_columns,
    }
