"""Evaluate a command whose files are on another machine, from its output and from Starlake's audit in a warehouse.

The files cannot be moved from here. A failed load leaves its files in a folder that no other load reads, and a load whose
expectations failed has its rows in the table. A retry must not make either of them look successful.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ...commands import Command
from ..base import CommandResult, Log, TableResult
from .audit import Findings, add_findings, complete_result, read_findings
from .audit_rows import is_failed_expectation
from .file_fates import FileFates, group_by_table, judge_files
from .load_log import LoadLines
from .process_output import OutputTrail
from .table_outcomes import find_reason_in_table


def judge_remote_command(command: Command, result: CommandResult, trail: OutputTrail | None, log: Log) -> CommandResult:
    """Add the audit's counts and expectations to a result, and evaluate the files of a load.

    ``trail`` is the complete output; None if the command ran more than once. Then only counts and expectations are known.
    """
    # Database files on this machine are not the files of the command.
    tables = tuple(replace(table, target=None) for table in command.tables)
    elsewhere = replace(command, audit=None, target=None, tables=tables)
    findings = read_findings(elsewhere, log, trail)
    result = complete_result(command, result, findings)
    if command.warehouse is not None:
        result = _complete_tables(command, result, findings)
    if command.verb != "load" or trail is None:
        return result
    lines = trail.load
    left = sorted({name for job in lines.jobs if not job.archived for name in job.names}) if result.exit_code else []
    fates = judge_files(elsewhere, findings, lines, left, ended_by_itself=not result.was_killed)
    if result.exit_code == 0 and findings.failure:
        where = f"; their rows are not in the table, but Starlake archived them: {', '.join(sorted(fates.lost))}" if fates.lost else ""
        result = replace(result, exit_code=1, program_exit_code=0, reason=f"{findings.failure}{where}")
    if len(command.tables) > 1:
        return replace(result, tables=_judge_tables(elsewhere, result, findings, fates, lines))
    if result.exit_code and (fates.failed_in_table or is_failed_expectation(result.reason)):
        return replace(result, failed_in_table=True, retry=False, reason=find_reason_in_table(findings, result, fates) or result.reason)
    return result


def _complete_tables(command: Command, result: CommandResult, findings: Findings) -> CommandResult:
    """Add the audit's information about each table to the result of a load of several tables."""
    found = {
        table.name: add_findings(result.get_table_result(table.name, len(command.tables)), noted, noted.count_rows(table))
        for table in command.tables
        if (noted := findings.tables.get(table.name)) is not None
    }
    return replace(result, tables={**result.tables, **found})


def _judge_tables(
    command: Command, result: CommandResult, findings: Findings, fates: FileFates, lines: LoadLines
) -> Mapping[str, TableResult]:
    names = group_by_table([name for job in lines.jobs for name in job.names], command.tables)
    judged: dict[str, TableResult] = {}
    for table in command.tables:
        noted = findings.tables.get(table.name, Findings())
        of_table = fates.select_table(names.get(table.name, ()), noted)
        found = result.tables.get(table.name)
        if found is None:
            continue
        found = replace(found, expectations=found.expectations or noted.expectations)
        if noted.failure and found.outcome == "loaded":
            found = replace(found, outcome="failed", reason=noted.failure, leaves_files=True)
        if found.outcome == "failed" and of_table.failed_in_table:
            reason = find_reason_in_table(noted, result, of_table)
            found = replace(found, failed_in_table=True, retry=False, reason=reason)
        elif found.outcome == "failed" and found.reason is None:
            found = replace(found, reason=next(iter(of_table.reasons.values()), None))
        judged[table.name] = found
    return judged


def mark_left_files(command: Command, result: CommandResult, lines: LoadLines | None) -> CommandResult:
    """Mark the result of a failed load: its files are in a folder that no other load reads. ``lines`` is its output; None = unknown."""
    if command.verb != "load" or result.exit_code == 0:
        return result

    def has_left_files(names: Sequence[str]) -> bool:
        return lines is None or not lines.jobs or any(job.table in names for job in lines.jobs if not job.archived)

    final_names = {table.name: table.final_full_name for table in command.tables}
    tables = {
        name: replace(table, leaves_files=not table.failed_in_table and (table.leaves_files or has_left_files([final_names.get(name, "")])))
        if table.outcome in ("failed", "unknown")
        else table
        for name, table in result.tables.items()
    }
    if len(command.tables) > 1 or result.failed_in_table:
        return replace(result, tables=tables)
    # A second step that fails with exit code 0 has its file in the archive.
    archived = result.program_exit_code == 0
    return replace(result, tables=tables, leaves_files=archived or has_left_files([*final_names.values()]))
