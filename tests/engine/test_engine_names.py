"""Names of tables and columns that have another meaning in SQL, DuckDB, or the engine."""

import importlib
import json
import pkgutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import duckdb
import pytest
import sqlglot
from engine_help import Sandbox, make
from sqlglot.dialects import Dialects

import starlake_dagster_components.engine as engine
from starlake_dagster_components.project.reader import read_project

ODD = ('a"b', "a'b", "a.b", "a b", "é", "1st", "a-b", "a;b", "--x", "/*", "$1", "?", "%s", "{x}", "x" * 60)
"""Names that must be quoted."""
# Endings and names that DuckDB's replacement scans look at, and names of the engine within its statements.
TAKEN = (
    *("current_timestamp", "rowid", "t", "i", "c0", "c1", "kept", "found", "temp", "main", "memory", "system", "duckdb", "database"),
    *("csv", "tsv", "json", "jsonl", "parquet", "gz", "zst", "starlake_dagster_batch", "sl_query", "sl_incoming", "audit", "datasets"),
)


def list_keywords() -> list[str]:
    """Return DuckDB's keywords, which include those of SQL."""
    with duckdb.connect() as connection:
        return [word for (word,) in connection.execute("SELECT keyword_name FROM duckdb_keywords()").fetchall()]


def list_sql_words() -> list[str]:
    """Return the keywords of SQL:2016 and of the databases that Starlake supports."""
    found: set[str] = set()
    for one in Dialects:
        dialect = sqlglot.Dialect.get_or_raise(one.value)
        found |= {word.upper() for word in (*dialect.tokenizer_class.KEYWORDS, *dialect.generator_class.RESERVED_KEYWORDS)}
    return sorted(word for word in found if word.isidentifier())


def drop_repeated(words: Iterable[str]) -> list[str]:
    kept: dict[str, str] = {}
    for word in words:
        kept.setdefault(word.lower(), word)
    return list(kept.values())


def list_module_names() -> Iterator[str]:
    """Yield the names at the top level of the engine's modules."""
    for module in pkgutil.walk_packages(engine.__path__, f"{engine.__name__}."):
        if not module.name.endswith("__main__"):
            yield from (name for name in vars(importlib.import_module(module.name)) if not name.startswith("__"))


def quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


PLAIN = {"SL_AUDIT_ACTIVE": "false", "SL_ARCHIVE": "false"}
"""The parts of the engine that deal with names."""


@pytest.fixture
def box(tmp_path: Path) -> Sandbox:
    return make(tmp_path)


def list_attributes(names: list[str]) -> str:
    return "\n".join(f"{{ name: {json.dumps(name, ensure_ascii=False)}, type: string }}" for name in names)


COLUMNS = [*drop_repeated([*TAKEN, *list_keywords()]), *ODD]
WORDS = drop_repeated([*TAKEN, *list_keywords(), *list_module_names(), *list_sql_words(), *ODD])


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, len(WORDS), 300))
def test_tables_may_have_any_word_as_their_name(first: int, box: Sandbox) -> None:
    names = WORDS[first : first + 300]
    for number, name in enumerate(names):
        # Only the name in the database may be arbitrary.
        written = f"n{number}\n  rename: {json.dumps(name)}" if name in ODD else json.dumps(name)
        box.write(
            {
                f"metadata/load/d/n{number}.sl.yml": f'version: 1\ntable:\n  name: {written}\n  pattern: "n{number}[.]csv"\n'
                '  metadata: { format: DSV, withHeader: true, separator: "," }\n  attributes: [{ name: id, type: long }]\n',
                # Starlake drops what follows two dashes in a SQL file, in quotes too.
                f"metadata/transform/k/n{number}.sl.yml": f"version: 1\ntask:\n  domain: k\n  table: {json.dumps(name)}\n",
                f"metadata/transform/k/n{number}.sql": f"select id + {number} as id from d.{quote(name)}"
                if name not in ("--x", "/*")
                else f"select 1 + {number} as id",
            }
        )
    box.write({"metadata/load/d/_config.sl.yml": "version: 1\nload: { name: d, metadata: { directory: in } }\n"})
    result = box.load("d", {f"n{number}.csv": "id\n1\n" for number in range(len(names))}, env=PLAIN)
    assert result.failures == {}
    union = " union all ".join(f"select id from k.{quote(name)}" for name in names if name not in ("--x", "/*"))
    box.write({"metadata/transform/k/all_of_them.sql": union})
    box.run("transform", "--recursive", "--name", "k.all_of_them", env=PLAIN)
    expected = {number + 1 for number, name in enumerate(names) if name not in ("--x", "/*")}
    assert {number for (number,) in box.rows("select id from k.all_of_them")} == expected
    for schema in ("d", "k"):
        found = {name for (name,) in box.rows(f"select table_name from duckdb_tables() where schema_name = '{schema}'")}
        assert {name.lower() for name in names} - {name.lower() for name in found} <= ({"--x", "/*"} if schema == "k" else set())


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["UPSERT_BY_KEY", "SCD2"])
@pytest.mark.parametrize("first", range(0, len(WORDS), 500))
def test_columns_may_have_any_word_as_their_name(first: int, strategy: str, box: Sandbox) -> None:
    columns = WORDS[first : first + 500]
    key = f"writeStrategy: {{ type: {strategy}, key: [{json.dumps(columns[0])}] }}"
    box.table("d", "x", list_attributes(columns), f'format: DSV, withHeader: true, separator: "|", quote: "~", {key}')
    box.task("k.x", f"select {', '.join(map(quote, columns if '--x' not in columns else columns[:9]))} from d.x", f"  {key}\n")
    header = "|".join(columns)
    for version in ("a", "b"):
        cells = ["key", *(f"{version}{number}" for number in range(1, len(columns)))]
        box.load("d", {f"x{version}.csv": f"{header}\n{'|'.join(cells)}\n"})
        box.run("transform", "--name", "k.x")
        for table in ("d.x", "k.x"):
            # Without a timestamp each row of SCD2 is a new version.
            current = " where sl_end_ts is null" if strategy == "SCD2" else ""
            rows = box.rows(f"select * from {table}{current}")
            assert len(rows) == 1
            assert all(value == cell for value, cell in zip(rows[0], cells, strict=False) if isinstance(value, str))


# Starlake drops what follows two dashes in a SQL file, in quotes too.
TASKS = [*TAKEN, "select", "session", "order", "Group", *[odd for odd in ODD if odd not in ("--x", "/*")]]


def test_tasks_may_have_any_name(box: Sandbox) -> None:
    quoted = {name: name.replace('"', '""') for name in TASKS}
    for strategy in ("", "  writeStrategy: { type: OVERWRITE }\n", "  writeStrategy: { type: UPSERT_BY_KEY, key: [rowid] }\n"):
        for number, name in enumerate(TASKS):
            box.write(
                {
                    f"metadata/transform/k/a{number}.sl.yml": f"version: 1\ntask:\n  domain: k\n  table: {json.dumps(name)}\n{strategy}",
                    f"metadata/transform/k/a{number}.sql": 'select 1 as "rowid"',
                    f"metadata/transform/k/b{number}.sql": f'select * from k."{quoted[name]}"',
                }
            )
        for task in read_tasks(box):
            if not task.startswith("k.b"):
                box.run("transform", "--name", task, env=PLAIN)
        for name in TASKS:
            assert box.rows(f'select * from k."{quoted[name]}"') == [(1,)], name
    for number in range(len(TASKS)):
        box.run("transform", "--name", f"k.b{number}", env=PLAIN)
        assert box.rows(f"select * from k.b{number}") == [(1,)]


def read_tasks(box: Sandbox) -> list[str]:
    box.project = read_project(box.root, environ=PLAIN)
    return [task.full_name for task in box.project.tasks]


STRATEGIES = {
    "APPEND": "",
    "OVERWRITE": "",
    "UPSERT_BY_KEY": ", key: [%s]",
    "UPSERT_BY_KEY_AND_TIMESTAMP": ", key: [%s], timestamp: t",
    "DELETE_THEN_INSERT": ", key: [%s]",
    "OVERWRITE_BY_PARTITION": "",
    "SCD2": ", key: [%s], timestamp: t",
}


@pytest.mark.parametrize(
    ("strategy", "key"),
    [*((strategy, "rowid") for strategy in STRATEGIES), ("UPSERT_BY_KEY_AND_TIMESTAMP", "i"), ("SCD2", "select"), ("SCD2", "c1")],
)
def test_columns_may_have_any_name(strategy: str, key: str, box: Sandbox) -> None:
    columns = [
        column
        for column in COLUMNS
        if (strategy, key) in (("SCD2", "rowid"), ("UPSERT_BY_KEY", "rowid")) or column in (*TAKEN, *ODD, key, "version")
    ]
    more = STRATEGIES[strategy]
    written = f"writeStrategy: {{ type: {strategy}{more % key if '%' in more else more} }}"
    sink = f"sink: {{ partition: [{key}] }}" if strategy == "OVERWRITE_BY_PARTITION" else ""
    box.table(
        "d",
        "x",
        list_attributes(columns),
        f'format: DSV, withHeader: true, separator: "|", quote: "~", {written}{"," if sink else ""}{sink}',
    )
    position = columns.index(key)
    header = "|".join(columns)

    def format_line(value: str, version: str) -> str:
        cells = [version] * len(columns)
        cells[position] = value
        return "|".join(cells)

    box.load("d", {"x1.csv": "\n".join([header, format_line("a", "1"), format_line("b", "1")]) + "\n"})
    box.load("d", {"x2.csv": "\n".join([header, format_line("b", "2"), format_line("c", "2")]) + "\n"})
    rows = box.rows(f'select "{key}", "version", count(*) from d.x group by all order by all')
    kept = {("b", "1")} if strategy in ("APPEND", "SCD2") else set()
    if strategy != "OVERWRITE":
        kept |= {("a", "1")}
    assert rows == sorted((name, version, 1) for name, version in kept | {("b", "2"), ("c", "2")})
    if strategy == "SCD2":
        assert box.rows(f'select "{key}" from d.x where sl_end_ts is null order by all') == [("a",), ("b",), ("c",)]


@pytest.mark.parametrize("strategy", ["OVERWRITE", "UPSERT_BY_KEY", "SCD2"])
def test_queries_may_have_columns_of_any_name(strategy: str, box: Sandbox) -> None:
    columns = COLUMNS
    selected = ", ".join('1 as "' + column.replace('"', '""') + '"' for column in columns)
    key = ", key: [rowid]" if strategy != "OVERWRITE" else ""
    box.task("k.a", f"select {selected}", f"  writeStrategy: {{ type: {strategy}{key} }}\n")
    for _ in range(2):
        box.run("transform", "--name", "k.a")
    assert box.rows('select count(*), count(distinct "rowid") from k.a') == [(2 if strategy == "SCD2" else 1, 1)]


def test_a_missing_table_is_an_error_even_if_a_python_variable_has_its_name(box: Sandbox) -> None:
    box.task("k.a", "select * from session")
    result = box.run("transform", "--name", "k.a", check=False)
    assert "Table with name session does not exist" in (result.reason or "")


def test_a_domain_may_have_the_name_of_the_engines_own_schema(box: Sandbox) -> None:
    box.table("starlake_dagster_engine", "orders", "{ name: id, type: int }")
    for number in (1, 2):
        box.load("starlake_dagster_engine", {f"orders-{number}.csv": f"id\n{number}\n"})
    assert box.rows("select id from starlake_dagster_engine.orders order by id") == [(1,), (2,)]
    assert box.rows("select table_name from duckdb_tables() where schema_name = 'starlake_dagster_engine'") == [("orders",)]
