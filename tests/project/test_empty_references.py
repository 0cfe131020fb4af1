"""Unset variables in references to DAG configs and schedules."""

from collections.abc import Mapping

import pytest
from project_folder import ProjectFolder

from starlake_dagster_components.pipelines.plan_loading import load_plan


def list_problems(shop: ProjectFolder, environ: Mapping[str, str] | None = None) -> list[str]:
    return [str(p) for p in load_plan(shop.root, environ=environ or {}).plan.problems]


def replace(shop: ProjectFolder, file: str, old: str, new: str) -> None:
    path = shop.root / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_an_unset_variable_in_the_applications_dag_ref_is_reported(shop: ProjectFolder) -> None:
    replace(shop, "metadata/application.sl.yml", "load: loads", 'load: "{{ LOAD_DAG }}"')
    number = (shop.root / "metadata/application.sl.yml").read_text().splitlines().index('    load: "{{ LOAD_DAG }}"') + 1
    assert list_problems(shop) == [
        f"metadata/application.sl.yml:{number}: dagRef.load '{{{{ LOAD_DAG }}}}': the variable LOAD_DAG is not set"
    ]
    assert list_problems(shop, {"LOAD_DAG": "loads"}) == []


@pytest.mark.parametrize(
    "written", ['{load: "{{D}}", transform: transforms}', "{transform: transforms, 'load': {{D}}}", "{load: '{{D}}'} # none"]
)
def test_an_unset_variable_in_a_one_line_mapping_is_reported(shop: ProjectFolder, written: str) -> None:
    replace(shop, "metadata/application.sl.yml", "  dagRef:\n    load: loads\n    transform: transforms\n", f"  dagRef: {written}\n")
    [number] = [n for n, line in enumerate((shop.root / "metadata/application.sl.yml").read_text().splitlines(), 1) if "dagRef" in line]
    assert list_problems(shop) == [f"metadata/application.sl.yml:{number}: dagRef.load '{{{{D}}}}': the variable D is not set"]
    assert [p for p in list_problems(shop, {"D": "loads"}) if "not set" in p] == []


def test_unset_variables_in_dag_refs_of_domains_and_tasks_are_reported(shop: ProjectFolder) -> None:
    replace(shop, "metadata/load/shop/_config.sl.yml", "    schedule: daily", '    dagRef: "{{D}}"\n    schedule: daily')
    shop.write("metadata/transform/kpi/daily.sl.yml", "version: 1\ntask:\n  dagRef: '{{T}}' # by environment\n")
    assert list_problems(shop) == [
        "metadata/load/shop/_config.sl.yml:7: dagRef '{{D}}': the variable D is not set",
        "metadata/transform/kpi/daily.sl.yml:3: dagRef '{{T}}': the variable T is not set",
    ]


def test_an_unset_variable_in_a_schedule_is_a_warning(shop: ProjectFolder) -> None:
    replace(shop, "metadata/load/shop/_config.sl.yml", "schedule: daily", 'schedule: "{{S}}"')
    assert list_problems(shop) == [
        "metadata/load/shop/_config.sl.yml:7: warning: schedule '{{S}}': the variable S is not set, so there is no schedule"
    ]


@pytest.mark.parametrize(
    ("written", "rendered"), [('"{{incoming}}/shop"', "/shop"), ("'{{ incoming }}'", "."), ("'{{data}}/{{incoming}}'", "/d/")]
)
def test_an_unset_variable_in_a_directory_is_a_warning(shop: ProjectFolder, written: str, rendered: str) -> None:
    shop.write("metadata/env.sl.yml", "env:\n  data: /d\n")
    path = shop.root / "metadata/load/shop/_config.sl.yml"
    lines = ["    directory: " + written if "directory:" in line else line for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines) + "\n")
    number = lines.index("    directory: " + written) + 1
    value = written.strip("\"'")
    assert list_problems(shop) == [
        f"metadata/load/shop/_config.sl.yml:{number}: warning: directory '{value}': the variable incoming is not set, "
        f"so the folder is '{rendered}'"
    ]
    assert list_problems(shop, {"incoming": "/data"}) == []


@pytest.mark.parametrize("written", ["\"{{ D | default('') }}\"", '"{{ EMPTY }}"', '"{{ A }}{{ B }}"', '""'])
def test_variables_that_are_empty_on_purpose(shop: ProjectFolder, written: str) -> None:
    shop.write("metadata/env.sl.yml", 'env:\n  EMPTY: ""\n  A: lo\n  B: ads\n')
    replace(shop, "metadata/load/shop/_config.sl.yml", "    schedule: daily", f"    dagRef: {written}\n    schedule: daily")
    assert list_problems(shop) == []


def test_a_variable_of_another_environment_is_not_set_here(shop: ProjectFolder) -> None:
    shop.write("metadata/env.PROD.sl.yml", "env:\n  D: loads\n")
    replace(shop, "metadata/load/shop/_config.sl.yml", "    schedule: daily", '    dagRef: "{{D}}"\n    schedule: daily')
    assert list_problems(shop) == ["metadata/load/shop/_config.sl.yml:7: dagRef '{{D}}': the variable D is not set"]
    assert list_problems(shop, {"SL_ENV": "PROD"}) == []


def test_a_connection_whose_variable_is_not_set_is_reported(shop: ProjectFolder) -> None:
    application = shop.root / "metadata/application.sl.yml"
    text = application.read_text().replace("application:\n", "application:\n  connectionRef: '{{ACTIVE}}'\n", 1)
    shop.write("metadata/application.sl.yml", "\n".join(line for line in text.splitlines() if "connectionRef: d" not in line) + "\n")
    assert [problem for problem in list_problems(shop) if "ACTIVE" in problem] == [
        "metadata/application.sl.yml:3: warning: connectionRef '{{ACTIVE}}': the variable ACTIVE is not set, "
        "so there is no connection; set it to duckdb"
    ]


def test_a_connection_whose_variable_has_an_unset_value_names_the_choices(shop: ProjectFolder) -> None:
    text = (shop.root / "metadata/application.sl.yml").read_text().replace("connectionRef: duckdb", "connectionRef: '{{db}}'")
    other = "    pg: {type: jdbc, options: {url: 'jdbc:postgresql://db/x'}}\n"
    shop.write("metadata/application.sl.yml", text.replace("  dagRef:\n", f"{other}  dagRef:\n"))
    shop.write("metadata/env.sl.yml", "env:\n  db: '{{DB}}'\n")
    [found] = [problem for problem in list_problems(shop) if "DB" in problem]
    assert found == (
        "metadata/env.sl.yml:2: variable 'db' is '{{DB}}', and DB is not set; set it to one of duckdb, pg in the environment, or give 'db' "
        "a value (used for connectionRef in metadata/application.sl.yml:3)"
    )
