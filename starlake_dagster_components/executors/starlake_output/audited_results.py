"""Add the information of Starlake's audit to the results of commands."""

from dataclasses import replace

from ...commands import Command
from ..base import CommandResult
from ..outcomes import Counters
from .audit import Findings


def complete_result(command: Command, result: CommandResult, findings: Findings) -> CommandResult:
    """Add the audit's information to a result: counts, the table's rows, and results of expectations. The result takes precedence."""
    counters = result.counters
    if command.verb == "load" and len(command.tables) == 1:
        counters = _complete_counters(counters, findings.count_rows(command.tables[0]))
    return replace(
        result,
        counters=counters,
        row_count=result.row_count if result.row_count is not None else findings.row_count,
        expectations=result.expectations or findings.expectations,
    )


def complete_tables(command: Command, result: CommandResult, findings: Findings) -> CommandResult:
    """Add the audit's information about each table to the result of a load.

    This is for executors that do not see the files. For the others, the audit decides about more than counts.
    """
    found = {}
    for table in command.tables if len(command.tables) > 1 else ():
        known, noted = result.get_table_result(table.name, len(command.tables)), findings.tables.get(table.name)
        if noted is not None:
            found[table.name] = replace(
                known,
                counters=_complete_counters(known.counters, noted.count_rows(table)),
                row_count=known.row_count if known.row_count is not None else noted.row_count,
                expectations=known.expectations or noted.expectations,
            )
    return replace(result, tables={**result.tables, **found}) if found else result


def _complete_counters(known: Counters | None, noted: Counters | None) -> Counters | None:
    if known is None or noted is None:
        return noted if known is None else known
    return Counters(
        noted.input if known.input is None else known.input,
        noted.accepted if known.accepted is None else known.accepted,
        noted.rejected if known.rejected is None else known.rejected,
        known.files or noted.files,
    )
