"""Load a code location in one of several ways: with this package, or with Dagster alone and as many assets.

    python bench/ways.py floor|alike OBJECTS
    python bench/ways.py starlake|component FOLDER
    python bench/ways.py reading FOLDER

All but the last do what a code server does before it can answer: they resolve every job and describe the repository.
"""

import sys
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.fresh import answer
from bench.synthetic import TABLES_PER_DOMAIN

if TYPE_CHECKING:
    import dagster as dg

FROM_CACHE = "from the cache"


def build_floor(objects: int) -> "dg.Definitions":
    """Return minimal definitions with Dagster alone: assets with keys, dependencies, groups, and column schemas, and jobs."""
    import dagster as dg

    columns = [dg.TableColumn(name=f"column_{i}", type="string", description=f"Column {i}") for i in range(12)]

    def make(number: int) -> dg.AssetsDefinition:
        reads = _list_reads(number, objects)
        metadata = {"dagster/column_schema": dg.TableSchema(columns=columns)} if number < objects // 2 else {}
        spec = dg.AssetSpec(
            f"asset_{number}", deps=reads, metadata=metadata, group_name=f"group_{number // TABLES_PER_DOMAIN}", description="An asset"
        )
        return _build_asset(spec, reads)

    jobs = [dg.define_asset_job(f"job_{first}", dg.AssetSelection.assets(*names)) for first, names in _list_groups(objects)]
    return dg.Definitions(assets=[make(n) for n in range(objects)], jobs=jobs)


def build_alike(objects: int) -> "dg.Definitions":
    """Return definitions with Dagster alone that have the same metadata, schedules, and sensors as those of this package."""
    import dagster as dg

    types = ("long", "string", "decimal", "date", "timestamp", "boolean")

    def make_columns() -> list[dg.TableColumn]:
        return [
            dg.TableColumn(
                name=f"column_{i}",
                type=types[i % len(types)],
                description=f"Column {i}",
                constraints=dg.TableColumnConstraints(nullable=i > 0),
            )
            for i in range(12)
        ]

    def make(number: int) -> dg.AssetsDefinition:
        reads, group = _list_reads(number, objects), f"group_{number // TABLES_PER_DOMAIN}"
        is_table_name = number < objects // 2
        file = f"{group}/asset_{number}.sl.yml"
        references: list[Any] = [dg.LocalFileCodeReference(file_path=f"/project/metadata/{file}", line_number=1, label=file)]
        metadata: dict[str, Any] = {
            "dagster/code_references": dg.CodeReferencesMetadataValue(code_references=references),
            "dagster/table_name": f"{group}.asset_{number}",
            "dagster/storage_kind": "duckdb",
            "starlake/connection": "duckdb",
            "starlake/write_strategy": "APPEND",
            "starlake/dag": "dags",
        }
        if is_table_name:
            metadata["dagster/column_schema"] = dg.TableSchema(columns=make_columns())
            metadata["starlake/pattern"] = f"asset_{number}.*.csv"
        spec = dg.AssetSpec(
            f"asset_{number}",
            deps=reads,
            metadata=metadata,
            group_name=group,
            description=f"Asset {number}",
            kinds={"starlake", "duckdb"},
            tags={"starlake/layer": "raw" if is_table_name else "mart"},
        )
        return _build_asset(spec, reads, tags={"starlake/command": "load", "starlake/domain": group})

    jobs, schedules, sensors = [], [], []
    for first, names in _list_groups(objects):
        job = dg.define_asset_job(f"job_{first}", dg.AssetSelection.assets(*names), tags={"starlake/kind": "load"}, description="A job")
        jobs.append(job)
        if first < objects // 2:
            schedules.append(dg.ScheduleDefinition(name=f"{job.name}_schedule", job=job, cron_schedule="0 0 * * *"))
            continue
        watched = dict.fromkeys(dg.AssetKey(read) for n in range(first, first + len(names)) for read in _list_reads(n, objects))

        @dg.multi_asset_sensor(monitored_assets=list(watched), job=job, name=f"{job.name}_sensor")
        def sensor(context: dg.MultiAssetSensorEvaluationContext) -> dg.RunRequest:
            context.advance_all_cursors()  # type: ignore[no-untyped-call]
            return dg.RunRequest()

        sensors.append(sensor)
    return dg.Definitions(assets=[make(n) for n in range(objects)], jobs=jobs, schedules=schedules, sensors=sensors)


def _list_reads(number: int, objects: int) -> list[str]:
    half = objects // 2
    return list(dict.fromkeys(f"asset_{(number * 7 + i * 13) % half}" for i in range(3))) if number >= half else []


def _list_groups(objects: int) -> list[tuple[int, list[str]]]:
    starts = range(0, objects, TABLES_PER_DOMAIN)
    return [(first, [f"asset_{n}" for n in range(first, min(first + TABLES_PER_DOMAIN, objects))]) for first in starts]


def _build_asset(spec: "dg.AssetSpec", reads: list[str], tags: dict[str, str] | None = None) -> "dg.AssetsDefinition":
    """Return an asset that is built without the decorator, which takes three times as long."""
    import dagster as dg

    name = spec.key.path[-1]

    def compute(context, inputs):  # type: ignore[no-untyped-def]
        yield dg.MaterializeResult()

    ins, outs = {r: dg.In(dg.Nothing) for r in reads}, {"result": dg.Out(dg.Nothing)}
    op = dg.OpDefinition(compute_fn=compute, name=name, ins=ins, outs=outs, tags=tags)
    return dg.AssetsDefinition(
        keys_by_input_name={r: dg.AssetKey(r) for r in reads}, keys_by_output_name={"result": spec.key}, node_def=op, specs=[spec]
    )


def load_starlake(root: str) -> "dg.Definitions":
    """Return the definitions of a Starlake project that is the only one in its code location."""
    from starlake_dagster_components.load import load_code_location
    from starlake_dagster_components.settings import Settings

    return load_code_location(root, Settings())


def load_component(folder: str) -> "dg.Definitions":
    """Return the definitions of a Dagster project with components in its ``defs`` folder."""
    import dagster as dg

    sys.path.insert(0, folder)
    return dg.load_from_defs_folder(path_within_project=Path(folder))


def describe(definitions: "dg.Definitions") -> dict[str, int]:
    """Resolve every job and describe the repository, as a code server does before it can answer. Return the numbers of definitions."""
    from dagster._core.remote_representation.external_data import RepositorySnap

    repository = definitions.get_repository_def()
    repository.load_all_definitions()
    described = RepositorySnap.from_def(repository)
    return {
        "assets": sum(node.is_executable for node in described.asset_nodes),
        "jobs": sum(not name.startswith("__") for name in repository.job_names),
        "schedules": len(described.schedules),
        "sensors": len(described.sensors),
    }


def measure_reading(root: str) -> float:
    """Return the CPU seconds of reading a Starlake project, including the tables that its SQL reads."""
    from starlake_dagster_components.project.reader import read_project

    began = time.process_time()
    read_project(root)
    return time.process_time() - began


def record_cache_use() -> list[str]:
    """Record, for each plan that is loaded from now on, that it came from the cache, or the reason why not. Return the list."""
    build: Any = import_module("starlake_dagster_components.definitions.build")
    notes: list[str] = []
    load_plan = build.load_plan

    def note_load(*arguments: Any, **named: Any) -> Any:
        loaded = load_plan(*arguments, **named)
        notes.append(FROM_CACHE if loaded.from_cache else loaded.reason)
        return loaded

    build.load_plan = note_load
    return notes


def _read_versions(*packages: str) -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for package in packages:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def main(way: str, argument: str) -> None:
    if way in ("floor", "alike"):
        answer(**describe({"floor": build_floor, "alike": build_alike}[way](int(argument))))
    elif way == "starlake":
        notes = record_cache_use()
        answer(**describe(load_starlake(argument)), from_cache=notes)
    elif way == "reading":
        answer(seconds=measure_reading(argument))
    else:
        answer(**describe(load_component(argument)), versions=_read_versions("dagster", "dagster-dbt", "dbt-core"))


if __name__ == "__main__":
    main(*sys.argv[1:])
