"""Write the dbt project that corresponds to a synthetic Starlake project, and a Dagster project that loads it with dagster-dbt.

Tables become sources with the same columns, tasks become models with the same SQL over ``source()`` and ``ref()``, and each mart has a job
and a schedule. dbt does not load files: sources are external assets, so half of the objects have no op and no job.
"""

import random
from pathlib import Path

from bench.synthetic import TABLES_PER_DOMAIN, TASKS_PER_DOMAIN, TYPES, make_task_sql, write_file

DBT_TYPES = {"long": "bigint", "string": "varchar", "decimal": "decimal(38, 9)"}
LOCATION = "location"


def write_dbt_project(root: Path, objects: int) -> Path:
    """Write the Dagster project with the dbt project in it, and return its folder.

    Args:
        root: the folder, which must not exist.
        objects: number of sources and models, half of each.
    """
    rng = random.Random(objects)
    dbt = root / "dbt"
    write_file(root / "pyproject.toml", f'[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\nroot_module = "{LOCATION}"\n')
    write_file(root / LOCATION / "__init__.py", "")
    write_file(root / LOCATION / "defs" / "__init__.py", "")
    write_file(
        root / LOCATION / "defs" / "models" / "defs.yaml",
        'type: dagster_dbt.DbtProjectComponent\nattributes:\n  project: "{{ project_root }}/dbt"\n',
    )
    write_file(
        dbt / "dbt_project.yml",
        "name: shop\nversion: '1.0'\nprofile: shop\nmodel-paths: [models]\nflags: {send_anonymous_usage_stats: false}\n"
        "models:\n  shop:\n    +materialized: table\n" + "".join(f"    {mart}:\n      +schema: {mart}\n" for mart in _list_marts(objects)),
    )
    write_file(dbt / "profiles.yml", "shop:\n  target: dev\n  outputs:\n    dev: {type: duckdb, path: shop.duckdb}\n")
    tables = [(f"source_{number // TABLES_PER_DOMAIN:03d}", f"table_{number:05d}") for number in range(objects // 2)]
    for domain in dict.fromkeys(domain for domain, _ in tables):
        write_file(dbt / "models" / "sources" / f"{domain}.yml", _make_sources(domain, [t for d, t in tables if d == domain]))
    sources = [f"{{{{ source('{domain}', '{table}') }}}}" for domain, table in tables]
    made = list(sources)
    models: dict[str, list[str]] = {}
    for number in range(objects - objects // 2):
        mart, task = f"mart_{number // TASKS_PER_DOMAIN:03d}", f"task_{number:05d}"
        reads = rng.sample(made[-200:] if number % 2 else sources, min(rng.randint(2, 4), len(sources)))
        write_file(dbt / "models" / mart / f"{task}.sql", make_task_sql(reads))
        models.setdefault(mart, []).append(task)
        made.append(f"{{{{ ref('{task}') }}}}")
    for mart, tasks in models.items():
        text = "".join(f"  - name: {task}\n    description: A mart\n" for task in tasks)
        write_file(dbt / "models" / mart / "_models.yml", f"version: 2\nmodels:\n{text}")
    write_file(root / LOCATION / "defs" / "jobs.py", JOBS.format(marts=_list_marts(objects)))
    return root


JOBS = """import dagster as dg

JOBS = [dg.define_asset_job(f"{{mart}}_tasks", dg.AssetSelection.key_prefixes(mart)) for mart in {marts!r}]


@dg.definitions
def jobs() -> dg.Definitions:
    schedules = [dg.ScheduleDefinition(name=f"{{job.name}}_schedule", job=job, cron_schedule="0 0 * * *") for job in JOBS]
    return dg.Definitions(jobs=JOBS, schedules=schedules)
"""


def _list_marts(objects: int) -> list[str]:
    tasks = objects - objects // 2
    return [f"mart_{number:03d}" for number in range((tasks - 1) // TASKS_PER_DOMAIN + 1)]


def _make_sources(domain: str, tables: list[str]) -> str:
    columns = "".join(
        f"          - name: column_{i}\n            data_type: {DBT_TYPES.get(TYPES[i % len(TYPES)], TYPES[i % len(TYPES)])}\n"
        f"            description: Column {i}\n"
        for i in range(12)
    )
    text = "".join(f"      - name: {table}\n        description: A table\n        columns:\n{columns}" for table in tables)
    return f"version: 2\nsources:\n  - name: {domain}\n    schema: {domain}\n    tables:\n{text}"
