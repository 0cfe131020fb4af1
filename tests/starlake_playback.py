"""Programs in place of ``starlake`` that do what the real one was seen to do.

A *playback* plays a recorded case (``shared/oracle/shell``): the same lines on the same streams, the same rows in the same order in the
audit tables and in the tables, the same files moved, the same exit code. What a command does is read from the lines that it writes: each
statement and each move is logged.

A *double* makes such lines up for whatever files it finds, as the native or the Spark loader writes them. Words in the files make it fail
where the real one fails. Starlake: IngestionWorkflow.load, IngestionJob.run, DuckDbNativeLoader.run, SparkIngestionPipeline,
ExpectationJob.

``python starlake_playback.py <instructions.json> <arguments...>`` runs one command; :class:`Program` writes the instructions.
"""

import csv
import json
import os
import re
import shutil
import signal
import stat
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

Line = tuple[Literal["out", "err"], str]
Loader = Literal["native", "spark"]

AUDIT_COLUMNS = (
    "JOBID VARCHAR, PATHS VARCHAR, DOMAIN VARCHAR, SCHEMA VARCHAR, SUCCESS BOOLEAN, COUNT BIGINT, COUNTACCEPTED BIGINT, "
    "COUNTREJECTED BIGINT, "
    "TIMESTAMP TIMESTAMP, DURATION BIGINT, MESSAGE VARCHAR, STEP VARCHAR, DATABASE VARCHAR, TENANT VARCHAR, SCHEDULED_DATE TIMESTAMP"
)
EXPECTATION_COLUMNS = (
    "JOBID VARCHAR, DATABASE VARCHAR, DOMAIN VARCHAR, SCHEMA VARCHAR, TIMESTAMP TIMESTAMP, NAME VARCHAR, PARAMS VARCHAR, SQL VARCHAR, "
    "COUNT BIGINT, "
    "EXCEPTION VARCHAR, SUCCESS BOOLEAN"
)


class Program:
    """An executable file that plays or doubles Starlake.

    Args:
        folder: where it is made.
        root: the project.
        database: the DuckDB file of the tables.
        audit: whether audit rows go to that file; otherwise nothing of this machine has them.
    """

    def __init__(self, folder: Path, root: Path, database: Path, *, audit: bool = True) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "starlake"
        self.log = folder / "commands"
        self._instructions = folder / "instructions.json"
        self._given: dict[str, Any] = {"root": str(root), "database": str(database), "audit": audit, "log": str(self.log)}
        self.path.write_text(
            f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).resolve()}" "{self._instructions}" "$@"\n', encoding="utf-8"
        )
        self.path.chmod(self.path.stat().st_mode | stat.S_IXUSR)

    def play(self, command: Mapping[str, Any]) -> None:
        """Let further commands play a recorded one."""
        self._write(play=dict(command))

    def double(self, loader: Loader, **options: Any) -> None:
        """Let further commands do what Starlake does with the files that are there.

        Args:
            loader: the loader of all tables.
            options: see :class:`Double`.
        """
        self._write(double={"loader": loader, **options})

    def _write(self, **what: Any) -> None:
        self._instructions.write_text(json.dumps({**self._given, **what}), encoding="utf-8")

    @property
    def commands(self) -> list[str]:
        """What was run, without options."""
        return [line.split(" --options")[0] for line in self.log.read_text(encoding="utf-8").splitlines()] if self.log.exists() else []


class Player:
    """Writes lines and does what they say."""

    def __init__(self, root: str, database: str, job_id: str, *, audit: bool) -> None:
        import duckdb

        self.root, self.job_id, self.audit = Path(root), job_id, audit
        Path(database).parent.mkdir(parents=True, exist_ok=True)
        self.connection = duckdb.connect(database)
        self._files: list[Path] = []
        self._statement: list[str] = []

    def play(self, lines: Sequence[Line]) -> None:
        """Write the lines; each of them is done when it is written."""
        for stream, line in lines:
            text = re.sub(r"\brun1\.step\d\d\b", self.job_id, line.replace("${SL_ROOT}", str(self.root)))
            os.write({"out": 1, "err": 2}[stream], (text + "\n").encode())
            self._do(stream, text)
        self._flush()

    def _do(self, stream: str, line: str) -> None:
        if stream == "out":
            if line.startswith("Moving ") and " file(s) " in line:
                source, target = re.search(r" from (\S+) to (?:file:)?(\S+)$", line).groups()  # type: ignore[union-attr]
                self._areas = Path(source), Path(target)
            elif line.startswith("Moving "):
                self._move(self._areas[0] / line[len("Moving ") :], self._areas[1] / line[len("Moving ") :])
            elif line.startswith("File(s): "):
                self._files = [Path(path.removeprefix("file:")) for path in re.split(r",(?=file:)", line[len("File(s): ") :])]
            return
        if re.match(r"\S+ \S+ (?:INFO|WARN|ERROR) ", line):
            self._flush()
            if "end running JDBC SQL [INSERT INTO " in line:
                self._statement = [line]
            elif found := re.search(r"Ingest resolved file : (.*) as table ([^.]+)\.", line):
                for name in found[1].split(","):
                    stage = self.root / "datasets/stage" / found[2] / name
                    self._move(stage, self.root / "datasets/ingesting" / found[2] / name)
            elif found := re.search(r"Backing up file file:(.*) to file:(.*)$", line):
                self._move(Path(found[1]), Path(found[2]))
            elif found := re.search(r"Deleting file List\(file:(.*)\)$", line):
                Path(found[1]).unlink()
        elif self._statement:
            self._statement.append(line)

    def _flush(self) -> None:
        """Do what a statement did that is logged as done."""
        text, self._statement = "\n".join(self._statement), []
        found = re.search(r"INSERT INTO (\w+)\.(\w+)", text)
        if not found:
            return
        if found[1] == "audit":
            if self.audit:
                self._note(found[2], text[text.index(found[0]) : text.rindex("] with id ")])
        else:
            self._insert(found[1], found[2])

    def _note(self, table: str, statement: str) -> None:
        columns = {"audit": AUDIT_COLUMNS, "expectations": EXPECTATION_COLUMNS}[table]
        self.connection.execute(f"create schema if not exists audit; create table if not exists audit.{table} ({columns})")
        self.connection.execute(statement)

    def make_table(self, domain: str, table: str, header: Sequence[str]) -> None:
        """Make a table with columns of text, unless it is there."""
        columns = ", ".join(f'"{name}" varchar' for name in header)
        self.connection.execute(f'create schema if not exists "{domain}"; create table if not exists "{domain}"."{table}" ({columns})')

    def _insert(self, domain: str, table: str) -> None:
        """Put the rows of the files whose load runs into the table, all as text; rows that the Spark loader rejects are left out."""
        for file in self._files:
            header, rows = read_rows(file)
            self.make_table(domain, table, header)
            for row in rows:
                if "reject" not in row:
                    marks = ", ".join("?" for _ in row)
                    self.connection.execute(f'insert into "{domain}"."{table}" values ({marks})', row)

    def _move(self, source: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(source, target)


def read_rows(file: Path) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of a CSV file, separated by what its header has."""
    text = file.read_text(encoding="utf-8")
    separator = ";" if ";" in text.partition("\n")[0] else ","
    header, *rows = list(csv.reader(text.splitlines(), delimiter=separator))
    return header, rows


# --------------------------------------------------------------------------------------------------------------- recorded


def recorded_lines(command: Mapping[str, Any]) -> list[Line]:
    """Return the lines of both streams in one order: a file is announced before it is loaded, and its archiving said afterwards."""
    blocks: list[list[str]] = [[]]
    for line in command["stdout"]:
        if line.startswith(("Loading", "Archive duration", "Load summary", "Moving ")) and not (
            line.startswith("Loading") and line != "Loading"
        ):
            blocks.append([])
        blocks[-1].append(line)
    first, *rest = blocks
    lines: list[Line] = [("out", line) for line in first]

    def say(kind: str) -> Iterator[Line]:
        if rest and rest[0][0].startswith(kind):
            yield from (("out", line) for line in rest.pop(0))

    for line in command["stderr"]:
        if "Native candidate" in line:
            lines += say("Loading")
        if "All tables loaded successfully" in line or "Some tables failed" in line or "Backing up file" in line:
            lines += [("err", line), *say("Archive duration")]
            continue
        lines.append(("err", line))
    return lines + [("out", line) for block in rest for line in block]


# ----------------------------------------------------------------------------------------------------------------- double


class Double:
    """What Starlake does with the files of one command.

    Words in a file say what happens to it: ``first``: its first step fails (a value that cannot be cast). ``second``: the second step of a
    native load fails. ``macro``: an expectation calls a macro that does not exist. ``boom``: the expectation of its table fails.
    ``reject``: a row that the Spark loader rejects. ``kill-<moment>``: the process is killed before or after ``insert``, ``transform``,
    ``load`` or ``archive``.

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
        self._out("- JAVA_HOME=")
        self._err("INFO IngestionWorkflow: Loading domains : " + domain)
        self._err(f"INFO IngestionWorkflow: Watch Domain: {domain}")
        names = sorted(os.listdir(stage)) if stage.is_dir() else []
        by_table = {table: [name for name in names if name.startswith(table)] for table in tables}
        for table, files in by_table.items():
            if files:
                self._ingest(domain, table, files)
        return self._end(f"load --domains {domain} --tables {','.join(tables)}")

    def _ingest(self, domain: str, table: str, files: Sequence[str]) -> None:
        self._err(f"INFO IngestionWorkflow: Ingest resolved file : {','.join(files)} as table {domain}.{table}")
        if self.level != "info":
            for name in files:
                self.player._move(
                    self.player.root / "datasets/stage" / domain / name, self.player.root / "datasets/ingesting" / domain / name
                )
        for name in files:
            self._job(domain, table, self.player.root / "datasets/ingesting" / domain / name)

    def _job(self, domain: str, table: str, file: Path) -> None:
        self.jobs += 1
        for text in ("Loading", "Format: DSV", f"File(s): file:{file}", f"Table: {domain}.{table}"):
            self._out(text)
        self._err(f"INFO IngestionJob$: Native candidate: {str(self.loader == 'native').lower()}")
        words = file.read_text(encoding="utf-8")
        header, rows = read_rows(file)
        rejected = sum("reject" in row for row in rows) if self.loader == "spark" else -1
        good = len(rows) - max(rejected, 0)
        if "first" in words:
            self._row(
                "LOAD", domain, table, False, f"file:{file}", (0, 0, 0), "java.sql.SQLException: Conversion Error: CSV Error on Line: 2"
            )
            self._err(
                "ERROR DsvIngestionJob: java.sql.SQLException: Conversion Error: CSV Error on Line: 2", "Original Line: first", _frame()
            )
            self._fail("java.sql.SQLException: Conversion Error: CSV Error on Line: 2", "Original Line: first", _frame())
            return
        # Before the second step. Starlake: JdbcAutoTask.updateJdbcTableSchema.
        self.player.make_table(domain, table, header)
        failure: list[str] = []
        counts = (good + max(rejected, 0), good, rejected)
        if self.loader == "native":
            failure, counts = self._second_step(domain, table, words, good)
        else:
            self._insert(domain, table, words)
        self._row("LOAD", domain, table, True, f"file:{file}", counts, "success", moment="load", words=words)
        failure = failure or self._expect(domain, table)
        if failure and (self.fail_on_error or "macro" in words):
            self._fail(*failure)
            return
        self._kill(words, "before-archive")
        self._archive(file)
        self.loaded.append(f"file:{file}")
        self.counts = [a + b for a, b in zip(self.counts, counts, strict=True)]

    def _second_step(self, domain: str, table: str, words: str, good: int) -> tuple[list[str], tuple[int, int, int]]:
        """Return the failure that the second step leaves for later, and the counts: by how much the table has grown."""
        if "second" in words:
            message = f"java.sql.SQLException: Conversion Error: Could not convert string {_frame()}"
            self._err("ERROR JdbcDbUtils$: Error running sql", "java.sql.SQLException: Conversion Error", _frame())
            self._row("TRANSFORM", domain, table, False, table, (-1, -1, -1), message)
            return [], (0, 0, -1)
        self._insert(domain, table, words)
        failure: list[str] = []
        if "macro" in words:
            failure = [
                "com.hubspot.jinjava.interpret.FatalTemplateErrorsException: Could not resolve function 'nosuch'",
                "\tat ai.starlake.job.metrics.ExpectationJob.$anonfun$runExpectations$1(ExpectationJob.scala:169)",
            ]
            self._row("TRANSFORM", domain, table, False, table, (-1, -1, -1), " ".join(failure).replace("'", "-"))
        else:
            self._expect(domain, table)
            self._row("TRANSFORM", domain, table, True, table, (-1, -1, -1), "success", moment="transform", words=words)
        return failure, (good, good, -1)

    def _insert(self, domain: str, table: str, words: str) -> None:
        self._kill(words, "before-insert")
        self._statement(f"INSERT INTO {domain}.{table} SELECT *", do=lambda: self.player._insert(domain, table))
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
        self._err(f"INFO ExpectationJob: Applying expectation: {call} with request select count(*) from {domain}.{table}")
        self._noted("expectations", EXPECTATION_COLUMNS, columns)
        return (
            ["java.lang.Exception: 1 Expectations failed", "\tat ai.starlake.job.metrics.ExpectationJob.run(ExpectationJob.scala:153)"]
            if count
            else []
        )

    def _row(
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
        self._noted("audit", AUDIT_COLUMNS, columns)
        self._kill(words, f"after-{moment}")

    def _noted(self, table: str, definition: str, columns: Sequence[str]) -> None:
        names = ",".join(f'"{column.split()[0]}"' for column in definition.split(", "))
        statement = f"INSERT INTO audit.{table}({names}) SELECT\n            " + ",\n            ".join(columns)
        self._statement(statement, do=lambda: self.player._note(table, statement) if self.player.audit else None)

    def _statement(self, statement: str, do: Any) -> None:
        """Log a statement as the real one does: before and after; it is done once, whatever the level of the log."""
        number = uuid.uuid4()
        self._err(*f"INFO JdbcDbUtils$: Running JDBC SQL with id {number}: {statement}".split("\n"))
        if self.level != "info":
            do()
        self._err("INFO JdbcDbUtils$: 1 records affected")
        self._err(*f"INFO JdbcDbUtils$: end running JDBC SQL [{statement}] with id {number} with return value true".split("\n"))
        self._err("INFO HdfsStorageHandler: Found 0 files")

    def _archive(self, file: Path) -> None:
        archive = self.player.root / "datasets/archive" / file.parent.name / file.name
        if self.archive:
            self._err(f"INFO IngestionWorkflow: Backing up file file:{file} to file:{archive}")
            if self.level != "info":
                self.player._move(file, archive)
            self._out("Archive duration takes 2ms")
        else:
            self._err(f"INFO IngestionWorkflow: Deleting file List(file:{file})")
            if self.level != "info":
                file.unlink()

    def _fail(self, *lines: str) -> None:
        self._err(f"ERROR IngestionWorkflow: {lines[0]}", *lines[1:], "")
        self.failures.append(list(lines))

    def _end(self, arguments: str) -> int:
        if self.failures:
            said = [line for failure in self.failures for line in failure]
            self._err("ERROR IngestionWorkflow: Some tables failed to be loaded")
            self._err(f"ERROR IngestionWorkflow: {said[0]}", *said[1:])
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
            self._out(text)
        for at, path in enumerate(self.loaded):
            self._out(f"Data successfully loaded from {path}" if not at else f"\t{path}")
        names = ("inputCount", "acceptedCount", "rejectedCount")
        api = {**dict(zip(names, self.counts, strict=True)), "paths": self.loaded, "jobid": ("," + self.player.job_id) * len(self.loaded)}
        self._out("IngestionCounters:" + json.dumps(api, separators=(",", ":")))
        self._err("INFO IngestionWorkflow: All tables loaded successfully")
        return 0

    def _out(self, text: str) -> None:
        self.player.play([("out", text)])

    def _err(self, first: str, *more: str) -> None:
        if self.level == "info" or first.startswith("ERROR"):
            self.player.play([("err", f"26/11/28 21:41:22 {first}"), *(("err", line) for line in more)])

    def _kill(self, words: str, moment: str) -> None:
        if re.search(rf"\bkill-{moment}\b", words):
            self.player.connection.close()
            os.kill(os.getpid(), signal.SIGKILL)


def _frame() -> str:
    return "\tat ai.starlake.extract.JdbcDbUtils$.executeUpdate(JdbcDbUtils.scala:300)"


def _stage(root: Path, domain: str, tables: Sequence[str]) -> int:
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


def _preload(root: Path, domain: str, tables: Sequence[str], sentinel: str | None) -> int:
    for incoming in (root / "incoming" / domain, root / "datasets/incoming" / domain):
        if incoming.is_dir() and any(name.startswith(tuple(tables)) for name in os.listdir(incoming)):
            return 0
    if sentinel is None:
        return 1
    Path(sentinel).touch()
    return 0


def main(instructions: str, arguments: Sequence[str]) -> int:
    """Run one command; return its exit code."""
    given = json.loads(Path(instructions).read_text(encoding="utf-8"))
    with open(given["log"], "a", encoding="utf-8") as log:
        log.write(" ".join(arguments) + "\n")

    def option(*names: str) -> str | None:
        return next((arguments[arguments.index(name) + 1] for name in names if name in arguments), None)

    verb, domain = arguments[0], option("--domains", "--domain") or ""
    tables = (option("--tables") or "").split(",")
    root = Path(given["root"])
    if "double" in given and verb == "stage":
        return _stage(root, domain, tables)
    if "double" in given and verb == "preload":
        return _preload(root, domain, tables, option("--notReadySentinel"))
    player = Player(given["root"], given["database"], os.environ.get("SL_JOB_ID", ""), audit=given["audit"])
    try:
        if "double" in given:
            return Double(player, **given["double"]).load(domain, tables)
        player.play(recorded_lines(given["play"]))
        return int(given["play"]["exit_code"])
    finally:
        player.connection.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
