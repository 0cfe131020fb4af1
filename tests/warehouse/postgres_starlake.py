"""A double of ``starlake`` that loads CSV files into PostgreSQL and runs SQL there, and records both in audit tables like the real one.

It replaces the real command in tests of reading from a warehouse. Like the Spark loader, it writes one row of step LOAD per file. It
rejects rows with the word ``reject``. Its arguments are a settings file, the command, and the command's arguments.
"""

import csv
import json
import os
import shutil
import stat
import sys
from pathlib import Path
from typing import Any

AUDIT = (
    "JOBID varchar, PATHS text, DOMAIN varchar, SCHEMA varchar, SUCCESS boolean, COUNT bigint, COUNTACCEPTED bigint, COUNTREJECTED bigint, "
    "TIMESTAMP timestamp, DURATION bigint, MESSAGE text, STEP varchar, DATABASE varchar, TENANT varchar, SCHEDULED_DATE timestamp"
)
EXPECTATIONS = (
    "JOBID varchar, DATABASE varchar, DOMAIN varchar, SCHEMA varchar, TIMESTAMP timestamp, NAME varchar, PARAMS varchar, SQL text, "
    "COUNT bigint, EXCEPTION text, SUCCESS boolean"
)


def write_program(folder: Path, **settings: Any) -> Path:
    """Write the executable; return its path.

    Args:
        folder: the folder of its files.
        settings: ``dsn``; ``expectations``: table -> call, whose violations are rows with an empty name; ``tasks``: task -> SELECT;
            ``rejected``: whether rejected rows are recorded.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "settings.json").write_text(json.dumps(settings))
    path = folder / "starlake"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).resolve()}" "{folder / "settings.json"}" "$@"\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


class Starlake:
    """One command."""

    def __init__(self, settings: dict[str, Any]) -> None:
        import psycopg

        self.settings, self.job = settings, os.environ["SL_JOB_ID"]
        self.connection = psycopg.connect(settings["dsn"], autocommit=True)
        self.connection.execute("create schema if not exists audit")
        self.connection.execute(f"create table if not exists audit.audit ({AUDIT})")

    def load(self, domain: str, tables: list[str]) -> int:
        root = Path(os.environ["SL_ROOT"], "datasets")
        stage = root / "stage" / domain
        self.connection.execute(f'create schema if not exists "{domain}"')
        if not any(file.name.startswith(tuple(tables)) for file in (stage.glob("*.csv") if stage.is_dir() else ())):
            # The counts of files are only in the audit, which is tested here.
            sys.stdout.write('IngestionCounters:{"inputCount":0,"acceptedCount":0,"rejectedCount":0,"paths":[]}\n')
        for table in tables:
            for file in sorted(stage.glob(f"{table}*.csv")) if stage.is_dir() else []:
                self._load_file(domain, table, file)
                archive = root / "archive" / domain
                archive.mkdir(parents=True, exist_ok=True)
                shutil.move(file, archive / file.name)
        return 0

    def _load_file(self, domain: str, table: str, file: Path) -> None:
        rows = list(csv.reader(file.read_text().splitlines()))[1:]
        good = [row for row in rows if "reject" not in row]
        self.connection.execute(f'create table if not exists "{domain}"."{table}" (id varchar, name varchar)')
        for row in good:
            self.connection.execute(f'insert into "{domain}"."{table}" values (%s, %s)', row)
        if self.settings.get("rejected"):
            self.connection.execute("create table if not exists audit.rejected (JOBID varchar, ERROR varchar, PATH varchar)")
            for row in rows:
                if row not in good:
                    self.connection.execute(
                        "insert into audit.rejected values (%s, %s, %s)", (self.job, f"invalid row {','.join(row)}", file.name)
                    )
        self._note("LOAD", f"file:{file}", domain, table, (len(rows), len(good), len(rows) - len(good)))
        self._expect(domain, table)

    def transform(self, name: str) -> int:
        domain, _, table = name.partition(".")
        self.connection.execute(f'create schema if not exists "{domain}"')
        self.connection.execute(f'drop table if exists "{domain}"."{table}"')
        self.connection.execute(f'create table "{domain}"."{table}" as {self.settings["tasks"][name]}')
        self._expect(domain, table)
        self._note("TRANSFORM", table, domain, table, (-1, -1, -1))
        return 0

    def _note(self, step: str, paths: str, domain: str, table: str, counts: tuple[int, int, int]) -> None:
        self.connection.execute(
            "insert into audit.audit values "
            "(%s, %s, %s, %s, true, %s, %s, %s, date_trunc('second', now()), 5, 'success', %s, '', '', now())",
            (self.job, paths, domain, table, *counts, step),
        )

    def _expect(self, domain: str, table: str) -> None:
        call = self.settings["expectations"].get(f"{domain}.{table}")
        if not call:
            return
        self.connection.execute(f"create table if not exists audit.expectations ({EXPECTATIONS})")
        sql = f"select count(*) from {domain}.{table} where name = ''"
        row = self.connection.execute(sql).fetchone()
        assert row is not None
        noted = call.replace("'", '"')
        self.connection.execute(
            "insert into audit.expectations values (%s, '', %s, %s, date_trunc('second', now()), %s, %s, %s, %s, '', %s)",
            (self.job, domain, table, noted, noted, sql, row[0], row[0] == 0),
        )


def main(settings: str, verb: str, *arguments: str) -> int:
    """Run a command; return its exit code."""
    given = dict(zip(arguments[::2], arguments[1::2], strict=False))
    starlake = Starlake(json.loads(Path(settings).read_text()))
    if verb == "load":
        return starlake.load(given["--domains"], given["--tables"].split(","))
    return starlake.transform(given["--name"]) if verb == "transform" else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
