"""Commands that cannot run because of a fault of Starlake are reported when the project is read, for executors that run Starlake."""

from pathlib import Path

import pytest
from project_folder import ProjectFolder

from starlake_dagster_components import DuckDBExecutor, ShellExecutor, StarlakeExecutor
from starlake_dagster_components.definitions.build import prepare_graph
from starlake_dagster_components.executors.cloud_run.executor import CloudRunExecutor
from starlake_dagster_components.executors.known_faults import KnownFault
from starlake_dagster_components.settings import Settings

HISTORY = """
version: 1
table:
  name: {name}
  pattern: "{name}.*.csv"
  metadata:
    writeStrategy:
      type: SCD2
      key: {key}
  attributes: [{{name: id, type: long}}, {{name: part, type: long}}]
"""


def list_warnings(root: Path, executor: StarlakeExecutor) -> list[str]:
    _, _, problems = prepare_graph(root, Settings(executor=executor))
    return [str(p) for p in problems if p.severity == "warning" and "SCD2" in p.message]


@pytest.mark.parametrize("executor", [ShellExecutor(), DuckDBExecutor(), CloudRunExecutor()])
def test_scd2_with_several_key_columns_is_a_warning(shop: ProjectFolder, executor: StarlakeExecutor) -> None:
    for name, key in {"two": "[id, part]", "one": "[id]"}.items():
        shop.write(f"metadata/load/shop/{name}.sl.yml", HISTORY.format(name=name, key=key))
    found = list_warnings(shop.root, executor)
    if isinstance(executor, DuckDBExecutor):
        assert found == []
        return
    (warning,) = found
    assert warning.startswith("metadata/load/shop/two.sl.yml:6: warning: shop.two has the write strategy SCD2 with several key columns")


def test_a_fault_affects_only_its_versions() -> None:
    fault = KnownFault("", "", lambda node: True, since="1.5.0", until="1.8.2", fixed="1.9.0")
    assert [v for v in ("1.4.9", "1.5.0", "1.8.2-SNAPSHOT", "1.9.0", "2.0", "", "latest") if fault.affects(v)] == [
        "1.5.0",
        "1.8.2-SNAPSHOT",
        "",
        "latest",
    ]


def test_the_example_runs_with_the_real_starlake_too() -> None:
    assert list_warnings(Path(__file__).parents[2] / "examples/tallow_lane", ShellExecutor()) == []


@pytest.mark.parametrize("executor", [ShellExecutor(), DuckDBExecutor(), CloudRunExecutor()])
def test_input_that_the_json_schema_of_starlake_rejects(shop: ProjectFolder, executor: StarlakeExecutor) -> None:
    orders = shop.root / "metadata/load/shop/orders.sl.yml"
    orders.write_text(orders.read_text().replace("required: true", 'required: "true"'))
    _, _, problems = prepare_graph(shop.root, Settings(executor=executor, on_error="fail"))
    found = [p for p in problems if "the string 'true'" in p.message]
    assert [p.severity for p in found] == ["warning" if isinstance(executor, DuckDBExecutor) else "error"]
    assert str(found[0]).startswith("metadata/load/shop/orders.sl.yml:13: ")


def test_a_quoted_boolean_that_starlake_rejects_is_an_error(shared: Path) -> None:
    _, _, problems = prepare_graph(shared / "cases/real/sp_quoted_bool", Settings(executor=ShellExecutor(), on_error="fail"))
    assert any("failOnError: expected true or false, found the string" in p.message for p in problems if p.severity == "error"), problems
