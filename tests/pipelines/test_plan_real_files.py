"""Projects on disk: the project and its plan agree on names, values, and locations."""

import json
from typing import Any

from plan_builders import list_jobs, list_messages

from starlake_dagster_components.pipelines.dependency_trees import build_dependency_tree, format_starlake_json
from starlake_dagster_components.pipelines.pipeline import Plan
from starlake_dagster_components.pipelines.plan import plan_project
from starlake_dagster_components.project.reader import read_project


def plan_folder(folder: Any, environ: dict[str, str] | None = None, **settings: Any) -> Plan:
    reading = {key: settings.pop(key) for key in ("dependencies",) if key in settings}
    return plan_project(read_project(folder.root, environ=environ or {}, **reading), **settings)


def test_a_small_project(shop: Any) -> None:
    made = plan_folder(shop)
    assert list_messages(made) == []
    assert list_jobs(made) == {"kpi_tasks": ["kpi.daily", "kpi.top"], "shop_tables": ["shop.items", "shop.orders"]}
    tasks, tables = made.pipelines
    assert (tables.comment, tables.tags, tables.pre_load["shop"].strategy) == ("loads shop", ("nightly",), "imported")
    assert tables.schedule
    assert (tables.schedule.cron, str(tables.schedule.location), tables.schedule.preset) == (
        "0 0 * * *",
        "metadata/load/shop/_config.sl.yml:7",
        None,
    )
    assert {name: str(where) for name, where in tables.dag_refs.items()} == dict.fromkeys(
        ("shop.items", "shop.orders"), "metadata/application.sl.yml:12"
    )
    assert set(map(str, tasks.dag_refs.values())) == {"metadata/application.sl.yml:13"}
    assert [(d.kind, d.name, str(d.location)) for d in made.dependencies.get_direct("kpi.daily")] == [
        ("table", "shop.orders", "metadata/transform/kpi/daily.sql:2"),
        ("table", "shop.items", "metadata/transform/kpi/daily.sql:3"),
    ]
    assert [(d.kind, d.name) for d in made.dependencies.get_direct("kpi.top")] == [("task", "kpi.daily"), ("external", "elsewhere.rates")]


def test_files_and_lines_of_problems(shop: Any) -> None:
    shop.write(
        "metadata/load/shop/_config.sl.yml",
        """
        version: 1
        load:
          name: shop
          metadata:
            directory: "{{SL_ROOT}}/incoming"
            dagRef: laods
            schedule: dayly
        """,
    )
    shop.write(
        "metadata/transform/kpi/daily.sl.yml",
        """
        version: 1
        task:
          schedule: "0 0 1 * * ?"
          dagRef: mine
        """,
    )
    shop.write(
        "metadata/dags/mine.sl.yml",
        """
        version: 1
        dag:
          template: transform/dagster__scheduled_task__shell.py.j2
          filename: mine.py
          options:
            retries: many
            load_dependencies: true
        """,
    )
    assert sorted(list_messages(plan_folder(shop))) == [
        "metadata/dags/mine.sl.yml:6: option 'retries': 'many' is not a number of 0 or more",
        "metadata/dags/mine.sl.yml:7: warning: option 'load_dependencies' no longer has an effect; use 'run_dependencies_first'",
        "metadata/load/shop/_config.sl.yml:6: unknown DAG config 'laods' (did you mean 'loads'?): there is no dags/laods.sl.yml; "
        "needed by shop.items, shop.orders",
        "metadata/transform/kpi/daily.sl.yml:3: cron '0 0 1 * * ?' has 6 fields, like those of Quartz; expected five "
        "(minute, hour, day of month, month, day of week): write '0 1 * * *'",
    ]


def test_presets_of_the_project_have_a_place(shop: Any) -> None:
    text = (shop.root / "metadata/application.sl.yml").read_text()
    shop.write("metadata/application.sl.yml", text + '  schedulePresets:\n    daily: "0 4 * * *"\n    nightly: "0 0 0 * *"\n')
    schedule = plan_folder(shop).pipelines[1].schedule
    assert schedule
    assert (schedule.cron, str(schedule.preset)) == ("0 4 * * *", "metadata/application.sl.yml:15")
    shop.write("metadata/transform/kpi/top.sl.yml", "task:\n  schedule: nightly\n")
    (message,) = list_messages(plan_folder(shop), "error")
    assert message.startswith("metadata/application.sl.yml:16: preset 'nightly': cron '0 0 0 * *'")


def test_a_variable_that_is_not_set(shop: Any) -> None:
    shop.write("metadata/env.sl.yml", 'env:\n  ref: "{{LOAD_DAG_REF}}"\n')
    text = (shop.root / "metadata/application.sl.yml").read_text()
    shop.write("metadata/application.sl.yml", text.replace("load: loads", 'load: "{{ref}}"'))
    said = "\n".join(list_messages(plan_folder(shop), "error"))
    assert "metadata/env.sl.yml:2" in said
    assert "LOAD_DAG_REF" in said
    assert list_messages(plan_folder(shop, {"LOAD_DAG_REF": "loads"})) == []


def test_a_custom_template_on_disk(shop: Any) -> None:
    shop.write(
        "metadata/dags/templates/transform/ours.py.j2",
        """
        {% include 'dags/templates/base.py.j2' %}
        jobs = {"kpi.top": {"options": "region={{region}}"}}
        {% include 'templates/dags/transform/__scheduled_task_tpl.py.j2' %}
        """,
    )
    shop.write(
        "metadata/dags/templates/base.py.j2",
        """
        {% include 'templates/dags/__starlake_dagster_orchestrator.py.j2' %}
        {% include 'templates/dags/__starlake_cloud_run_execution.py' %}
        """,
    )
    text = (shop.root / "metadata/dags/transforms.sl.yml").read_text()
    shop.write("metadata/dags/transforms.sl.yml", text.replace("transform/dagster__scheduled_task__shell.py.j2", "transform/ours.py.j2"))
    made = plan_folder(shop, {"region": "north"})
    assert list_messages(made) == []
    assert (made.pipelines[0].executor, made.pipelines[0].task_options) == ("cloud_run", {"kpi.top": {"region": "north"}})


def test_dependency_json_beside_the_sql(shop: Any) -> None:
    tree = build_dependency_tree(plan_folder(shop))
    shop.write("metadata/dependencies.json", format_starlake_json(tree))
    made = plan_folder(shop)
    assert list_messages(made) == []
    assert [(d.name, d.source) for d in made.dependencies.get_direct("kpi.top")] == [("kpi.daily", "json"), ("elsewhere.rates", "sql")]
    shop.write("metadata/transform/kpi/daily.sql", "select 1\n\nfrom shop.orders")
    said = list_messages(plan_folder(shop), "warning")
    assert len(said) == 1
    assert "kpi.daily depends on the table shop.items here, which its SQL (metadata/transform/kpi/daily.sql:1) does not read" in said[0]


def test_dependency_json_without_any_sql(shop: Any) -> None:
    before = plan_folder(shop)
    shop.write("metadata/dependencies.json", json.dumps(build_dependency_tree(before)))
    for path in (shop.root / "metadata/transform").rglob("*.sql"):
        path.unlink()
    for name in ("daily", "top"):
        shop.write(f"metadata/transform/kpi/{name}.sl.yml", "version: 1\ntask:\n  comment: only described\n")
    described = plan_folder(shop)
    import shutil

    shutil.rmtree(shop.root / "metadata/transform")
    alone = plan_folder(shop)
    for made in (described, alone):
        assert list_jobs(made) == list_jobs(before)
        assert [p.severity for p in made.problems if p.severity == "error"] == []
        assert {t: {(d.kind, d.name) for d in reads if d.awaited} for t, reads in made.dependencies.direct.items()} == {
            t: {(d.kind, d.name) for d in reads if d.awaited} for t, reads in before.dependencies.direct.items()
        }
