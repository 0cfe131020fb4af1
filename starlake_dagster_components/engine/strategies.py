"""Write strategies: write the rows of a batch to their table. Starlake: templates/write-strategies/duckdb, WriteStrategy.

A batch consists of the rows of one file or transform, in order. All statements run inside the caller's transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..errors import Location, describe_unknown
from ..project.model import Table, Task, WriteStrategy
from .database import Column, Database
from .engine_errors import BadSetting, NotSupported
from .session import Session
from .sqltext import quote, quote_list, quote_path
from .strategy_templates import StrategyTemplate, TemplateInput, find_folder, find_template

_KEYED = frozenset({"UPSERT_BY_KEY", "UPSERT_BY_KEY_AND_TIMESTAMP", "DELETE_THEN_INSERT", "SCD2"})
TYPES = ("APPEND", "OVERWRITE", "UPSERT_BY_KEY", "UPSERT_BY_KEY_AND_TIMESTAMP", "DELETE_THEN_INSERT", "OVERWRITE_BY_PARTITION", "SCD2")


@dataclass(frozen=True, slots=True)
class Strategy:
    """A valid write strategy.

    Attributes:
        type: one of :data:`TYPES`, or a type of the project's own, which has a template.
        key: columns that identify the row that a row replaces.
        timestamp: column that determines which of two rows is newer.
        dedupe: ``on: SOURCE_AND_TARGET``: the batch is reduced to one row per key first.
        partition: columns that determine which rows a batch replaces.
        start, end: columns of SCD2: the times between which a version was current.
        location: its location in the project.
        template: the project's template, which replaces the statements of this module.
    """

    type: str
    key: tuple[str, ...] = ()
    timestamp: str | None = None
    dedupe: bool = False
    partition: tuple[str, ...] = ()
    start: str = "sl_start_ts"
    end: str = "sl_end_ts"
    location: Location | None = None
    template: StrategyTemplate | None = None

    @property
    def extra_columns(self) -> tuple[Column, ...]:
        """Columns of the table in addition to those of the batch."""
        return (Column(self.start, "TIMESTAMP"), Column(self.end, "TIMESTAMP")) if self.type == "SCD2" else ()

    @property
    def needs_whole_batch(self) -> bool:
        """True if the batch must be complete before the table is changed."""
        return self.type not in ("APPEND", "OVERWRITE") or self.template is not None

    @property
    def for_new_table(self) -> "Strategy":
        """The same strategy for a new table, as in Starlake's template ``create``."""
        upsert = "UPSERT_BY_KEY_AND_TIMESTAMP" if self.timestamp else "UPSERT_BY_KEY"
        kind = self.type if self.type in TYPES else upsert if self.dedupe and self.key else "APPEND"
        return replace(self, type=kind, template=None)


@dataclass(frozen=True, slots=True)
class Target:
    """A table that rows are written to."""

    database: Database
    schema: str
    name: str

    @property
    def sql(self) -> str:
        """The table's name in SQL."""
        return quote_path(self.database.catalog, self.schema, self.name)

    @property
    def local_sql(self) -> str:
        """The table's name in SQL that someone runs in its database."""
        return quote_path(self.schema, self.name)

    def __str__(self) -> str:
        """Write ``schema.table``."""
        return f"{self.schema}.{self.name}"


def read_strategy(session: Session, node: Table | Task, chosen: str | None = None) -> Strategy:
    """Return the write strategy of a table or task; APPEND if none is set.

    ``chosen`` is the type that ``types`` chose. The primary key is used if the strategy does not have a key. Starlake:
    SchemaInfo.normalize.

    Raises:
        BadSetting: the type is unknown, or a required setting is missing.
    """
    origin, owner = node.origin, node.metadata if isinstance(node, Table) else node
    at = "metadata.writeStrategy" if isinstance(node, Table) else "writeStrategy"
    found, sink = owner.write_strategy or WriteStrategy(), owner.sink
    kind = chosen or (found.type or "APPEND").upper()
    key = found.key or (node.primary_key if kind in _KEYED or kind not in TYPES else ())
    start, end = found.start_ts or session.settings.scd2_start, found.end_ts or session.settings.scd2_end
    seen = replace(found, type=kind, key=key, start_ts=start, end_ts=end)
    template = find_template(session, kind, seen, sink)
    if kind not in TYPES and template is None:
        expected = find_folder(session) / f"{kind.lower()}.j2"
        reason = f"{describe_unknown('write strategy', kind, TYPES)}, and the project has no template {expected}"
        raise BadSetting(origin.locate(f"{at}.type"), reason)
    strategy = Strategy(
        type=kind,
        key=tuple(key),
        timestamp=found.timestamp,
        dedupe=found.on == "SOURCE_AND_TARGET",
        partition=sink.partition if sink else (),
        start=start,
        end=end,
        location=origin.locate(at),
        template=template,
    )
    if template is not None:
        return strategy
    for lacks, needed in (
        (kind in _KEYED and not strategy.key, "a key: writeStrategy.key"),
        (kind == "UPSERT_BY_KEY_AND_TIMESTAMP" and not strategy.timestamp, "a timestamp: writeStrategy.timestamp"),
        (kind == "OVERWRITE_BY_PARTITION" and not strategy.partition, "sink.partition"),
    ):
        if lacks:
            raise BadSetting(strategy.location, f"write strategy {kind} needs {needed}")
    if found.query_filter:
        reason = "queryFilter is for BigQuery's partitions; the embedded engine does not support it"
        raise NotSupported(origin.locate(f"{at}.queryFilter"), reason)
    return strategy


def check_columns(chosen: Strategy, columns: Sequence[str], who: str) -> None:
    """Raise BadSetting if the strategy names a column that a batch does not have. Strategies with a template are not checked."""
    if chosen.template is not None:
        return
    known = {name.lower() for name in columns}
    timestamps = (chosen.timestamp,) if chosen.timestamp else ()
    for role, names in (("key", chosen.key), ("timestamp", timestamps), ("partition", chosen.partition)):
        for name in names:
            if name.lower() not in known:
                raise BadSetting(chosen.location, f"{who}: {describe_unknown(f'column in the {role} of {chosen.type},', name, columns)}")


def write_batch(target: Target, chosen: Strategy, batch: str, columns: Sequence[str], *, truncate: bool = False) -> int:
    """Write a batch, a SELECT with these columns, to an existing table that has them, and return its number of rows.

    ``truncate`` empties the table first, regardless of the strategy.
    """
    run = target.database
    if not chosen.needs_whole_batch:
        if chosen.type == "OVERWRITE" or truncate:
            run.execute(f"TRUNCATE {target.sql}")
        names = quote_list(columns)
        return run.fetch_count(f"INSERT INTO {target.sql} ({names}) SELECT {names} FROM (\n{batch}\n) AS {STAGED}")
    staged = stage_batch(target, batch, columns)
    if chosen.template is not None:
        named = ", ".join(f"c{i} AS {quote(name)}" for i, name in enumerate(staged.columns))
        query = f"SELECT {named} FROM {_TABLE}"
        chosen.template.run(run, TemplateInput(target.schema, target.name, query, staged.columns, truncate=truncate))
        run.execute(f"DROP TABLE {_TABLE}")
        return staged.rows
    if truncate:
        run.execute(f"TRUNCATE {target.sql}")
    write_staged_batch(target, chosen, staged)
    return staged.rows


STAGED = "starlake_dagster_batch"
"""Name of the temporary table of a batch, and prefix of all other names that the engine uses in statements."""
_TABLE = f"temp.main.{STAGED}"
_MANY = 100_000
"""Number of rows in a batch above which an additional statement costs little in comparison."""
_SMALLEST = -(2**63)
_BITS_PER_ROW = 64


@dataclass(frozen=True, slots=True)
class Staged:
    """A batch in a temporary table, whose columns are numbered, because a column of the project may be called ``rowid``.

    Attributes:
        columns: the names of the batch's columns in the target table.
        rows: number of rows that were staged.
    """

    columns: tuple[str, ...]
    rows: int

    def name_column(self, column: str) -> str:
        """Return the SQL of the temporary table's column for a column of the batch."""
        return f"c{next(i for i, name in enumerate(self.columns) if name.lower() == column.lower())}"

    def list_columns(self, columns: Sequence[str]) -> str:
        """Return the SQL of the temporary table's columns for several columns."""
        return ", ".join(map(self.name_column, columns))


def stage_batch(target: Target, batch: str, columns: Sequence[str]) -> Staged:
    """Store a batch in a temporary table, in order, with the column types of the target table.

    Rows are compared with each other in the same way as with those of the table: ``1.0`` and ``1`` are the same key of an integer column.
    """
    run = target.database
    numbered = ", ".join(f"{quote(name)} AS c{i}" for i, name in enumerate(columns))
    run.execute(f"CREATE OR REPLACE TEMP TABLE {STAGED} AS SELECT {numbered} FROM {target.sql} WITH NO DATA")
    rows = run.fetch_count(f"INSERT INTO {_TABLE} SELECT {quote_list(columns)} FROM (\n{batch}\n) AS {STAGED}")
    return Staged(tuple(columns), rows)


def write_staged_batch(target: Target, chosen: Strategy, staged: Staged) -> None:
    """Write the staged batch."""
    if chosen.type == "SCD2":
        _write_versions(target, chosen, staged)
    else:
        _replace_rows(target, chosen, staged)
        numbered = staged.list_columns(staged.columns)
        with target.database.fill_row_groups():
            target.database.execute(f"INSERT INTO {target.sql} ({quote_list(staged.columns)}) SELECT {numbered} FROM {_TABLE}")
    target.database.execute(f"DROP TABLE {_TABLE}")


def _replace_rows(target: Target, chosen: Strategy, staged: Staged) -> None:
    """Delete the rows of the table that the staged batch replaces, and the rows of the batch that must not be written."""
    run = target.database
    same = _match_keys(staged, chosen.key)
    replace = f"DELETE FROM {target.sql} AS t USING {_TABLE} AS i WHERE {same}"
    if chosen.type == "OVERWRITE":
        run.execute(f"TRUNCATE {target.sql}")
    elif chosen.type == "UPSERT_BY_KEY":
        _keep_one_per_key(run, chosen, staged, "min(rowid)" if chosen.dedupe else "max(rowid)")
        run.execute(replace)
    elif chosen.type == "UPSERT_BY_KEY_AND_TIMESTAMP":
        _keep_one_per_key(run, chosen, staged, _find_latest(chosen, staged))
        new, old = _order_moments(chosen, staged)
        run.execute(f"DELETE FROM {_TABLE} AS i USING {target.sql} AS t WHERE {same} AND {new} < {old}")
        run.execute(replace)
    elif chosen.type == "DELETE_THEN_INSERT":
        run.execute(replace)
    elif chosen.type == "OVERWRITE_BY_PARTITION":
        partitions = f"(SELECT DISTINCT {staged.list_columns(chosen.partition)} FROM {_TABLE})"
        run.execute(
            f"DELETE FROM {target.sql} AS t USING {partitions} AS i WHERE {_match_keys(staged, chosen.partition, 'IS NOT DISTINCT FROM')}"
        )


def _match_keys(staged: Staged, key: Sequence[str], comparison: str = "=") -> str:
    """Return the condition for a row ``t`` of the table and a row ``i`` of the batch to have the same key."""
    return " AND ".join(f"t.{quote(column)} {comparison} i.{staged.name_column(column)}" for column in key)


def _order_moments(chosen: Strategy, staged: Staged) -> tuple[str, str]:
    """Return the SQL of the timestamps of a row of the batch and one of the table, in which NULL is older than all others."""
    assert chosen.timestamp is not None
    columns = (f"i.{staged.name_column(chosen.timestamp)}", f"t.{quote(chosen.timestamp)}")
    new, old = (f"(CASE WHEN {column} IS NULL THEN 0 ELSE 1 END, {column})" for column in columns)
    return new, old


def _find_latest(chosen: Strategy, staged: Staged) -> str:
    """Return the SQL of the rowid of a group's newest row.

    Among equally new rows, it is the last one, or the first one if the batch is deduplicated first.
    """
    assert chosen.timestamp is not None
    order = "rowid" if chosen.dedupe else "rowid DESC"
    return f"first(rowid ORDER BY {staged.name_column(chosen.timestamp)} DESC NULLS LAST, {order})"


def _keep_one_per_key(run: Database, chosen: Strategy, staged: Staged, kept: str) -> None:
    """Reduce the staged batch to one row per key. Rows with NULL in their key are kept.

    Most batches have one row per key, and checking this is cheaper than finding the rows to keep.
    """
    key = staged.list_columns(chosen.key)
    if _has_one_row_per_key(run, staged, chosen.key):
        return
    groups = f"SELECT {key}, {kept} AS kept, count(*) AS found FROM {_TABLE} GROUP BY {key} HAVING count(*) > 1"
    same = " AND ".join(f"t.{column} = i.{column}" for column in map(staged.name_column, chosen.key))
    run.execute(f"DELETE FROM {_TABLE} AS i USING ({groups}) AS t WHERE {same} AND i.rowid <> t.kept")


def _has_one_row_per_key(run: Database, staged: Staged, key: Sequence[str]) -> bool:
    """Return whether no two rows of the staged batch have the same key; False if rows have no key."""
    columns = staged.list_columns(key)
    if len(key) == 1 and staged.rows > _MANY:
        lowest, highest = run.fetch_rows(f"SELECT min({columns}), max({columns}) FROM {_TABLE}")[0]
        if type(lowest) is int and lowest >= _SMALLEST and highest <= min(-_SMALLEST - 1, lowest + _BITS_PER_ROW * staged.rows):
            # A bit per number takes a tenth of the time of a hash table, and no more memory.
            bits = f"bit_count(bitstring_agg(CAST({columns} AS BIGINT), {lowest}, {highest}))"
            return run.fetch_count(f"SELECT count({columns}) - {bits} FROM {_TABLE}") == 0
    return run.fetch_count(f"SELECT count(*) FROM (SELECT DISTINCT {columns} FROM {_TABLE})") == staged.rows


def _write_versions(target: Target, chosen: Strategy, staged: Staged) -> None:
    """Write versions (SCD2): the current row of a key ends when a newer one arrives. At most one row of a key is current.

    The rows of a batch are processed by timestamp, or without one, in the batch's order. A row that is not newer than the one before it, or
    than the current one in the table, does not become a version. Only the last row of a key stays current.
    """
    run = target.database
    if chosen.dedupe:
        _keep_one_per_key(run, chosen, staged, _find_latest(chosen, staged) if chosen.timestamp else "min(rowid)")
    # Starlake: CURRENT_TIMESTAMP in a column without zone, which is the local time of the session. A column may have that name.
    now = "CAST(get_current_timestamp() AS TIMESTAMP)"
    key = staged.list_columns(chosen.key)
    whole = " AND ".join(f"{staged.name_column(column)} IS NOT NULL" for column in chosen.key)
    same = _match_keys(staged, chosen.key)
    order = "rowid DESC"
    if chosen.timestamp:
        new, old = _order_moments(chosen, staged)
        run.execute(f"DELETE FROM {_TABLE} AS i USING {target.sql} AS t WHERE {same} AND t.{quote(chosen.end)} IS NULL AND {new} <= {old}")
        # If rows have the same key and timestamp, the first one is the version.
        moment = staged.name_column(chosen.timestamp)
        again = (
            f"SELECT rowid AS found FROM {_TABLE} WHERE {whole} QUALIFY row_number() OVER (PARTITION BY {key}, {moment} ORDER BY rowid) > 1"
        )
        run.execute(f"DELETE FROM {_TABLE} WHERE rowid IN ({again})")
        order = f"{moment} DESC NULLS LAST, rowid DESC"
    run.execute(
        f"UPDATE {target.sql} AS t SET {quote(chosen.end)} = {now} FROM (SELECT DISTINCT {key} FROM {_TABLE}) AS i "
        f"WHERE {same} AND t.{quote(chosen.end)} IS NULL"
    )
    last = f"row_number() OVER (PARTITION BY {key} ORDER BY {order}) = 1 OR NOT ({whole})"
    run.execute(
        f"INSERT INTO {target.sql} ({quote_list(staged.columns)}, {quote_list((chosen.start, chosen.end))}) "
        f"SELECT {staged.list_columns(staged.columns)}, {now}, CASE WHEN {last} THEN NULL ELSE {now} END FROM {_TABLE} ORDER BY rowid"
    )
