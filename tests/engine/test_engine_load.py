"""Loading files: what a file becomes in its table, and what happens to the file."""

import gzip
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


def test_a_file_becomes_rows_and_goes_to_the_archive(box: Sandbox) -> None:
    box.table("sales", "orders", ID_NAME)
    result = box.load("sales", {"orders-1.csv": "id;name\n1;Ann\n2;\n"})
    assert box.rows("select * from sales.orders order by id") == [(1, "Ann"), (2, None)]
    assert box.files("archive") == ["sales/orders-1.csv"]
    assert box.files("stage") == box.files("ingesting") == []
    loaded = result.counters["sales.orders"]
    assert (loaded.input, loaded.accepted, loaded.rejected, loaded.row_count) == (2, 2, 0, 2)
    assert box.out[-6:] == [
        "Load summary:",
        "Input records: 2",
        "Accepted: 2",
        "Rejected: 0",
        f"Data successfully loaded from file:{box.root}/datasets/ingesting/sales/orders-1.csv",
        "",
    ]


def test_counters_are_printed_for_programs(box: Sandbox) -> None:
    box.table("sales", "orders", ID_NAME)
    box.load("sales", {"orders-1.csv": "id;name\n1;Ann\n", "orders-2.csv": "id;name\n2;Bob\n"}, env={"SL_API": "1", "SL_JOB_ID": "run.1"})
    line = next(line for line in box.out if line.startswith("IngestionCounters:"))
    counters = json.loads(line.removeprefix("IngestionCounters:"))
    assert (counters["inputCount"], counters["acceptedCount"], counters["rejectedCount"]) == (2, 2, 0)
    assert counters["jobid"] == ",run.1,run.1"
    assert len(counters["paths"]) == 2


def test_no_database_is_made_when_there_is_nothing_to_load(box: Sandbox) -> None:
    box.table("sales", "orders", ID_NAME)
    box.load("sales")
    assert not (box.root / "datasets/duckdb.db").exists()


def test_unknown_and_final_names_load_nothing_and_say_so(box: Sandbox) -> None:
    box.table("crm", "clients", ID_NAME, rename="clients_final")
    box.stage("crm", {"clients.csv": "id;name\n1;Ann\n"})
    box.run("load", "--domains", "crm", "--tables", "clients_final")
    assert any("known to the command line as 'clients'" in line for _, line in box.log)
    box.run("load", "--domains", "nosuch")
    assert any("unknown domain 'nosuch'" in line for _, line in box.log)
    box.run("load", "--domains", "crm", "--tables", "clients")
    assert box.rows("select * from crm.clients_final") == [(1, "Ann")]


@pytest.mark.parametrize("separator", [",", "|", "\\t", "||", "<->", "<~~~~~>", "§"])
def test_separators_of_any_length(box: Sandbox, separator: str) -> None:
    written = separator.replace("\\t", "\t")
    box.table("sales", "orders", ID_NAME, f'format: DSV, separator: "{separator}"')
    lines = [("id", "name"), ("1", f'"a{written}b \\"c\\""'), ("2", "plain"), ("3", '"two\nlines"')]
    box.load("sales", {"orders.csv": "".join(f"{written.join(line)}\n" for line in lines)})
    assert box.rows("select name from sales.orders order by id") == [(f'a{written}b "c"',), ("plain",), ("two\nlines",)]


@pytest.mark.parametrize(
    ("encoding", "codec"),
    [("ISO-8859-1", "latin-1"), ("windows-1252", "cp1252"), ("UTF-16", "utf-16"), ("UTF-16LE", "utf-16-le"), ("UTF-8", "utf-8-sig")],
)
@pytest.mark.parametrize("packed", [False, True])
def test_encodings(box: Sandbox, encoding: str, codec: str, packed: bool) -> None:
    box.table("sales", "orders", ID_NAME, f"format: DSV, encoding: {encoding}")
    content = "id;name\n1;Zoé\n2;Müller\n".encode(codec)
    box.load("sales", {"orders.csv.gz": gzip.compress(content)} if packed else {"orders.csv": content})
    assert box.rows("select name from sales.orders order by id") == [("Zoé",), ("Müller",)]


def test_quote_escape_and_null_value(box: Sandbox) -> None:
    box.table("sales", "orders", ID_NAME, 'format: DSV, quote: "\'", escape: "^", nullValue: NA')
    box.load("sales", {"orders.csv": "id;name\n1;'a;^'b'\n2;NA\n3;\n"})
    assert box.rows("select name from sales.orders order by id") == [("a;'b",), (None,), ("",)]


def test_empty_texts_are_kept_when_they_are_not_missing(box: Sandbox) -> None:
    box.table("sales", "orders", ID_NAME + "\n{ name: n, type: int }", "format: DSV, emptyIsNull: false")
    box.load("sales", {"orders.csv": 'id;name;n\n1;;\n2;"";2\n'})
    assert box.rows("select name, n from sales.orders order by id") == [("", None), ("", 2)]


def test_columns_are_found_by_their_names_in_any_order_and_case(box: Sandbox) -> None:
    box.table("sales", "orders", ID_NAME)
    box.load("sales", {"orders.csv": "NAME;id\nAnn;1\n"})
    assert box.rows("select id, name from sales.orders") == [(1, "Ann")]


def test_files_without_header_are_read_by_position(box: Sandbox) -> None:
    box.table("sales", "orders", ID_NAME + '\n{ name: double, type: long, script: "id * 2" }', "format: DSV, withHeader: false")
    box.load("sales", {"orders.csv": "1;Ann\n"})
    assert box.rows("select id, name, double from sales.orders") == [(1, "Ann", 2)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("id;name\n1;Ann\nx;Bob\n\n3;two\n", "line 3: column 'id': 'x' is not of type long"),
        ('id;name\n1;"two\nlines"\nx;Bob\n', "line 4: column 'id': 'x' is not of type long"),
        ("id;name\n1;Ann;more\n", "line 2: 2 fields expected, 3 found: 1;Ann;more"),
        ("id;name\n1;Ann\n2\n", "line 3: 2 fields expected, 1 found: 2"),
        ("id;nom\n1;Ann\n", "line 1: the header names the column 'nom', which sales.orders does not have"),
        ("id\n1\n", "line 1: the header lacks the column 'name' of sales.orders"),
        ("id;name;name\n1;a;b\n", "line 1: the header names the column 'name' twice"),
        (b"id;name\n1;Ann\n2;Zo\xe9\n", "line 3: bytes that are not utf-8 text; metadata.encoding says how the file is encoded"),
        ("", "the file is empty; its first line should name the columns: id;name"),
    ],
)
def test_a_bad_file_is_refused_with_line_column_and_value_and_stays(box: Sandbox, content: str | bytes, expected: str) -> None:
    box.table("sales", "orders", ID_NAME)
    result = box.load("sales", {"orders.csv": content}, check=False)
    assert result.exit_code == 1
    assert expected in (result.reason or "")
    assert f"{box.root}/datasets/ingesting/sales/orders.csv" in (result.reason or "")
    assert box.files("ingesting") == ["sales/orders.csv"]
    assert result.counters["sales.orders"].failed == (f"file:{box.root}/datasets/ingesting/sales/orders.csv",)
    assert box.rows("select table_name from duckdb_tables() where schema_name = 'sales'") == []
    assert box.rows("select success, count, message like '%orders.csv%' from audit.audit") == [(False, 0, True)]


def test_a_missing_value_of_a_required_attribute_names_its_line(box: Sandbox) -> None:
    box.table("sales", "orders", "{ name: id, type: long, required: true }\n{ name: name, type: string, required: true }")
    result = box.load("sales", {"orders.csv": "id;name\n1;Ann\n;Bob\n3;\n"}, check=False)
    assert "line 3: column 'id': no value, but it is required" in (result.reason or "")
    assert "line 4: column 'name': no value, but it is required" in (result.reason or "")


def test_one_bad_file_does_not_keep_back_the_others(box: Sandbox) -> None:
    box.table("sales", "orders", ID_NAME)
    result = box.load(
        "sales", {"orders-1.csv": "id;name\n1;a\n", "orders-2.csv": "id;name\nx;b\n", "orders-3.csv": "id;name\n3;c\n"}, check=False
    )
    assert result.exit_code == 1
    assert box.rows("select id from sales.orders order by id") == [(1,), (3,)]
    assert box.files("ingesting") == ["sales/orders-2.csv"]
    assert not any(line.startswith("Load summary") for line in box.out)


def test_grouped_files_are_loaded_all_or_none(box: Sandbox) -> None:
    box.table("sales", "orders", ID_NAME, "format: DSV, writeStrategy: { type: OVERWRITE }")
    files = {"orders-1.csv": "id;name\n1;a\n", "orders-2.csv": "id;name\nx;b\n"}
    assert box.load("sales", files, check=False, env={"SL_GROUPED": "true"}).exit_code == 1
    assert box.files("archive") == []
    box.write({"datasets/ingesting/sales/orders-2.csv": "name;id\nb;2\n"})
    box.load("sales", env={"SL_GROUPED": "true"})
    assert box.rows("select id from sales.orders order by id") == [(1,), (2,)]


def test_a_file_left_behind_is_loaded_by_the_next_load(box: Sandbox) -> None:
    box.table("sales", "orders", ID_NAME)
    box.write({"datasets/ingesting/sales/orders-0.csv": "id;name\n0;left\n"})
    box.load("sales")
    assert box.rows("select id, name from sales.orders") == [(0, "left")]
    assert any("left in the ingesting area" in line for _, line in box.log)
    assert box.files("archive") == ["sales/orders-0.csv"]


def test_a_corrected_file_takes_the_place_of_the_refused_one(box: Sandbox) -> None:
    box.table("sales", "orders", ID_NAME)
    box.load("sales", {"orders.csv": "id;name\nx;bad\n"}, check=False)
    assert box.load("sales", {"orders.csv": "id;name\n1;good\n"}, check=False).exit_code == 1
    assert box.rows("select * from sales.orders") == [(1, "good")]
    assert box.files("unresolved") == ["sales/orders.csv"]
    assert box.load("sales").exit_code == 0


def test_archived_files_of_one_name_are_all_kept(box: Sandbox) -> None:
    box.table("sales", "orders", ID_NAME)
    for number in range(3):
        box.load("sales", {"orders.csv": f"id;name\n{number};a\n"})
    assert box.files("archive") == ["sales/orders.csv", "sales/orders~2.csv", "sales/orders~3.csv"]
    assert box.rows("select count(*) from sales.orders") == [(3,)]


def test_a_file_that_cannot_be_archived_is_not_loaded_again(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied", str(target))

    box.table("sales", "orders", ID_NAME)
    with monkeypatch.context() as patch:
        patch.setattr("starlake_dagster_components.engine.journal.move_file", refuse)
        result = box.load("sales", {"orders.csv": "id;name\n1;a\n"}, check=False)
    assert "Permission denied" in (result.reason or "")
    assert box.files("ingesting") == ["sales/orders.csv"]
    # Somebody tidies up and puts it back, as for any file that was left there.
    (box.root / "datasets/ingesting/sales/orders.csv").rename(box.root / "datasets/stage/sales/orders-again.csv")
    box.load("sales", {"orders-2.csv": "id;name\n2;b\n"})
    assert box.rows("select id from sales.orders order by id") == [(1,), (2,)]
    assert box.files("archive") == ["sales/orders-2.csv", "sales/orders.csv"]
    assert box.rows("select schema_name from duckdb_schemas() where schema_name = 'starlake_dagster_engine'") == []


def test_files_are_deleted_when_there_is_no_archive(box: Sandbox) -> None:
    box.table("sales", "orders", ID_NAME)
    box.load("sales", {"orders.csv": "id;name\n1;a\n"}, env={"SL_ARCHIVE": "false"})
    assert box.files("") == ["duckdb.db"]


def test_files_of_no_table_are_set_aside(box: Sandbox) -> None:
    box.table("sales", "orders", ID_NAME)
    box.load("sales", {"orders.csv": "id;name\n1;a\n", "readme.txt": "hello"})
    assert box.files("unresolved") == ["sales/readme.txt"]


def test_files_from_elsewhere_are_copied_or_loaded_in_place(box: Sandbox) -> None:
    box.table("sales", "orders", ID_NAME)
    file = box.root / "elsewhere/orders-1.csv"
    box.write({"elsewhere/orders-1.csv": "id;name\n1;a\n"})
    box.run("load", "--domains", "sales", "--tables", "orders", "--files", str(file))
    assert box.files("archive") == ["sales/orders-1.csv"]
    box.run("load", "--domains", "sales", "--tables", "orders", "--files", str(file), "--inPlace")
    assert file.exists()
    assert box.files("archive") == ["sales/orders-1.csv"]
    assert box.rows("select count(*) from sales.orders") == [(2,)]


def test_lines_that_are_told_to_be_ignored_are_counted(box: Sandbox) -> None:
    box.table("sales", "orders", ID_NAME, 'format: DSV, options: { ignore_errors: "true" }')
    result = box.load("sales", {"orders.csv": "id;name\n1;Ann\nbad line\nx;Bob\n4;Dan\n"})
    loaded = result.counters["sales.orders"]
    assert (loaded.input, loaded.accepted, loaded.rejected) == (4, 2, 2)
    assert box.rows("select id from sales.orders order by id") == [(1,), (4,)]


# What an attribute says


def test_attributes_shape_their_columns(box: Sandbox) -> None:
    box.table(
        "sales",
        "orders",
        """{ name: id, type: long, rename: order_id, comment: "the 'key'" }
        { name: secret, type: string, ignore: true }
        { name: name, type: string, trim: BOTH }
        { name: city, type: string, default: Paris }
        { name: n, type: int, default: 7 }
        { name: label, type: string, script: "name || '@' || city || secret || order_id" }
        { name: file, type: string, script: "sl_input_file_name" }""",
        comment="all orders",
        filter='"order_id <> 2"',
    )
    box.load("sales", {"orders.csv": "id;secret;name;city;n\n1;s; Ann ;;\n2;t;Bob;Rome;2\n3;u;Cid;Oslo;3\n"})
    file = f"file:{box.root}/datasets/ingesting/sales/orders.csv"
    assert box.rows("select * from sales.orders order by 1") == [
        (1, "Ann", "Paris", 7, "Ann@Pariss1", file),
        (3, "Cid", "Oslo", 3, "Cid@Oslou3", file),
    ]
    assert box.rows("select comment from duckdb_tables() where table_name = 'orders'") == [("all orders",)]
    assert box.rows("select comment from duckdb_columns() where column_name = 'order_id'") == [("the 'key'",)]


def test_types_of_the_project(box: Sandbox) -> None:
    box.write(
        {
            "metadata/types/types.sl.yml": r"""version: 1
types:
  - { name: frdate, primitiveType: date, pattern: "dd/MM/yyyy" }
  - { name: frstamp, primitiveType: timestamp, pattern: "dd/MM/yyyy 'at' HH:mm", ddlMapping: { duckdb: TIMESTAMP } }
  - { name: epoch, primitiveType: timestamp, pattern: epoch_milli }
  - { name: money, primitiveType: decimal, pattern: "-?\\d*\\.{0,1}\\d+", zone: "12,2" }
  - { name: ouinon, primitiveType: boolean, pattern: "(?i)oui<-TF->(?i)non" }
  - { name: code, primitiveType: string, pattern: "[A-Z]{3}", ddlMapping: { duckdb: "VARCHAR(3)" } }
"""
        }
    )
    attributes = "\n".join(
        f"{{ name: {n}, type: {t} }}" for n, t in zip("abcdef", ("frdate", "frstamp", "epoch", "money", "ouinon", "code"), strict=True)
    )
    box.table("t", "orders", attributes)
    box.load("t", {"orders.csv": "a;b;c;d;e;f\n29/02/2024;01/03/2024 at 13:14;1709212455123;12.345;OUI;ABC\n;;;;non;\n"})
    types = box.rows("select data_type from duckdb_columns() where table_name = 'orders' order by column_index")
    assert [t for (t,) in types] == ["DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "DECIMAL(12,2)", "BOOLEAN", "VARCHAR"]
    assert box.rows("select a::varchar, b::varchar, epoch_ms(c), d::varchar, e, f from t.orders order by e desc") == [
        ("2024-02-29", "2024-03-01 13:14:00", 1709212455123, "12.35", True, "ABC"),
        (None, None, None, None, False, None),
    ]
    bad = "a;b;c;d;e;f\n2024-02-29;01/03/2024 at 13:14;1709212455123;1;oui;ABC\n01/01/2024;1/1;x;1,5;si;abcd\n"
    result = box.load("t", {"orders.csv": bad}, check=False)
    for line in (
        "line 2: column 'a': '2024-02-29' is not of type 'frdate' (pattern dd/MM/yyyy)",
        "line 3: column 'b': '1/1' is not of type 'frstamp'",
        "line 3: column 'c': 'x' is not of type 'epoch'",
        "line 3: column 'd': '1,5' is not of type 'money'",
        "line 3: column 'e': 'si' is not of type 'ouinon'",
        "line 3: column 'f': 'abcd' is not of type 'code' (pattern [A-Z]{3})",
    ):
        assert line in (result.reason or "")


@pytest.mark.parametrize(
    ("privacy", "expected"),
    [
        ("NONE", "Ann Lee"),
        ("HIDE", ""),
        ("'HIDE(\"X\",5)'", "XXXXX"),
        ("MD5", "6d6c7882fe3fd5c973772bafa2a18731"),
        ("SHA1", "a02abc1e1e57b3e2f3e2b4b5d7f8a4d1e2d1a9ad"),
        ("SHA256", "a36e143c5359c53edf7b7f6ebdc05c2c3b10ec1c47c3f416f08bc7cf84c5cd1c"),
        ("SHA512", None),
        ("INITIALS", "A.L."),
        ("'MASK(\"*\",4,1,2)'", "A****ee"),
        ("\"SQL:upper(a) || '!'\"", "ANN LEE!"),
    ],
)
@pytest.mark.parametrize("file_format", ["DSV", "JSON"])
def test_privacy_hides_values(box: Sandbox, privacy: str, expected: str | None, file_format: str) -> None:
    import hashlib

    box.table("t", "people", f"{{ name: id, type: long }}\n{{ name: a, type: string, privacy: {privacy} }}", f"format: {file_format}")
    content = "id;a\n1;Ann Lee\n2;\n" if file_format == "DSV" else '{"id":1,"a":"Ann Lee"}\n{"id":2}\n'
    box.load("t", {"people": content})
    if privacy in ("SHA1", "SHA512"):
        expected = hashlib.new(privacy.lower(), b"Ann Lee").hexdigest()
    assert box.rows("select a from t.people order by id") == [(expected,), (None,)]


def test_scripts_see_masked_values_and_numbers_can_be_hidden(box: Sandbox) -> None:
    box.table(
        "t",
        "people",
        """{ name: name, type: string, privacy: INITIALS }
        { name: age, type: int, privacy: HIDE }
        { name: copy, type: string, script: "name" }""",
    )
    box.load("t", {"people": "name;age\nAnn Lee;33\n"})
    assert box.rows("select * from t.people") == [("A.L.", None, "A.L.")]


def test_unknown_privacy_is_refused_with_its_line(box: Sandbox) -> None:
    box.table("t", "people", "{ name: a, type: string, privacy: MD6 }")
    result = box.load("t", {"people": "a\nAnn\n"}, check=False)
    assert "metadata/load/t/people.sl.yml:7: attribute 'a': unknown privacy 'MD6' (did you mean 'MD5'?)" in (result.reason or "")
    assert box.files("archive") == []


# Other formats


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


# Schemas that change


def test_new_attributes_are_added_and_old_ones_with_values_are_kept(box: Sandbox) -> None:
    box.table("t", "x", ID_NAME)
    box.load("t", {"x.csv": "id;name\n1;Ann\n"})
    box.table(
        "t", "x", "{ name: id, type: long }\n{ name: city, type: string, required: true, comment: where }\n{ name: name, type: string }"
    )
    box.load("t", {"x.csv": "id;city;name\n2;Rome;Bob\n"})
    assert box.rows("select id, name, city from t.x order by id") == [(1, "Ann", None), (2, "Bob", "Rome")]
    result = box.load("t", {"x.csv": "id;city;name\n3;;Cid\n"}, check=False)
    assert "line 2: column 'city': no value, but it is required" in (result.reason or "")
    (box.root / "datasets/ingesting/t/x.csv").unlink()
    box.table("t", "x", "{ name: id, type: long }")
    result = box.load("t", {"x.csv": "id\n4\n"}, check=False)
    assert "t.x has the columns 'name' (2 values), 'city' (1 value)" in (result.reason or "")
    assert "ALTER TABLE t.x DROP COLUMN" in (result.reason or "")
    assert box.rows("select count(name) from t.x") == [(2,)]


def test_a_column_without_values_is_dropped(box: Sandbox) -> None:
    box.table("t", "x", ID_NAME)
    box.load("t", {"x.csv": "id;name\n1;\n"})
    box.table("t", "x", "{ name: id, type: long }")
    box.load("t", {"x.csv": "id\n2\n"})
    assert box.rows("select column_name from duckdb_columns() where table_name = 'x'") == [("id",)]


def test_a_value_that_does_not_fit_the_table_is_an_error_with_its_line(box: Sandbox) -> None:
    box.table("t", "x", "{ name: id, type: int }")
    box.load("t", {"x.csv": "id\n1\n"})
    box.table("t", "x", "{ name: id, type: long }")
    box.load("t", {"x.csv": "id\n2\n"})
    result = box.load("t", {"x.csv": "id\n3\n3000000000\n"}, check=False)
    assert "line 3: column 'id': '3000000000' is not of type INTEGER, which the column of the table has" in (result.reason or "")
    assert box.rows("select id from t.x order by id") == [(1,), (2,)]


def test_values_are_written_by_name_when_attributes_change_places(box: Sandbox) -> None:
    for strategy in ("OVERWRITE", "UPSERT_BY_KEY, key: [id]"):
        name = strategy.split(",")[0].lower()
        box.table("t", name, ID_NAME, f"format: DSV, writeStrategy: {{ type: {strategy} }}")
        box.load("t", {f"{name}.csv": "id;name\n1;Ann\n"})
        box.table(
            "t", name, "{ name: name, type: string }\n{ name: id, type: long }", f"format: DSV, writeStrategy: {{ type: {strategy} }}"
        )
        box.load("t", {f"{name}.csv": "id;name\n1;Bob\n"})
        assert box.rows(f"select id, name from t.{name}") == [(1, "Bob")]


# SQL around a load


def test_statements_before_and_after_belong_to_the_load(box: Sandbox) -> None:
    box.execute("create schema t; create table t.log (what varchar)")
    box.table(
        "t",
        "x",
        ID_NAME,
        presql="[\"insert into t.log values ('{{who}}')\"]",
        postsql="[\"insert into log select 'rows ' || count(*) from x\"]",
    )
    box.write({"metadata/env.sl.yml": "version: 1\nenv:\n  who: me\n"})
    box.load("t", {"x.csv": "id;name\n1;a\n"})
    assert box.rows("select what from t.log") == [("me",), ("rows 1",)]
    box.load("t", {"x.csv": "id;name\nx;a\n"}, check=False)
    assert box.rows("select what from t.log") == [("me",), ("rows 1",)]
    box.table("t", "x", ID_NAME, postsql='["insert into nosuch values (1)"]')
    result = box.load("t", {"x.csv": "id;name\n1;a\n"}, check=False)
    assert "metadata/load/t/x.sl.yml:6: Catalog Error: Table with name nosuch does not exist!" in (result.reason or "")
    assert box.rows("select count(*) from t.x") == [(1,)]


def test_a_strategy_chosen_by_the_file(box: Sandbox) -> None:
    types = '{ OVERWRITE: \'group("mode") == "FULL"\', APPEND: \'group("mode") == "DELTA" && fileSize > 0\' }'
    box.table("t", "x", ID_NAME, f"format: DSV, writeStrategy: {{ types: {types} }}")
    path = box.root / "metadata/load/t/x.sl.yml"
    box.write({"metadata/load/t/x.sl.yml": path.read_text().replace('pattern: "x.*"', 'pattern: "x-(?<mode>FULL|DELTA|ODD)-.*"')})
    box.load("t", {"x-FULL-1": "id;name\n1;a\n"})
    box.load("t", {"x-DELTA-2": "id;name\n2;b\n"})
    assert box.rows("select id from t.x order by id") == [(1,), (2,)]
    box.load("t", {"x-FULL-3": "id;name\n3;c\n"})
    assert box.rows("select id from t.x") == [(3,)]
    result = box.load("t", {"x-ODD-4": "id;name\n4;c\n"}, check=False)
    assert "no write strategy for x-ODD-4: exactly one condition must hold" in (result.reason or "")


# Expectations and audit


MACROS = """{% macro is_unique(col) %}
select count(*) from (select {{ col }} from sl_this group by {{ col }} having count(*) > 1) x
{% endmacro %}
{% macro broken() %}select nosuch from sl_this{% endmacro %}
{% macro breaking() %}select cast('x' as int) from sl_this{% endmacro %}
"""


def test_expectations_are_evaluated_once_and_written_down(box: Sandbox) -> None:
    box.write({"metadata/expectations/default.j2": MACROS})
    calls = ["is_unique('id')", "is_unique('name')", "broken()", "breaking()"]
    box.table("t", "x", ID_NAME, expectations="[" + ", ".join(f'{{ expect: "{call}" }}' for call in calls) + "]")
    result = box.load("t", {"x.csv": "id;name\n1;a\n2;a\n"})
    assert [(o.expect, o.success, o.violations) for o in result.expectations] == [
        ("is_unique('id')", True, 0),
        ("is_unique('name')", False, 1),
        ("broken()", False, None),
        ("breaking()", False, None),
    ]
    assert box.rows("select name, success, count from audit.expectations order by rowid") == [
        ('is_unique("id")', True, 0),
        ('is_unique("name")', False, 1),
        ("broken()", False, 0),
        ("breaking()", False, 0),
    ]
    assert box.rows("select count(*) from t.x") == [(2,)]


def test_expectations_that_fail_the_load_leave_no_row_and_keep_the_file(box: Sandbox) -> None:
    box.write({"metadata/expectations/default.j2": MACROS})
    box.table("t", "x", ID_NAME, expectations="[{ expect: \"is_unique('id')\" }]")
    box.table("t", "y", ID_NAME, expectations="[{ expect: \"is_unique('id')\", failOnError: false }]")
    content = "id;name\n1;a\n1;b\n"
    result = box.load("t", {"x.csv": content, "y.csv": content}, check=False, env={"SL_EXPECTATIONS_FAIL_ON_ERROR": "true"})
    assert "1 expectation of t.x failed: is_unique('id'): 1 violation(s)" in (result.reason or "")
    assert box.files("ingesting") == ["t/x.csv"]
    assert box.rows("select schema, success from audit.expectations order by schema") == [("x", False), ("y", False)]
    assert box.rows("select table_name from duckdb_tables() where schema_name = 't'") == [("y",)]


def test_audit_rows_carry_job_and_date_or_are_not_written(box: Sandbox) -> None:
    box.table("t", "x", ID_NAME)
    box.load("t", {"x.csv": "id;name\n1;a\n"}, env={"SL_AUDIT_ACTIVE": "false"})
    assert box.rows("select schema_name from duckdb_schemas() where schema_name = 'audit'") == []
    box.stage("t", {"x.csv": "id;name\n1;a\n"})
    box.run("load", "--domains", "t", "--scheduledDate", "2024-02-03T04:05:06", env={"SL_JOB_ID": "run.1"})
    assert box.rows("select jobid, step, success, scheduled_date::varchar from audit.audit order by step") == [
        ("run.1", "LOAD", True, "2024-02-03 04:05:06"),
        ("run.1", "TRANSFORM", True, "2024-02-03 04:05:06"),
    ]


def test_the_audit_may_be_another_database(box: Sandbox) -> None:
    text = (box.root / "metadata/application.sl.yml").read_text()
    box.write({"metadata/application.sl.yml": text + "  audit: { sink: { connectionRef: second } }\n"})
    box.table("t", "x", ID_NAME)
    box.load("t", {"x.csv": "id;name\n1;a\n"})
    box.load("t", {"x.csv": "id;name\nx;a\n"}, check=False)
    assert box.rows("select success, count(*) from audit.audit group by 1 order by 1", "second.db") == [(False, 1), (True, 2)]
    assert box.rows("select schema_name from duckdb_schemas() where schema_name in ('audit', 'starlake_dagster_engine')") == []
