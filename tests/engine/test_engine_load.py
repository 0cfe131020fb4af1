"""Loading files: the rows in the table, and the file afterward."""

import gzip
import json
from pathlib import Path

import pytest
from engine_help import Sandbox, make

from starlake_dagster_components.engine.areas import move_file

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


def test_no_database_is_created_if_there_is_nothing_to_load(box: Sandbox) -> None:
    box.table("sales", "orders", ID_NAME)
    box.load("sales")
    assert not (box.root / "datasets/duckdb.db").exists()


def test_unknown_and_final_names_load_nothing_and_are_reported(box: Sandbox) -> None:
    box.table("crm", "clients", ID_NAME, rename="clients_final")
    box.stage("crm", {"clients.csv": "id;name\n1;Ann\n"})
    box.run("load", "--domains", "crm", "--tables", "clients_final")
    assert any("is ignored: on the command line, use the name 'clients'" in line for _, line in box.log)
    box.run("load", "--domains", "nosuch")
    assert any("unknown domain 'nosuch'" in line for _, line in box.log)
    box.run("load", "--domains", "crm", "--tables", "clients")
    assert box.rows("select * from crm.clients_final") == [(1, "Ann")]


@pytest.mark.parametrize("separator", [",", "|", "\\t", "||", "<->", "<~~~~~>", "§"])
def test_separators_may_have_any_length(box: Sandbox, separator: str) -> None:
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
def test_files_in_every_encoding_are_read(box: Sandbox, encoding: str, codec: str, packed: bool) -> None:
    box.table("sales", "orders", ID_NAME, f"format: DSV, encoding: {encoding}")
    content = "id;name\n1;Zoé\n2;Müller\n".encode(codec)
    box.load("sales", {"orders.csv.gz": gzip.compress(content)} if packed else {"orders.csv": content})
    assert box.rows("select name from sales.orders order by id") == [("Zoé",), ("Müller",)]


def test_quote_escape_and_null_value_are_applied(box: Sandbox) -> None:
    box.table("sales", "orders", ID_NAME, 'format: DSV, quote: "\'", escape: "^", nullValue: NA')
    box.load("sales", {"orders.csv": "id;name\n1;'a;^'b'\n2;NA\n3;\n"})
    assert box.rows("select name from sales.orders order by id") == [("a;'b",), (None,), ("",)]


def test_empty_strings_are_kept_if_empty_is_null_is_false(box: Sandbox) -> None:
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
def test_a_bad_file_is_rejected_with_line_column_and_value_and_stays(box: Sandbox, content: str | bytes, expected: str) -> None:
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


def test_one_bad_file_does_not_stop_the_others(box: Sandbox) -> None:
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


def test_a_corrected_file_takes_the_place_of_the_rejected_one(box: Sandbox) -> None:
    box.table("sales", "orders", ID_NAME)
    box.load("sales", {"orders.csv": "id;name\nx;bad\n"}, check=False)
    assert box.load("sales", {"orders.csv": "id;name\n1;good\n"}, check=False).exit_code == 1
    assert box.rows("select * from sales.orders") == [(1, "good")]
    assert box.files("unresolved") == ["sales/orders.csv"]
    assert box.load("sales").exit_code == 0


def test_archived_files_with_the_same_name_are_all_kept(box: Sandbox) -> None:
    box.table("sales", "orders", ID_NAME)
    for number in range(3):
        box.load("sales", {"orders.csv": f"id;name\n{number};a\n"})
    assert box.files("archive") == ["sales/orders.csv", "sales/orders~2.csv", "sales/orders~3.csv"]
    assert box.rows("select count(*) from sales.orders") == [(3,)]


def test_a_file_that_cannot_be_archived_is_not_loaded_again(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def reject(source: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied", str(target))

    box.table("sales", "orders", ID_NAME)
    with monkeypatch.context() as patch:
        patch.setattr("starlake_dagster_components.engine.journal.move_file", reject)
        result = box.load("sales", {"orders.csv": "id;name\n1;a\n"}, check=False)
    assert "Permission denied" in (result.reason or "")
    assert box.files("ingesting") == ["sales/orders.csv"]
    # The file is put back by hand, like any file that was left there.
    (box.root / "datasets/ingesting/sales/orders.csv").rename(box.root / "datasets/stage/sales/orders-again.csv")
    box.load("sales", {"orders-2.csv": "id;name\n2;b\n"})
    assert box.rows("select id from sales.orders order by id") == [(1,), (2,)]
    assert box.files("archive") == ["sales/orders-2.csv", "sales/orders.csv"]
    assert box.rows("select schema_name from duckdb_schemas() where schema_name = 'starlake_dagster_engine'") == []


def test_a_loaded_file_that_cannot_be_archived_does_not_hold_up_others(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def reject(source: Path, target: Path) -> None:
        if source.name == "orders.csv" and source.parent.name == "sales":
            raise OSError(28, "No space left on device", str(target))
        move_file(source, target)

    box.table("sales", "orders", ID_NAME).table("sales", "zones", ID_NAME).table("shop", "orders", ID_NAME)
    with monkeypatch.context() as patch:
        patch.setattr("starlake_dagster_components.engine.journal.move_file", reject)
        box.load("sales", {"orders.csv": "id;name\n1;a\n"}, check=False)
        for number in (2, 3):
            # A new file of the same name waits for its turn.
            files = {f"zones{number}.csv": f"id;name\n{number};c\n", "orders.csv": "id;name\n2;b\n"}
            result = box.load("sales", files, check=False)
            reason = result.reason or ""
            assert (
                f"ingesting/sales/orders.csv: the file is loaded, but cannot be moved to the archive: the disk is full: {box.root}"
                in reason
            )
            assert list(result.failures) == ["sales.orders"]
            assert result.failures["sales.orders"].retry
            assert box.rows("select id from sales.orders") == [(1,)]
        assert box.rows("select id from sales.zones order by id") == [(2,), (3,)]
        box.stage("shop", {"orders.csv": "id;name\n4;d\n"})
        assert list(box.run("load", check=False).failures) == ["sales.orders"]
        assert box.rows("select id from shop.orders") == [(4,)]
        assert box.files("stage") == ["sales/orders.csv"]
    box.load("sales")
    assert box.rows("select id from sales.orders order by id") == [(1,), (2,)]
    assert box.files("archive") == ["sales/orders.csv", "sales/orders~2.csv", "sales/zones2.csv", "sales/zones3.csv", "shop/orders.csv"]


def test_files_are_deleted_when_there_is_no_archive(box: Sandbox) -> None:
    box.table("sales", "orders", ID_NAME)
    box.load("sales", {"orders.csv": "id;name\n1;a\n"}, env={"SL_ARCHIVE": "false"})
    assert box.files("") == ["duckdb.db"]


def test_files_of_no_table_are_set_aside(box: Sandbox) -> None:
    box.table("sales", "orders", ID_NAME)
    box.load("sales", {"orders.csv": "id;name\n1;a\n", "readme.txt": "hello"})
    assert box.files("unresolved") == ["sales/readme.txt"]


def test_files_outside_stage_are_copied_or_loaded_in_place(box: Sandbox) -> None:
    box.table("sales", "orders", ID_NAME)
    file = box.root / "elsewhere/orders-1.csv"
    box.write({"elsewhere/orders-1.csv": "id;name\n1;a\n"})
    box.run("load", "--domains", "sales", "--tables", "orders", "--files", str(file))
    assert box.files("archive") == ["sales/orders-1.csv"]
    box.run("load", "--domains", "sales", "--tables", "orders", "--files", str(file), "--inPlace")
    assert file.exists()
    assert box.files("archive") == ["sales/orders-1.csv"]
    assert box.rows("select count(*) from sales.orders") == [(2,)]


def test_lines_that_are_configured_to_be_ignored_are_counted(box: Sandbox) -> None:
    box.table("sales", "orders", ID_NAME, 'format: DSV, options: { ignore_errors: "true" }')
    result = box.load("sales", {"orders.csv": "id;name\n1;Ann\nbad line\nx;Bob\n4;Dan\n"})
    loaded = result.counters["sales.orders"]
    assert (loaded.input, loaded.accepted, loaded.rejected) == (4, 2, 2)
    assert box.rows("select id from sales.orders order by id") == [(1,), (4,)]


@pytest.mark.parametrize("grouped", ["false", "true"])
@pytest.mark.parametrize("strategy", ["APPEND", "OVERWRITE", "UPSERT_BY_KEY"])
def test_rows_that_the_filter_leaves_out_are_read_but_not_accepted(box: Sandbox, grouped: str, strategy: str) -> None:
    metadata = f"format: DSV, writeStrategy: {{ type: {strategy}, key: [id] }}"
    box.table("sales", "orders", ID_NAME, metadata, filter='"id <> 2"')
    files = {"orders-1.csv": "id;name\n1;a\n2;b\n3;c\n", "orders-2.csv": "id;name\n2;b\n4;d\n"}
    result = box.load("sales", files, env={"SL_GROUPED": grouped})
    rows = box.rows("select count(*) from sales.orders")[0][0]
    assert rows == (1 if strategy == "OVERWRITE" and grouped == "false" else 3)
    loaded = result.counters["sales.orders"]
    assert (loaded.input, loaded.accepted, loaded.rejected, loaded.row_count) == (5, 3, 0, rows)
