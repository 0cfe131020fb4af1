"""Small Starlake projects and commands for the tests of the engine."""

import contextlib
import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from starlake_dagster_components.engine import EngineResult, run_command
from starlake_dagster_components.project.model import Project
from starlake_dagster_components.project.reader import read_project

APPLICATION = """version: 1
application:
  connectionRef: duckdb
  connections:
    duckdb: { type: jdbc, options: { url: "jdbc:duckdb:{{SL_ROOT}}/datasets/duckdb.db" } }
    second: { type: jdbc, options: { url: "jdbc:duckdb:{{SL_ROOT}}/datasets/second.db" } }
"""
DOMAIN = 'version: 1\nload:\n  name: %s\n  metadata: { directory: "{{SL_ROOT}}/datasets/incoming/%s" }\n'


@dataclass
class Sandbox:
    """A project in a folder, and the output of its commands."""

    root: Path
    out: list[str] = field(default_factory=list)
    log: list[tuple[str, str]] = field(default_factory=list)
    project: Project | None = None

    def write(self, files: Mapping[str, str | bytes]) -> "Sandbox":
        for name, content in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        self.project = None
        return self

    def table(self, domain: str, name: str, attributes: str, metadata: str = "format: DSV", **more: str) -> "Sandbox":
        """Describe a load table; ``attributes`` are lines of YAML."""
        extra = "".join(f"  {key}: {value}\n" for key, value in more.items())
        lines = "".join(f"    - {line.strip()}\n" for line in attributes.strip().splitlines())
        text = f'version: 1\ntable:\n  name: {name}\n  pattern: "{name}.*"\n  metadata: {{ {metadata} }}\n{extra}  attributes:\n{lines}'
        files = {f"metadata/load/{domain}/{name}.sl.yml": text}
        if not (self.root / f"metadata/load/{domain}/_config.sl.yml").exists():
            files[f"metadata/load/{domain}/_config.sl.yml"] = DOMAIN % (domain, domain)
        return self.write(files)

    def task(self, name: str, sql: str, yaml: str | None = None) -> "Sandbox":
        domain, task = name.split(".")
        files = {f"metadata/transform/{domain}/{task}.sql": sql}
        described = f"metadata/transform/{domain}/{task}.sl.yml"
        (self.root / described).unlink(missing_ok=True)
        if yaml is not None:
            files[described] = f"version: 1\ntask:\n{yaml}"
        return self.write(files)

    def stage(self, domain: str, files: Mapping[str, str | bytes]) -> "Sandbox":
        project = self.project
        self.write({f"datasets/stage/{domain}/{name}": content for name, content in files.items()})
        self.project = project
        return self

    def run(self, *argv: str, env: Mapping[str, str] | None = None, check: bool = True, log: bool = False) -> EngineResult:
        """Run a command; with ``check`` it must succeed."""
        self.out.clear()
        self.log.clear()
        if self.project is None:
            self.project = read_project(self.root, environ={**os.environ, **(env or {})})
        result = run_command(
            argv,
            environ={"SL_ROOT": str(self.root), **(env or {})},
            out=self.out.append,
            log=lambda level, line: self.log.append((level, line)),
            project=self.project,
        )
        assert not check or result.exit_code == 0, result.reason
        return result

    def load(self, domain: str, files: Mapping[str, str | bytes] | None = None, **more: Any) -> EngineResult:
        if files:
            self.stage(domain, files)
        return self.run("load", "--domains", domain, **more)

    def rows(self, sql: str, database: str = "duckdb.db") -> list[tuple[Any, ...]]:
        with open_database(self.root / "datasets" / database, read_only=True) as connection:
            return connection.execute(sql).fetchall()

    def execute(self, *sql: str) -> None:
        (self.root / "datasets").mkdir(exist_ok=True)
        with open_database(self.root / "datasets/duckdb.db") as connection:
            for statement in sql:
                connection.execute(statement)

    def files(self, area: str) -> list[str]:
        return sorted(str(p.relative_to(self.root / "datasets" / area)) for p in (self.root / "datasets" / area).rglob("*") if p.is_file())


@functools.cache
def make_instance(pid: int) -> duckdb.DuckDBPyConnection:
    """Return the DuckDB instance that all queries of this process use, because creating one takes longer than most queries."""
    connection = duckdb.connect(":memory:", config={"python_enable_replacements": False, "threads": 1})
    connection.execute("set global timezone = 'UTC'")
    return connection


@contextlib.contextmanager
def open_database(path: Path, *, read_only: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a database as the current one of a connection, and close it at the end of the block."""
    if read_only and not path.exists():
        raise FileNotFoundError(path)
    name = path.name.split(".")[0]
    with make_instance(os.getpid()).cursor() as connection:
        connection.execute(f"attach '{path}' as \"{name}\"{' (read_only)' if read_only else ''}")
        try:
            connection.execute(f'use "{name}"')
            yield connection
        finally:
            connection.execute("use memory")
            connection.execute(f'detach "{name}"')


def make(root: Path, tables: Sequence[str] = ()) -> Sandbox:
    return Sandbox(root).write({"metadata/application.sl.yml": APPLICATION})
