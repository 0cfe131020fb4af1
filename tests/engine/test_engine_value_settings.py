"""Trim, patterns, privacy, defaults, and new names of values, at the top of a table, in structs, and in arrays."""

import datetime
import json
from pathlib import Path
from typing import Any

import pytest
from engine_help import Sandbox, make

TYPES_YAML = """version: 1
types:
  - { name: euro_day, primitiveType: date, pattern: "dd/MM/yyyy" }
  - { name: mail, primitiveType: string, pattern: "[^@]+@[^@]+" }
"""
STRUCT = "{ name: s, type: struct, attributes: [%s] }"
X = "{ name: x, type: long }"


def load_json(box: Sandbox, attributes: str, *rows: Any, check: bool = True) -> str:
    """Load rows into a table, and return the reason if that fails."""
    box.write({"metadata/types/types.sl.yml": TYPES_YAML}).table("t", "rows", f"{{ name: id, type: long }}\n{attributes}", "format: JSON")
    content = "".join(json.dumps({"id": number, **row}) + "\n" for number, row in enumerate(rows))
    result = box.load("t", {"rows": content}, check=check)
    assert check or result.exit_code == 1
    return result.reason or ""


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize(
    ("settings", "text", "expected"),
    [
        ("type: string, trim: BOTH", "  a b  ", "a b"),
        ("type: string, trim: LEFT", "  a b  ", "a b  "),
        ("type: string, trim: RIGHT", "  a b  ", "  a b"),
        ("type: string, trim: NONE", "  a b  ", "  a b  "),
        ("type: string, trim: BOTH", "   ", None),
        ("type: string", "", ""),
        ("type: long, trim: BOTH", " 7 ", "7"),
        ("type: mail, trim: BOTH", " a@b.c ", "a@b.c"),
        ("type: euro_day, trim: BOTH", " 29/02/2024 ", "2024-02-29"),
        ("type: string, privacy: INITIALS", "Ann Lee", "A.L."),
        ("type: string, privacy: INITIALS, trim: BOTH, default: x", "  Ann Lee ", "A.L."),
        ("type: mail, privacy: HIDE", "a@b.c", ""),
        ("type: long, privacy: HIDE", "7", None),
        ("type: long, privacy: 'APPROXLONG(0)'", "7", "7"),
        ("type: string, default: Paris", None, "Paris"),
        ("type: long, default: 7", None, "7"),
        ("type: euro_day, default: 2024-02-29", None, "2024-02-29"),
        ("type: string, trim: BOTH, default: Paris", "  ", "Paris"),
        ("type: string, rename: w", "a", "a"),
    ],
)
def test_settings_of_attributes_are_applied_to_values(
    tmp_path: Path, inside: bool, settings: str, text: str | None, expected: str | None
) -> None:
    box = make(tmp_path)
    name = "w" if "rename" in settings else "v"
    value = f"{{ name: v, {settings} }}"
    if inside:
        load_json(box, f"{{ name: s, type: struct, attributes: [{value}, {{ name: kept, type: string }}] }}", {"s": {"v": text}}, {})
        assert box.rows("select typeof(s) from t.rows")[0][0].startswith(f"STRUCT({name} ")
        assert box.rows("select s is null from t.rows order by id") == [(False,), (True,)]
        assert box.rows(f"select s.{name}::varchar from t.rows where id = 0") == [(expected,)]
    else:
        load_json(box, value, {"v": text})
        assert box.rows(f"select {name}::varchar from t.rows") == [(expected,)]


@pytest.mark.parametrize("metadata", ["format: DSV", "format: DSV, emptyIsNull: false"])
def test_values_that_are_blank_after_trimming_follow_empty_is_null(tmp_path: Path, metadata: str) -> None:
    attributes = "{ name: id, type: long }\n{ name: v, type: string, trim: BOTH }\n{ name: n, type: long, trim: BOTH }"
    box = make(tmp_path).table("t", "rows", attributes, metadata)
    box.load("t", {"rows": "id;v;n\n1;  ;  \n2; a ; 7 \n"})
    blank = "" if "false" in metadata else None
    assert box.rows("select v, n from t.rows order by id") == [(blank, None), ("a", 7)]


def test_structs_in_structs_and_arrays_follow_the_settings_of_their_fields(tmp_path: Path) -> None:
    box = make(tmp_path)
    leaf = "{ name: v, type: string, privacy: INITIALS, rename: w }"
    gone = "{ name: gone, type: long, ignore: true }"
    plain = '{ name: "a ""b"", (c", type: long, array: true }'.replace('"a ""b"", (c"', "'a \"b\", (c'")
    inner = f"{{ name: items, type: struct, array: true, rename: parts, attributes: [{leaf}, {gone}, {plain}] }}"
    outer = f"{{ name: s, type: struct, array: true, attributes: [{{ name: n, type: long }}, {inner}] }}"
    item = {"v": "Ann Lee", "gone": 1, 'a "b", (c': [1, 2]}
    load_json(box, outer, {"s": [{"n": 1, "items": [item, {"v": "Bob"}, None]}, {"n": 2}, None]}, {"s": []}, {})
    assert box.rows("select s from t.rows order by id") == [
        (
            [
                {"n": 1, "parts": [{"w": "A.L.", 'a "b", (c': [1, 2]}, {"w": "B.", 'a "b", (c': None}, None]},
                {"n": 2, "parts": None},
                None,
            ],
        ),
        ([],),
        (None,),
    ]


@pytest.mark.parametrize(
    ("fields", "value", "kept"),
    [
        (f"{X}, {{ name: gone, type: string, ignore: true }}", {"x": 1, "gone": "a"}, {"x": 1}),
        (f"{X}, {{ name: gone, type: struct, ignore: true, attributes: [{X}] }}", {"x": 1, "gone": {"x": 2}}, {"x": 1}),
        (f"{X}, {{ name: gone, type: long, array: true, ignore: true }}", {"x": 1, "gone": ["a"]}, {"x": 1}),
        ("{ name: d, type: struct, attributes: [{ name: v, type: string, trim: BOTH }] }", {"d": {"v": " a "}}, {"d": {"v": "a"}}),
        ("{ name: v, type: string, privacy: INITIALS }", {"v": "Ann Lee"}, {"v": "A.L."}),
        (f"{{ name: d, type: struct, rename: e, attributes: [{X}] }}", {"d": {"x": 1}}, {"e": {"x": 1}}),
        ("{ name: v, type: string, default: Paris }", {"v": None}, {"v": "Paris"}),
        ("{ name: v, type: string, rename: w }", {"v": "a"}, {"w": "a"}),
        ("{ name: v, type: euro_day }", {"v": "29/02/2024"}, {"v": datetime.date(2024, 2, 29)}),
    ],
)
def test_one_setting_inside_a_struct_is_enough(tmp_path: Path, fields: str, value: dict[str, Any], kept: dict[str, Any]) -> None:
    box = make(tmp_path)
    load_json(box, STRUCT % fields, {"s": value})
    assert box.rows("select s from t.rows") == [(kept,)]


def test_a_blank_text_is_not_a_number_in_a_struct_without_settings(tmp_path: Path) -> None:
    assert "column 's.x': '' is not of type BIGINT" in load_json(make(tmp_path), STRUCT % X, {"s": {"x": ""}}, check=False)


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("settings", ["type: string, trim: BOTH", "type: euro_day", "type: string, privacy: MD5"])
def test_arrays_of_values_cannot_be_trimmed_formatted_or_masked(tmp_path: Path, inside: bool, settings: str) -> None:
    box = make(tmp_path)
    value = f"{{ name: v, array: true, {settings} }}"
    reason = load_json(
        box,
        f"{{ name: s, type: struct, attributes: [{value}] }}" if inside else value,
        {"s": {"v": ["a@b"]}} if inside else {"v": ["a@b"]},
        check=False,
    )
    line = 6 if inside else 8
    assert (
        f"rows.sl.yml:{line}: attribute 'v': trim, privacy, and patterns of types other than string are not supported for arrays" in reason
    )
    assert box.files("ingesting") == ["t/rows"]


@pytest.mark.parametrize("inside", [False, True])
def test_elements_of_an_array_of_strings_must_match_the_pattern(tmp_path: Path, inside: bool) -> None:
    box = make(tmp_path)
    value = "{ name: v, array: true, type: mail }"

    def load(*arrays: list[str | None] | None, check: bool = True) -> str:
        rows = [{"v": array} if array is not None else {} for array in arrays]
        return load_json(box, STRUCT % value if inside else value, *({"s": row} if inside else row for row in rows), check=check)

    load(["a@b", None], [], None, ["c@d", "e@f"])
    assert box.rows(f"select {'s.v' if inside else 'v'} from t.rows order by id") == [(["a@b", None],), ([],), (None,), (["c@d", "e@f"],)]
    reason = load(["a@b"], ["a@b", "nobody", "x@y"], check=False)
    assert "of type 'mail' (pattern [^@]+@[^@]+)" in reason
    assert "nobody" in reason
    assert inside or "line 2: column 'v'" in reason
    assert box.rows("select count(*) from t.rows") == [(4,)]


def test_elements_of_an_array_in_a_dsv_file_must_match_the_pattern(tmp_path: Path) -> None:
    attributes = "{ name: id, type: long }\n{ name: v, type: mail, array: true }"
    box = make(tmp_path).write({"metadata/types/types.sl.yml": TYPES_YAML}).table("t", "rows", attributes, "format: DSV")
    box.load("t", {"rows": "id;v\n1;[a@b, c@d]\n2;[]\n3;\n"})
    assert box.rows("select v from t.rows order by id") == [(["a@b", "c@d"],), ([],), (None,)]
    reason = box.load("t", {"rows": "id;v\n1;[a@b, nobody]\n"}, check=False).reason or ""
    assert "of type 'mail' (pattern [^@]+@[^@]+)" in reason


def test_arrays_and_structs_have_no_default(tmp_path: Path) -> None:
    box = make(tmp_path)
    array = "{ name: v, type: long, array: true, default: '[7]' }"
    load_json(box, f"{array}\n{{ name: s, type: struct, default: x, attributes: [{array}] }}", {"s": {"v": [1]}}, {"v": [2], "s": {}}, {})
    assert box.rows("select v, s from t.rows order by id") == [(None, {"v": [1]}), ([2], {"v": None}), (None, None)]


@pytest.mark.parametrize(
    ("attributes", "line", "said"),
    [
        (
            "{ name: v, type: long, privacy: MD5 }",
            8,
            "attribute 'v': privacy MD5 returns a string, which a column of type BIGINT cannot hold",
        ),
        ("{ name: v, type: long, privacy: 'HIDE(\"x\", 2)' }", 8, "attribute 'v': privacy HIDE returns a string"),
        (STRUCT % "{ name: v, type: long, privacy: MD5 }", 6, "attribute 'v': privacy MD5 returns a string"),
        (STRUCT % "{ name: v, type: string, privacy: 'SQL:upper(v)' }", 6, "attribute 'v': privacy SQL is not supported inside a struct"),
        (STRUCT % "{ name: v, type: string, privacy: SHA512 }", 6, "attribute 'v': privacy SHA512 is not supported inside a struct"),
        (
            f"{{ name: s, type: struct, privacy: MD5, attributes: [{X}] }}",
            8,
            "attribute 's': privacy is not supported for structs; set it for their fields",
        ),
        (
            STRUCT % f"{{ name: d, type: struct, array: true, privacy: HIDE, attributes: [{X}] }}",
            6,
            "attribute 'd': privacy is not supported for structs; set it for their fields",
        ),
    ],
)
def test_settings_that_cannot_be_used_are_rejected(tmp_path: Path, attributes: str, line: int, said: str) -> None:
    box = make(tmp_path)
    reason = load_json(box, attributes, {"v": "1", "s": {"v": "1", "x": 1, "d": [{"x": 1}]}}, check=False)
    assert f"metadata/load/t/rows.sl.yml:{line}: {said}" in reason
    assert box.rows("select count(*) from duckdb_tables() where schema_name = 't'") == [(0,)]


def test_a_struct_with_sql_privacy_is_replaced(tmp_path: Path) -> None:
    box = make(tmp_path)
    load_json(box, f"{{ name: s, type: struct, privacy: 'SQL:NULL', attributes: [{X}] }}", {"s": {"x": 1}})
    assert box.rows("select s from t.rows") == [(None,)]


@pytest.mark.parametrize(
    ("settings", "text", "expected"),
    [
        ("type: euro_day", "x", "of type 'euro_day' (pattern dd/MM/yyyy)"),
        ("type: mail", "x", "of type 'mail' (pattern [^@]+@[^@]+)"),
        ("type: long", "x", "of type long"),
        ("type: long, trim: BOTH", " x ", "of type long"),
        ("type: decimal, trim: BOTH", "1,5", "of type decimal"),
    ],
)
def test_messages_name_the_expected_type(tmp_path: Path, settings: str, text: str, expected: str) -> None:
    reason = load_json(make(tmp_path), f"{{ name: v, {settings} }}", {"v": text}, check=False)
    assert f"line 1: column 'v': '{text}' is not {expected}" in reason
