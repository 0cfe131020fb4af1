"""Make random projects with valid and invalid files, and compare their loads with an independent model.

``python tests/engine/random_projects.py 0 5000`` runs the projects of these seeds and prints every difference.
"""

import io
import json
import os
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

from engine_help import Sandbox, make
from random_cases import Case, Row, Value, make_case

# The model.


def apply_batch(case: Case, table: list[Row], batch: list[Row]) -> list[Row]:
    """Return the rows of the table after a batch."""
    key = case.kept.index(case.key)
    if case.strategy == "APPEND":
        return table + batch
    if case.strategy == "OVERWRITE":
        return list(batch)
    if case.strategy == "OVERWRITE_BY_PARTITION":
        parts = {row[key] for row in batch}
        return [row for row in table if row[key] not in parts] + batch
    keys = {row[key] for row in batch} - {None}
    if case.strategy == "DELETE_THEN_INSERT":
        return [row for row in table if row[key] not in keys] + batch
    moment = case.kept.index(case.moment)
    for row in batch:
        before = next((one for one in table if row[key] is not None and one[key] == row[key]), None)
        newer = before is None or case.strategy == "UPSERT_BY_KEY" or order(row[moment]) >= order(before[moment])
        if newer:
            table = [one for one in table if one is not before]
            table = [*table, row]
    return table


def order(value: Value) -> tuple[bool, Any]:
    return (value is not None, value if value is not None else 0)


# Running.


def write_project(case: Case, box: Sandbox) -> None:
    attributes = []
    for index, column in enumerate(case.columns):
        one: dict[str, Any] = {"name": column.name, "type": column.type}
        if column.rename:
            one["rename"] = column.rename
        if column.required:
            one["required"] = True
        if column.ignore:
            one["ignore"] = True
        if case.format == "POSITION":
            one["position"] = {"first": 24 * index, "last": 24 * index + 23}
            if column.type == "string":
                one["trim"] = "BOTH"
        attributes.append(one)
    strategy: dict[str, Any] = {"type": case.strategy}
    metadata: dict[str, Any] = {"format": case.format, "encoding": case.encoding, "withHeader": case.header, "writeStrategy": strategy}
    if case.strategy.startswith(("UPSERT", "DELETE")):
        strategy["key"] = [case.key.final]
    if case.strategy == "UPSERT_BY_KEY_AND_TIMESTAMP":
        strategy["timestamp"] = case.moment.final
    if case.strategy == "OVERWRITE_BY_PARTITION":
        metadata["sink"] = {"partition": [case.key.final]}
    if case.format == "DSV":
        metadata |= {"separator": case.separator, "quote": case.quote, "escape": case.escape}
        if case.null is not None:
            metadata["nullValue"] = case.null
        if case.keep_empty:
            metadata["emptyIsNull"] = False
    if case.format == "JSON":
        metadata["array"] = case.array
    table = {"version": 1, "table": {"name": case.table, "pattern": "f.*", "metadata": metadata, "attributes": attributes}}
    domain = {"version": 1, "load": {"name": case.domain, "metadata": {"directory": "{{SL_ROOT}}/incoming"}}}
    box.write(
        {
            f"metadata/load/{case.domain}/_config.sl.yml": json.dumps(domain),
            f"metadata/load/{case.domain}/{case.table}.sl.yml": json.dumps(table),
        }
    )


def check_case(case: Case, root: Path) -> list[str]:
    """Run a case. Return the differences from the model."""
    box = make(root)
    write_project(case, box)
    differences: list[str] = []
    table: list[Row] = []
    archived: set[str] = set()
    left: set[str] = set()
    for number, files in enumerate(case.batches):
        for index, file in enumerate(files):
            path = root / "datasets/stage" / case.domain / file.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.content)
            os.utime(path, (1000000 + 100 * number + index,) * 2)
        # A batch that failed before is retried first, and fails again.
        good = [file for file in files if file.bad is None]
        groups = [[file] for file in good] if not case.grouped else [good] if len(good) == len(files) else []
        accepted = sum(len(file.rows) for group in groups for file in group)
        for group in groups:
            table = apply_batch(case, table, [row for file in group for row in file.rows])
        done = {file.name for group in groups for file in group}
        archived |= done
        left |= {file.name for file in files} - done
        result = box.run("load", env={"SL_GROUPED": "true" if case.grouped else "false"}, check=False)
        differences += compare(case, box, result, table, archived, left, accepted)
        if differences:
            return [f"batch {number}: {one}" for one in differences] + ([f"reason: {result.reason}"] if result.reason else [])
        if case.grouped and left:
            # The next load takes the valid files beside an invalid one. The model ends here.
            break
    return differences


def compare(case: Case, box: Sandbox, result: Any, table: list[Row], archived: set[str], left: set[str], accepted: int) -> list[str]:
    found = []
    if (result.exit_code != 0) != bool(left):
        found.append(f"exit code {result.exit_code}, files left: {sorted(left)}")
    areas = {area: {name.partition("/")[2] for name in box.files(area)} for area in ("archive", "ingesting", "stage", "unresolved")}
    if areas != {"archive": archived, "ingesting": left, "stage": set(), "unresolved": set()}:
        found.append(f"files are in {areas}, expected archive {archived}, ingesting {left}")
    counts = next(iter(result.counters.values()), None)
    if counts is not None and (counts.accepted != accepted or counts.input != counts.accepted + counts.rejected):
        found.append(f"counts {counts.input} = {counts.accepted} + {counts.rejected}, expected {accepted}")
    quoted = ".".join('"' + name.replace('"', '""') + '"' for name in (case.domain, case.table))
    names = ", ".join('"' + column.final.replace('"', '""') + '"' for column in case.kept)
    rows: list[Row] = []
    exists = f"select 1 from duckdb_tables() where schema_name = '{case.domain}' and table_name = '{case.table}'"
    if (box.root / "datasets/duckdb.db").exists() and box.rows(exists):
        rows = box.rows(f"select {names} from {quoted}")
    if Counter(map(show, rows)) != Counter(map(show, table)):
        missing = Counter(map(show, table)) - Counter(map(show, rows))
        more = Counter(map(show, rows)) - Counter(map(show, table))
        found.append(f"rows missing {list(missing)[:3]}, rows too many {list(more)[:3]}")
    return found


def show(row: Row) -> str:
    return repr(
        tuple(value.astimezone(timezone.utc).isoformat() if isinstance(value, datetime) else value for value in map(normalize, row))
    )


def normalize(value: Value) -> Value:
    return value.normalize() + 0 if isinstance(value, Decimal) else value


def describe(case: Case) -> str:
    out = io.StringIO()
    plain = {key: value for key, value in vars(case).items() if key not in ("chance", "batches")}
    out.write(f"{plain}\n")
    for files in case.batches:
        for file in files:
            out.write(f"  {file.name!r} bad={file.bad}: {file.content[:300]!r}\n")
    return out.getvalue()


def run_seed(seed: int, root: Path) -> list[str]:
    """Run the case of a seed in an empty folder. Return the differences from the model."""
    return check_case(make_case(seed), root)


def main(first: int, last: int) -> int:
    os.environ["TZ"] = "UTC"
    differing = 0
    kinds: Counter[str] = Counter()
    for seed in range(first, last):
        root = Path(tempfile.mkdtemp(prefix="random-project-"))
        try:
            case = make_case(seed)
            kinds.update([case.format, case.strategy, *(file.bad or "good" for files in case.batches for file in files)])
            differences = check_case(case, root)
        except Exception:  # noqa: BLE001 -- a crash is a difference
            differences = [traceback.format_exc()]
        finally:
            shutil.rmtree(root, ignore_errors=True)
        if differences:
            differing += 1
            sys.stdout.write(f"seed {seed}: " + "\n  ".join(differences) + f"\n{describe(make_case(seed))}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{last - first} projects, {differing} differ; {dict(kinds)}\n")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:3])))
