"""Programs in place of ``starlake`` that behave like the real one.

A *playback* plays a recorded case (``shared/oracle/shell``): the same lines on the same streams, the same rows in the same order in the
audit tables and in the tables, the same files moved, the same exit code. What a command does is read from the lines that it writes: each
statement and each move is logged.

A *double* (``starlake_double``) generates such lines for the files that it finds, as the native or the Spark loader writes them. Words in
the files make it fail where the real one fails.

``python starlake_playback.py <instructions.json> <arguments...>`` runs one command; :class:`Program` writes the instructions.
"""

import csv
import json
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

Line = tuple[Literal["out", "err"], str]
Loader = Literal["native", "spark"]
Mode = Literal["main", "submit"]

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
        mode: how the launcher starts Starlake: itself (``SL_RUN_MODE=main``), or through ``spark-submit``, as it does by default.
    """

    def __init__(self, folder: Path, root: Path, database: Path, *, audit: bool = True, mode: Mode = "main") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "starlake"
        self.log = folder / "commands"
        self._instructions = folder / "instructions.json"
        self._given: dict[str, Any] = {"root": str(root), "database": str(database), "audit": audit, "log": str(self.log), "mode": mode}
        program = f'"{sys.executable}" "{Path(__file__).resolve()}" "{self._instructions}"'
        if mode == "main":
            self._write_script("starlake", f'exec {program} "$@"')
        else:
            self._write_script("starlake", f'set -e\nSPARK_HOME="{folder}" "{folder}/spark-submit" --class ai.starlake.job.Main "$@"')
            self._write_script("spark-submit", f'exec "{folder}/spark-class" org.apache.spark.deploy.SparkSubmit "$@"')
            # The command line comes from the standard output of a helper.
            helper = f"printf '%s\\0' {program} \"${{@:4}}\""
            self._write_script("spark-class", f'mapfile -d "" -t command < <({helper})\nexec "${{command[@]}}"')

    def _write_script(self, name: str, text: str) -> None:
        path = self.path.with_name(name)
        path.write_text(f"#!/usr/bin/env bash\n{text}\n", encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def play(self, command: Mapping[str, Any], *, rejects: str = "") -> None:
        """Let further commands play a recorded one.

        Args:
            command: the recorded one.
            rejects: an option that this version does not know.
        """
        self._write(play=dict(command), rejects=rejects)

    def double(self, loader: Loader, **options: Any) -> None:
        """Let further commands do what Starlake does with the files that are there.

        Args:
            loader: the loader of all tables.
            options: see :class:`starlake_double.Double`.
        """
        self._write(double={"loader": loader, **options})

    def _write(self, **what: Any) -> None:
        self._instructions.write_text(json.dumps({**self._given, **what}), encoding="utf-8")

    @property
    def commands(self) -> list[str]:
        """The commands that were run, without options."""
        return [line.split(" --options")[0] for line in self.log.read_text(encoding="utf-8").splitlines()] if self.log.exists() else []


class Player:
    """Writes recorded lines, and does what they describe."""

    def __init__(self, root: str, database: str, job_id: str, *, audit: bool, sentinel: str | None = None) -> None:
        import duckdb

        self.root, self.job_id, self.audit = Path(root), job_id, audit
        self._sentinel = sentinel or "${SL_ROOT}/datasets/not_ready"
        Path(database).parent.mkdir(parents=True, exist_ok=True)
        self.connection = duckdb.connect(database)
        self._files: list[Path] = []
        self._statement: list[str] = []

    def play(self, lines: Sequence[Line]) -> None:
        """Write the lines, and perform the action of each line when it is written."""
        for stream, line in lines:
            text = re.sub(
                r"\brun1\.step\d\d\b",
                self.job_id,
                line.replace("${SL_ROOT}/datasets/not_ready", self._sentinel).replace("${SL_ROOT}", str(self.root)),
            )
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
            elif found := re.search(r"Wrote not-ready sentinel to (.*)$", line):
                Path(found[1]).parent.mkdir(parents=True, exist_ok=True)
                Path(found[1]).touch()
        elif self._statement:
            self._statement.append(line)

    def _flush(self) -> None:
        """Perform the effect of a statement that is logged as done."""
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
        """Create a table with string columns, if it does not exist."""
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


def list_recorded_lines(command: Mapping[str, Any]) -> list[Line]:
    """Return the lines of both streams in one order: a file is announced before it is loaded, and its archiving is reported afterward."""
    blocks: list[list[str]] = [[]]
    for line in command["stdout"]:
        if line.startswith(("Loading", "Archive duration", "Load summary", "Moving ")) and not (
            line.startswith("Loading") and line != "Loading"
        ):
            blocks.append([])
        blocks[-1].append(line)
    first, *rest = blocks
    lines: list[Line] = [("out", line) for line in first]

    def build_lines(kind: str) -> Iterator[Line]:
        if rest and rest[0][0].startswith(kind):
            yield from (("out", line) for line in rest.pop(0))

    for line in command["stderr"]:
        if "Native candidate" in line:
            lines += build_lines("Loading")
        if "All tables loaded successfully" in line or "Some tables failed" in line or "Backing up file" in line:
            lines += [("err", line), *build_lines("Archive duration")]
            continue
        lines.append(("err", line))
    return lines + [("out", line) for block in rest for line in block]


def main(instructions: str, arguments: Sequence[str]) -> int:
    """Run one command; return its exit code."""
    given = json.loads(Path(instructions).read_text(encoding="utf-8"))
    with open(given["log"], "a", encoding="utf-8") as log:
        log.write(" ".join(arguments) + "\n")

    def find_option(*names: str) -> str | None:
        return next((arguments[arguments.index(name) + 1] for name in names if name in arguments), None)

    if given.get("rejects") in arguments:
        os.write(2, f"Error: Unknown option {given['rejects']}\n".encode())
        return 1
    verb, domain = arguments[0], find_option("--domains", "--domain") or ""
    tables = (find_option("--tables") or "").split(",")
    root = Path(given["root"])
    if "double" in given and verb in ("stage", "preload"):
        from starlake_double import look_for_files, stage_files

        return (
            stage_files(root, domain, tables)
            if verb == "stage"
            else look_for_files(root, domain, tables, find_option("--notReadySentinel"))
        )
    sentinel, job_id = find_option("--notReadySentinel"), os.environ.get("SL_JOB_ID", "")
    player = Player(given["root"], given["database"], job_id, audit=given["audit"], sentinel=sentinel)
    submitted = given["mode"] == "submit"
    try:
        player.play([("err", line) for line in BEFORE_SUBMITTED if submitted])
        if "double" in given:
            from starlake_double import Double

            exit_code = Double(player, **given["double"]).load(domain, tables)
        else:
            player.play(list_recorded_lines(given["play"]))
            exit_code = int(given["play"]["exit_code"])
        player.play([("err", line) for line in (*(FRAMES if exit_code else ()), *AFTER_SUBMITTED) if submitted])
        return exit_code
    finally:
        player.connection.close()


BEFORE_SUBMITTED = (
    "26/11/28 21:41:20 WARN Utils: Your hostname, box, resolves to a loopback address: 127.0.0.1; using 10.0.0.7 instead",
    "26/11/28 21:41:20 WARN Utils: Set SPARK_LOCAL_IP if you need to bind to another address",
)
FRAMES = (
    "\tat java.base/jdk.internal.reflect.DirectMethodHandleAccessor.invoke(DirectMethodHandleAccessor.java:103)",
    "\tat org.apache.spark.deploy.JavaMainApplication.start(SparkApplication.scala:52)",
    "\tat org.apache.spark.deploy.SparkSubmit$.main(SparkSubmit.scala:1132)",
    "\tat org.apache.spark.deploy.SparkSubmit.main(SparkSubmit.scala)",
)
AFTER_SUBMITTED = (
    "26/11/28 21:41:29 INFO ShutdownHookManager: Shutdown hook called",
    "26/11/28 21:41:29 INFO ShutdownHookManager: Deleting directory /tmp/spark-5c4d0a",
)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
