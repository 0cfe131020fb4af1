"""Load pipelines: tables grouped as dag-generate groups them. Starlake: ``DagGenerateJob.generateDomainDags``."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..project.model import DagConfig, Table
from .dag_files import DagFile, Planning, common_values, dag_file, named
from .dag_options import PRE_LOAD_STRATEGIES
from .dag_refs import Member, dag_refs
from .dag_variables import filename_variables
from .pipeline import Pipeline, PreLoad
from .scala_order import scala_hash_order
from .schedule_presets import NONE, number_crons, schedule_location, schedule_text, timezone_of

_TABLE_VARIABLES = frozenset({"table", "finalTable", "renamedTable"})
_DOMAIN_VARIABLES = frozenset({"domain", "finalDomain", "renamedDomain"})


@dataclass(frozen=True, slots=True)
class _Entry:
    """The tables of one schedule in one file."""

    schedule: str
    schedule_name: str
    members: tuple[Member[Table], ...]


@dataclass(frozen=True, slots=True)
class _File:
    """A file to be rendered: its variables and its schedules."""

    variables: Mapping[str, str]
    entries: tuple[_Entry, ...]


def load_pipelines(planning: Planning, members: Iterable[Member[Table]]) -> Iterator[Pipeline]:
    """Yield the pipelines of load tables: one per file and schedule, each table in exactly one.

    Args:
        planning: the project at hand.
        members: the tables with their DAG configs.
    """
    by_config: dict[str, list[Member[Table]]] = {}
    for member in members:
        by_config.setdefault(member.config.name, []).append(member)
    for name in sorted(by_config):
        group = sorted(by_config[name], key=lambda m: (m.node.domain, m.node.name))
        config = group[0].config
        for file in _files(config, group):
            yield from _pipelines(planning, dag_file(planning, config, file.variables), file.entries)


def _files(config: DagConfig, members: Sequence[Member[Table]]) -> Iterator[_File]:
    variables = filename_variables(config.filename)
    if variables & _TABLE_VARIABLES:
        return _files_per_table(members)
    if variables & _DOMAIN_VARIABLES:
        return _files_per_domain(members, per_schedule="schedule" in variables)
    return _files_of_config(members, per_schedule="schedule" in variables)


def _files_per_table(members: Sequence[Member[Table]]) -> Iterator[_File]:
    """One file per table; every inline cron counts on its own. Domains are taken by name, where Starlake's order is not stable."""
    number = 1
    by_schedule = _by_schedule(members)
    for schedule in scala_hash_order(by_schedule):
        for member in by_schedule[schedule]:
            name = number_crons([schedule], number)[schedule]
            number += name != schedule
            table = member.node
            yield _File(
                {
                    **_domain_variables(table),
                    "schedule": name,
                    "table": table.name,
                    "finalTable": table.final_name,
                    "renamedTable": table.final_name,
                },
                (_Entry(schedule, name, (member,)),),
            )


def _files_per_domain(members: Sequence[Member[Table]], *, per_schedule: bool) -> Iterator[_File]:
    """One file per domain, or per domain and schedule.

    Starlake goes through a domain once for every schedule that it has, counting on, and the last time wins: the only inline cron
    of a domain that also has tables without schedule is called ``cron2``. The names agree with that.
    """
    number = 1
    by_domain: dict[str, list[Member[Table]]] = {}
    for member in members:
        by_domain.setdefault(member.node.domain, []).append(member)
    order = scala_hash_order(_by_schedule(members))
    for domain in sorted(by_domain):
        by_schedule = _by_schedule(by_domain[domain])
        schedules = [s for s in order if s in by_schedule]
        names: dict[str, str] = {}
        for _ in schedules:
            names = number_crons(schedules, number)
            number += sum(name != schedule for schedule, name in names.items())
        entries = _entries(by_schedule, names)
        variables = _domain_variables(by_domain[domain][0].node)
        if per_schedule:
            yield from (_File({**variables, "schedule": entry.schedule_name}, (entry,)) for entry in entries)
        else:
            yield _File(variables, entries)


def _files_of_config(members: Sequence[Member[Table]], *, per_schedule: bool) -> Iterator[_File]:
    """One file for all tables of a config, or one per schedule."""
    by_schedule = _by_schedule(members)
    entries = _entries(by_schedule, number_crons(scala_hash_order(by_schedule)))
    if per_schedule:
        yield from (_File({"schedule": entry.schedule_name}, (entry,)) for entry in entries)
    else:
        yield _File({}, entries)


def _by_schedule(members: Sequence[Member[Table]]) -> dict[str, list[Member[Table]]]:
    found: dict[str, list[Member[Table]]] = {}
    for member in members:
        found.setdefault(schedule_text(member.node), []).append(member)
    return found


def _entries(by_schedule: Mapping[str, list[Member[Table]]], names: Mapping[str, str]) -> tuple[_Entry, ...]:
    return tuple(_Entry(s, names[s], tuple(by_schedule[s])) for s in sorted(by_schedule, key=lambda s: names[s]))


def _domain_variables(table: Table) -> dict[str, str]:
    return {"domain": table.domain, "finalDomain": table.final_domain, "renamedDomain": table.final_domain}


def _pipelines(planning: Planning, file: DagFile, entries: Sequence[_Entry]) -> Iterator[Pipeline]:
    values = common_values(planning, file)
    timezone = timezone_of(file.config, file.reader, planning.timezone)
    pre_load = _PreLoads(planning, file)
    for entry in entries:
        first = entry.members[0]
        schedule = planning.schedules.read(entry.schedule, entry.schedule_name, schedule_location(first.node), timezone)
        for member in entry.members[1:]:
            # The same text may be wrong in several places, and each is worth a line.
            planning.schedules.read(entry.schedule, entry.schedule_name, schedule_location(member.node), timezone)
        tables = tuple(m.node for m in entry.members)
        draft = Pipeline(
            name="",
            kind="load",
            schedule=schedule,
            tables=tables,
            pre_load={domain: pre_load.of(final) for domain, final in sorted({t.domain: t.final_domain for t in tables}.items())},
            dag_refs=dag_refs(entry.members),
            **values,
        )
        suffix = entry.schedule_name if len(entries) > 1 and entry.schedule != NONE else None
        yield named(draft, suffix)


class _PreLoads:
    """The pre-load of one file's domains. starlake-orchestration: ``IStarlakeJob.sl_pre_load``."""

    def __init__(self, planning: Planning, file: DagFile) -> None:
        options = file.reader
        self._strategy = options.choice("pre_load_strategy", PRE_LOAD_STRATEGIES, "none")
        self._ack_path = options.text("global_ack_file_path")
        self._timeout = options.seconds("ack_wait_timeout", PreLoad().ack_wait_timeout)
        environment = options.environment()
        root = environment.get("SL_ROOT")
        own = planning.project.areas.datasets if not root or root == str(planning.project.root) else f"{root}/datasets"
        self._datasets = environment.get("SL_DATASETS") or own

    def of(self, final_domain: str) -> PreLoad:
        """Return the pre-load of a domain."""
        if self._strategy != "ack":
            return PreLoad(self._strategy, None, self._timeout)
        path = self._ack_path or f"{self._datasets}/pending/{final_domain}/{{YYYY-MM-DD}}.ack"
        return PreLoad(self._strategy, path, self._timeout)
