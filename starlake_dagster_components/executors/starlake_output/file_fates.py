"""Find out which files of a load have their rows in the table, regardless of where Starlake has moved the files.

A failed load leaves its files in the ingesting folder. Their rows may still be in the table, because expectations are evaluated after the
commit. And the rows of a file in the archive may be missing, because the second step of a native load can fail with exit code 0. Starlake:
IngestionWorkflow.ingest, IngestionJob.run, DuckDbNativeLoader.run.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from ...commands import Command, LoadTable
from .audit import Findings
from .audit_rows import AuditRow, build_audited_name, is_raised_after_commit
from .load_log import FileJob, JobFailure, LoadLines


@dataclass(frozen=True, slots=True)
class FileFates:
    """Findings about the files of a load that has ended.

    Attributes:
        kept: files in ingesting whose rows are in the table.
        lost: files that Starlake archived although their rows are not in the table.
        unclear: files for which this is not known.
        failed_in_table: the files of ``kept`` whose load failed after the commit of the rows.
        by_rows: whether the audit has a row about any of the loads.
        reasons: why loads of files in ingesting failed, if the output has the reason.
    """

    kept: frozenset[str] = frozenset()
    lost: frozenset[str] = frozenset()
    unclear: frozenset[str] = frozenset()
    failed_in_table: frozenset[str] = frozenset()
    by_rows: bool = False
    reasons: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_failed_in_table(self) -> bool:
        """True if a load failed whose rows are, or may be, in the table. A retry would not find its files, or load them twice."""
        return bool(self.failed_in_table or self.unclear or self.by_rows)

    def select_table(self, names: Iterable[str], findings: Findings) -> "FileFates":
        """Return the fates of one table's files, given their names, wherever they are now, and the findings of its audit."""
        own = frozenset(names)
        return FileFates(
            self.kept & own,
            self.lost & own,
            self.unclear & own,
            self.failed_in_table & own,
            _has_failed_in_table(findings),
            {name: reason for name, reason in self.reasons.items() if name in own},
        )


def judge_files(
    command: Command,
    findings: Findings,
    lines: LoadLines | None,
    left: Sequence[str],
    before: Iterable[str] = (),
    *,
    ended_by_itself: bool = True,
    growth: Mapping[str, int] = MappingProxyType({}),
) -> FileFates:
    """Return the fates of the files of a load that has ended, or was ended.

    The audit takes precedence. For files that are not in it, the output is used: the exceptions of the failed loads, in order.

    Args:
        command: the command that ran.
        findings: its audit, if there is one.
        lines: its output, if known.
        left: names of the files in ingesting.
        before: names of the files that waited in stage.
        ended_by_itself: whether the command was not killed. Then a file in ingesting is a file whose load failed.
        growth: how many rows the tables have gained, by logical name (empty for a load of one table).
    """
    real_names = {build_audited_name(name): name for name in (*before, *left)}
    noted: dict[str, bool | None] = {}
    lost: set[str] = set()
    for load in findings.loads:
        names = [real_names.get(name, name) for name in load.load.files]
        noted.update(dict.fromkeys(names, load.in_table))
        if load.load.success and load.in_table is False:
            lost.update(name for name in names if name not in left)
    failures = _match_failures(lines, left)
    by_failures = {name: failure.after_commit for name, failure in failures.items() if name not in noted}
    by_rows = {name: noted[name] for name in left if name in noted}
    silent = [name for name in left if name not in noted]
    unfinished = _judge_by_unfinished(command, findings.unfinished, lines, silent)
    if not ended_by_itself:
        unfinished = {**_judge_by_growth(command, findings, lines, silent, growth), **unfinished}
    in_table: dict[str, bool | None] = {**unfinished, **by_failures, **by_rows}
    failed = frozenset(name for name, inside in ({**by_failures, **by_rows} if ended_by_itself else by_failures).items() if inside)
    return FileFates(
        kept=frozenset(name for name, inside in in_table.items() if inside),
        lost=frozenset(lost),
        unclear=frozenset(name for name, inside in {**noted, **in_table}.items() if inside is None),
        failed_in_table=failed,
        by_rows=_has_failed_in_table(findings),
        reasons={name: failure.message for name, failure in failures.items()},
    )


def _has_failed_in_table(findings: Findings) -> bool:
    return any(load.in_table and not (load.load.success and (load.transform is None or load.transform.success)) for load in findings.loads)


def _match_failures(lines: LoadLines | None, left: Sequence[str]) -> dict[str, JobFailure]:
    """Return why the load of each file failed, from the exceptions in the output; empty if they cannot be assigned to files."""
    if lines is None:
        return {}
    failed = [job for job in lines.jobs if any(name in left for name in job.names)]
    if len(lines.failures) > len(failed):
        # Lines are missing, or another program has moved files.
        return dict.fromkeys(left, lines.failures[0]) if all(f.after_commit for f in lines.failures) else {}
    return {name: failure for job, failure in zip(failed, lines.failures, strict=False) for name in job.names if name in left}


def _judge_by_unfinished(
    command: Command, unfinished: Sequence[AuditRow], lines: LoadLines | None, names: Sequence[str]
) -> dict[str, bool | None]:
    """Return those of the named files whose load was ended after its second step, but before Starlake wrote its LOAD row.

    ``unfinished`` are the audit rows of these second steps.
    """
    found: dict[str, bool | None] = {}
    done = [row for row in unfinished if row.success or is_raised_after_commit(row.message)]
    for table in {(row.domain, row.table) for row in done}:
        count = sum((row.domain, row.table) == table for row in done)
        candidates = _find_current_files(command, table, lines, names)
        groups = set(filter(None, candidates))
        inside = True if len(groups) <= count else None
        for group in groups:
            found.update(dict.fromkeys(group, inside))
    return found


def _judge_by_growth(
    command: Command, findings: Findings, lines: LoadLines | None, names: Sequence[str], growth: Mapping[str, int]
) -> dict[str, bool | None]:
    """Return the files whose rows are in their tables without an audit row: the table has gained more rows than the audit has.

    This is certain only for tables in DuckDB files to which rows are appended. Other tables have the same rows after a file is loaded
    again. In a warehouse it is not known, because others may write to the table, and Spark may have written only a part of the rows.
    """
    found: dict[str, bool | None] = {}
    if lines is None:
        return found
    for table in command.tables:
        grown = growth.get(table.name if len(command.tables) > 1 else "")
        loads = [load for load in findings.loads if (load.load.domain, load.load.table) == (table.domain, table.name)]
        counts = [load.load.counts[1] for load in loads if load.in_table]
        jobs = _list_unarchived_jobs(lines, table)
        if grown is None or not table.appends or not jobs or any(count < 0 for count in counts):
            continue
        archived = sum(job.table == table.final_full_name and job.archived for job in lines.jobs)
        if archived <= len(loads) and grown > sum(counts):
            inside = True if table.target is not None else None
            found.update(dict.fromkeys((name for name in jobs[-1].names if name in names), inside))
    return found


def _find_current_files(command: Command, table: tuple[str, str], lines: LoadLines | None, names: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the files of a table whose load had begun and has no audit row, grouped as they are loaded."""
    described = next((t for t in command.tables if (t.domain, t.name) == table), None)
    of_table = set(group_by_table(names, command.tables).get(table[1], ())) if described and described.pattern else set(names)
    jobs = _list_unarchived_jobs(lines, described)
    if jobs:
        return [tuple(name for name in job.names if name in of_table) for job in jobs]
    return [(name,) for name in sorted(of_table)]


def _list_unarchived_jobs(lines: LoadLines | None, table: LoadTable | None) -> list[FileJob]:
    if lines is None or table is None:
        return []
    return [job for job in lines.jobs if job.table == table.final_full_name and not job.archived]


def group_by_table(names: Iterable[str], tables: Sequence[LoadTable]) -> Mapping[str, frozenset[str]]:
    """Return the names of files by the logical name of their table, which is the first whose pattern accepts the name.

    Starlake: DomainInfo.findSchema.
    """
    from ...project.file_patterns import match_patterns

    found: dict[str, set[str]] = {}
    for name, index in match_patterns(names, [table.pattern for table in tables]).items():
        found.setdefault(tables[index].name, set()).add(name)
    return {table: frozenset(files) for table, files in found.items()}
