"""Lines and objects that are too long for DuckDB: their file fails, even where DuckDB would leave them out without an error."""

import gzip
from pathlib import Path

import pytest
from engine_help import Sandbox, make

ID_NAME = """{ name: id, type: long }
{ name: name, type: string }"""
LONG = "x" * 34_000_000
"""More than DuckDB's buffer: DuckDB leaves out such a line without an error if it is the last one."""


@pytest.fixture
def box(tmp_path: Path) -> Sandbox:
    return make(tmp_path).table("s", "orders", ID_NAME)


@pytest.mark.parametrize("end", ["\n", "\r", ""])
@pytest.mark.parametrize(
    ("metadata", "lines"),
    [
        ("format: DSV", ["id;name", "1;a", f"2;{LONG}"]),
        ("format: DSV", ["id;name", f"1;{LONG}", "2;a"]),
        ("format: DSV, separator: '<--->'", ["id<--->name", "1<--->a", f"2<--->{LONG}"]),
        ("format: DSV, encoding: windows-1252", ["id;name", "1;a", f"2;{LONG}"]),
        ("format: POSITION, withHeader: false", ["1a", f"2{LONG}"]),
    ],
    ids=["last", "first", "separator", "encoding", "position"],
)
def test_a_line_that_is_too_long_fails_its_file(box: Sandbox, metadata: str, lines: list[str], end: str) -> None:
    attributes = "{ name: id, type: long, position: {first: 0, last: 0} }\n{ name: name, type: string, position: {first: 1, last: 9} }"
    box.table("s", "orders", attributes, metadata)
    content = ((end or "\n").join(lines) + end).encode()
    box.stage("s", {"orders.csv": content, "orders.csv.gz": gzip.compress(content, 1)})
    reason = box.load("s", check=False).reason or ""
    line = next(number for number, text in enumerate(lines, 1) if len(text) > 1000)
    assert reason.count(f"line {line}: a line of more than 2097152 characters") == 2
    assert len(reason) < 1000
    assert box.files("archive") == []


def test_a_limit_for_long_lines_is_an_option(box: Sandbox) -> None:
    box.table("s", "orders", ID_NAME, "format: DSV, options: { max_line_size: 40000000 }")
    box.load("s", {"orders.csv": f"id;name\n1;a\n2;{LONG}\n"})
    assert box.rows("select id, length(name) from s.orders order by id") == [(1, 1), (2, len(LONG))]
    box.table("s", "orders", ID_NAME, "format: DSV, options: { max_line_size: 100 }")
    reason = box.load("s", {"orders.csv": f"id;name\n1;a\n2;{'x' * 200}\n"}, check=False).reason or ""
    assert "line 3: a line of more than 100 characters (metadata.options: max_line_size allows longer ones)" in reason


def test_an_object_that_is_too_long_fails_its_file(box: Sandbox) -> None:
    box.table("s", "orders", ID_NAME, "format: JSON_FLAT")
    reason = box.load("s", {"orders.json": f'{{"id":1,"name":"a"}}\n{{"id":2,"name":"{LONG}"}}\n'}, check=False).reason or ""
    assert "line 2: an object of more than 16777216 bytes (metadata.options: maximum_object_size allows larger ones)" in reason
