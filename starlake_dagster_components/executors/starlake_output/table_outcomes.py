"""Find the result of each table of a ``load`` from its output, its audit rows, and the places of its files afterward."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from ...commands import Command, LoadTable
from ..base import CommandResult, Counters, TableResult
from .audit import Findings
from .file_fates import FileFates
from .load_log import LoadLines
from .process_output import drop_growth

NOTHING = Counters(0, 0, 0)
"""The counts of a table without files."""


def judge_output(command: Command, exit_code: int, lines: LoadLines, counters: Counters | None) -> Mapping[str, TableResult]:
    """Return the results of tables from the output of a load; empty for other commands, and for a load of one table."""
    if command.verb != "load" or len(command.tables) < 2:
        return {}
    if exit_code == 0:
        return _judge_all_loaded(command.tables, lines, counters)
    return {table.name: _judge_lines(table, lines) for table in command.tables}


def _judge_lines(table: LoadTable, lines: LoadLines) -> TableResult:
    logical = f"{table.domain}.{table.name}"
    loaded = lines.was_loaded(table.final_full_name, logical)
    if loaded:
        files = lines.list_files(table.final_full_name)
        return TableResult("loaded", Counters(files=files) if files else NOTHING)
    if loaded is None:
        return TableResult("open" if lines.is_untouched(logical) else "unknown")
    return TableResult("failed")


def _judge_all_loaded(tables: Sequence[LoadTable], lines: LoadLines, counters: Counters | None) -> Mapping[str, TableResult]:
    files = {t.name: lines.list_files(t.final_full_name) for t in tables}
    tried = sum(map(len, files.values()))
    if counters is None or tried != len(counters.files):
        # Only the end of the output is known, or the program on the PATH is not Starlake.
        return {t.name: TableResult("loaded") for t in tables}
    with_files = [name for name, paths in files.items() if paths]
    counts = {name: Counters(files=paths) if paths else NOTHING for name, paths in files.items()}
    if len(with_files) == 1:
        only = next(table for table in tables if table.name == with_files[0])
        counts[only.name] = drop_growth(counters, [only]) or NOTHING
    return {name: TableResult("loaded", count) for name, count in counts.items()}


@dataclass(frozen=True, slots=True)
class Places:
    """The places of a load's files before and after it.

    Attributes:
        before: names of the files in the stage folder before the load, by table.
        staged: the names of those that are still there.
        ingesting: names of the files in the ingesting folder, by table.
    """

    before: Mapping[str, frozenset[str]]
    staged: Mapping[str, frozenset[str]]
    ingesting: Mapping[str, frozenset[str]]


def judge_tables(
    command: Command, result: CommandResult, findings: Findings, places: Places, fates: FileFates
) -> Mapping[str, TableResult]:
    """Return the results of the tables of a load whose files are on this machine.

    The audit takes precedence over the output, and the output over the folders. The next load will find the files that are left.
    """
    if len(command.tables) < 2:
        return result.tables
    if findings.rows and result.progress == "none":
        result = replace(result, progress="begun")
    judged = {}
    for table in command.tables:
        noted = findings.tables.get(table.name, Findings())
        names = places.ingesting.get(table.name, frozenset()) | places.before.get(table.name, frozenset())
        found = _judge_table(table, result, noted, places, fates.select_table(names, noted))
        if found.outcome == "loaded" and found.counters is None and findings.rows and not names:
            # The audit has all loads, and there was no file for this table.
            found = replace(found, counters=NOTHING)
        judged[table.name] = found
    return judged


def _judge_table(table: LoadTable, result: CommandResult, noted: Findings, places: Places, fates: FileFates) -> TableResult:
    reported = result.tables.get(table.name) or TableResult("unknown")
    left = places.ingesting.get(table.name, frozenset()) - fates.kept
    staged = places.staged.get(table.name, frozenset())
    known = replace(
        reported,
        counters=noted.count_rows(table) or drop_files(reported.counters, left),
        row_count=noted.row_count,
        expectations=noted.expectations,
        retry=result.retry and not fates.has_failed_in_table,
        failed_in_table=fates.has_failed_in_table,
    )
    if fates.has_failed_in_table:
        return replace(known, outcome="failed", reason=find_reason_in_table(noted, result, fates))
    if noted.failure:
        return replace(known, outcome="failed", reason=noted.failure)
    if result.exit_code == 0:
        reason = f"the load left {', '.join(sorted(left))} in ingesting without loading them" if left else None
        return replace(known, outcome="failed" if left else "loaded", reason=reason)
    if reported.outcome == "loaded" and not left:
        return known
    if left and (reported.outcome == "failed" or result.progress == "complete"):
        return replace(known, outcome="failed", reason=next(iter(fates.reasons.values()), result.reason))
    if left or (staged and result.progress != "complete"):
        return replace(known, outcome="open")
    before = places.before.get(table.name)
    if before:
        # Starlake moves a file to the archive only after it is loaded.
        return replace(known, outcome="loaded", counters=known.counters or Counters(files=tuple(sorted(before))))
    # All files are listed before the first one is loaded. A command may fail before this, even without any file.
    return replace(known, outcome="open") if result.progress == "none" else replace(known, outcome="loaded", counters=NOTHING)


def find_reason_in_table(noted: Findings, result: CommandResult, fates: FileFates) -> str | None:
    """Return why a load failed although its rows are in the table: the names of the failed expectations, if known."""
    unmet = [e.expect for e in noted.expectations if not e.success]
    if unmet and not noted.failure:
        return f"expectations failed: {', '.join(unmet)} (the rows are in the table)"
    return noted.failure or next(iter(fates.reasons.values()), result.reason)


def drop_files(counters: Counters | None, names: Collection[str]) -> Counters | None:
    """Remove files that were not loaded from the list of loaded files."""
    if counters is None or not names:
        return counters
    return replace(counters, files=tuple(path for path in counters.files if path.rpartition("/")[2] not in names))


def add_counters(first: Counters | None, second: Counters | None) -> Counters | None:
    """Return the sums of the counts of two loads of one table."""
    if first is None or second is None:
        return second if first is None else first
    return Counters(
        _add_counts(first.input, second.input),
        _add_counts(first.accepted, second.accepted),
        _add_counts(first.rejected, second.rejected),
        (*first.files, *second.files),
    )


def _add_counts(first: int | None, second: int | None) -> int | None:
    return None if first is None or second is None else first + second
