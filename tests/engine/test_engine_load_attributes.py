"""Loading files: the attributes of columns, such as types, scripts, and privacy."""

from pathlib import Path

import pytest
from engine_help import Sandbox, make


@pytest.fixture
def box(tmp_path: Path) -> Sandbox:
    return make(tmp_path)


def test_attributes_rename_trim_and_compute_columns(box: Sandbox) -> None:
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


def test_types_of_the_project_parse_values(box: Sandbox) -> None:
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


def test_scripts_use_masked_values_and_numbers_can_be_hidden(box: Sandbox) -> None:
    box.table(
        "t",
        "people",
        """{ name: name, type: string, privacy: INITIALS }
        { name: age, type: int, privacy: HIDE }
        { name: copy, type: string, script: "name" }""",
    )
    box.load("t", {"people": "name;age\nAnn Lee;33\n"})
    assert box.rows("select * from t.people") == [("A.L.", None, "A.L.")]


def test_unknown_privacy_is_rejected_with_its_line(box: Sandbox) -> None:
    box.table("t", "people", "{ name: a, type: string, privacy: MD6 }")
    result = box.load("t", {"people": "a\nAnn\n"}, check=False)
    assert "metadata/load/t/people.sl.yml:7: attribute 'a': unknown privacy 'MD6' (did you mean 'MD5'?)" in (result.reason or "")
    assert box.files("archive") == []
