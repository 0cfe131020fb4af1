"""Columns of a whole project, in Dagster: of tables after rename and script, and of tasks in the order of their dependencies."""

import json
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner
from dagster_home import open_instance
from project_folder import ProjectFolder

from starlake_dagster_components import load_definitions_from_starlake_project
from starlake_dagster_components.cli.main import main
from starlake_dagster_components.lineage.project import list_node_columns
from starlake_dagster_components.project.reader import read_project
from starlake_dagster_components.testing import RecordingExecutor


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProjectFolder:
    for name in ("SL_ENV", "SL_ROOT", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)
    folder = ProjectFolder(tmp_path / "shop")
    folder.write(
        "metadata/application.sl.yml",
        "application: {connectionRef: duck, connections: {duck: {type: jdbc, options: {url: 'jdbc:duckdb:x.db'}}}}\n",
    )
    folder.write("metadata/load/raw/_config.sl.yml", "load: {name: raw, rename: sales}\n")
    folder.write(
        "metadata/load/raw/orders.sl.yml",
        """
        table:
          name: orders
          pattern: orders.*.csv
          attributes:
            - {name: oid, rename: id, type: long}
            - {name: price, type: double}
            - {name: secret, type: string, ignore: true}
            - {name: gross, type: double, script: price * 1.2}
        """,
    )
    folder.write(
        "metadata/load/raw/customers.sl.yml",
        """
        table:
          name: customers
          pattern: customers.*.csv
          metadata: {writeStrategy: {type: SCD2, key: [id], timestamp: since}}
          attributes: [{name: id, type: long}, {name: since, type: timestamp}]
        """,
    )
    folder.write("metadata/transform/kpi/one.sql", "select id, gross {% if true %}as amount{% endif %} from sales.orders\n")
    folder.write("metadata/transform/kpi/two.sql", "select *, amount * 2 as twice, erp.rates.rate from kpi.one, erp.rates\n")
    folder.write("metadata/transform/kpi/three.sql", "select * from two join sales.customers c on true\n")
    folder.write("metadata/transform/kpi/four.sql", "select * from nowhere.known\n")
    return folder


def list_sources(folder: ProjectFolder) -> dict[str, dict[str, str]]:
    return {
        node.name: {c.name: ",".join(s.text for s in c.sources) if c.sources is not None else "?" for c in node.columns}
        for node in list_node_columns(read_project(folder.root))
    }


def test_columns_of_tables_and_tasks_have_sources(folder: ProjectFolder) -> None:
    found = list_sources(folder)
    assert found["raw.orders"] == {"id": "orders.*.csv.oid", "price": "orders.*.csv.price", "gross": "orders.*.csv.price"}
    assert found["raw.customers"]["sl_start_ts"] == ""
    assert found["kpi.one"] == {"id": "raw.orders.id", "amount": "raw.orders.gross"}


def test_an_unknown_star_is_reported_with_its_reason(folder: ProjectFolder) -> None:
    nodes = {n.name: n for n in list_node_columns(read_project(folder.root))}
    assert nodes["kpi.four"].columns == ()
    assert "*" in nodes["kpi.four"].reason


def test_stars_take_the_columns_of_tasks_and_of_scd2(folder: ProjectFolder) -> None:
    folder.write("metadata/transform/kpi/two.sql", "select *, amount * 2 as twice from kpi.one\n")
    found = list_sources(folder)
    assert found["kpi.two"] == {"id": "kpi.one.id", "amount": "kpi.one.amount", "twice": "kpi.one.amount"}
    assert list(found["kpi.three"]) == ["id", "amount", "twice", "since", "sl_start_ts", "sl_end_ts"]
    assert found["kpi.three"]["twice"] == "kpi.two.twice"
    assert found["kpi.three"]["sl_end_ts"] == "raw.customers.sl_end_ts"


def test_a_task_that_reads_itself_does_not_hang(folder: ProjectFolder) -> None:
    folder.write(
        "metadata/transform/kpi/one.sql", "select id, coalesce(t.amount, 0) as amount from sales.orders left join kpi.one t using (id)\n"
    )
    assert "kpi.one" in list_sources(folder)


def test_the_materialization_has_lineage_and_columns(folder: ProjectFolder, tmp_path: Path) -> None:
    definitions = load_definitions_from_starlake_project(folder.root, executor=RecordingExecutor())
    with open_instance(tmp_path / "home") as instance:
        repository = definitions.get_repository_def()
        result = repository.get_implicit_global_asset_job_def().execute_in_process(instance=instance)
        assert result.success
        metadata = {
            e.materialization.asset_key.to_user_string(): e.materialization.metadata for e in result.get_asset_materialization_events()
        }
    lineage = metadata["kpi_one"]["dagster/column_lineage"].value
    assert isinstance(lineage, dg.TableColumnLineage)
    assert lineage.deps_by_column["amount"] == [dg.TableColumnDep(dg.AssetKey("sales_orders"), "gross")]
    schema = metadata["kpi_one"]["dagster/column_schema"].value
    assert isinstance(schema, dg.TableSchema)
    assert [(c.name, c.type) for c in schema.columns] == [("id", "bigint"), ("amount", "double")]
    assert "dagster/column_lineage" not in metadata["kpi_four"]


def run_lineage(folder: ProjectFolder, *arguments: str) -> str:
    result = CliRunner().invoke(main, ["lineage", str(folder.root), *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_the_command_shows_a_column_with_everything_upstream(folder: ProjectFolder) -> None:
    assert run_lineage(folder, "KPI.one.amount").splitlines() == [
        "task kpi.one",
        "  amount (double) <- raw.orders.gross",
        "table raw.orders",
        "  gross (double) <- orders.*.csv.price",
    ]
    assert "task kpi.four: unknown: " in run_lineage(folder)
    nodes = json.loads(run_lineage(folder, "kpi.one", "--format", "json"))["nodes"]
    assert [n["name"] for n in nodes] == ["kpi.one", "raw.orders"]
    assert nodes[0]["columns"][0] == {
        "name": "id",
        "type": "bigint",
        "sources": [{"kind": "table", "name": "raw.orders", "column": "id"}],
    }
    assert run_lineage(folder, "kpi.one.amount", "--format", "mermaid").splitlines() == [
        "flowchart LR",
        '  c0["raw.orders.gross"] --> c1["kpi.one.amount"]',
        '  c2["orders.*.csv.price"] --> c0',
    ]


def test_an_unknown_name_is_an_error_that_proposes_the_closest(folder: ProjectFolder) -> None:
    result = CliRunner().invoke(main, ["lineage", str(folder.root), "kpi.onne"])
    assert result.exit_code == 1
    assert "kpi.one" in result.output


def read_expected() -> dict[str, dict[str, str | dict[str, str]]]:
    """Return the expected columns of the tasks of each project: column -> sources, or the reason why they are not known."""
    found: dict[str, dict[str, str | dict[str, str]]] = {}
    tasks: dict[str, str | dict[str, str]] = {}
    columns: dict[str, str] = {}
    for line in (Path(__file__).parent / "corpus_columns.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("== "):
            tasks = found[line[3:]] = {}
        elif line.startswith("  "):
            column, _, sources = line.strip().partition(" <")
            columns[column] = sources.strip()
        else:
            name, _, reason = line.partition(": ")
            columns = {}
            tasks[name] = reason or columns
    return found


EXPECTED = read_expected()


@pytest.mark.parametrize("project", EXPECTED)
def test_columns_of_real_projects_have_the_recorded_sources(shared: Path, project: str) -> None:
    """Each column was compared with the SQL by a person.

    Not followed are ``EXPLAIN ANALYZE``, and StarBake's tasks that take a star over the fields of an unnested array of structs, with those
    that take a star from them.
    """
    nodes = [n for n in list_node_columns(read_project(shared / "corpus" / project)) if n.kind == "task"]
    assert [(n.name, c.name) for n in nodes for c in n.columns if c.sources is None] == []
    found = {n.name: n.reason or {c.name: ", ".join(s.text for s in c.sources or ()) for c in n.columns} for n in nodes}
    assert found == EXPECTED[project]


def test_no_real_task_is_left_out(shared: Path) -> None:
    projects = [path for path in (shared / "corpus").iterdir() if path.is_dir()]
    counts = {path.name: len(read_project(path).tasks) for path in projects}
    assert {name: count for name, count in counts.items() if count} == {name: len(tasks) for name, tasks in EXPECTED.items()}


PUBLISHED = {
    "starbake_analytics.customer_purchase_history": {
        "customer_id": {"starbake.orders.customer_id"},
        "customer_name": {"starbake.customers.first_name", "starbake.customers.last_name"},
        "email": {"starbake.customers.email"},
        "total_orders": {"starbake.orders.order_id"},
        "total_spent": {"starbake.orders.quantity", "starbake.products.price"},
        "first_order_date": {"starbake.orders.order_date"},
        "last_order_date": {"starbake.orders.order_date"},
        "purchased_categories": {"starbake.products.category"},
        "days_since_first_order": {"starbake.orders.order_date"},
    },
    "starbake_analytics.order_items_analysis": {
        "order_id": {"starbake.orders.order_id"},
        "order_date": {"starbake.orders.order_date"},
        "customer_id": {"starbake.orders.customer_id"},
        "purchased_items": {"starbake.orders.quantity", "starbake.products.name"},
        "total_order_value": {"starbake.orders.quantity", "starbake.products.price"},
    },
}
"""The output of ``starlake col-lineage`` in Starlake's ``ColLineageIntegrationSpec``, with relations followed through CTEs.

Starlake also shows CTEs as tables. Its sample ``lineage`` contains older results, which end at a CTE that aggregates: those of
``starbake_kpis.overall_kpis`` name columns of CTEs only.
"""


def test_lineage_matches_the_one_that_starlake_publishes(shared: Path) -> None:
    nodes = {n.name: n for n in list_node_columns(read_project(shared / "corpus/starlake-bootstrap-sample-project")) if n.kind == "task"}
    assert {name: {c.name: {s.text for s in c.sources or ()} for c in nodes[name].columns} for name in PUBLISHED} == PUBLISHED
