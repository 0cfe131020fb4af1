"""Invalid values are rejected for every type and at every place. Valid, missing, and blank values are loaded unchanged."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest
from engine_help import Sandbox, make

TYPES_YAML = """version: 1
types:
  - { name: clock, primitiveType: string, pattern: ".*", ddlMapping: { duckdb: TIME } }
  - { name: clock_zone, primitiveType: string, pattern: ".*", ddlMapping: { duckdb: TIMETZ } }
  - { name: guid, primitiveType: string, pattern: ".*", ddlMapping: { duckdb: UUID } }
  - { name: huge, primitiveType: long, pattern: "-?[0-9]+", ddlMapping: { duckdb: HUGEINT } }
  - { name: moment, primitiveType: timestamp, pattern: "yyyy-MM-dd HH:mm:ss", ddlMapping: { duckdb: TIMESTAMP } }
  - { name: euro_day, primitiveType: date, pattern: "dd/MM/yyyy" }
  - { name: euro_moment, primitiveType: timestamp, pattern: "dd/MM/yyyy HH:mm" }
  - { name: milli, primitiveType: timestamp, pattern: epoch_milli }
  - { name: ja, primitiveType: boolean, pattern: "(?i)ja<-TF->(?i)nein" }
  - { name: mail, primitiveType: string, pattern: "[^@]+@[^@]+" }
  - { name: money, primitiveType: decimal, pattern: "-?[0-9]+([.][0-9]+)?", zone: "10,2" }
"""


@dataclass(frozen=True)
class Kind:
    """A type, with strings of valid values (and how DuckDB shows them) and of invalid ones."""

    name: str
    good: Mapping[str, str]
    bad: Sequence[str]


ZONE = "2024-02-29 10:00:00+00"
KINDS = [
    Kind(
        "long", {"1": "1", "-9223372036854775808": "-9223372036854775808"}, ["x", "9223372036854775808", "1,5", "1 2", "true", "2024-02-29"]
    ),
    Kind("int", {"7": "7", "2147483647": "2147483647"}, ["x", "2147483648", "1e99"]),
    Kind("short", {"7": "7"}, ["x", "32768"]),
    Kind("byte", {"7": "7"}, ["A", "128", "-129"]),
    Kind("double", {"1.5": "1.5", "1e3": "1000.0"}, ["x", "1,5", "1.5.5", "--1"]),
    Kind("decimal", {"1.5": "1.500000000"}, ["x", "1,5", "123456789012345678901234567890"]),
    Kind("boolean", {"true": "true", "no": "false"}, ["x", "2", "vrai", "on"]),
    Kind("date", {"2024-02-29": "2024-02-29"}, ["x", "2024-02-30", "2024-13-01", "20240229x", "29/02/2024", "01/02/2024"]),
    Kind(
        "timestamp",
        {"2024-02-29 10:00:00": ZONE, "2024-02-29 10:00:00Z": ZONE},
        ["x", "2024-02-30 10:00:00", "2024-02-29 25:00:00", "7"],
    ),
    Kind("moment", {"2024-02-29 10:00:00": "2024-02-29 10:00:00"}, ["x", "2024-02-30 10:00:00", "7", "01/02/2024 10:00:00"]),
    Kind("clock", {"12:34:56": "12:34:56"}, ["x", "25:00:00"]),
    Kind("clock_zone", {"12:34:56+02": "12:34:56+02"}, ["x", "25:00:00+02", "noon"]),
    Kind("guid", {"00000000-0000-0000-0000-000000000001": "00000000-0000-0000-0000-000000000001"}, ["x", "1"]),
    Kind("huge", {"170141183460469231731687303715884105727": "170141183460469231731687303715884105727"}, ["x", "1.5"]),
    Kind("euro_day", {"29/02/2024": "2024-02-29"}, ["x", "2024-02-29", "30/02/2024", "29/02/24x"]),
    Kind("euro_moment", {"29/02/2024 10:00": ZONE}, ["x", "2024-02-29 10:00:00", "30/02/2024 10:00"]),
    Kind("milli", {"1709200800000": ZONE}, ["x", "2024-02-29", "1.5"]),
    Kind("ja", {"Ja": "true", "nein": "false"}, ["yes", "true", "1"]),
    Kind("mail", {"a@b.c": "a@b.c"}, ["x", "a@b@c"]),
    Kind("money", {"12.34": "12.34", "5": "5.00"}, ["x", "1,5", "123456789.00"]),
]


def write_dsv(attribute: str, texts: Sequence[str | None]) -> tuple[str, str, bytes]:
    rows = [f"{number};{'' if text is None else text}\n" for number, text in enumerate(texts)]
    return f"{{ name: v, {attribute} }}", "format: DSV", ("id;v\n" + "".join(rows)).encode()


def write_headless(attribute: str, texts: Sequence[str | None]) -> tuple[str, str, bytes]:
    attributes, _, content = write_dsv(attribute, texts)
    return attributes, 'format: DSV, withHeader: false, separator: "<=====>"', content.removeprefix(b"id;v\n").replace(b";", b"<=====>")


def write_position(attribute: str, texts: Sequence[str | None]) -> tuple[str, str, bytes]:
    rows = [f"{number:<4}{'' if text is None else text:<60}\n" for number, text in enumerate(texts)]
    return f"{{ name: v, {attribute}, position: {{ first: 4, last: 63 }} }}", "format: POSITION, withHeader: false", "".join(rows).encode()


def write_json(attribute: str, texts: Sequence[str | None]) -> tuple[str, str, bytes]:
    rows = [json.dumps({"id": number, "v": text}) + "\n" for number, text in enumerate(texts)]
    return f"{{ name: v, {attribute} }}", "format: JSON", "".join(rows).encode()


def write_struct(attribute: str, texts: Sequence[str | None]) -> tuple[str, str, bytes]:
    rows = [json.dumps({"id": number, "v": {"w": text}}) + "\n" for number, text in enumerate(texts)]
    return f"{{ name: v, type: struct, attributes: [{{ name: w, {attribute} }}] }}", "format: JSON", "".join(rows).encode()


def write_structs(attribute: str, texts: Sequence[str | None]) -> tuple[str, str, bytes]:
    rows = [json.dumps({"id": number, "v": [{"w": text}]}) + "\n" for number, text in enumerate(texts)]
    return f"{{ name: v, type: struct, array: true, attributes: [{{ name: w, {attribute} }}] }}", "format: JSON", "".join(rows).encode()


PLACES = {
    "dsv": (write_dsv, "v"),
    "headless": (write_headless, "v"),
    "position": (write_position, "v"),
    "json": (write_json, "v"),
    "struct": (write_struct, "v.w"),
    "structs": (write_structs, "v[1].w"),
}


def is_left_out(place: str, kind: Kind) -> bool:
    """Return whether a type is different at a place: in structs, Starlake uses the primitive type, and fixed columns are padded."""
    return (place in ("struct", "structs") and kind.name in ("clock", "clock_zone", "guid", "huge")) or (
        place == "position" and kind.name == "mail"
    )


CASES = [pytest.param(place, kind, id=f"{place}-{kind.name}") for place in PLACES for kind in KINDS if not is_left_out(place, kind)]


def make_box(root: Path, place: str, kind: Kind, texts: Sequence[str | None]) -> tuple[Sandbox, bytes]:
    attribute, metadata, content = PLACES[place][0](f"type: {kind.name}", texts)
    ident = "{ name: id, type: long, position: { first: 0, last: 3 } }" if place == "position" else "{ name: id, type: long }"
    box = make(root).write({"metadata/types/types.sl.yml": TYPES_YAML}).table("t", "rows", f"{ident}\n{attribute}", metadata)
    return box, content


@pytest.mark.parametrize(("place", "kind"), CASES)
def test_good_and_missing_values_are_loaded(tmp_path: Path, place: str, kind: Kind) -> None:
    box, content = make_box(tmp_path, place, kind, [*kind.good, None])
    box.load("t", {"rows": content})
    shown = [value for (value,) in box.rows(f"select ({PLACES[place][1]})::varchar from t.rows order by id")]
    # Inside a struct a timestamp has no zone, and an integer 64 bits, as in Starlake.
    expected = [value.removesuffix("+00") if "struct" in place and value == ZONE else value for value in kind.good.values()]
    assert shown == [*expected, None]


@pytest.mark.parametrize(("place", "kind"), CASES)
def test_bad_values_are_rejected_and_named(tmp_path: Path, place: str, kind: Kind) -> None:
    for index, bad in enumerate(kind.bad):
        if "struct" in place and bad in ("2147483648", "32768", "128", "-129"):
            continue
        box, content = make_box(tmp_path / str(index), place, kind, [next(iter(kind.good)), bad])
        result = box.load("t", {"rows": content}, check=False)
        assert result.exit_code == 1, bad
        assert f"'{bad}'" in (result.reason or "") or "struct" in place, (bad, result.reason)
        assert "rows" in (result.reason or "")
        assert box.files("ingesting") == ["t/rows"]
        assert box.rows("select count(*) from duckdb_tables() where schema_name = 't'") == [(0,)]


@pytest.mark.parametrize("kind", [k for k in KINDS if k.name != "mail"], ids=lambda kind: kind.name)
def test_blank_values_are_missing_or_rejected(tmp_path: Path, kind: Kind) -> None:
    for place, blank in (("dsv", "  "), ("position", ""), ("json", "")):
        box, content = make_box(tmp_path / place, place, kind, [next(iter(kind.good)), blank])
        result = box.load("t", {"rows": content}, check=False)
        if result.exit_code == 0:
            assert box.rows("select v from t.rows where id = 1") == [(None,)]
        else:
            assert box.files("ingesting") == ["t/rows"]


PARQUET = [
    ("long", "1.5::double", None),
    ("long", "2.0::double", "2"),
    ("long", "'7'::varchar", "7"),
    ("long", "'x'::varchar", None),
    ("int", "2147483648::bigint", None),
    ("int", "5::bigint", "5"),
    ("decimal", "1.0000000001::double", None),
    ("boolean", "2::int", None),
    ("boolean", "1::int", "true"),
    ("date", "timestamp '2024-02-29 10:00:00'", None),
    ("date", "timestamp '2024-02-29 00:00:00'", "2024-02-29"),
    ("timestamp", "date '2024-02-29'", "2024-02-29 00:00:00+00"),
    ("string", "5::int", "5"),
    ("string", "['a']", None),
    ("clock_zone", "'noon'::varchar", None),
    ("money", "'x'::varchar", None),
]


@pytest.mark.parametrize(("kind", "value", "expected"), PARQUET)
def test_values_of_parquet_files_with_other_types_are_converted_or_rejected(
    tmp_path: Path, kind: str, value: str, expected: str | None
) -> None:
    box = make(tmp_path).write({"metadata/types/types.sl.yml": TYPES_YAML})
    box.table("t", "rows", f"{{ name: id, type: long }}\n{{ name: v, type: {kind} }}", "format: PARQUET")
    path = box.root / "datasets/stage/t/rows.parquet"
    path.parent.mkdir(parents=True)
    duckdb.sql(f"select 1 as id, {value} as v").write_parquet(str(path))
    result = box.load("t", check=False)
    if expected is None:
        assert "column 'v'" in (result.reason or "")
        assert box.files("ingesting") == ["t/rows.parquet"]
    else:
        assert box.rows("select v::varchar from t.rows") == [(expected,)]


# type of the column of the table, type of the attribute, text in the file, what is written
ON_WRITE = [
    ("INTEGER", "long", "5", 5),
    ("INTEGER", "long", "2147483648", None),
    ("INTEGER", "double", "1.5", None),
    ("INTEGER", "double", "2.0", 2),
    ("BIGINT", "string", "5", 5),
    ("BIGINT", "string", "1.5", None),
    ("BIGINT", "string", "x", None),
    ("DATE", "timestamp", "2024-02-29 10:00:00", None),
    ("VARCHAR", "long", "007", "7"),
    ("VARCHAR", "date", "2024-02-29", "2024-02-29"),
    ("DECIMAL(10,2)", "decimal", "1.234", None),
    ("BOOLEAN", "long", "2", None),
    ("FLOAT", "double", "1.1", None),
    ("TIMESTAMP", "string", "x", None),
    ("DATE", "string", "2024-02-29 10:00:00", None),
]


@pytest.mark.parametrize(("column", "kind", "text", "expected"), ON_WRITE)
@pytest.mark.parametrize("strategy", ["APPEND", "UPSERT_BY_KEY"])
def test_values_are_converted_to_the_columns_type_or_rejected(
    tmp_path: Path, column: str, kind: str, text: str, expected: Any, strategy: str
) -> None:
    box = make(tmp_path)
    box.table("t", "rows", f"{{ name: id, type: long }}\n{{ name: v, type: {kind} }}", f"writeStrategy: {{ type: {strategy}, key: [id] }}")
    box.execute("create schema t", f"create table t.rows (id bigint, v {column})")
    result = box.load("t", {"rows": f"id;v\n1;{text}\n2;\n"}, check=False)
    if expected is None:
        assert f"line 2: column 'v': '{text}' is not of type" in (result.reason or "")
        assert box.rows("select * from t.rows") == []
        assert box.files("ingesting") == ["t/rows"]
    else:
        assert box.rows("select v from t.rows order by id") == [(expected,), (None,)]


def test_the_message_has_the_statement_that_changes_the_column(tmp_path: Path) -> None:
    box = make(tmp_path).table("t", "rows", "{ name: id, type: long }")
    box.execute("create schema t", "create table t.rows (id integer)")
    result = box.load("t", {"rows": "id\n9999999999\n"}, check=False)
    assert 'ALTER TABLE "t"."rows" ALTER COLUMN "id" TYPE BIGINT' in (result.reason or "")
    box.execute('ALTER TABLE "t"."rows" ALTER COLUMN "id" TYPE BIGINT')
    box.load("t")
    assert box.rows("select id from t.rows") == [(9999999999,)]


STRUCT = "{ name: s, type: struct, attributes: [%s] }"
X, Y = "{ name: x, type: long }", '{ name: "y z", type: string }'
DEEP = "{ name: d, type: struct, array: true, attributes: [%s] }"


def test_structs_get_new_fields_at_every_depth_and_keep_old_ones(tmp_path: Path) -> None:
    box = make(tmp_path)

    def describe(inner: str) -> None:
        box.table("t", "rows", "{ name: id, type: long }\n" + STRUCT % f"{inner}, {DEEP % inner}", "format: JSON")

    describe(X)
    box.load("t", {"rows1": '{"id":1,"s":{"x":1,"d":[{"x":1}]}}\n'})
    describe(f"{Y}, {X}")
    box.load("t", {"rows2": '{"id":2,"s":{"x":2,"y z":"a","d":[{"y z":"b"}]}}\n'})
    describe(Y)
    box.load("t", {"rows3": '{"id":3,"s":{"y z":"c"}}\n'})
    assert box.rows("select s from t.rows order by id") == [
        ({"x": 1, "d": [{"x": 1, "y z": None}], "y z": None},),
        ({"x": 2, "d": [{"x": None, "y z": "b"}], "y z": "a"},),
        ({"x": None, "d": None, "y z": "c"},),
    ]


@pytest.mark.parametrize(
    ("before", "after", "statement"),
    [
        ("{ name: v, type: string }", "{ name: v, type: string, array: true }", "TYPE VARCHAR[] USING CASE WHEN"),
        ("{ name: v, type: string, array: true }", "{ name: v, type: string }", "TYPE VARCHAR"),
        ("{ name: v, type: long }", "{ name: v, type: struct, attributes: [{ name: x, type: long }] }", "TYPE STRUCT(x BIGINT)"),
    ],
)
def test_arrays_structs_and_scalars_are_not_converted_into_each_other(tmp_path: Path, before: str, after: str, statement: str) -> None:
    box = make(tmp_path).table("t", "rows", f"{{ name: id, type: long }}\n{before}", "format: JSON")
    box.load("t", {"rows1": '{"id":1}\n'})
    box.table("t", "rows", f"{{ name: id, type: long }}\n{after}", "format: JSON")
    result = box.load("t", {"rows2": '{"id":2}\n'}, check=False)
    assert statement in (result.reason or "")
    box.execute((result.reason or "").partition("or run ")[2].splitlines()[0])
    box.load("t")
    assert box.rows("select id from t.rows order by id") == [(1,), (2,)]


@pytest.mark.parametrize("option", ["", ', ignore_errors: "true"'])
def test_an_option_sets_the_format_of_dates(tmp_path: Path, option: str) -> None:
    attributes = "{ name: id, type: int }\n{ name: day, type: date }"
    box = make(tmp_path).table("t", "rows", attributes, f'format: DSV, options: {{ dateformat: "%d/%m/%Y"{option} }}')
    box.load("t", {"rows-1.csv": "id;day\n1;01/02/2024\n2;\n"})
    result = box.load("t", {"rows-2.csv": "id;day\n3;31/01/2024\n4;2024-01-31\n"}, check=False)
    known = [(1, date(2024, 2, 1)), (2, None)]
    assert box.rows("select * from t.rows order by id") == ([*known, (3, date(2024, 1, 31))] if option else known)
    assert result.exit_code == (0 if option else 1)
    assert option or "line 3: column 'day': '2024-01-31' is not of type date" in (result.reason or "")


def test_timestampformat_applies_to_times_with_a_zone(tmp_path: Path) -> None:
    attributes = "{ name: id, type: long }\n{ name: v, type: timestamp }"
    box = make(tmp_path).table("t", "rows", attributes, 'format: DSV, options: { timestampformat: "%d/%m/%Y %H:%M" }')
    box.load("t", {"rows1": "id;v\n1;29/02/2024 10:00\n2;\n"})
    assert box.rows("select v::varchar from t.rows order by id") == [(ZONE,), (None,)]
    result = box.load("t", {"rows2": "id;v\n1;29/02/2024 10:00\n2;2024-02-29 10:00:00\n"}, check=False)
    assert "line 3: column 'v': '2024-02-29 10:00:00'" in (result.reason or "")


def test_ignore_errors_rejects_and_counts_rows_with_bad_values(tmp_path: Path) -> None:
    attributes = "{ name: id, type: long }\n{ name: v, type: timestamp }"
    box = make(tmp_path).table("t", "rows", attributes, "format: DSV, options: { ignore_errors: true }")
    files = {f"rows{n}": f"id;v\n{n};2024-02-29 10:00:00\nx;2024-02-29 10:00:00\n3;garbage\n4\n" for n in (1, 2)}
    for grouped in ("false", "true"):
        result = box.load("t", files, env={"SL_GROUPED": grouped})
        loaded = result.counters["t.rows"]
        assert (loaded.input, loaded.accepted, loaded.rejected) == (8, 2, 6)
    assert box.rows("select id from t.rows order by id") == [(1,), (1,), (2,), (2,)]


# Scripts.


@pytest.mark.parametrize(
    ("attribute", "metadata", "content", "expected"),
    [
        ('{ name: a, type: string, script: "upper(a)" }', "format: DSV", "id;a\n1;ann\n", "ANN"),
        ('{ name: a, type: string, script: "upper(a)" }', "format: DSV", "a;id\nann;1\n", "ANN"),
        ('{ name: a, type: string, script: "upper(a)" }', "format: DSV, withHeader: false", "1;ann\n", "ANN"),
        ('{ name: a, type: string, rename: b, script: "upper(a)" }', "format: DSV", "id;a\n1;ann\n", "ANN"),
        ('{ name: a, type: string, script: "upper(a)" }', "format: JSON", '{"id":1,"a":"ann"}\n', "ANN"),
        ('{ name: a, type: long, script: "a * 2" }', "format: DSV", "id;a\n1;10\n", 20),
        ("{ name: a, type: string, script: \"a || 'x'\" }", "format: DSV", "id;a\n1;10\n", "10x"),
        ("{ name: a, type: string, script: \"'k'\" }", "format: DSV", "id;a\n1;ann\n", "k"),
        ("{ name: a, type: string, script: \"'k'\" }", "format: DSV", "id\n1\n", "k"),
        ('{ name: a, type: string, trim: BOTH, script: "upper(a)" }', "format: DSV", "id;a\n1; ann \n", "ANN"),
        ('{ name: a, type: string, privacy: INITIALS, script: "lower(a)" }', "format: DSV", "id;a\n1;Ann Lee\n", "a.l."),
    ],
)
def test_a_script_may_change_a_column_of_the_file(tmp_path: Path, attribute: str, metadata: str, content: str, expected: Any) -> None:
    box = make(tmp_path).table("t", "rows", f"{{ name: id, type: long }}\n{attribute}", metadata)
    box.load("t", {"rows": content})
    assert box.rows("select columns(* exclude id) from t.rows") == [(expected,)]


@pytest.mark.parametrize("strategy", ["UPSERT_BY_KEY", "DELETE_THEN_INSERT", "APPEND"])
def test_a_missing_value_is_rejected_in_a_row_that_another_one_replaces(tmp_path: Path, strategy: str) -> None:
    attributes = "{ name: id, type: long }\n{ name: v, type: string, required: true }"
    box = make(tmp_path).table("t", "rows", attributes, f"writeStrategy: {{ type: {strategy}, key: [id] }}")
    result = box.load("t", {"rows": "id;v\n1;\n1;a\n"}, check=False)
    assert "line 2: column 'v': no value, but it is required" in (result.reason or "")


def test_a_null_value_with_the_escape_character_is_rejected_with_its_line(tmp_path: Path) -> None:
    box = make(tmp_path).table("t", "rows", "{ name: id, type: long }", r"format: DSV, nullValue: '\N'")
    result = box.load("t", {"rows": "id\n1\n"}, check=False)
    assert r"metadata/load/t/rows.sl.yml:5: nullValue '\N' must not contain the escape ('\')" in (result.reason or "")


@pytest.mark.parametrize("first", ['"a\nb";1\r\n', '"a\rb";1\r\n'])
def test_a_line_end_within_quotes_does_not_end_the_first_record(tmp_path: Path, first: str) -> None:
    box = make(tmp_path).table("t", "rows", "{ name: v, type: string }\n{ name: id, type: long }", "format: DSV, withHeader: false")
    box.load("t", {"rows": f"{first}c;2\r\n"})
    assert box.rows("select v from t.rows order by id") == [(first[1:4],), ("c",)]


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (["2024-12-31", "2024/02/01"], ["2024-12-31", "2024-02-01"]),
        (["31/12/2024", "01/02/2024", ""], ["2024-12-31", "2024-02-01", None]),
        (["01.02.2024", "31.12.2024"], ["2024-02-01", "2024-12-31"]),
        (["12/31/2024", "01/02/2024"], ["2024-12-31", "2024-01-02"]),
        (["12-31-99"], ["1999-12-31"]),
    ],
)
def test_dates_in_dsv_files_have_the_only_format_that_fits_all(tmp_path: Path, days: list[str], expected: list[str]) -> None:
    box = make(tmp_path).table("t", "rows", "{ name: id, type: int }\n{ name: day, type: date }", "format: DSV")
    box.load("t", {"rows-1.csv": "id;day\n" + "".join(f"{n};{day}\n" for n, day in enumerate(days))})
    assert box.rows("select day::varchar from t.rows order by id") == [(day,) for day in expected]


@pytest.mark.parametrize(
    "days",
    [
        ["01/02/2024"],
        ["31/12/24"],
        ["24-12-31"],
        ["31/12/2024", "12/31/2024"],
        ["2024-12-31", "31/12/2024"],
    ],
)
def test_dates_in_dsv_files_that_fit_no_format_or_several_are_rejected(tmp_path: Path, days: list[str]) -> None:
    box = make(tmp_path).table("t", "rows", "{ name: id, type: int }\n{ name: day, type: date }", "format: DSV")
    result = box.load("t", {"rows-1.csv": "id;day\n" + "".join(f"{n};{day}\n" for n, day in enumerate(days))}, check=False)
    assert result.exit_code == 1
    assert f"'{days[-1]}' is not of type date" in (result.reason or "")


def test_each_file_of_a_group_has_its_own_format_of_dates(tmp_path: Path) -> None:
    box = make(tmp_path).table("t", "rows", "{ name: id, type: int }\n{ name: day, type: date }", "format: DSV")
    files = {"rows-1.csv": "id;day\n1;31/12/2024\n", "rows-2.csv": "id;day\n2;12/31/2024\n", "rows-3.csv": "id;day\n3;2024-12-31\n"}
    box.load("t", files, env={"SL_GROUPED": "true"})
    assert box.rows("select id, day::varchar from t.rows order by id") == [(n, "2024-12-31") for n in (1, 2, 3)]


def test_years_with_two_digits_at_positions_are_rejected(tmp_path: Path) -> None:
    attributes = "{ name: id, type: int, position: { first: 0, last: 0 } }\n{ name: day, type: date, position: { first: 1, last: 8 } }"
    box = make(tmp_path).table("t", "rows", attributes, "format: POSITION, withHeader: false")
    result = box.load("t", {"rows-1.txt": "131/12/24\n"}, check=False)
    assert "line 1: column 'day': '31/12/24' is not of type date" in (result.reason or "")
