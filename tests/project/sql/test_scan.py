"""Tables in SQL that cannot be parsed."""

from starlake_dagster_components.project.sql.scan import scan_tables


def test_names_are_found_with_their_positions() -> None:
    sql = "select *\nfrom a.b,\n\n  c.d join (select 1 from e.f) x\n on 1 using g\nunion select 2 from `h.i`"
    assert [".".join(f.parts) for f in scan_tables(sql)] == ["a.b", "c.d", "e.f", "h.i"]
    assert [sql[f.start : f.start + 3] for f in scan_tables(sql)] == ["a.b", "c.d", "e.f", "`h."]


def test_common_table_expressions_with_columns_are_not_tables() -> None:
    assert [
        f.parts for f in scan_tables("with a(x, y) as (select 1 from t.u), b (z) as not materialized (select 2) select * from a, b, c.d")
    ] == [
        ("t", "u"),
        ("c", "d"),
    ]


def test_the_source_of_a_merge_is_read() -> None:
    assert [f.parts for f in scan_tables("merge into a.b using c.d on 1 when matched then delete")] == [("c", "d")]


def test_thousands_of_unclosed_groups_do_not_hang() -> None:
    assert scan_tables("select * from " + "x, a(" * 20_000)[0].parts == ("x",)
    assert scan_tables("with " + "a(, " * 20_000) == []
    assert scan_tables("select 1 " + ")" * 100_000 + " from a.b")[0].parts == ("a", "b")
