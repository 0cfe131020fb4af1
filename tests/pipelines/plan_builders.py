"""Build projects in memory, as if they had been read."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from starlake_dagster_components.errors import Location, Problem
from starlake_dagster_components.pipelines.pipeline import Plan
from starlake_dagster_components.pipelines.plan import plan_project
from starlake_dagster_components.project.dependency_files import read_dependency_files
from starlake_dagster_components.project.model import (
    Application,
    Areas,
    DagConfig,
    Domain,
    Freshness,
    Metadata,
    Origin,
    Project,
    Table,
    TableReference,
    Task,
    WriteStrategy,
)

PRESETS = {
    "hourly": "0 * * * *",
    "daily": "0 0 * * *",
    "weekly": "0 0 * * 1",
    "monthly": "0 0 1 * *",
    "yearly": "0 0 1 1 *",
}
LOAD = "load/dagster__scheduled_table__shell.py.j2"
TRANSFORM = "transform/dagster__scheduled_task__shell.py.j2"


class Places(dict[str, Location]):
    """Locations as if each file had one key per line."""

    def __init__(self, file: str, *keys: str) -> None:
        super().__init__({key: Location(file, number) for number, key in enumerate(keys, 2)})


def table(
    name: str,
    schedule: str | None = None,
    dag_ref: str | None = None,
    *,
    final: str | None = None,
    write: WriteStrategy | None = None,
    freshness: Freshness | None = None,
    **values: Any,
) -> Table:
    """Return a load table ``domain.table``; ``final`` is its name in the database."""
    domain, short = name.split(".")
    final_domain, final_name = (final or name).split(".")
    file = f"metadata/load/{domain}/{short}.sl.yml"
    return Table(
        domain=domain,
        name=short,
        final_domain=final_domain,
        final_name=final_name,
        pattern=f"{short}.*",
        metadata=Metadata(schedule=schedule, dag_ref=dag_ref, write_strategy=write, freshness=freshness),
        origin=Origin(file, 1, Places(file, "metadata.schedule", "metadata.dagRef")),
        **values,
    )


def task(
    name: str,
    *reads: str,
    schedule: str | None = None,
    dag_ref: str | None = None,
    table: str | None = None,
    kind: str = "parsed",
    **values: Any,
) -> Task:
    """Return a task ``domain.name`` whose SQL reads the given names, one per line from line 2."""
    domain, short = name.split(".")
    file = f"metadata/transform/{domain}/{short}.sl.yml"
    sql = f"metadata/transform/{domain}/{short}.sql"
    references = tuple(TableReference(tuple(text.split(".")), Location(sql, n), kind) for n, text in enumerate(reads, 2))  # type: ignore[arg-type]
    values.setdefault("sql_text", "select 1" if not reads else "select * from " + ", ".join(reads))
    return Task(
        domain=domain,
        name=short,
        table=table or short,
        folder=domain,
        sql_file=sql,
        references=references,
        schedule=schedule,
        dag_ref=dag_ref,
        origin=Origin(file, 1, Places(file, "schedule", "dagRef")),
        **values,
    )


def dag(name: str, filename: str, template: str = LOAD, *, text: str | None = None, comment: str = "", **options: str) -> DagConfig:
    """Return a DAG config; options as keywords."""
    file = f"metadata/dags/{name}.sl.yml"
    keys = ("template", "filename", "comment", *(f"options.{o}" for o in options))
    return DagConfig(name, template, filename, comment, options, text, Origin(file, 1, Places(file, *keys)))


def project(
    *nodes: Table | Task | DagConfig,
    root: Path | str = "/project",
    load: str | None = "load",
    transform: str | None = "transform",
    presets: Mapping[str, str] | None = None,
    external: Iterable[Table] = (),
    variables: Mapping[str, str] | None = None,
    **values: Any,
) -> Project:
    """Return a project of tables, tasks, and DAG configs; ``load`` and ``transform`` are the application's dagRefs."""
    tables = sorted((n for n in nodes if isinstance(n, Table)), key=lambda t: t.full_name)
    application = Application(
        dag_ref_load=load,
        dag_ref_transform=transform,
        schedule_presets={**PRESETS, **(presets or {})},
        origin=Origin(
            "metadata/application.sl.yml",
            1,
            Places("metadata/application.sl.yml", "dagRef.load", "dagRef.transform", *(f"schedulePresets.{p}" for p in presets or {})),
        ),
    )
    return Project(
        root=Path(root),
        profile=None,
        application=application,
        areas=Areas(
            *(f"{root}/{a}" for a in ("datasets", "incoming", "stage", "unresolved", "archive", "ingesting", "replay", "metadata"))
        ),
        variables={"SL_ROOT": str(root), **(variables or {})},
        domains=_build_domains(tables),
        external_domains=_build_domains(external),
        tasks=tuple(sorted((n for n in nodes if isinstance(n, Task)), key=lambda t: t.full_name)),
        dag_configs={n.name: n for n in nodes if isinstance(n, DagConfig)},
        **values,
    )


def _build_domains(tables: Iterable[Table]) -> tuple[Domain, ...]:
    found: dict[str, list[Table]] = {}
    for one in tables:
        found.setdefault(one.domain, []).append(one)
    return tuple(Domain(name, group[0].final_domain, name, tuple(group)) for name, group in sorted(found.items()))


def plan(
    *nodes: Table | Task | DagConfig,
    orchestrators: tuple[str, ...] = ("dagster",),
    dependencies: str = "sql",
    timezone: str | None = None,
    name_prefix: str = "",
    **values: Any,
) -> Plan:
    """Return the plan of a project made of these parts."""
    made = project(*nodes, **values)
    found: list[Problem] = []
    files = read_dependency_files(made.root, made.metadata_folder, dependencies, found)
    made = replace(made, dependency_files=files, problems=(*made.problems, *found))
    return plan_project(made, orchestrators=orchestrators, timezone=timezone, name_prefix=name_prefix)


def list_jobs(made: Plan) -> dict[str, list[str]]:
    """Return what each job runs."""
    return {p.name: [*(t.full_name for t in p.tables), *(t.full_name for t in p.tasks)] for p in made.pipelines}


def list_messages(made: Plan, severity: str | None = None) -> list[str]:
    """Return the problems as users see them."""
    return [str(p) for p in made.problems if severity in (None, p.severity)]
