"""A project's own write strategy templates."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from engine_help import Sandbox, make

from starlake_dagster_components.engine.engine_errors import BadSetting
from starlake_dagster_components.engine.strategies import Strategy, check_columns

TEMPLATES = "metadata/write-strategies/templates/duckdb"
FIELDS = "{ name: id, type: long }\n{ name: a, type: string }"
# A merge that is written like Starlake's templates.
MERGE = """{% if strategyOn == 'TARGET' %}
CREATE OR REPLACE TEMP VIEW SL_INCOMING AS {{ selectStatement }};
{% else %}
CREATE OR REPLACE TEMP VIEW SL_INCOMING AS
SELECT {{ tableColumnsCsv }} FROM ({{ selectStatement }}) AS SL_ALL
QUALIFY ROW_NUMBER() OVER (PARTITION BY {{ strategyKeyCsv }} ORDER BY {{ quote }}{{ strategyTimestamp }}{{ quote }} DESC) = 1;
{% endif %}
DELETE FROM {{ tableFullName }} WHERE EXISTS
  (SELECT 1 FROM SL_INCOMING WHERE {{ renderStrategyKeyJoinCondition(tableFullName, 'SL_INCOMING', strategyKey) }});
INSERT INTO {{ tableFullName }} ({{ tableColumnsCsv }}) SELECT {{ renderTableColumns('SL_INCOMING', tableColumnNames) }} FROM SL_INCOMING;
"""

OWN: Any = "the template of a project"


@pytest.fixture
def box(tmp_path: Path) -> Sandbox:
    return make(tmp_path)


def test_a_template_replaces_a_built_in_strategy(box: Sandbox) -> None:
    box.write({f"{TEMPLATES}/append.j2": "INSERT INTO {{ tableFullName }} SELECT id, 'from template' AS a FROM ({{ selectStatement }}) x"})
    box.table("d", "x", FIELDS)
    for name in ("x1.csv", "x2.csv"):
        result = box.load("d", {name: "id;a\n1;a\n"})
        assert result.counters["d.x"].accepted == 1
    assert box.rows("select * from d.x") == [(1, "from template")] * 2
    box.task("kpi.t", "select 1 as id, 'a' as a")
    # The table is made by the template 'create', which this project does not have.
    box.run("transform", "--name", "kpi.t")
    assert box.rows("select * from kpi.t") == [(1, "a")]
    box.run("transform", "--name", "kpi.t")
    assert box.rows("select * from kpi.t order by a") == [(1, "a"), (1, "from template")]
    assert box.rows("select count(*) from audit.audit where success") == [(6,)]


@pytest.mark.parametrize("on", ["TARGET", "SOURCE_AND_TARGET"])
def test_a_project_can_define_its_own_strategy(box: Sandbox, on: str) -> None:
    box.write({f"{TEMPLATES}/my_merge.j2": MERGE})
    strategy = f"writeStrategy: {{ type: MY_MERGE, key: [id], timestamp: a, on: {on} }}"
    box.table("d", "x", FIELDS, f"format: DSV, {strategy}")
    box.load("d", {"x1.csv": "id;a\n1;a\n2;a\n", "x2.csv": "id;a\n2;b\n3;b\n"})
    assert box.rows("select * from d.x order by id") == [(1, "a"), (2, "b"), (3, "b")]
    # Objects that the template left in the connection are removed before the second file of the command.
    box.load("d", {"x3.csv": "id;a\n3;c\n3;d\n", "x4.csv": "id;a\n4;c\n"})
    assert (3, "d") in box.rows("select * from d.x")
    assert box.rows("select count(*) from d.x") == [(4 if on == "SOURCE_AND_TARGET" else 5,)]
    box.task("kpi.t", "select 1 as id, 'b' as a union all select 1, 'c'", f"  {strategy.replace('type: MY', 'type: my')}\n")
    box.run("transform", "--name", "kpi.t")
    box.run("transform", "--name", "kpi.t")
    assert box.rows("select * from kpi.t") == ([(1, "c")] if on == "SOURCE_AND_TARGET" else [(1, "b"), (1, "c")])


def test_templates_create_tables_and_views(box: Sandbox) -> None:
    create = "CREATE TABLE {{ tableFullName }} AS {{ selectStatement }};\nALTER TABLE {{ tableFullName }} ADD COLUMN extra INT DEFAULT 7"
    view = (
        "CREATE OR REPLACE {{ materializedView }} {{ tableFullName }} AS SELECT *, {{ tableExists }} AS again FROM ({{ selectStatement }})"
    )
    box.write({f"{TEMPLATES}/create.j2": create, f"{TEMPLATES}/view.j2": view})
    box.task("kpi.t", "select 1 as id", "  writeStrategy: { type: SCD2, key: [id] }\n")
    box.task("kpi.v", "select 1 as id", "  sink: { materializedView: VIEW }\n")
    assert box.run("transform", "--name", "kpi.t").row_count == 1
    assert box.rows("select * from kpi.t") == [(1, 7, None, None)]
    for again in (False, True):
        box.run("transform", "--name", "kpi.v")
        assert box.rows("select * from kpi.v") == [(1, again)]


def test_a_template_can_use_starlakes_variables(box: Sandbox) -> None:
    seen = """CREATE TABLE kpi.seen AS SELECT * FROM (VALUES
{% for name in [strategyType, strategyOn, strategyTimestamp, strategyStartTs, strategyEndTs, strategyKeyCsv, tableDomain, tableName,
  tableFullName, tableColumnsCsv, tableIncomingColumnsCsv, tableInsert, tableUpdateSetExpression, strategyKeyJoinCondition,
  sinkPartition | first, sinkTablePartitionClause, engineStrategyBuilder, tableTruncate, quotedStrategyKey | join('+'),
  renderStrategyKeyAsPseudo(strategyKey, 'x'), renderStrategyKeyAsNullPseudo(strategyKey), renderStrategyKeyIsNull('x', strategyKey),
  renderStrategyJoinConditionWithPseudo('x', 'y', strategyKey), renderColumnsWithoutScd2(tableColumnNames, 'x.'), unquote('"q"', quote)] %}
('{{ name }}'){% if not loop.last %},{% endif %}
{% endfor %}
);
CREATE TABLE {{ tableFullName }} AS {{ selectStatement }}"""
    box.write({f"{TEMPLATES}/create.j2": seen})
    strategy = "{ type: SCD2, key: [id, b], timestamp: at, startTs: s, endTs: e }"
    box.task("kpi.order", "select 1 as id, 2 as b, 3 as at, 4 as s;", f"  writeStrategy: {strategy}\n  sink: {{ partition: [b] }}\n")
    box.run("transform", "--name", "kpi.order")
    assert [row[0] for row in box.rows("select * from kpi.seen")] == [
        "SCD2",
        "TARGET",
        "at",
        "s",
        "e",
        '"id","b"',
        "kpi",
        "order",
        'kpi."order"',
        '"id","b","at","s"',
        'SL_INCOMING."id",SL_INCOMING."b",SL_INCOMING."at",SL_INCOMING."s"',
        'INSERT ("id","b","at","s") VALUES (SL_INCOMING."id",SL_INCOMING."b",SL_INCOMING."at",SL_INCOMING."s")',
        'SET "id" = SL_INCOMING."id","b" = SL_INCOMING."b","at" = SL_INCOMING."at","s" = SL_INCOMING."s"',
        'SL_INCOMING."id" = SL_EXISTING."id" AND SL_INCOMING."b" = SL_EXISTING."b"',
        "b",
        "",
        "duckdb",
        "false",
        '"id"+"b"',
        "x.id AS SL_PSEUDO_id, x.b AS SL_PSEUDO_b",
        "NULL AS SL_PSEUDO_id, NULL AS SL_PSEUDO_b",
        'x."id" IS NULL AND x."b" IS NULL',
        "x.SL_PSEUDO_id = y.id AND x.SL_PSEUDO_b = y.b",
        'x."id", x."b", x."at"',
        "q",
    ]


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("-- first line\nINSERT INTO {{ tableFullName }} SELECT nosuch FROM ({{ selectStatement }})", "append.j2:2: Binder Error"),
        ("\n{% if %}", "append.j2:2: is not a Jinja template"),
        ("SELECT 1;\nCOMMIT", "append.j2:2:1: COMMIT cannot be used"),
        ("{# nothing #}", "append.j2: the template of the write strategy contains no statement"),
        (b"\xff", "append.j2: the template cannot be read"),
    ],
)
def test_a_template_that_fails_is_named(box: Sandbox, template: str | bytes, said: str) -> None:
    box.table("d", "x", FIELDS).write({f"{TEMPLATES}/append.j2": template})
    result = box.load("d", {"x1.csv": "id;a\n1;a\n"}, check=False)
    assert result.exit_code != 0
    assert said in (result.reason or "")
    assert box.files("ingesting") == ["d/x1.csv"]


def test_a_strategy_without_a_template_is_rejected(box: Sandbox) -> None:
    # Starlake looks in templates/<engine> only.
    box.write({"metadata/write-strategies/mine.j2": "SELECT 1"})
    box.table("d", "x", FIELDS, "format: DSV, writeStrategy: { type: MINE }")
    result = box.load("d", {"x1.csv": "id;a\n1;a\n"}, check=False)
    assert "x.sl.yml:5: unknown writeStrategy type 'MINE'" in (result.reason or "")
    assert "templates/duckdb/mine.j2" in (result.reason or "")


def test_sl_write_strategies_sets_the_folder_of_templates(box: Sandbox) -> None:
    box.write({"own/templates/duckdb/append.j2": "INSERT INTO {{ tableFullName }} SELECT id, 'own' FROM ({{ selectStatement }})"})
    box.table("d", "x", FIELDS)
    box.load("d", {"x1.csv": "id;a\n1;a\n"}, env={"SL_WRITE_STRATEGIES": "own"})
    assert box.rows("select * from d.x") == [(1, "own")]


def test_the_templates_of_another_database_are_rejected(box: Sandbox) -> None:
    file = "metadata/application.sl.yml"
    text = (box.root / file).read_text() + "  jdbcEngines:\n    duckdb: { strategyBuilder: postgresql }\n"
    box.write({file: text}).table("d", "x", FIELDS)
    result = box.load("d", {"x1.csv": "id;a\n1;a\n"}, check=False)
    assert "application.sl.yml:8: the write strategies of 'postgresql' are not supported" in (result.reason or "")


@pytest.mark.parametrize(
    ("strategy", "first"),
    [
        (Strategy("MINE", key=("id",), dedupe=True, template=OWN), "UPSERT_BY_KEY"),
        (Strategy("MINE", key=("id",), timestamp="at", dedupe=True, template=OWN), "UPSERT_BY_KEY_AND_TIMESTAMP"),
        (Strategy("MINE", key=("id",), template=OWN), "APPEND"),
        (Strategy("MINE", dedupe=True, template=OWN), "APPEND"),
        (Strategy("OVERWRITE", template=OWN), "OVERWRITE"),
    ],
)
def test_the_first_rows_of_a_table_are_written_without_its_template(strategy: Strategy, first: str) -> None:
    assert (strategy.for_new_table.type, strategy.for_new_table.template) == (first, None)


KEYED = ["UPSERT_BY_KEY", "UPSERT_BY_KEY_AND_TIMESTAMP", "DELETE_THEN_INSERT", "SCD2"]


@pytest.mark.parametrize("kind", KEYED)
def test_a_strategy_without_a_key_uses_the_primary_key(box: Sandbox, kind: str) -> None:
    box.table("d", "x", FIELDS, f"format: DSV, writeStrategy: {{ type: {kind}, timestamp: a }}", primaryKey="[id]")
    box.load("d", {"x1.csv": "id;a\n1;a\n2;b\n"})
    box.load("d", {"x2.csv": "id;a\n2;c\n"})
    current = " where sl_end_ts is null" if kind == "SCD2" else ""
    assert box.rows(f"select id, a from d.x{current} order by id") == [(1, "a"), (2, "c")]


@pytest.mark.parametrize("kind", KEYED)
def test_a_strategy_that_is_chosen_at_run_time_needs_a_key(box: Sandbox, kind: str) -> None:
    box.table("d", "x", FIELDS, f"format: DSV, writeStrategy: {{ types: {{ {kind}: 'true' }}, timestamp: a }}")
    reason = box.load("d", {"x1.csv": "id;a\n1;a\n"}, check=False).reason or ""
    assert reason.endswith(f"x.sl.yml:5: write strategy {kind} needs a key: writeStrategy.key")


@pytest.mark.parametrize(
    ("strategy", "said"),
    [
        (Strategy("UPSERT_BY_KEY", key=("A", "nosuch")), "column in the key of UPSERT_BY_KEY, 'nosuch'"),
        (Strategy("SCD2", key=("id",), timestamp="late"), "column in the timestamp of SCD2, 'late'"),
        (Strategy("OVERWRITE_BY_PARTITION", partition=("part",)), "column in the partition of OVERWRITE_BY_PARTITION, 'part'"),
    ],
)
def test_columns_of_a_strategy_that_do_not_exist_are_named(strategy: Strategy, said: str) -> None:
    with pytest.raises(BadSetting, match=said):
        check_columns(strategy, ["id", "a"], "d.x")
    check_columns(replace(strategy, template=OWN), ["id", "a"], "d.x")


@pytest.mark.parametrize(
    ("strategy", "said"),
    [
        ("type: APPEND, queryFilter: a > 1", "queryFilter is for BigQuery's partitions; the embedded engine does not support it"),
        ("type: OVERWRITE_BY_PARTITION", "write strategy OVERWRITE_BY_PARTITION needs sink.partition"),
        ("types: { OVERWRITE_BY_PARTITION: 'true' }", "write strategy OVERWRITE_BY_PARTITION needs sink.partition"),
        (
            "types: { UPSERT_BY_KEY_AND_TIMESTAMP: 'true' }, key: [id]",
            "write strategy UPSERT_BY_KEY_AND_TIMESTAMP needs a timestamp: writeStrategy.timestamp",
        ),
        ("type: SCD2, key: [id], startTs: since", "startTs and endTs must be given together"),
    ],
)
def test_a_strategy_that_cannot_be_run_is_rejected_with_its_line(box: Sandbox, strategy: str, said: str) -> None:
    box.table("d", "x", FIELDS, f"format: DSV, writeStrategy: {{ {strategy} }}")
    reason = box.load("d", {"x1.csv": "id;a\n1;a\n"}, check=False).reason or ""
    assert reason.endswith(f"x.sl.yml:5: {said}")


def test_a_template_for_another_database_does_not_define_a_strategy(box: Sandbox) -> None:
    file = "metadata/application.sl.yml"
    text = (box.root / file).read_text() + "    warehouse: { type: bigquery }\n"
    box.write({file: text, TEMPLATES.replace("duckdb", "bigquery") + "/my_merge.j2": MERGE})
    box.table("d", "x", FIELDS, "format: DSV, writeStrategy: { type: MY_MERGE }")
    reason = box.load("d", {"x1.csv": "id;a\n1;a\n"}, check=False).reason or ""
    assert "x.sl.yml:5: unknown write strategy 'MY_MERGE'" in reason
    assert reason.endswith(f", and the project has no template {box.root / TEMPLATES}/my_merge.j2")


def test_newer_rows_replace_older_ones(box: Sandbox) -> None:
    strategy = "writeStrategy: { types: { UPSERT_BY_KEY_AND_TIMESTAMP: 'true' }, key: [id], timestamp: a }"
    box.table("d", "x", FIELDS, f"format: DSV, {strategy}")
    box.load("d", {"x1.csv": "id;a\n1;b\n2;b\n", "x2.csv": "id;a\n1;a\n2;c\n"})
    assert box.rows("select * from d.x order by id") == [(1, "b"), (2, "c")]


@pytest.mark.parametrize(("on", "kept"), [("TARGET", "b"), ("source_and_target", "a")])
def test_one_of_several_rows_with_a_key_is_kept(box: Sandbox, on: str, kept: str) -> None:
    box.table("d", "x", FIELDS, f"format: DSV, writeStrategy: {{ type: UPSERT_BY_KEY, key: [id], on: {on} }}")
    box.load("d", {"x1.csv": "id;a\n1;a\n1;b\n"})
    assert box.rows("select * from d.x") == [(1, kept)]


def test_the_strategy_of_a_project_has_the_primary_key(box: Sandbox) -> None:
    box.write({f"{TEMPLATES}/my_merge.j2": MERGE})
    box.table("d", "x", FIELDS, "format: DSV, writeStrategy: { type: MY_MERGE, on: TARGET }", primaryKey="[id]")
    box.load("d", {"x1.csv": "id;a\n1;a\n", "x2.csv": "id;a\n1;b\n"})
    assert box.rows("select * from d.x") == [(1, "b")]


def test_a_partition_that_is_not_a_column_is_rejected(box: Sandbox) -> None:
    metadata = "format: DSV, sink: { partition: [nosuch] }, writeStrategy: { type: OVERWRITE_BY_PARTITION }"
    reason = box.table("d", "x", FIELDS, metadata).load("d", {"x1.csv": "id;a\n1;a\n"}, check=False).reason or ""
    assert "column in the partition of OVERWRITE_BY_PARTITION, 'nosuch'" in reason


def test_scd2_columns_have_the_names_that_the_strategy_sets(box: Sandbox) -> None:
    box.table("d", "x", FIELDS, "format: DSV, writeStrategy: { type: SCD2, key: [id], startTs: since, endTs: until }")
    box.table("d", "y", FIELDS, "format: DSV, writeStrategy: { type: SCD2, key: [id] }")
    box.load("d", {"x1.csv": "id;a\n1;a\n", "y1.csv": "id;a\n1;a\n"})
    columns = "select column_name from duckdb_columns() where schema_name = 'd' and table_name = '%s' order by column_index"
    assert [name for (name,) in box.rows(columns % "x")] == ["id", "a", "since", "until"]
    assert [name for (name,) in box.rows(columns % "y")] == ["id", "a", "sl_start_ts", "sl_end_ts"]
