"""Projects with errors: the definitions that a code location has nevertheless."""

import logging
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._cli.job import _create_run
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import PythonFileTarget
from project_folder import ProjectFolder
from waiting import wait_until

from starlake_dagster_components import Settings
from starlake_dagster_components.cli.run import run_headless
from starlake_dagster_components.definitions.build import Built, build_definitions, prepare_graph
from starlake_dagster_components.definitions.warnings import BROKEN_KIND, STALE, WARNINGS
from starlake_dagster_components.errors import InvalidProject, InvalidSetting

BROKEN = "version: 1\ntable: [\n"


@pytest.fixture
def plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of plans."""
    monkeypatch.setenv("SL_DAGSTER_CACHE", str(tmp_path / "plans"))
    return tmp_path / "plans"


@pytest.fixture
def project(shop: ProjectFolder, plans: Path) -> ProjectFolder:
    """The shop, and a task without dependencies in a separate job."""
    shop.write("metadata/transform/kpi/alone.sql", "select 1 as one\n")
    shop.write("metadata/transform/kpi/alone.sl.yml", "version: 1\ntask:\n  dagRef: alone\n")
    shop.write(
        "metadata/dags/alone.sl.yml",
        """
        version: 1
        dag:
          template: transform/dagster__scheduled_task__shell.py.j2
          filename: alone.py
        """,
    )
    return shop


def list_jobs(built: Built) -> set[str]:
    return {pipeline.name for pipeline in built.plan.pipelines}


def list_assets(built: Built) -> set[str]:
    return {key.to_user_string() for key in built.definitions.resolve_asset_graph().get_all_asset_keys()}


def read_warnings(built: Built, key: str) -> str:
    metadata: Any = built.definitions.resolve_asset_graph().get(dg.AssetKey(key)).metadata
    return str(metadata[WARNINGS].value) if WARNINGS in metadata else ""


ALL = {"shop_tables", "kpi_tasks", "alone"}


class TestLastGood:
    def test_a_broken_file_keeps_the_last_good_plan_with_a_warning(self, project: ProjectFolder, caplog: pytest.LogCaptureFixture) -> None:
        good = build_definitions(project.root, Settings())
        project.write("metadata/load/shop/items.sl.yml", BROKEN)
        with caplog.at_level(logging.WARNING, "starlake_dagster_components"):
            built = build_definitions(project.root, Settings())
        assert list_jobs(built) == list_jobs(good)
        assert list_assets(built) == list_assets(good)
        assert "metadata/load/shop/items.sl.yml:3: ERROR, using the last good plan: is not YAML" in read_warnings(built, "shop_items")
        assert read_warnings(built, "shop_orders") == ""
        said = [r.getMessage() for r in caplog.records]
        assert any("(metadata/load/shop/items.sl.yml): until they are fixed, jobs and assets are those of the last plan" in m for m in said)

    def test_a_fixed_file_replaces_the_last_good_plan(self, project: ProjectFolder) -> None:
        build_definitions(project.root, Settings())
        items = (project.root / "metadata/load/shop/items.sl.yml").read_text()
        project.write("metadata/load/shop/items.sl.yml", BROKEN)
        build_definitions(project.root, Settings())
        project.write("metadata/load/shop/items.sl.yml", items)
        project.write("metadata/transform/kpi/more.sql", "select 2 as two\n")
        built = build_definitions(project.root, Settings())
        assert "kpi_more" in list_assets(built)
        assert read_warnings(built, "shop_items") == ""

    def test_without_a_good_plan_all_errors_are_listed(self, project: ProjectFolder) -> None:
        project.write("metadata/load/shop/items.sl.yml", BROKEN)
        project.write("metadata/load/shop/orders.sl.yml", BROKEN)
        with pytest.raises(InvalidProject, match="2 problems"):
            build_definitions(project.root, Settings())

    @pytest.mark.parametrize("file", ["metadata/application.sl.yml", "metadata/env.sl.yml", "metadata/types/types.sl.yml"])
    def test_files_that_every_command_reads_are_never_ignored(self, project: ProjectFolder, file: str) -> None:
        build_definitions(project.root, Settings())
        project.write(file, "version: [")
        with pytest.raises(InvalidProject, match=file):
            build_definitions(project.root, Settings())

    def test_a_folder_that_cannot_be_read_keeps_the_last_good_plan(self, project: ProjectFolder) -> None:
        build_definitions(project.root, Settings())
        folder = project.root / "metadata/load"
        folder.rename(project.root / "moved")
        folder.symlink_to("load")
        built = build_definitions(project.root, Settings())
        assert list_jobs(built) == ALL
        assert "(metadata/load): until they are fixed" in built.problems[0].message
        assert {key for key in list_assets(built) if STALE in read_warnings(built, key)} == {"shop", "shop_orders", "shop_items"}

    def test_a_removed_dag_config_keeps_the_last_good_plan_although_the_application_refers_to_it(self, project: ProjectFolder) -> None:
        build_definitions(project.root, Settings())
        (project.root / "metadata/dags/loads.sl.yml").unlink()
        built = build_definitions(project.root, Settings())
        assert list_jobs(built) == ALL
        assert [STALE in p.message for p in built.problems if "unknown DAG config 'loads'" in p.message] == [True]

    def test_a_preset_with_an_invalid_cron_keeps_the_last_good_plan(self, project: ProjectFolder) -> None:
        text = (project.root / "metadata/application.sl.yml").read_text()
        project.write("metadata/transform/kpi/top.sl.yml", "version: 1\ntask:\n  schedule: early\n")
        project.write("metadata/application.sl.yml", text + '  schedulePresets:\n    early: "0 6 * * *"\n')
        good = build_definitions(project.root, Settings())
        project.write("metadata/application.sl.yml", text + '  schedulePresets:\n    early: "0 66 * * *"\n')
        built = build_definitions(project.root, Settings())
        assert list_jobs(built) == list_jobs(good)
        assert any(STALE in p.message and "preset 'early'" in p.message for p in built.problems)

    def test_a_plan_whose_assets_have_errors_is_not_a_good_one(self, project: ProjectFolder) -> None:
        build_definitions(project.root, Settings())
        # Two nodes have the same key, which is detected when assets are made.
        project.write("metadata/transform/kpi/to_p.sql", "select 1 as one\n").write("metadata/transform/kpi_to/p.sql", "select 1 as one\n")
        built = build_definitions(project.root, Settings())
        assert list_jobs(built) == ALL
        assert not {"kpi_to_p"} & list_assets(built)

    @pytest.mark.parametrize(
        ("file", "stale"),
        [
            ("metadata/transform/kpi/daily.sl.yml", {"kpi_daily"}),
            ("metadata/transform/kpi/_config.sl.yml", {"kpi_daily", "kpi_top", "kpi_alone"}),
            ("metadata/load/shop/_config.sl.yml", {"shop", "shop_orders", "shop_items"}),
        ],
    )
    def test_a_file_that_starlake_skips_after_an_edit_is_broken(self, project: ProjectFolder, file: str, stale: set[str]) -> None:
        good = build_definitions(project.root, Settings())
        project.write(file, BROKEN)
        # Other processes that read the project now do not store the plan without the file as the last good one.
        prepare_graph(project.root, Settings(on_error="fail"))
        for _ in range(2):
            built = build_definitions(project.root, Settings())
            assert list_jobs(built) == list_jobs(good)
            assert list_assets(built) == list_assets(good)
            assert {key for key in list_assets(built) if read_warnings(built, key)} == stale
            assert all(f"{file}:" in read_warnings(built, key) and STALE in read_warnings(built, key) for key in stale)
        marked = [s for s in built.definitions.resolve_all_asset_specs() if BROKEN_KIND in s.kinds]
        assert {spec.key.to_user_string() for spec in marked} == stale
        assert all((spec.description or "").startswith(f"**{STALE}**") and len(spec.kinds) <= 3 for spec in marked)

    def test_a_file_that_was_always_skipped_is_not_a_reason_to_keep_an_old_plan(self, project: ProjectFolder) -> None:
        project.write("metadata/transform/kpi/top.sl.yml", BROKEN)
        assert "kpi_top" not in list_assets(build_definitions(project.root, Settings()))
        project.write("metadata/transform/kpi/more.sql", "select 2 as two\n")
        built = build_definitions(project.root, Settings())
        assert "kpi_more" in list_assets(built)
        assert STALE not in str(built.problems)

    def test_on_error_fail_raises_the_errors(self, project: ProjectFolder) -> None:
        build_definitions(project.root, Settings())
        project.write("metadata/load/shop/items.sl.yml", BROKEN)
        with pytest.raises(InvalidProject):
            build_definitions(project.root, Settings(on_error="fail"))


class TestLeaveOut:
    def test_tasks_downstream_of_a_broken_table_are_left_out(self, project: ProjectFolder) -> None:
        project.write("metadata/load/shop/items.sl.yml", BROKEN)
        built = build_definitions(project.root, Settings(on_error="leave_out"))
        assert list_jobs(built) == {"shop_tables", "alone"}
        assert "shop_orders" in list_assets(built)
        assert not {"shop_items", "kpi_daily", "kpi_top"} & list_assets(built)
        said = [p.message for p in built.problems]
        assert "left out because of errors: kpi.daily, kpi.top" in said
        assert said[0].startswith("THE PROJECT HAS ERRORS (metadata/load/shop/items.sl.yml)")
        assert {p.severity for p in built.problems} == {"warning"}

    def test_a_broken_task_removes_its_downstream_tasks(self, project: ProjectFolder) -> None:
        project.write("metadata/transform/kpi/daily.sl.yml", "version: 1\ntask:\n  dagRef: nowhere\n")
        built = build_definitions(project.root, Settings(on_error="leave_out"))
        assert list_jobs(built) == {"shop_tables", "alone"}

    def test_a_skipped_task_file_removes_its_downstream_tasks(self, project: ProjectFolder) -> None:
        project.write("metadata/transform/kpi/daily.sl.yml", BROKEN)
        built = build_definitions(project.root, Settings(on_error="leave_out"))
        assert not {"kpi_daily", "kpi_top"} & list_assets(built)
        assert "kpi_alone" in list_assets(built)
        assert built.problems[0].message.startswith("THE PROJECT HAS ERRORS (metadata/transform/kpi/daily.sl.yml)")

    def test_a_broken_domain_removes_its_tables(self, project: ProjectFolder) -> None:
        config = project.root / "metadata/load/shop/_config.sl.yml"
        config.write_text(config.read_text().replace("schedule: daily", "schedule: dayly"))
        built = build_definitions(project.root, Settings(on_error="leave_out"))
        assert list_jobs(built) == {"alone"}

    def test_a_broken_dag_config_leaves_assets_without_a_job(self, project: ProjectFolder) -> None:
        good = build_definitions(project.root, Settings())
        project.write("metadata/dags/loads.sl.yml", (project.root / "metadata/dags/loads.sl.yml").read_text() + "    retries: many\n")
        built = build_definitions(project.root, Settings(on_error="leave_out"))
        assert list_jobs(built) == {"kpi_tasks", "alone"}
        assert list_assets(good) - list_assets(built) <= {"shop"}
        assert "jobs left out because of errors in their DAG config: shop_tables" in [p.message for p in built.problems]

    def test_a_broken_application_fails(self, project: ProjectFolder) -> None:
        project.write("metadata/application.sl.yml", "version: [")
        with pytest.raises(InvalidProject):
            build_definitions(project.root, Settings(on_error="leave_out"))


def test_a_reload_that_drops_all_jobs_of_a_kind_warns(project: ProjectFolder) -> None:
    build_definitions(project.root, Settings())
    (project.root / "metadata/transform").rename(project.root / "metadata/transform_")
    built = build_definitions(project.root, Settings())
    said = [str(p) for p in built.problems if "THIS RELOAD DROPS" in p.message]
    assert said == [
        "metadata/transform: warning: THIS RELOAD DROPS 2 of 2 transform jobs with their schedules and sensors: alone, kpi_tasks",
    ]
    assert not [p for p in build_definitions(project.root, Settings()).problems if "THIS RELOAD DROPS" in p.message]


def test_the_rest_of_a_folder_shows_its_dropped_jobs(project: ProjectFolder) -> None:
    build_definitions(project.root, Settings())
    (project.root / "metadata/transform/kpi/alone.sql").unlink()
    (project.root / "metadata/transform/kpi/alone.sl.yml").unlink()
    built = build_definitions(project.root, Settings(dropped_jobs=0.5))
    shown = {key for key in list_assets(built) if "THIS RELOAD DROPS 1 of 2 transform jobs" in read_warnings(built, key)}
    assert shown == {"kpi_daily", "kpi_top"}


LOCATION = """

from starlake_dagster_components import load_definitions_from_starlake_project

defs = load_definitions_from_starlake_project({root!r}, executor="duckdb", on_error={on_error!r})
"""


@pytest.mark.slow
@pytest.mark.parametrize("on_error", ["fail", "leave_out"])
def test_a_run_uses_the_plan_that_it_was_launched_with(
    project: ProjectFolder, instance: dg.DagsterInstance, tmp_path: Path, on_error: str
) -> None:
    if on_error == "leave_out":
        project.write("metadata/load/shop/orders.sl.yml", BROKEN)
    location = tmp_path / "location.py"
    location.write_text(LOCATION.format(root=str(project.root), on_error=on_error))
    target = PythonFileTarget(python_file=str(location), attribute=None, working_directory=str(tmp_path), location_name="shop")
    with WorkspaceProcessContext(instance, target) as process_context:
        context = process_context.create_request_context()
        code_location = context.get_code_location("shop")
        repository = code_location.get_repository("__repository__")
        runs = [_create_run(instance, code_location, repository, repository.get_full_job("alone"), {}, {}, None, None) for _ in range(2)]
        # Other files are edited, one of them is broken, and the graph of this job changes.
        project.write("metadata/load/shop/items.sl.yml", BROKEN)
        project.write("metadata/transform/kpi/alone.sl.yml", "version: 1\ntask:\n  comment: moved out of its job\n  dagRef: transforms\n")
        for run in runs:
            instance.launch_run(run.run_id, context)
        statuses = {wait_for_end(instance, run.run_id) for run in runs}
    assert statuses == {dg.DagsterRunStatus.SUCCESS}
    assert instance.get_latest_materialization_event(dg.AssetKey("kpi_alone"))


def wait_for_end(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    wait_until(lambda: (run := instance.get_run_by_id(run_id)) and run.is_finished, "the end of the run")
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


@pytest.mark.parametrize(
    ("on_error", "said"), [("last_good", "of the last plan without errors"), ("leave_out", "is left out"), ("fail", "")]
)
def test_check_shows_the_errors_and_what_a_code_location_becomes(project: ProjectFolder, on_error: Any, said: str) -> None:
    build_definitions(project.root, Settings())
    project.write("metadata/load/shop/items.sl.yml", BROKEN)
    _, _, problems = prepare_graph(project.root, Settings(on_error=on_error))
    assert problems[0].severity == "error"
    loud = [p.message for p in problems if p.message.startswith("THE PROJECT HAS ERRORS")]
    assert [said in message for message in loud] == [True] * bool(said)


def test_a_headless_run_fails_on_errors(project: ProjectFolder) -> None:
    build_definitions(project.root, Settings(executor="duckdb"))
    project.write("metadata/load/shop/items.sl.yml", BROKEN)
    with pytest.raises(InvalidProject):
        run_headless(project.root, Settings(executor="duckdb"), job="alone")


def test_the_share_of_dropped_jobs_is_a_setting(project: ProjectFolder) -> None:
    build_definitions(project.root, Settings())
    (project.root / "metadata/transform/kpi/alone.sql").unlink()
    (project.root / "metadata/transform/kpi/alone.sl.yml").unlink()
    assert not [p for p in prepare_graph(project.root, Settings())[2] if "THIS RELOAD DROPS" in p.message]
    project.write("metadata/transform/kpi/alone.sql", "select 1 as one\n")
    project.write("metadata/transform/kpi/alone.sl.yml", "version: 1\ntask:\n  dagRef: alone\n")
    build_definitions(project.root, Settings())
    (project.root / "metadata/transform/kpi/alone.sql").unlink()
    (project.root / "metadata/transform/kpi/alone.sl.yml").unlink()
    _, _, problems = prepare_graph(project.root, Settings(dropped_jobs=0.5))
    assert [p.message for p in problems if "THIS RELOAD DROPS 1 of 2 transform jobs" in p.message]


@pytest.mark.parametrize("share", [0, 1.5, "much", True, None])
def test_a_dropped_jobs_share_outside_of_0_to_1_is_rejected(share: Any) -> None:
    with pytest.raises(InvalidSetting, match=r"dropped_jobs: .* \(expected a number greater than 0 and at most 1\)"):
        Settings(dropped_jobs=share)
