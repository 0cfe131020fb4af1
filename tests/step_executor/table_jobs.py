"""A load job of many tables, built by this package from a Starlake project.

In a module of its own, because other processes find it by name.
"""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from starlake_dagster_components import load_definitions_from_starlake_project
from starlake_dagster_components.executors.registry import import_executors
from starlake_dagster_components.step_executor.names import find_step_executor

JOB = "all_tables"

APPLICATIONS = {
    "duckdb": '      type: jdbc\n      options: {url: "jdbc:duckdb:{{SL_ROOT}}/datasets/tables.db", driver: org.duckdb.DuckDBDriver}\n',
    "warehouse": '      type: jdbc\n      options: {url: "jdbc:postgresql://localhost/nowhere", driver: org.postgresql.Driver}\n',
}

PROGRAM = r"""#!/bin/sh
# In the place of starlake. Says when it begins and ends, in lines that are written at once; does what the files beside it say.
trap '' PIPE # as a JVM: it goes on when nobody reads its output any more
here=$(dirname "$0")
verb=$1
run=${SL_JOB_ID%%.*}
while [ $# -gt 0 ]; do
    case "$1" in
    --domain | --domains) domain=$2 ;;
    --tables | --name) name=${2#*.} ;;
    --notReadySentinel) sentinel=$2 ;;
    esac
    shift
done
echo "begin $verb $name $run $$" >> "$here/told"
[ -e "$here/hold" ] && while [ -e "$here/hold" ]; do sleep 0.05; done
[ -e "$here/lasts" ] && sleep "$(cat "$here/lasts")"
if [ -e "$here/fails.$name" ]; then
    echo "ERROR Load: broken on purpose" 2> /dev/null
    read -r times < "$here/fails.$name"
    if [ "$times" = 1 ]; then rm "$here/fails.$name"; fi
    echo "end $verb $name $run $$" >> "$here/told"
    exit 3
fi
if [ "$verb" = preload ] && [ "$domain" = quiet ]; then : > "$sentinel"; fi
if [ "$verb" = load ]; then
    echo "INFO LoadCmd: loaded $name"
    echo "IngestionCounters:{\"inputCount\":2,\"acceptedCount\":2,\"rejectedCount\":0,\"paths\":[\"/stage/$name-1.csv\"]}"
fi
echo "end $verb $name $run $$" >> "$here/told"
"""


SQL = """with recent as (select 1 as one union all select 2 as one)
select recent.one, row_number() over (partition by recent.one order by recent.one) as position, '$' as currency from recent
"""


def write_tables(
    root: Path, tables: int, *, quiet: int = 0, tasks: int = 0, connection: str = "warehouse", pre_load: str = "none", options: str = ""
) -> Path:
    """Write a project with one load job ``all_tables`` and return the folder.

    Args:
        root: the folder.
        tables: tables ``table_00`` ... of the domain ``busy``; with a file of two rows each.
        quiet: tables ``quiet_00`` ... of the domain ``quiet``, for which nothing arrives.
        tasks: tasks ``task_00`` ... of the domain ``marts``, in a job ``all_tasks``; they read nothing.
        connection: ``duckdb`` or ``warehouse``, which is not a file.
        pre_load: strategy of both domains.
        options: more options of the load job's DAG config, as YAML.
    """
    application = (
        f"version: 1\napplication:\n  connectionRef: here\n  loader: native\n  connections:\n    here:\n{APPLICATIONS[connection]}"
    )
    _write(root / "metadata/application.sl.yml", f"{application}  dagRef: {{load: loads, transform: transforms}}\n")
    for name, template, file in (
        ("loads", "load/dagster__scheduled_table", JOB),
        ("transforms", "transform/dagster__scheduled_task", "all_tasks"),
    ):
        more = f"    pre_load_strategy: {pre_load}\n{options}" if name == "loads" else "    run_dependencies_first: 'false'\n"
        text = (
            f"version: 1\ndag:\n  template: {template}__shell.py.j2\n  filename: {file}.py\n  options:\n    cloud_run_job_name: starlake\n"
            f"{more}"
        )
        _write(root / f"metadata/dags/{name}.sl.yml", text)
    for domain, prefix, number in (("busy", "table", tables), ("quiet", "quiet", quiet)):
        incoming = root / "datasets/incoming" / domain
        if number:
            directory = f'{{directory: "{{{{SL_ROOT}}}}/datasets/incoming/{domain}", format: DSV, withHeader: true, separator: ";"}}'
            _write(root / f"metadata/load/{domain}/_config.sl.yml", f"version: 1\nload:\n  name: {domain}\n  metadata: {directory}\n")
        for each in range(number):
            table = f"{prefix}_{each:02d}"
            columns = "[{name: id, type: long}, {name: label, type: string}]"
            text = f"version: 1\ntable:\n  name: {table}\n  pattern: '{table}-.*.csv'\n  attributes: {columns}\n"
            _write(root / f"metadata/load/{domain}/{table}.sl.yml", text)
            if domain == "busy":
                _write(incoming / f"{table}-1.csv", "id;label\n1;one\n2;two\n")
    for each in range(tasks):
        _write(root / f"metadata/transform/marts/task_{each:02d}.sql", SQL)
        _write(root / f"metadata/transform/marts/task_{each:02d}.sl.yml", "version: 1\ntask: {writeStrategy: {type: OVERWRITE}}\n")
    program = root / "program/starlake"
    _write(program, PROGRAM)
    program.chmod(0o755)
    return root


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def list_commands(root: Path) -> list[tuple[str, str, str, str]]:
    """Return the records of the commands: ``begin`` or ``end``, verb, name, run id; oldest first."""
    path = root / "program/told"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [(line[0], line[1], line[2], line[3]) for line in (text.split() for text in lines)]


def load_definitions(project: str, commands: str, steps: str) -> dg.Definitions:
    """Return the definitions of a project; the component's ``executor:`` and ``step_executor:`` as JSON."""
    while Path(project, "program/hold_loading").exists():
        time.sleep(0.05)
    fields, step_fields = json.loads(commands), json.loads(steps)
    return load_definitions_from_starlake_project(
        project,
        executor=import_executors()[fields["type"]].model_validate(fields),
        step_executor=find_step_executor(step_fields["type"], step_fields.get("config")),
    )


def load_job(project: str, commands: str, steps: str, name: str = JOB) -> dg.JobDefinition:
    return load_definitions(project, commands, steps).resolve_job_def(name)


def build_reconstructable(root: Path, commands: Mapping[str, Any], steps: Mapping[str, Any], name: str = JOB) -> Any:
    """Return the job for :func:`dagster.execute_job`."""
    arguments = {"project": str(root), "commands": json.dumps(commands), "steps": json.dumps(steps), "name": name}
    here = str(Path(__file__).resolve().parent)
    return dg.build_reconstructable_job(__name__, load_job.__name__, reconstructable_kwargs=arguments, reconstructor_working_directory=here)
