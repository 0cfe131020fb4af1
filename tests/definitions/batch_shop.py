"""A project with three tables, its jobs, and programs that fail in the middle, for the tests of batches."""

# mypy: disable-error-code="union-attr"

import contextlib
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
from project_folder import ProjectFolder

from starlake_dagster_components import DuckDBExecutor, ShellExecutor
from starlake_dagster_components.cli import run as headless
from starlake_dagster_components.definitions.batches import FAILED
from starlake_dagster_components.definitions.build import build_definitions
from starlake_dagster_components.settings import Settings

TABLES = ("orders", "items", "prices")
JOB = "shop_tables"
STEP = "load_shop"

PROGRAM = """
import os, signal, sys, threading
sys.path[:0] = {path!r}
from starlake_dagster_components.engine import run_command

arguments = sys.argv[1:]
with open({log!r}, "a") as log:
    log.write(" ".join(a for a in arguments if "sentinel" not in a.lower() and "not-ready" not in a) + "\\n")


def run(*argv):
    def out(line):
        print(line, flush=True)

    def log(level, line):
        print(level.upper(), line, file=sys.stderr, flush=True)

    return run_command(argv, environ=os.environ, out=out, log=log).exit_code


def tables():
    return arguments[arguments.index("--tables") + 1].split(",")


def first(count):
    at = arguments.index("--tables") + 1
    return (*arguments[:at], ",".join(tables()[:count]), *arguments[at + 1:])


def take(table):
    # What Starlake does before it tries a file.
    root = os.environ["SL_ROOT"]
    os.makedirs(root + "/datasets/ingesting/shop", exist_ok=True)
    os.rename(root + "/datasets/stage/shop/" + table + ".csv", root + "/datasets/ingesting/shop/" + table + ".csv")


{behavior}
sys.exit(run(*arguments))
"""

KILLED = """
if arguments[0] == "load" and len(tables()) > 1:
    run(*first(1))
    take(tables()[1])
    os.kill(os.getpid(), signal.SIGKILL)
"""
"""Dies after the first of several tables, while it loads the second."""

HANGS = """
if arguments[0] == "load" and len(tables()) > 1:
    run(*first(1))
    take(tables()[1])
    print("hangs", flush=True)
    threading.Event().wait()
"""
"""Hangs there."""

REJECTED = """
if arguments[0] == "load" and len(tables()) > 1:
    print("Error: Unknown option --tables", file=sys.stderr)
    sys.exit(1)
"""
"""Accepts only one table."""


class Shop:
    """The project, its program and a Dagster instance."""

    def __init__(self, folder: ProjectFolder, program: Path, instance: dg.DagsterInstance) -> None:
        self.folder = folder
        self.root = folder.root
        self.program = program
        self.log = program.with_suffix(".log")
        self.instance = instance
        self.behave("")
        for name in ("prices",):
            self.table(name)

    def table(self, name: str, more: str = "") -> None:
        """Add a table with the columns id and value. ``more`` is additional YAML of the table."""
        text = f'version: 1\ntable:\n  name: {name}\n  pattern: "{name}.*.csv"\n{more}  metadata:\n    writeStrategy:\n      type: APPEND\n'
        text += "  attributes:\n    - name: id\n      type: long\n      required: true\n    - name: value\n      type: string\n"
        self.folder.write(f"metadata/load/shop/{name}.sl.yml", text)

    def behave(self, behavior: str) -> None:
        """Replace the behavior of the program, which is that of the engine by default."""
        path = [p for p in sys.path if p]
        text = PROGRAM.format(path=path, log=str(self.log), behavior=behavior)
        self.program.write_text(f"#!{sys.executable}\n{text}", encoding="utf-8")
        self.program.chmod(self.program.stat().st_mode | stat.S_IXUSR)

    def shell(self, **fields: Any) -> ShellExecutor:
        return ShellExecutor(starlake_path=str(self.program), **fields)

    @property
    def commands(self) -> list[str]:
        """The commands that the program ran."""
        return self.log.read_text().splitlines() if self.log.exists() else []

    @property
    def loads(self) -> list[str]:
        """The tables of each load."""
        return [line.split()[line.split().index("--tables") + 1] for line in self.commands if line.startswith("load")]

    def deliver(self, area: str = "incoming", **files: str) -> None:
        """Put files of tables into a folder. The content is ``bad``, or a number of rows."""
        for table, rows in files.items():
            lines = "".join(f"{row};x\n" for row in rows.split())
            header = {"orders": "id;amount", "items": "id;label"}.get(table, "id;value")
            self.folder.write(f"datasets/{area}/shop/{table}.csv", f"{header}\n{lines}")

    def files(self, area: str) -> list[str]:
        folder = self.root / "datasets" / area / "shop"
        return sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []

    def rows(self, table: str) -> list[int]:
        with duckdb.connect(str(self.root / "datasets" / "duckdb.db"), read_only=True) as connection:
            return [r[0] for r in connection.execute(f"select id from shop.{table} order by 1").fetchall()]

    @contextlib.contextmanager
    def jobs(self, settings: Settings) -> Iterator["Jobs"]:
        built = build_definitions(self.root, settings)
        with headless.keep_definitions(built, settings) as token:
            yield Jobs(self, token, built.definitions)

    @contextlib.contextmanager
    def own_jobs(self, settings: Settings) -> Iterator["Jobs"]:
        """Return jobs that other processes can build, too, with the step executor of the settings."""
        yield OwnJobs(self, settings)

    def run(self, settings: Settings, *, keys: Sequence[str] | None = None, job: str = JOB) -> "Run":
        """Run a job, or a part of it."""
        with self.jobs(settings) as jobs:
            return jobs.run(job, keys=keys)


class Jobs:
    """Definitions that can be run."""

    def __init__(self, shop: Shop, token: str, definitions: dg.Definitions) -> None:
        self.shop = shop
        self.token = token
        self.definitions = definitions

    def target(self, job: str = JOB) -> Any:
        kwargs = {"token": self.token, "job": job}
        return dg.build_reconstructable_job("starlake_dagster_components.cli.run", "rebuild", reconstructable_kwargs=kwargs)

    def run(self, job: str = JOB, *, keys: Sequence[str] | None = None, again: "Run | None" = None, **options: Any) -> "Run":
        """Run a job. With ``again``, re-execute another run from failure."""
        instance = self.shop.instance
        if again is not None:
            options["reexecution_options"] = dg.ReexecutionOptions.from_failure(again.id, instance)
        chosen = [dg.AssetKey(k) for k in keys] if keys is not None else None
        with dg.execute_job(self.target(job), instance=instance, raise_on_error=False, asset_selection=chosen, **options) as result:
            return Run(result, instance)


class OwnJobs(Jobs):
    """Definitions that any process can build."""

    def __init__(self, shop: Shop, settings: Settings) -> None:
        super().__init__(shop, "", dg.Definitions())
        assert settings.step_executor is not None
        self._kwargs = {"root": str(shop.root), "step_executor": settings.step_executor.name}

    def target(self, job: str = JOB) -> Any:
        return dg.build_reconstructable_job(
            "batch_shop",
            build_own_job.__name__,
            reconstructable_kwargs={**self._kwargs, "job": job},
            reconstructor_working_directory=str(Path(__file__).parent),
        )


def build_own_job(root: str, step_executor: str, job: str) -> dg.JobDefinition:
    """Return a job of batches with the embedded engine, on one of Dagster's executors."""
    executors = {e.name: e for e in (dg.in_process_executor, dg.multiprocess_executor)}
    settings = Settings(executor=DuckDBExecutor(), batch=True, step_executor=executors[step_executor])
    return build_definitions(root, settings).definitions.resolve_job_def(job)


class Run:
    """The events of a run."""

    def __init__(self, result: Any, instance: dg.DagsterInstance) -> None:
        self.id: str = result.run_id
        self.success: bool = result.success
        self.events: list[dg.DagsterEvent] = list(result.all_events)
        self.lines = [e.user_message for e in instance.all_logs(self.id)]

    @property
    def materialized(self) -> dict[str, dict[str, Any]]:
        """Return asset -> metadata of its only materialization."""
        found: dict[str, dict[str, Any]] = {}
        for event in self.events:
            if event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION:
                key = event.materialization.asset_key.to_user_string()
                assert key not in found, f"{key} is materialized twice"
                found[key] = {k: v.value for k, v in event.materialization.metadata.items()}
        return found

    @property
    def loaded(self) -> dict[str, int | None]:
        """Return table -> number of loaded rows."""
        return {k.removeprefix("shop_"): m.get("starlake/rows_loaded") for k, m in self.materialized.items() if k.startswith("shop_")}

    @property
    def failed(self) -> Mapping[str, str]:
        """Return table -> reason of its failure."""
        found: dict[str, str] = {}
        for event in self.events:
            if event.is_step_failure and event.step_failure_data.user_failure_data:
                told = event.step_failure_data.user_failure_data.metadata
                found.update({k.removeprefix("shop_"): str(v) for k, v in dict(told[FAILED].value).items()})  # type: ignore[arg-type]
        return found

    @property
    def failure(self) -> Any:
        """The error message of the failed step."""
        (data,) = [e.step_failure_data.user_failure_data for e in self.events if e.is_step_failure]
        return data

    def steps(self, kind: str) -> list[str]:
        return [str(e.step_key) for e in self.events if e.event_type_value == kind]

    @property
    def checks(self) -> dict[str, bool]:
        kind = dg.DagsterEventType.ASSET_CHECK_EVALUATION
        found = [e.asset_check_evaluation_data for e in self.events if e.event_type == kind]
        return {f"{c.asset_key.to_user_string()}.{c.check_name}": c.passed for c in found}
