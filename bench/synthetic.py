"""Write synthetic Starlake projects: half tables of 12 columns, half tasks with 45 lines of SQL, and one job per domain."""

import random
from pathlib import Path

TABLES_PER_DOMAIN = 25
TASKS_PER_DOMAIN = 25
TYPES = ("long", "string", "decimal", "date", "timestamp", "boolean")


def write_project(root: Path, objects: int, *, pre_load: str = "none", filename: str = "{{domain}}") -> Path:
    """Write a project and return its folder.

    Args:
        root: the folder, which must not exist.
        objects: number of tables and tasks, half of each.
        pre_load: pre-load strategy of all load jobs.
        filename: prefix of the file names in the DAG configs.
    """
    rng = random.Random(objects)
    metadata = root / "metadata"
    write_file(
        metadata / "application.sl.yml",
        "version: 1\napplication:\n  connectionRef: duckdb\n  loader: native\n  connections:\n    duckdb:\n      type: jdbc\n"
        "      options:\n"
        '        url: "jdbc:duckdb:{{SL_ROOT}}/datasets/duckdb.db"\n        driver: org.duckdb.DuckDBDriver\n'
        "  dagRef:\n    load: loads\n    transform: transforms\n",
    )
    for name, template, suffix in (
        ("loads", "load/dagster__scheduled_table__shell.py.j2", "tables"),
        ("transforms", "transform/dagster__scheduled_task__shell.py.j2", "tasks"),
    ):
        write_file(
            metadata / "dags" / f"{name}.sl.yml",
            f'version: 1\ndag:\n  comment: jobs\n  template: {template}\n  filename: "{filename}_{suffix}.py"\n  options:\n'
            + (f"    pre_load_strategy: {pre_load}\n" if name == "loads" else '    run_dependencies_first: "false"\n'),
        )
    tables = []
    for number in range(objects // 2):
        domain, table = f"source_{number // TABLES_PER_DOMAIN:03d}", f"table_{number:05d}"
        if number % TABLES_PER_DOMAIN == 0:
            write_file(
                metadata / "load" / domain / "_config.sl.yml",
                f'version: 1\nload:\n  name: {domain}\n  metadata:\n    directory: "{{{{SL_ROOT}}}}/datasets/incoming/{domain}"\n'
                '    format: DSV\n    withHeader: true\n    separator: ";"\n    schedule: daily\n',
            )
        write_file(metadata / "load" / domain / f"{table}.sl.yml", _make_table(table))
        tables.append(f"{domain}.{table}")
    made = list(tables)
    for number in range(objects - objects // 2):
        domain, task = f"mart_{number // TASKS_PER_DOMAIN:03d}", f"task_{number:05d}"
        reads = rng.sample(made[-200:] if number % 2 else tables, min(rng.randint(2, 4), len(tables)))
        write_file(
            metadata / "transform" / domain / f"{task}.sl.yml",
            "version: 1\ntask:\n  writeStrategy:\n    type: OVERWRITE\n  comment: A mart\n",
        )
        write_file(metadata / "transform" / domain / f"{task}.sql", make_task_sql(reads))
        made.append(f"{domain}.{task}")
    return root


def _make_table(name: str) -> str:
    columns = "".join(
        f"    - name: column_{i}\n      type: {TYPES[i % len(TYPES)]}\n      required: {'true' if i == 0 else 'false'}\n"
        f"      comment: Column {i}\n"
        for i in range(12)
    )
    return (
        f'version: 1\ntable:\n  name: {name}\n  pattern: "{name}.*.csv"\n  comment: A table\n  metadata:\n    writeStrategy:\n'
        "      type: APPEND\n"
        f"  attributes:\n{columns}"
    )


def make_task_sql(reads: list[str]) -> str:
    """Return the SQL of a task.

    Args:
        reads: names of the tables and tasks that it reads.
    """
    parts = []
    for i, name in enumerate(reads):
        parts.append(
            f"part_{i} as (\n    select\n        column_0,\n        column_1 as label_{i},\n        sum(column_2) as total_{i},\n"
            f"        count(*) as rows_{i}\n"
            f"    from {name}\n    where column_3 >= date '2026-01-01'\n      and column_5\n    group by column_0, column_1\n)"
        )
    joins = "\n".join(f"left join part_{i} on part_{i}.column_0 = part_0.column_0" for i in range(1, len(reads)))
    totals = ",\n    ".join(f"coalesce(part_{i}.total_{i}, 0) as total_{i}" for i in range(len(reads)))
    return (
        "with "
        + ",\n".join(parts)
        + f"\nselect\n    part_0.column_0,\n    {totals},\n    row_number() over (order by part_0.column_0) as position\n"
        f"from part_0\n{joins}\nwhere part_0.total_0 > 0\norder by part_0.column_0\n"
    )


def write_file(path: Path, text: str) -> None:
    """Write a text file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
