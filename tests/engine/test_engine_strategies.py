"""Every write strategy compared with a model in memory: duplicates, missing values, late and equal timestamps.

The model processes the rows of a batch one after the other.
"""

# mypy: disable-error-code="arg-type, return-value"

import datetime
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from starlake_dagster_components.engine import strategies
from starlake_dagster_components.engine.database import Column, Database
from starlake_dagster_components.engine.ddl import create_table
from starlake_dagster_components.engine.instances import lend_instance
from starlake_dagster_components.engine.strategies import Strategy, Target, stage_batch, write_batch, write_staged_batch
from starlake_dagster_components.engine.strategy_templates import TemplateInput


class Row(NamedTuple):
    """A row of a batch: a key of two parts, a timestamp, a partition, and a number that distinguishes rows."""

    a: int | None
    b: str | None
    ts: int | None
    part: str | None
    n: int


COLUMNS = [Column("a", "INTEGER"), Column("b", "VARCHAR"), Column("ts", "TIMESTAMP"), Column("part", "VARCHAR"), Column("n", "INTEGER")]
NAMES = [c.name for c in COLUMNS]
KEY = ("a", "b")

rows = st.builds(
    lambda a, b, ts, part: (a, b, ts, part),
    st.sampled_from([None, 1, 2, 3]),
    st.sampled_from([None, "x", "y"]),
    st.sampled_from([None, 1, 2, 3, 4]),
    st.sampled_from([None, "p", "q"]),
)
batches = st.lists(st.lists(rows, max_size=7), min_size=1, max_size=4)


def number_rows(drawn: list[list[tuple[Any, ...]]]) -> list[list[Row]]:
    number = iter(range(1000))
    return [[Row(*(*row, next(number))) for row in batch] for batch in drawn]


def quote(value: Any) -> str:
    if value is None:
        return "NULL"
    return str(value) if isinstance(value, int) else f"'{value}'"


def select_of(batch: list[Row]) -> str:
    values = [
        f"SELECT {quote(r.a)}::INTEGER AS a, {quote(r.b)}::VARCHAR AS b, "
        f"{'NULL' if r.ts is None else f'make_timestamp(2024, 1, {r.ts}, 0, 0, 0)'}::TIMESTAMP AS ts, {quote(r.part)}::VARCHAR AS part, "
        f"{r.n} AS n"
        for r in batch
    ]
    empty = "SELECT NULL::INTEGER AS a, NULL::VARCHAR AS b, NULL::TIMESTAMP AS ts, NULL::VARCHAR AS part, NULL::INTEGER AS n WHERE false"
    return "\nUNION ALL\n".join(values) if values else empty


@pytest.fixture(scope="module")
def lent() -> Iterable[Any]:
    with lend_instance() as one:
        yield one


def run(lent: Any, strategy: Strategy, drawn: list[list[Row]]) -> list[tuple[Any, ...]]:
    """Write batches into a new table. Return its rows, with timestamps as days."""
    database = Database(None, "memory", lent, None)
    database.execute("DROP SCHEMA IF EXISTS memory.s CASCADE")
    target = Target(database, "s", "t")
    create_table(database, "s", "t", [*COLUMNS, *strategy.extra_columns])
    for batch in drawn:
        with database.begin_transaction():
            written = write_batch(target, strategy, select_of(batch), NAMES)
        assert written == len(batch)
    extra = ", sl_start_ts, sl_end_ts" if strategy.extra_columns else ""
    return database.fetch_rows(f"SELECT a, b, day(ts), part, n{extra} FROM memory.s.t ORDER BY n")


def get_moment(row: Row) -> tuple[int, int]:
    return (0, 0) if row.ts is None else (1, row.ts)


def has_key(row: Row) -> bool:
    return row.a is not None and row.b is not None


def have_same_key(one: Row, other: Row) -> bool:
    return has_key(one) and (one.a, one.b) == (other.a, other.b)


def append(table: list[Row], batch: list[Row]) -> list[Row]:
    return table + batch


def overwrite(table: list[Row], batch: list[Row]) -> list[Row]:
    return list(batch)


def upsert(table: list[Row], batch: list[Row]) -> list[Row]:
    for row in batch:
        table = [*(old for old in table if not have_same_key(old, row)), row]
    return table


def upsert_first(table: list[Row], batch: list[Row]) -> list[Row]:
    first = [row for i, row in enumerate(batch) if not any(have_same_key(row, before) for before in batch[:i])]
    return upsert(table, first)


def upsert_newer(table: list[Row], batch: list[Row]) -> list[Row]:
    for row in batch:
        same = [old for old in table if have_same_key(old, row)]
        if all(get_moment(row) >= get_moment(old) for old in same):
            table = [*(old for old in table if old not in same), row]
    return table


def upsert_newest(table: list[Row], batch: list[Row]) -> list[Row]:
    best: list[Row] = []
    for row in batch:
        same = [old for old in best if have_same_key(old, row)]
        if all(get_moment(row) > get_moment(old) for old in same):
            best = [*(old for old in best if old not in same), row]
    return upsert_newer(table, best)


def delete_then_insert(table: list[Row], batch: list[Row]) -> list[Row]:
    return [old for old in table if not any(have_same_key(old, row) for row in batch)] + batch


def by_partition(table: list[Row], batch: list[Row]) -> list[Row]:
    parts = {row.part for row in batch}
    return [old for old in table if old.part not in parts] + batch


CASES: dict[str, tuple[Strategy, Callable[[list[Row], list[Row]], list[Row]]]] = {
    "APPEND": (Strategy("APPEND"), append),
    "OVERWRITE": (Strategy("OVERWRITE"), overwrite),
    "UPSERT_BY_KEY": (Strategy("UPSERT_BY_KEY", key=KEY), upsert),
    "UPSERT_BY_KEY on source and target": (Strategy("UPSERT_BY_KEY", key=KEY, dedupe=True), upsert_first),
    "UPSERT_BY_KEY_AND_TIMESTAMP": (Strategy("UPSERT_BY_KEY_AND_TIMESTAMP", key=KEY, timestamp="ts"), upsert_newer),
    "UPSERT_BY_KEY_AND_TIMESTAMP on source and target": (
        Strategy("UPSERT_BY_KEY_AND_TIMESTAMP", key=KEY, timestamp="ts", dedupe=True),
        upsert_newest,
    ),
    "DELETE_THEN_INSERT": (Strategy("DELETE_THEN_INSERT", key=KEY), delete_then_insert),
    "OVERWRITE_BY_PARTITION": (Strategy("OVERWRITE_BY_PARTITION", partition=("part",)), by_partition),
}


@pytest.mark.parametrize("name", CASES)
def test_tables_equal_those_of_a_row_by_row_model(lent: Any, name: str) -> None:
    strategy, model = CASES[name]

    @settings(max_examples=60, deadline=None)
    @given(batches)
    def check(drawn: list[list[tuple[Any, ...]]]) -> None:
        loads = number_rows(drawn)
        table: list[Row] = []
        for batch in loads:
            table = model(table, batch)
        assert run(lent, strategy, loads) == sorted((tuple(row) for row in table), key=lambda row: row[4])

    check()


ROWS = [[(1, "x", 1, "p"), (1, "x", 2, "q"), (2, None, 1, "p")], [(1, "x", 2, "p"), (1, "x", 1, "p"), (3, "y", None, None)]]


@pytest.mark.parametrize("name", CASES)
def test_a_table_that_is_emptied_first_has_only_the_rows_of_the_batch(lent: Any, name: str) -> None:
    strategy, model = CASES[name]
    first, second = number_rows(ROWS)
    run(lent, strategy, [first])
    database = Database(None, "memory", lent, None)
    with database.begin_transaction():
        assert write_batch(Target(database, "s", "t"), strategy, select_of(second), NAMES, truncate=True) == len(second)
    assert database.fetch_rows("SELECT n FROM memory.s.t ORDER BY n") == sorted((row.n,) for row in model([], second))


@pytest.mark.parametrize("strategy", [*(strategy for strategy, _ in CASES.values()), Strategy("SCD2", key=KEY, timestamp="ts")])
def test_no_temporary_table_is_left(lent: Any, strategy: Strategy) -> None:
    run(lent, strategy, number_rows(ROWS))
    assert lent.connection.execute("SELECT table_name FROM duckdb_tables() WHERE temporary").fetchall() == []


@pytest.mark.parametrize(("kind", "whole"), [("APPEND", False), ("OVERWRITE", False), ("UPSERT_BY_KEY", True), ("SCD2", True)])
def test_strategies_that_need_the_whole_batch(kind: str, whole: bool) -> None:
    assert Strategy(kind, key=KEY).needs_whole_batch is whole


def test_an_emptied_table_of_a_template_is_left_to_the_template(lent: Any) -> None:
    seen: list[TemplateInput] = []

    class Template:
        """A template that inserts the rows."""

        def run(self, database: Database, given: TemplateInput) -> None:
            seen.append(given)
            database.execute(f"INSERT INTO memory.{given.schema}.{given.table} {given.query}")

    template: Any = Template()
    first, second = number_rows(ROWS)
    run(lent, Strategy("APPEND", template=template), [first])
    database = Database(None, "memory", lent, None)
    target = Target(database, "s", "t")
    with database.begin_transaction():
        assert write_batch(target, Strategy("MINE", template=template), select_of(second), NAMES, truncate=True) == len(second)
    assert database.fetch_rows("SELECT n FROM memory.s.t ORDER BY n") == [(row.n,) for row in (*first, *second)]
    assert [(given.columns, given.truncate) for given in seen] == [(tuple(NAMES), False), (tuple(NAMES), True)]
    assert lent.connection.execute("SELECT table_name FROM duckdb_tables() WHERE temporary").fetchall() == []
    assert str(target) == "s.t"


def test_a_staged_batch_overwrites_the_table(lent: Any) -> None:
    first, second = number_rows(ROWS)
    run(lent, Strategy("APPEND"), [first])
    database = Database(None, "memory", lent, None)
    target = Target(database, "s", "t")
    with database.begin_transaction():
        write_staged_batch(target, Strategy("OVERWRITE"), stage_batch(target, select_of(second), NAMES))
    assert database.fetch_rows("SELECT n FROM memory.s.t ORDER BY n") == [(row.n,) for row in second]


def test_large_batches_with_keys_below_those_of_64_bits(lent: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strategies, "_MANY", 0)
    database = Database(None, "memory", lent, None)
    lent.connection.execute("CREATE SCHEMA IF NOT EXISTS memory.s; CREATE OR REPLACE TABLE memory.s.keys (k HUGEINT)")
    batch = f"SELECT {-(2**63) - 5}::HUGEINT + i % 9 AS k FROM range(20) t(i)"
    with database.begin_transaction():
        write_batch(Target(database, "s", "keys"), Strategy("UPSERT_BY_KEY", key=("k",)), batch, ["k"])
    assert database.fetch_rows("SELECT k FROM memory.s.keys ORDER BY k") == [(-(2**63) - 5 + i,) for i in range(9)]


@pytest.mark.parametrize("repeated", [0, 1, 2])
def test_large_batches_with_few_repeated_keys(lent: Any, monkeypatch: pytest.MonkeyPatch, repeated: int) -> None:
    monkeypatch.setattr(strategies, "_MANY", 0)
    batch = number_rows([[(key, None, None, None) for key in (1, 2, 3, *range(1, repeated + 1))]])
    kept = {row.a: row.n for row in batch[0]}
    assert [row[4] for row in run(lent, Strategy("UPSERT_BY_KEY", key=("a",)), batch)] == sorted(kept.values())


@pytest.mark.parametrize("name", ["UPSERT_BY_KEY", "UPSERT_BY_KEY_AND_TIMESTAMP"])
def test_large_batches_with_keys_of_several_columns(lent: Any, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(strategies, "_MANY", 0)
    strategy, model = CASES[name]
    first, second = number_rows(ROWS)
    assert [row[4] for row in run(lent, strategy, [first, second])] == sorted(row.n for row in model(model([], first), second))


class Version(NamedTuple):
    """A row of an SCD2 table, with the batches in which it became current and stopped being current."""

    row: Row
    began: int
    ended: int | None


def scd2(table: list[Version], batch: list[Row], number: int, strategy: Strategy) -> list[Version]:
    """Return the versions of the SCD2 model: in order of the timestamp (or of the rows), each row ends the current version of its key."""
    if strategy.dedupe:
        kept: list[Row] = []
        for row in batch:
            same = [old for old in kept if have_same_key(old, row)]
            newer = strategy.timestamp is not None and all(get_moment(row) > get_moment(old) for old in same)
            if not same or newer:
                kept = [*(old for old in kept if old not in same), row]
        batch = kept
    ordered = sorted(batch, key=get_moment) if strategy.timestamp else batch
    for row in ordered:
        current = [v for v in table if v.ended is None and have_same_key(v.row, row)]
        if strategy.timestamp and not all(get_moment(row) > get_moment(v.row) for v in current):
            continue
        table = [v._replace(ended=number) if v in current else v for v in table] + [Version(row, number, None)]
    return table


@pytest.mark.parametrize("timestamp", [None, "ts"])
@pytest.mark.parametrize("dedupe", [False, True])
def test_scd2_keeps_every_version_and_one_current_row_per_key(lent: Any, timestamp: str | None, dedupe: bool) -> None:
    strategy = Strategy("SCD2", key=KEY, timestamp=timestamp, dedupe=dedupe)

    @settings(max_examples=60, deadline=None)
    @given(batches)
    def check(drawn: list[list[tuple[Any, ...]]]) -> None:
        loads = number_rows(drawn)
        table: list[Version] = []
        for number, batch in enumerate(loads):
            table = scd2(table, batch, number, strategy)
        found = run(lent, strategy, loads)
        assert [row[:5] for row in found] == sorted((tuple(v.row) for v in table), key=lambda row: row[4])
        # Times are those of the runs: only their order says which batch they belong to.
        times = sorted({t for row in found for t in row[5:] if t is not None})
        begun = {row[4]: (times.index(row[5]), None if row[6] is None else times.index(row[6])) for row in found}
        order = sorted({n for v in table for n in (v.began, v.ended) if n is not None})
        wanted = {v.row.n: (order.index(v.began), None if v.ended is None else order.index(v.ended)) for v in table}
        assert begun == wanted
        current = Counter((row[0], row[1]) for row in found if row[6] is None and row[0] is not None and row[1] is not None)
        assert all(count == 1 for count in current.values())
        assert all(isinstance(row[5], datetime.datetime) for row in found)

    check()


def test_a_batch_that_fails_leaves_no_temporary_table_behind(lent: Any) -> None:
    strategy = Strategy("UPSERT_BY_KEY", key=KEY)
    row = Row(1, "x", 1, "p", 1)
    run(lent, strategy, [[row]])
    database = Database(None, "memory", lent, None)
    with pytest.raises(duckdb.Error), database.begin_transaction():
        write_batch(Target(database, "s", "t"), strategy, "SELECT 'no number' AS n, 1 AS a, 'x' AS b, NULL AS ts, 'p' AS part", NAMES)
    assert database.fetch_rows("SELECT n FROM memory.s.t") == [(1,)]
    assert run(lent, strategy, [[row]]) == [(1, "x", 1, "p", 1)]


BITS = {"TINYINT": 8, "SMALLINT": 16, "INTEGER": 32, "BIGINT": 64, "HUGEINT": 127}
UNSIGNED = ["UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"]
OTHERS = ["VARCHAR", "DOUBLE", "DECIMAL(18,2)", "DECIMAL(38,0)", "DATE", "TIMESTAMP"]


@pytest.mark.parametrize("ddl", [*BITS, *UNSIGNED, *OTHERS])
@pytest.mark.parametrize("repeated", [False, True])
@pytest.mark.parametrize("missing", [False, True])
def test_large_batches_have_one_row_per_key_of_every_type(
    lent: Any, monkeypatch: pytest.MonkeyPatch, ddl: str, repeated: bool, missing: bool
) -> None:
    monkeypatch.setattr(strategies, "_MANY", 0)
    database = Database(None, "memory", lent, None)
    lent.connection.execute("CREATE SCHEMA IF NOT EXISTS memory.s")
    numbers = {"DATE": "DATE '2024-01-01' + i::INT", "TIMESTAMP": "TIMESTAMP '2024-01-01' + to_days(i::INT)"}.get(ddl, f"i::{ddl}")
    # The smallest numbers of a type, too.
    for keys in [numbers, *([f"(-(2::HUGEINT ** {BITS[ddl] - 1})::HUGEINT + i)::{ddl}"] if ddl in BITS else [])]:
        lent.connection.execute(f"CREATE OR REPLACE TABLE memory.s.keys (k {ddl}, n BIGINT)")
        batch = f"SELECT {keys} AS k, i AS n FROM range(50) t(i)"
        if repeated:
            batch += f" UNION ALL SELECT {keys}, i + 100 FROM range(7) t(i)"
        if missing:
            batch += " UNION ALL SELECT NULL, 1000 UNION ALL SELECT NULL, 1001"
        for _ in range(2):
            with database.begin_transaction():
                write_batch(Target(database, "s", "keys"), Strategy("UPSERT_BY_KEY", key=("k",)), batch, ["k", "n"])
        found = [n for (n,) in database.fetch_rows("SELECT n FROM memory.s.keys WHERE k IS NOT NULL ORDER BY n")]
        assert found == ([*range(7, 50), *range(100, 107)] if repeated else [*range(50)])
        assert database.fetch_count("SELECT count(*) FROM memory.s.keys WHERE k IS NULL") == (4 if missing else 0)
