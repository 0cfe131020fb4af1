"""A program in place of ``starlake`` that loads the files that it finds, and fails where the real one was observed to fail.

It generates the lines that the native or the Spark loader writes, and plays them. Starlake: IngestionWorkflow.load, IngestionJob.run,
DuckDbNativeLoader.run, SparkIngestionPipeline, ExpectationJob.
"""

import json
import os
import re
import shutil
import signal
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from starlake_playback import AUDIT_COLUMNS, EXPECTATION_COLUMNS, Loader, Player, read_rows

HANGING = "waiting for the database"
"""The output of a process from the moment at which it ignores SIGTERM."""


class Double:
    """The behavior of Starlake for the files of one command.

    Words in a file say what happens to it: ``first``: its first step fails (a value that cannot be cast). ``second``: the second step of a
    native load fails. ``macro``: an expectation calls a macro that does not exist. ``boom``: the expectation of its table fails.
    ``reject``: a row that the Spark loader rejects. ``kill-<moment>``: the process is killed before or after ``insert``, ``transform``,
    ``load`` or ``archive``. ``hang-<moment>``: it ignores SIGTERM and goes on for ten minutes.

    Args:
        player: writes what is made up.
        loader: native or Spark.
        expectations: table -> call of its expectation.
        fail_on_error: ``SL_EXPECTATIONS_FAIL_ON_ERROR``.
        archive: ``archive`` of the application.
        level: ``SL_LOG_LEVEL``.
    """

    def __init__(
        self,
        player: Player,
        loader: Loader = "native",
        expectations: Mapping[str, str] | None = None,
        *,
        fail_on_error: bool = True,
        archive: bool = True,
        level: str = "info",
    ) -> None:
        self.player, self.loader, self.fail_on_error, self.archive, self.level = player, loader, fail_on_error, archive, level
        self.expectations = dict(expectations or {})
        self.loaded: list[str] = []
        self.counts = [0, 0, 0]
        self.failures: list[list[str]] = []
        self.jobs = 0

    def load(self, domain: str, tables: Sequence[str]) -> int:
        """Load the files of tables; return the exit code."""
        stage = self.player.root / "datasets/stage" / domain
        self._print_out("- JAVA_HOME=")
        self._print_err("INFO IngestionWorkflow: Loading domains : " + domain)
        self._print_err(f"INFO IngestionWorkflow: Watch Domain: {domain}")
        names = sorted(os.listdir(stage)) if stage.is_dir() else []
        by_table = {table: [name for name in names if name.startswith(table)] for table in tables}
        for table, files in by_table.items():
            if files:
                self._ingest(domain, table, files)
        return self._end(f"load --domains {domain} --tables {','.join(tables)}")

    def _ingest(self, domain: str, table: str, files: Sequence[str]) -> None:
        self._print_err(f"INFO IngestionWorkflow: Ingest resolved file : {','.join(files)} as table {domain}.{table}")
        if self.level != "info":
            for name in files:
                self.player._move(
                    self.player.root / "datasets/stage" / domain / name, self.player.root / "datasets/ingesting" / domain / name
                )
        for name in files:
            self._run_job(domain, table, self.player.root / "datasets/ingesting" / domain / name)

    def _run_job(self, domain: str, table: str, file: Path) -> None:
        self.jobs += 1
        for text in ("Loading", "Format: DSV", f"File(s): file:{file}", f"Table: {domain}.{table}"):
            self._print_out(text)
        self._print_err(f"INFO IngestionJob$: Native candidate: {str(self.loader == 'native').lower()}")
        words = file.read_text(encoding="utf-8")
        header, rows = read_rows(file)
        rejected = sum("reject" in row for row in rows) if self.loader == "spark" else -1
        good = len(rows) - max(rejected, 0)
        if "first" in words or "busy" in words:
            reason = "IO Error: Could not set lock on file" if "busy" in words else "Conversion Error: CSV Error on Line: 2"
            self._write_row("LOAD", domain, table, False, f"file:{file}", (0, 0, 0), f"java.sql.SQLException: {reason}")
            self._print_err(f"ERROR DsvIngestionJob: java.sql.SQLException: {reason}", "Original Line: first", _build_frame())
            self._fail(f"java.sql.SQLException: {reason}", "Original Line: first", _build_frame())
            return
        # Before the second step. Starlake: JdbcAutoTask.updateJdbcTableSchema.
        self.player.make_table(domain, table, header)
        failure: list[str] = []
        counts = (good + max(rejected, 0), good, rejected)
        if self.loader == "native":
            failure, counts = self._run_second_step(domain, table, words, good)
        else:
            self._insert(domain, table, words)
        self._write_row("LOAD", domain, table, True, f"file:{file}", counts, "success", moment="load", words=words)
        failure = failure or self._expect(domain, table)
        if failure and (self.fail_on_error or "macro" in words):
            self._fail(*failure)
            return
        self._kill(words, "before-archive")
        self._archive(file)
        self.loaded.append(f"file:{file}")
        self.counts = [a + b for a, b in zip(self.counts, counts, strict=True)]

    def _run_second_step(self, domain: str, table: str, words: str, good: int) -> tuple[list[str], tuple[int, int, int]]:
        """Return the failure of the second step, and the counts, which are the growth of the table."""
        if "second" in words:
            message = f"java.sql.SQLException: Conversion Error: Could not convert string {_build_frame()}"
            self._print_err("ERROR JdbcDbUtils$: Error running sql", "java.sql.SQLException: Conversion Error", _build_frame())
            self._write_row("TRANSFORM", domain, table, False, table, (-1, -1, -1), message)
            return [], (0, 0, -1)
        self._insert(domain, table, words)
        failure: list[str] = []
        if "macro" in words:
            failure = [
                "com.hubspot.jinjava.interpret.FatalTemplateErrorsException: Could not resolve function 'nosuch'",
                "\tat ai.starlake.job.metrics.ExpectationJob.$anonfun$runExpectations$1(ExpectationJob.scala:169)",
            ]
            self._write_row("TRANSFORM", domain, table, False, table, (-1, -1, -1), " ".join(failure).replace("'", "-"))
        else:
            self._expect(domain, table)
            self._write_row("TRANSFORM", domain, table, True, table, (-1, -1, -1), "success", moment="transform", words=words)
        return failure, (good, good, -1)

    def _insert(self, domain: str, table: str, words: str) -> None:
        self._kill(words, "before-insert")
        self._run_statement(f"INSERT INTO {domain}.{table} SELECT *", do=lambda: self.player._insert(domain, table))
        self._kill(words, "after-insert")

    def _expect(self, domain: str, table: str) -> list[str]:
        """Evaluate the expectation of a table; return the exception of one that fails."""
        call = self.expectations.get(table)
        if call is None:
            return []
        found = self.player.connection.execute(f'select count(*) from "{domain}"."{table}" t where t::varchar like \'%boom%\'').fetchall()
        count, noted = found[0][0], call.replace("'", '"')
        values = {"JOBID": self.player.job_id, "DATABASE": "", "DOMAIN": domain, "SCHEMA": table}
        columns = [f"'{value}' AS {name}" for name, value in values.items()]
        columns += ["TIMESTAMP '2026-11-28 21:41:22.0' AS TIMESTAMP", f"'{noted}' AS NAME", f"'{noted}' AS PARAMS"]
        columns += [
            f"'select count(*) from {domain}.{table}' AS SQL",
            f"{count} AS COUNT",
            "'' AS EXCEPTION",
            f"{str(not count).lower()} AS SUCCESS",
        ]
        self._print_err(f"INFO ExpectationJob: Applying expectation: {call} with request select count(*) from {domain}.{table}")
        self._note_row("expectations", EXPECTATION_COLUMNS, columns)
        return (
            ["java.lang.Exception: 1 Expectations failed", "\tat ai.starlake.job.metrics.ExpectationJob.run(ExpectationJob.scala:153)"]
            if count
            else []
        )

    def _write_row(
        self,
        step: str,
        domain: str,
        table: str,
        success: bool,
        paths: str,
        counts: tuple[int, int, int],
        message: str,
        *,
        moment: str = "",
        words: str = "",
    ) -> None:
        self._kill(words, f"before-{moment}")
        columns = [
            f"'{v}' AS {n}"
            for n, v in (("JOBID", self.player.job_id), ("PATHS", paths.replace("'", "-")), ("DOMAIN", domain), ("SCHEMA", table))
        ]
        columns.append(f"{str(success).lower()} AS SUCCESS")
        columns += [f"{count} AS {name}" for count, name in zip(counts, ("COUNT", "COUNTACCEPTED", "COUNTREJECTED"), strict=True)]
        columns += ["TIMESTAMP '2026-11-28 21:41:22.0' AS TIMESTAMP", "85 AS DURATION", f"'{message}' AS MESSAGE", f"'{step}' AS STEP"]
        columns += ["'' AS DATABASE", "'' AS TENANT", "TIMESTAMP '2026-11-28 21:41:22.0' AS SCHEDULED_DATE"]
        self._note_row("audit", AUDIT_COLUMNS, columns)
        self._kill(words, f"after-{moment}")

    def _note_row(self, table: str, definition: str, columns: Sequence[str]) -> None:
        names = ",".join(f'"{column.split()[0]}"' for column in definition.split(", "))
        statement = f"INSERT INTO audit.{table}({names}) SELECT\n            " + ",\n            ".join(columns)
        self._run_statement(statement, do=lambda: self.player._note(table, statement) if self.player.audit else None)

    def _run_statement(self, statement: str, do: Any) -> None:
        """Log a statement as the real one does: before and after; it is done once, whatever the level of the log."""
        number = uuid.uuid4()
        self._print_err(*f"INFO JdbcDbUtils$: Running JDBC SQL with id {number}: {statement}".split("\n"))
        if self.level != "info":
            do()
        self._print_err("INFO JdbcDbUtils$: 1 records affected")
        self._print_err(*f"INFO JdbcDbUtils$: end running JDBC SQL [{statement}] with id {number} with return value true".split("\n"))
        self._print_err("INFO HdfsStorageHandler: Found 0 files")

    def _archive(self, file: Path) -> None:
        archive = self.player.root / "datasets/archive" / file.parent.name / file.name
        if self.archive:
            self._print_err(f"INFO IngestionWorkflow: Backing up file file:{file} to file:{archive}")
            if self.level != "info":
                self.player._move(file, archive)
            self._print_out("Archive duration takes 2ms")
        else:
            self._print_err(f"INFO IngestionWorkflow: Deleting file List(file:{file})")
            if self.level != "info":
                file.unlink()

    def _fail(self, *lines: str) -> None:
        self._print_err(f"ERROR IngestionWorkflow: {lines[0]}", *lines[1:], "")
        self.failures.append(list(lines))

    def _end(self, arguments: str) -> int:
        if self.failures:
            said = [line for failure in self.failures for line in failure]
            self._print_err("ERROR IngestionWorkflow: Some tables failed to be loaded")
            self._print_err(f"ERROR IngestionWorkflow: {said[0]}", *said[1:])
            self.player.play(
                [
                    (
                        "err",
                        f"Starlake failed to execute command with args {arguments}26/11/28 21:41:26 ERROR Main: java.lang.Exception: "
                        f"{said[0]}",
                    )
                ]
            )
            self.player.play([("err", f'Exception in thread "main" java.lang.Exception: {said[0]}'), *(("err", line) for line in said[1:])])
            return 1
        for text in ("Load summary:", *(f"{n}: {c}" for n, c in zip(("Input records", "Accepted", "Rejected"), self.counts, strict=True))):
            self._print_out(text)
        for at, path in enumerate(self.loaded):
            self._print_out(f"Data successfully loaded from {path}" if not at else f"\t{path}")
        names = ("inputCount", "acceptedCount", "rejectedCount")
        api = {**dict(zip(names, self.counts, strict=True)), "paths": self.loaded, "jobid": ("," + self.player.job_id) * len(self.loaded)}
        self._print_out("IngestionCounters:" + json.dumps(api, separators=(",", ":")))
        self._print_err("INFO IngestionWorkflow: All tables loaded successfully")
        return 0

    def _print_out(self, text: str) -> None:
        self.player.play([("out", text)])

    def _print_err(self, first: str, *more: str) -> None:
        if self.level == "info" or first.startswith("ERROR"):
            self.player.play([("err", f"26/11/28 21:41:22 {first}"), *(("err", line) for line in more)])

    def _kill(self, words: str, moment: str) -> None:
        if re.search(rf"\bkill-{moment}\b", words):
            self.player.connection.close()
            os.kill(os.getpid(), signal.SIGKILL)
        if re.search(rf"\bhang-{moment}\b", words):
            self.player.connection.close()
            signal.signal(signal.SIGTERM, lambda *_: self._print_out("Shutdown hook: waiting for a query"))
            self._print_out(HANGING)
            for _ in range(600):
                time.sleep(1)


def _build_frame() -> str:
    return "\tat ai.starlake.extract.JdbcDbUtils$.executeUpdate(JdbcDbUtils.scala:300)"


def stage_files(root: Path, domain: str, tables: Sequence[str]) -> int:
    """Stage the files of tables. The incoming folder is the one of the corpus: ``incoming`` or ``datasets/incoming``."""
    for incoming in (root / "incoming" / domain, root / "datasets/incoming" / domain):
        names = sorted(os.listdir(incoming)) if incoming.is_dir() else []
        for name in names:
            if name.startswith(tuple(tables)):
                target = root / "datasets/stage" / domain / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(incoming / name, target)
                os.write(1, f"Moving {name}\n".encode())
    return 0


def look_for_files(root: Path, domain: str, tables: Sequence[str], sentinel: str | None) -> int:
    for incoming in (root / "incoming" / domain, root / "datasets/incoming" / domain):
        if incoming.is_dir() and any(name.startswith(tuple(tables)) for name in os.listdir(incoming)):
            return 0
    if sentinel is None:
        return 1
    Path(sentinel).touch()
    return 0
