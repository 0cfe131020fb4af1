"""Names of tables and columns that SQL, DuckDB or the engine itself use for something else."""

import importlib
import json
import pkgutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import duckdb
import pytest
from engine_help import Sandbox, make

import starlake_dagster_components.engine as engine
from starlake_dagster_components.project import read_project

ODD = ('a"b', "a'b", "a.b", "a b", "é", "1st", "a-b", "a;b", "--x", "/*", "$1", "?", "%s", "{x}", "x" * 60)
"""Names that only quotes make possible."""
# Endings and names that DuckDB's replacement scans look at, and names of the engine within its statements.
TAKEN = (
    *("rowid", "t", "i", "c0", "c1", "kept", "found", "temp", "main", "memory", "system", "duckdb", "database"),
    *("csv", "tsv", "json", "jsonl", "parquet", "gz", "zst", "starlake_dagster_batch", "sl_query", "sl_incoming", "audit", "datasets"),
)


def list_keywords() -> list[str]:
    """Return DuckDB's keywords, which are those of SQL and more."""
    with duckdb.connect() as connection:
        return [word for (word,) in connection.execute("SELECT keyword_name FROM duckdb_keywords()").fetchall()]


def drop_repeated(words: Iterable[str]) -> list[str]:
    kept: dict[str, str] = {}
    for word in words:
        kept.setdefault(word.lower(), word)
    return list(kept.values())


def list_module_names() -> Iterator[str]:
    """Yield what the modules of the engine have at their top level."""
    for module in pkgutil.walk_packages(engine.__path__, f"{engine.__name__}."):
        if not module.name.endswith("__main__"):
            yield from (name for name in vars(importlib.import_module(module.name)) if not name.startswith("__"))


PLAIN = {"SL_AUDIT_ACTIVE": "false", "SL_ARCHIVE": "false"}
"""Only what has to do with names."""


@pytest.fixture
def box(tmp_path: Path) -> Sandbox:
    return make(tmp_path)


def list_attributes(names: list[str]) -> str:
    return "\n".join(f"{{ name: {json.dumps(name, ensure_ascii=False)}, type: string }}" for name in names)


COLUMNS = [*drop_repeated([*TAKEN, *list_keywords()]), *ODD]
TABLES = drop_repeated([*TAKEN, *list_keywords(), *list_module_names()])


@pytest.mark.parametrize("first", range(0, len(TABLES), 100))
def test_tables_may_have_any_word_as_their_name(first: int, box: Sandbox) -> None:
    names = TABLES[first : first + 100]
    for name in names:
        box.write(
            {
                f"metadata/load/d/{name}.sl.yml": f'version: 1\ntable:\n  name: "{name}"\n  pattern: "{name}[.]csv"\n'
                '  metadata: { format: DSV, withHeader: true, separator: "," }\n  attributes: [{ name: id, type: long }]\n'
            }
        )
    box.write({"metadata/load/d/_config.sl.yml": "version: 1\nload: { name: d, metadata: { directory: in } }\n"})
    result = box.load("d", {f"{name}.csv": "id\n1\n" for name in names}, env=PLAIN)
    assert result.failures == {}
    found = {name for (name,) in box.rows("select table_name from duckdb_tables() where schema_name = 'd' and estimated_size = 1")}
    assert {name.lower() for name in found} == {name.lower() for name in names}


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

    def line(value: str, version: str) -> str:
        cells = [version] * len(columns)
        cells[position] = value
        return "|".join(cells)

    box.load("d", {"x1.csv": "\n".join([header, line("a", "1"), line("b", "1")]) + "\n"})
    box.load("d", {"x2.csv": "\n".join([header, line("b", "2"), line("c", "2")]) + "\n"})
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


def test_a_table_that_is_missing_is_not_looked_for_among_variables(box: Sandbox) -> None:
    box.task("k.a", "select * from session")
    result = box.run("transform", "--name", "k.a", check=False)
    assert "Table with name session does not exist" in (result.reason or "")
