"""Write strategies of load tables: required keys, unknown columns, templates."""

import pytest
from project_folder import ProjectFolder, list_messages, read

TABLE = "version: 1\ntable: {name: %s, pattern: '%s.*', attributes: []}\n"


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        ("{type: UPSERT_BY_KEY}", "writeStrategy UPSERT_BY_KEY needs a 'key': the columns that identify a row"),
        ("{type: SCD2, timestamp: ts}", "writeStrategy SCD2 needs a 'key': the columns that identify a row"),
        ("{type: delete_then_insert}", "writeStrategy DELETE_THEN_INSERT needs a 'key': the columns that identify a row"),
        (
            "{type: UPSERT_BY_KEY_AND_TIMESTAMP, key: [new_id]}",
            "writeStrategy UPSERT_BY_KEY_AND_TIMESTAMP needs a 'timestamp': the column that says which row is newer",
        ),
        ("{type: UPSERT_BY_KEY, key: [idd]}", "writeStrategy key: unknown column 'idd' (known: new_id, ts)"),
        ("{type: SCD2, key: [NEW_ID], timestamp: tss}", "writeStrategy timestamp: unknown column 'tss' (did you mean 'ts'?)"),
        (
            "{types: {UPSERT: 'true'}}",
            "unknown writeStrategy type 'UPSERT' (did you mean 'UPSERT_BY_KEY'?); "
            "the project has no template metadata/write-strategies/templates/duckdb/upsert.j2",
        ),
        ("{type: SCD2, key: [new_id]}", ""),
        (
            "{type: SCD2, key: [id]}",
            "warning: writeStrategy key: 'id' is called 'new_id' in the table; use that name, or Starlake's load fails",
        ),
        ("{type: OVERWRITE_BY_PARTITION}", ""),
        ("{type: mine}", ""),
    ],
)
def test_strategies_that_would_lose_rows(folder: ProjectFolder, strategy: str, message: str) -> None:
    folder.write("metadata/write-strategies/templates/duckdb/mine.j2", "select 1")
    folder.write(
        "metadata/load/d/t.sl.yml",
        f"version: 1\ntable:\n  name: t\n  pattern: t\n  metadata:\n    writeStrategy: {strategy}\n"
        "  attributes: [{name: id, rename: new_id}, {name: ts, type: timestamp}]\n",
    )
    expected = [f"metadata/load/d/t.sl.yml:6: {message}"] if message else []
    assert list_messages(read(folder)) == expected


@pytest.mark.parametrize(
    ("file", "connections", "found"),
    [
        ("templates/duckdb/mine.j2", ("duckdb",), True),
        ("mine.j2", ("duckdb",), False),
        ("duckdb/mine.j2", ("duckdb",), False),
        ("templates/mine.j2", ("duckdb",), False),
        ("templates/bigquery/mine.j2", ("duckdb",), False),
        ("templates/duckdb/more/mine.j2", ("duckdb",), False),
        ("templates/duckdb/Mine.j2", ("duckdb",), False),
        ("templates/duckdb/mine.sql", ("duckdb",), False),
        ("templates/bigquery/mine.j2", ("duckdb", "bigquery"), True),
        ("templates/mine.j2", ("duckdb", "bigquery"), False),
        ("templates/snowflake/mine.j2", (), True),
    ],
)
def test_strategy_templates_are_searched_in_starlakes_folders(
    folder: ProjectFolder, file: str, connections: tuple[str, ...], found: bool
) -> None:
    urls = "".join(f"    {name}: {{type: jdbc, options: {{url: 'jdbc:{name}:x'}}}}\n" for name in connections)
    if not urls:
        folder.write("metadata/application.sl.yml", "version: 1\napplication: {}\n")
    else:
        reference = f"  connectionRef: {connections[0]}\n"
        folder.write("metadata/application.sl.yml", f"version: 1\napplication:\n{reference}  connections:\n{urls}")
    folder.write(f"metadata/write-strategies/{file}", "select 1")
    folder.write(
        "metadata/load/d/t.sl.yml",
        "version: 1\ntable:\n  name: t\n  pattern: t\n  metadata:\n    writeStrategy:\n      type: mine\n"
        "      types:\n        mine: 'true'\n  attributes: [{name: id}]\n",
    )
    engine = "duckdb" if connections == ("duckdb",) else "<engine>"
    missing = f"the project has no template metadata/write-strategies/templates/{engine}/mine.j2"
    errors = [message for message in list_messages(read(folder)) if "unknown writeStrategy type 'mine'" in message]
    assert [error.partition(": ")[0].rpartition(":")[2] for error in errors] == ([] if found else ["7", "9"])
    assert all(error.endswith(missing) for error in errors)


def test_a_domains_strategy_is_checked_for_each_table_and_reported_once(folder: ProjectFolder) -> None:
    folder.write("metadata/load/d/_config.sl.yml", "version: 1\nload:\n  name: d\n  metadata:\n    writeStrategy: {type: UPSERT_BY_KEY}\n")
    for name in ("a", "b"):
        folder.write(f"metadata/load/d/{name}.sl.yml", TABLE % (name, name))
    assert list_messages(read(folder)) == [
        "metadata/load/d/_config.sl.yml:5: writeStrategy UPSERT_BY_KEY needs a 'key': the columns that identify a row"
    ]
    own = "version: 1\ntable: {name: %s, pattern: %s, attributes: [], metadata: {writeStrategy: {type: APPEND}}}\n"
    for name in ("a", "b"):
        folder.write(f"metadata/load/d/{name}.sl.yml", own % (name, name))
    assert list_messages(read(folder)) == []
