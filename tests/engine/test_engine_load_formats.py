"""Loading files: JSON, fixed columns and Parquet."""

import gzip
import json
from decimal import Decimal
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
def test_json_is_read_in_every_layout(box: Sandbox, metadata: str, content: str) -> None:
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


def test_a_document_is_loaded_into_a_variant_column(box: Sandbox) -> None:
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


def test_files_with_fixed_positions_are_read(box: Sandbox) -> None:
    attributes = """{ name: id, type: long, position: { first: 0, last: 2 } }
    { name: name, type: string, trim: BOTH, position: { first: 3, last: 7 } }
    { name: amount, type: double, position: { first: 8, last: 12 } }"""
    box.table("t", "pos", attributes, "format: POSITION, withHeader: false")
    box.load("t", {"pos.txt": '001Ann  010.5\n002"é"      \n003Cid\n'})
    assert box.rows("select * from t.pos order by id") == [(1, "Ann", 10.5), (2, '"é"', None), (3, "Cid", None)]
    result = box.load("t", {"pos.txt": "001Ann  010.5\n002Bob  xx.xx\n"}, check=False)
    assert "line 2: column 'amount': 'xx.xx' is not of type double" in (result.reason or "")


def test_parquet_is_read_by_name_and_bad_values_are_rejected(box: Sandbox) -> None:
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


TWO_STRINGS = "{ name: id, type: string }\n{ name: name, type: string }"
STRUCT = """{ name: id, type: long }
{ name: s, type: struct, attributes: [{ name: x, type: long }, { name: y, type: string }] }"""
STRUCTS = """{ name: id, type: long }
{ name: s, type: struct, array: true, attributes: [{ name: t, type: struct, attributes: [{ name: 'w"x', type: long }] }] }"""
FOLLOWED = """{ name: id, type: long, position: { first: 5, last: 7 } }
{ name: name, type: string, position: { first: 8, last: 9 } }"""


@pytest.mark.parametrize(
    ("attributes", "metadata", "content", "found"),
    [
        (ID_NAME, "format: PARQUET", "select 1 as more, 2 as other", "it has more, other; t.x has id, name"),
        (
            f"{ID_NAME}\n{{ name: up, type: string, script: 'upper(name)' }}",
            "format: PARQUET",
            "select 1 as more",
            "it has more; t.x has id",
        ),
        ("{ name: id, type: long, default: 5 }", "format: PARQUET", "select 1 as more", "it has more; t.x has id"),
        (ID_NAME, "format: PARQUET", "select 1 as " + ", 1 as ".join(f"c{n}" for n in range(500)), "c0, c1, c2"),
        (STRUCT, "format: PARQUET", "select 1 as id, {'a': 1, 'b': 'q'} as s", "it has a, b; s has x, y"),
        (STRUCT, "format: PARQUET", "select 1 as id, cast(null as struct(a int)) as s", "it has a; s has x, y"),
        (STRUCTS, "format: PARQUET", "select 1 as id, [{'t': {'w': 1}}] as s", 'it has w; s has w"x'),
        (ID_NAME, "format: JSON", '{"more":1}\n{"other":2}\n', "it has more; t.x has id, name"),
        (ID_NAME, "format: JSON", '{}\n{"ID":1,"Name":"Ann"}\n', "it has ID, Name; t.x has id, name"),
        (ID_NAME, "format: JSON_FLAT", '{"ids":"1"}\n', "it has ids; t.x has id, name (did you mean 'id'?)"),
        (ID_NAME, "format: JSON", '{"data":{"id":1,"name":"Ann"}}\n', "it has data; t.x has id, name"),
        (ID_NAME, "format: JSON", '{"%s":1}\n' % ("long" * 50_000), "it has longlong"),
        (ID_NAME, "format: JSON, array: true", ' [{"more":1},\n{"other":2}]', "it has more; t.x has id, name"),
        (ID_NAME, "format: JSON_ARRAY", '[{"more":1},{"more":2}]', "it has more; t.x has id, name"),
        (ID_NAME, "format: JSON, multiline: true", '{"more":\n1}', "it has more; t.x has id, name"),
        (ID_NAME, "format: JSON, encoding: UTF-16", '{"more":1}\n'.encode("utf-16"), "it has more; t.x has id, name"),
        ("{ name: id, type: string }", "format: JSON", '{"more":1}\n', "it has more; t.x has id"),
        ("{ name: s, type: struct, attributes: [{ name: id, type: long }] }", "format: JSON", '{"id":1}\n', "it has id; t.x has s"),
        (STRUCT, "format: JSON", '{"id":1,"s":{"a":1,"b":2}}\n{"id":2,"s":{"a":3}}\n', "it has a, b; s has x, y"),
        (STRUCT, "format: JSON", '{"id":1,"s":{"X":1}}\n', "it has X; s has x, y"),
        (STRUCT, "format: JSON", '{"id":1}\n' * 3000 + '{"id":1,"s":{"a":1}}\n', "it has a; s has x, y"),
        (STRUCT, "format: JSON, array: true", '[{"id":1,"s":{"a":1}},{"s":null}]', "it has a; s has x, y"),
        (STRUCT, "format: JSON, multiline: true", '{"id":1,\n"s":{"a":1}}', "it has a; s has x, y"),
        (STRUCTS, "format: JSON", '{"id":1,"s":[{"a":1}, null, {}]}\n{"s":[]}\n', "it has a; s has t"),
        (STRUCTS, "format: JSON", '{"id":1,"s":[{"t":null}, {"t":{"q":"b"}}]}\n', 'it has q; s.t has w"x'),
        (FOLLOWED, "format: POSITION, withHeader: false", "\nabc\nde\n", "no line reaches the first field, which starts at character 6"),
        (FOLLOWED, "format: POSITION", "a header that is long\nabcd\n", "no line reaches the first field, which starts at character 6"),
        (TWO_STRINGS, "format: DSV", "more;other\n1;2\n", "the header lacks the column 'id'"),
    ],
)
def test_a_file_with_none_of_the_columns_is_rejected(
    box: Sandbox, attributes: str, metadata: str, content: str | bytes, found: str
) -> None:
    box.table("t", "x", attributes, metadata)
    if "PARQUET" in metadata:
        (box.root / "datasets/stage/t").mkdir(parents=True)
        duckdb.execute(f"copy ({content!s}) to '{box.root}/datasets/stage/t/x.1' (format parquet)")
        result = box.run("load", "--domains", "t", check=False)
    else:
        result = box.load("t", {"x.1": content}, check=False)
    assert result.exit_code == 1
    assert found in (result.reason or "")
    assert len(result.reason or "") < 2000
    assert box.files("ingesting") == ["t/x.1"]


def test_a_compressed_file_in_another_encoding_is_read_for_its_keys(box: Sandbox) -> None:
    box.table("t", "x", ID_NAME, "format: JSON, encoding: UTF-16")
    result = box.load("t", {"x.json.gz": gzip.compress('{}\n{"more":1}\n'.encode("utf-16"))}, check=False)
    assert "it has more; t.x has id, name" in (result.reason or "")
    (box.root / "datasets/ingesting/t/x.json.gz").unlink()
    box.load("t", {"x.json.gz": gzip.compress('{}\n{"more":1}\n{"id":7}\n'.encode("utf-16"))})
    assert box.rows("select id from t.x") == [(None,), (None,), (7,)]


@pytest.mark.parametrize(
    ("attributes", "metadata", "content", "rows"),
    [
        (ID_NAME, "format: PARQUET", "select 1 as more where false", []),
        (ID_NAME, "format: PARQUET", "select null::bigint as id", [(None, None)]),
        (ID_NAME, "format: JSON", "", []),
        (ID_NAME, "format: JSON", "{}\n", [(None, None)]),
        (ID_NAME, "format: JSON", '{"id":null}\n', [(None, None)]),
        (ID_NAME, "format: JSON", '{"more":1}\n' * 3000 + '{"id":7}\n', [(None, None)] * 3000 + [(7, None)]),
        (ID_NAME, "format: JSON, array: true", "[]", []),
        (ID_NAME, "format: JSON, array: true", '[{"more":1},{"id":7}]', [(None, None), (7, None)]),
        (ID_NAME, "format: JSON", '{"%s":1, "id":7}\n' % ("long" * 50_000), [(7, None)]),
        (STRUCT, "format: JSON", '{"id":1,"s":{"a":1}}\n{"id":2,"s":{"x":3}}\n', [(1, {"x": None, "y": None}), (2, {"x": 3, "y": None})]),
        (STRUCT, "format: JSON", '{"id":1,"s":{}}\n{"id":2,"s":null}\n', [(1, {"x": None, "y": None}), (2, None)]),
        (STRUCT, "format: JSON", '{"id":1}\n' * 3000 + '{"s":{"y":"b"}}\n', [(1, None)] * 3000 + [(None, {"x": None, "y": "b"})]),
        (STRUCTS, "format: JSON", '{"s":[{"q":1},{"t":{"w\\"x":7}}]}\n', [(None, [{"t": None}, {"t": {'w"x': 7}}])]),
        ("{ name: id, type: long, script: '5' }", "format: JSON", '{"more":1}\n', [(5,)]),
        ("{ name: doc, type: variant }", "format: JSON", '{"more":1}\n', [('{"more":1}',)]),
        (FOLLOWED, "format: POSITION, withHeader: false", "abc\n     123ab\n", [(None, ""), (123, "ab")]),
        (FOLLOWED, "format: POSITION", "header\n", []),
        (FOLLOWED, "format: POSITION, withHeader: false", "          \n", [(None, "  ")]),
    ],
)
def test_a_file_with_some_of_the_columns_or_without_rows_loads(
    box: Sandbox, attributes: str, metadata: str, content: str, rows: list[tuple[object, ...]]
) -> None:
    box.table("t", "x", attributes, metadata)
    if "PARQUET" in metadata:
        (box.root / "datasets/stage/t").mkdir(parents=True)
        duckdb.execute(f"copy ({content}) to '{box.root}/datasets/stage/t/x.1' (format parquet)")
        box.run("load", "--domains", "t")
    else:
        box.load("t", {"x.1": content})
    assert box.rows("select * from t.x") == rows


NESTED = """{ name: id, type: int }
{ name: v, type: decimal }
{ name: list, type: decimal, array: true }
{ name: s, type: struct, array: true, attributes: [{ name: v, type: decimal }, { name: list, type: decimal, array: true }] }"""


@pytest.mark.parametrize("quoted", [False, True])
def test_decimals_in_json_are_exact(box: Sandbox, quoted: bool) -> None:
    texts = ["4194330.90", "0.1", "1.500000000000000000", "123456789012.12", "12345678901234567", "-12345678.12", "0.30000000000000004"]
    values = [f'"{text}"' if quoted else text for text in texts]
    lines = [f'{{"id":{n},"v":{v},"list":[{v},null],"s":[{{"v":{v},"list":[{v}]}},null]}}\n' for n, v in enumerate(values)]
    box.table("sales", "items", NESTED, "format: JSON")
    box.load("sales", {"items.json": "".join(lines)})
    exact = [round(Decimal(text), 9) for text in texts]
    rows = box.rows("select v, list, s from sales.items order by id")
    assert rows == [(v, [v, None], [{"v": v, "list": [v]}, None]) for v in exact]


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ('{"id":1, "v" : 12345678.123456789}', "v"),
        ('{"list":[1,-12345678.123456789]}', "list"),
        ('{"s":[{"v":0.1},{"v":12345678.123456789123}]}', "v"),
    ],
)
def test_a_number_in_json_with_more_digits_than_a_double_is_rejected(box: Sandbox, line: str, place: str) -> None:
    box.table("sales", "items", NESTED, "format: JSON")
    result = box.load("sales", {"items.json": f'{{"id":1,"v":0.1}}\n\n{line}\n'}, check=False)
    assert f"line 3: column '{place}': '" in (result.reason or "")
    assert "is not exact as a number in JSON: write it as a string" in (result.reason or "")


@pytest.mark.parametrize("value", ["1", '"a"', "[1]"])
@pytest.mark.parametrize("metadata", ["format: JSON", "format: JSON, array: true"])
def test_a_value_that_is_not_an_object_is_rejected_even_with_one_column(box: Sandbox, metadata: str, value: str) -> None:
    box.table("sales", "items", "{ name: v, type: string }", metadata)
    lines = ['{"v":"x"}', value]
    content = f"[{','.join(lines)}]" if "array" in metadata else "\n".join(lines)
    result = box.load("sales", {"items.json": content}, check=False)
    assert result.exit_code == 1
    assert "Expected OBJECT" in (result.reason or "")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"id":"x"}', "column 'id': 'x' is not of type int"),
        ('{"id":""}', "column 'id': '' is not of type int"),
        ('{"day":" "}', "column 'day': ' ' is not of type date"),
        ('{"s":{"a":"x"}}', "column 's.a': 'x' is not of type BIGINT"),
        ('{"id":"1.5"}', "Failed to cast value to numerical"),
        ('{"id":1,"id":2}', "duplicate key"),
        ('{"name":"\\ud83d"}', "no low surrogate in string"),
        ('{"id":1', "Malformed JSON"),
        ("[1]", "Expected OBJECT"),
        (b'{"name":"\xff"}', "bytes that are not utf-8 text"),
    ],
)
def test_blank_lines_and_valid_lines_count_in_the_messages_about_json(box: Sandbox, line: str | bytes, said: str) -> None:
    attributes = "{ name: id, type: int }\n{ name: name, type: string }\n{ name: day, type: date }"
    struct = "\n{ name: s, type: struct, attributes: [{ name: a, type: int }] }"
    box.table("sales", "items", attributes + struct, "format: JSON")
    begin = b'{"id":1,}\n\n{"id":2,"name":"a","day":"2024-01-01","s":{"a":1}}\n\n'
    bad = line.encode() if isinstance(line, str) else line
    result = box.load("sales", {"items.json": begin + bad + b'\n{"id":3}\n'}, check=False)
    found = next((text for text in (result.reason or "").splitlines() if said in text), "")
    assert found.startswith("  line 5: ")


def test_a_script_of_a_field_of_a_struct_is_rejected_with_its_line(box: Sandbox) -> None:
    fields = "[{ name: a, type: int }, { name: t, type: struct, attributes: [{ name: b, type: int, script: 'a + 1' }] }]"
    box.table("sales", "items", f"{{ name: s, type: struct, attributes: {fields} }}", "format: JSON")
    result = box.load("sales", {"items.json": '{"s":{"a":1}}\n'}, check=False)
    assert "items.sl.yml:7: attribute 'b': a script of a field of a struct is not supported" in (result.reason or "")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"1  Ann\r\n2  Bob\n", "line 2: the line ends with LF, those before it with CRLF"),
        (b"1  Ann\n2  B\xffb\n", "line 2: bytes that are not utf-8 text"),
        (b"1  Ann\n2  B\x01b\n", "line 2: a line contains the character U+0001"),
    ],
)
def test_a_file_with_fixed_positions_that_cannot_be_read_is_explained(box: Sandbox, content: bytes, said: str) -> None:
    attributes = "{ name: id, type: long, position: { first: 0, last: 2 } }\n{ name: name, type: string, position: { first: 3, last: 7 } }"
    box.table("t", "pos", attributes, "format: POSITION, withHeader: false")
    assert said in (box.load("t", {"pos.txt": content}, check=False).reason or "")
