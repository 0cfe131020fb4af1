"""Loading files: JSON, fixed columns and Parquet."""

import json
from pathlib import Path

import duckdb
import pytest
from engine_help import Sandbox, make

ID_NAME = """{ name: id, type: long }
{ name: name, type: string }"""


@pytest.fixture
def box(tmp_path: Path) -> Sandbox:
    return make(tmp_path)


def test_json_is_read_by_name_with_nested_fields(box: Sandbox) -> None:
    box.table(
        "t",
        "docs",
        "{ name: id, type: long }\n"
        "{ name: who, type: struct, attributes: [{ name: name, type: string, rename: full_name, privacy: INITIALS }, "
        "{ name: born, type: date }] }\n"
        "{ name: tags, type: string, array: true }\n"
        "{ name: lines, type: struct, array: true, attributes: [{ name: sku, type: string }, { name: qty, type: int }, "
        "{ name: x, type: int, ignore: true }] }",
        "format: JSON",
    )
    lines = [
        {"lines": [{"qty": 2, "sku": "a", "x": 1}], "who": {"born": "1990-01-02", "name": "Ann Lee"}, "id": 1, "more": True},
        {"id": 2, "tags": ["x", "y"], "lines": []},
    ]
    box.load("t", {"docs.json": "\n".join(map(json.dumps, lines))})
    assert box.rows("select id, who::varchar, tags, lines::varchar from t.docs order by id") == [
        (1, "{'full_name': A.L., 'born': 1990-01-02}", None, "[{'sku': a, 'qty': 2}]"),
        (2, None, ["x", "y"], "[]"),
    ]


@pytest.mark.parametrize(
    ("metadata", "content"),
    [
        ("format: JSON", '{"id":1,"name":"Ann"}\n{"id":2}\n'),
        ("format: JSON_FLAT", '{"name":"Ann","id":"1"}\n{"id":2}\n'),
        ("format: JSON, array: true", '[{"id":1,"name":"Ann"},\n{"id":2}]'),
        ("format: JSON_ARRAY", '[{"id":1,"name":"Ann"},{"id":2}]'),
        ("format: JSON, multiline: true", '{"id":1,\n"name":"Ann"}\n{\n"id":2}'),
    ],
)
def test_json_layouts(box: Sandbox, metadata: str, content: str) -> None:
    box.table("t", "docs", ID_NAME, metadata)
    box.load("t", {"docs.json": content})
    assert box.rows("select * from t.docs order by id") == [(1, "Ann"), (2, None)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"id":1}\n{"id":2,"who":{"born":"x","more":1}}\n', "line 2: column 'who.born': 'x' is not of type DATE"),
        ('{"id":1,"n":[1,"x"]}\n', "line 1: column 'n[*]': 'x' is not of type INTEGER"),
    ],
)
def test_a_bad_value_inside_a_document_names_its_column(box: Sandbox, content: str, expected: str) -> None:
    attributes = """{ name: id, type: long }
    { name: who, type: struct, attributes: [{ name: born, type: date }] }
    { name: n, type: int, array: true }"""
    box.table("t", "docs", attributes, "format: JSON")
    assert expected in (box.load("t", {"docs.json": content}, check=False).reason or "")


def test_a_document_as_a_whole(box: Sandbox) -> None:
    box.table("t", "docs", "{ name: doc, type: variant }", "format: JSON")
    box.load("t", {"docs.json": '{"a": {"b": 1}}\n'})
    assert box.rows("select doc->>'$.a.b' from t.docs") == [("1",)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"id":1,"name":"a"}\n{"id":"x","name":"b"}\n', "line 2: column 'id': 'x' is not of type long"),
        ('{"id":1}\n{"id":\n', "line 2"),
        ('[{"id":1}]', "metadata.array: true"),
    ],
)
def test_bad_json_names_its_line(box: Sandbox, content: str, expected: str) -> None:
    box.table("t", "docs", ID_NAME, "format: JSON")
    result = box.load("t", {"docs.json": content}, check=False)
    assert expected in (result.reason or "")


def test_fixed_columns(box: Sandbox) -> None:
    attributes = """{ name: id, type: long, position: { first: 0, last: 2 } }
    { name: name, type: string, trim: BOTH, position: { first: 3, last: 7 } }
    { name: amount, type: double, position: { first: 8, last: 12 } }"""
    box.table("t", "pos", attributes, "format: POSITION, withHeader: false")
    box.load("t", {"pos.txt": '001Ann  010.5\n002"é"      \n003Cid\n'})
    assert box.rows("select * from t.pos order by id") == [(1, "Ann", 10.5), (2, '"é"', None), (3, "Cid", None)]
    result = box.load("t", {"pos.txt": "001Ann  010.5\n002Bob  xx.xx\n"}, check=False)
    assert "line 2: column 'amount': 'xx.xx' is not of type double" in (result.reason or "")


def test_parquet(box: Sandbox) -> None:
    attributes = "{ name: id, type: long, required: true }\n{ name: name, type: string }\n{ name: later, type: string }"
    box.table("t", "cols", attributes, "format: PARQUET")
    folder = box.root / "datasets/stage/t"
    folder.mkdir(parents=True)
    duckdb.execute(f"copy (select 'Ann' as NAME, 1 as id, true as more) to '{folder}/cols.parquet'")
    box.run("load", "--domains", "t")
    assert box.rows("select * from t.cols") == [(1, "Ann", None)]
    duckdb.execute(f"copy (select 'x' as id, 'Ann' as name) to '{folder}/cols.parquet'")
    result = box.run("load", "--domains", "t", check=False)
    assert "column 'id': 'x' is not of type long (row 1 of the file)" in (result.reason or "")
    box.write({"datasets/ingesting/t/cols.parquet": "no parquet"})
    assert "not a Parquet file" in (box.run("load", "--domains", "t", check=False).reason or "")


def test_an_unsupported_format_names_the_key_and_its_line(box: Sandbox) -> None:
    box.table("t", "x", ID_NAME, "format: XML")
    result = box.load("t", {"x.xml": "<x/>"}, check=False)
    assert "metadata/load/t/x.sl.yml:5: format XML is not supported by the embedded engine" in (result.reason or "")
    assert not result.retry
