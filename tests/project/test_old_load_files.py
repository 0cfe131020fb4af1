"""Load files without a version: older keys and layouts."""

import pytest
from project_folder import ProjectFolder, list_messages, read

TABLE = "version: 1\ntable: {name: %s, pattern: '%s.*', attributes: []}\n"


def test_old_table_files(folder: ProjectFolder) -> None:
    folder.write("metadata/load/d/a.sl.yml", "schema:\n  name: a\n  pattern: a\n  flat: true\n  attributes: [{name: i, type: odd}]\n")
    folder.write(
        "metadata/load/d/b.sl.yml",
        "schemas:\n  - name: b\n    pattern: b\n    attributes: []\n  - name: c\n    pattern: c\n    attributes: []\n",
    )
    folder.write("metadata/load/d/c.sl.yml", "name: c\npattern: c\n")
    project = read(folder)
    assert [table.name for table in project.tables] == ["a", "b"]
    assert list_messages(project) == [
        "metadata/load/d/a.sl.yml:5: attribute 'i': unknown type 'odd'",
        "metadata/load/d/b.sl.yml:5: warning: Starlake reads only the first table of a file; give each table its own file",
        "metadata/load/d/c.sl.yml:1: the root key 'table' is missing; found 'name'",
    ]
    assert project.tables[1].origin.locate("pattern").line == 3


@pytest.mark.parametrize(
    ("metadata", "extra", "expected"),
    [
        ("{write: OVERWRITE, mode: FILE}", "", ("OVERWRITE", (), None)),
        ("{write: append}", "", ("APPEND", (), None)),
        ("{write: ERROR_IF_EXISTS}", "", ("APPEND", (), None)),
        ("{write: APPEND, writeStrategy: {type: OVERWRITE}}", "", ("OVERWRITE", (), None)),
        ("{writeStrategy: {type: UPSERT_BY_KEY, key: [i]}}", "", ("DELETE_THEN_INSERT", ("i",), None)),
        ("{sink: {type: BQ, dynamicPartitionOverwrite: true, partition: {attributes: [i]}}}", "", ("OVERWRITE_BY_PARTITION", (), None)),
        ("{sink: {timestamp: i}}", "merge: {key: [i]}", ("DELETE_THEN_INSERT", ("i",), None)),
        ("{}", "merge: {key: [i], timestamp: t}", ("UPSERT_BY_KEY_AND_TIMESTAMP", ("i",), "t")),
        ("{write: OVERWRITE}", "merge: {timestamp: t}", ("OVERWRITE", (), "t")),
        ("", "merge: {queryFilter: x}", ("APPEND", (), None)),
    ],
)
def test_old_write_keys_become_write_strategies(
    folder: ProjectFolder, metadata: str, extra: str, expected: tuple[str, tuple[str, ...], str | None]
) -> None:
    lines = ["table:", "  name: t", "  pattern: t", "  attributes: [{name: i}, {name: t}]"]
    lines += [f"  metadata: {metadata}"] if metadata else []
    lines += [f"  {extra}"] if extra else []
    folder.write("metadata/load/d/t.sl.yml", "\n".join(lines))
    project = read(folder)
    assert list_messages(project) == []
    metadata_read = project.tables[0].metadata
    assert metadata_read.write_strategy
    assert (metadata_read.write_strategy.type, metadata_read.write_strategy.key, metadata_read.write_strategy.timestamp) == expected
    if metadata_read.sink:
        assert metadata_read.sink.partition == ("i",)


def test_merge_and_dynamic_partitions_exclude_each_other(folder: ProjectFolder) -> None:
    folder.write(
        "metadata/load/d/t.sl.yml",
        "table:\n  name: t\n  pattern: t\n  attributes: []\n  metadata: {sink: {dynamicPartitionOverwrite: true}}\n  merge: {key: [i]}\n",
    )
    assert list_messages(read(folder)) == ["metadata/load/d/t.sl.yml:6: 'merge' cannot be used together with dynamicPartitionOverwrite"]


def test_old_keys_are_unknown_in_files_with_a_version(folder: ProjectFolder) -> None:
    folder.write("metadata/load/d/t.sl.yml", "version: 1\ntable: {name: t, pattern: t, attributes: [], metadata: {write: OVERWRITE}}\n")
    project = read(folder)
    assert project.tables[0].metadata.write_strategy is None
    assert "unknown key 'write' in metadata" in list_messages(project)[0]


def test_an_old_config_may_be_bare_and_hold_its_tables(folder: ProjectFolder) -> None:
    folder.write(
        "metadata/load/d/_config.sl.yml",
        """
        name: d
        metadata: {schedule: daily, write: OVERWRITE}
        tables:
          - name: a
            pattern: a
            attributes: [{name: i, type: odd}]
            metadata: {dagRef: x}
        """,
    )
    folder.write("metadata/load/d/b.sl.yml", TABLE % ("b", "b"))
    project = read(folder)
    assert [table.name for table in project.tables] == ["a", "b"]
    a, b = project.tables
    assert (a.metadata.schedule, a.metadata.dag_ref) == ("daily", "x")
    assert a.metadata.write_strategy == b.metadata.write_strategy
    assert b.metadata.write_strategy
    assert b.metadata.write_strategy.type == "OVERWRITE"
    assert list_messages(project) == ["metadata/load/d/_config.sl.yml:6: attribute 'i': unknown type 'odd'"]
    assert a.origin.locate("metadata.dagRef").line == 7
