"""Build load pipelines by grouping tables as dag-generate does. Starlake: ``DagGenerateJob.generateDomainDags``."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from ..project.model import DagConfig, Table
from .dag_files import DagFile, Planning, name_pipeline, read_common_values, render_dag_file
from .dag_options import PRE_LOAD_STRATEGIES
from .dag_refs import Member, collect_dag_refs
from .dag_variables import find_filename_variables
from .pipeline import Pipeline, PreLoad, name_ack_path
from .scala_order import sort_as_scala
from .schedule_presets import NONE, find_timezone, get_schedule_text, locate_schedule, number_crons

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


def build_load_pipelines(planning: Planning, members: Iterable[Member[Table]]) -> Iterator[Pipeline]:
    """Yield the pipelines of load tables, one per file and schedule. Each table is in exactly one pipeline."""
    by_config: dict[str, list[Member[Table]]] = {}
    for member in members:
        by_config.setdefault(member.config.name, []).append(member)
    for name in sorted(by_config):
        group = sorted(by_config[name], key=lambda m: (m.node.domain, m.node.name))
        config = group[0].config
        for file in _group_into_files(config, group):
            yield from _build_pipelines(planning, render_dag_file(planning, config, file.variables), file.entries)


def _group_into_files(config: DagConfig, members: Sequence[Member[Table]]) -> Iterator[_File]:
    variables = find_filename_variables(config.filename)
    if variables & _TABLE_VARIABLES:
        return _build_files_per_table(members)
    if variables & _DOMAIN_VARIABLES:
        return _build_files_per_domain(members, per_schedule="schedule" in variables)
    return _build_files_of_config(members, per_schedule="schedule" in variables)


def _build_files_per_table(members: Sequence[Member[Table]]) -> Iterator[_File]:
    """Yield one file per table. Every inline cron gets its own number. Domains are sorted, because Starlake's order is not stable."""
    number = 1
    by_schedule = _group_by_schedule(members)
    for schedule in sort_as_scala(by_schedule):
        for member in by_schedule[schedule]:
            name = number_crons([schedule], number)[schedule]
            number += name != schedule
            table = member.node
            yield _File(
                {
                    **_build_domain_variables(table),
                    "schedule": name,
                    "table": table.name,
                    "finalTable": table.final_name,
                    "renamedTable": table.final_name,
                },
                (_Entry(schedule, name, (member,)),),
            )


def _build_files_per_domain(members: Sequence[Member[Table]], *, per_schedule: bool) -> Iterator[_File]:
    """Yield one file per domain, or per domain and schedule.

    Starlake names the schedules of a domain once for each schedule and keeps counting, and the last names apply. If a domain has one
    inline cron, and tables without a schedule, its cron is therefore named ``cron2``. The names here are the same.
    """
    number = 1
    by_domain: dict[str, list[Member[Table]]] = {}
    for member in members:
        by_domain.setdefault(member.node.domain, []).append(member)
    order = sort_as_scala(_group_by_schedule(members))
    for domain in sorted(by_domain):
        by_schedule = _group_by_schedule(by_domain[domain])
        schedules = [s for s in order if s in by_schedule]
        names: dict[str, str] = {}
        for _ in schedules:
            names = number_crons(schedules, number)
            number += sum(name != schedule for schedule, name in names.items())
        entries = _build_entries(by_schedule, names)
        variables = _build_domain_variables(by_domain[domain][0].node)
        if per_schedule:
            yield from (_File({**variables, "schedule": entry.schedule_name}, (entry,)) for entry in entries)
        else:
            yield _File(variables, entries)


def _build_files_of_config(members: Sequence[Member[Table]], *, per_schedule: bool) -> Iterator[_File]:
    """Yield one file for all tables of a config, or one per schedule."""
    by_schedule = _group_by_schedule(members)
    entries = _build_entries(by_schedule, number_crons(sort_as_scala(by_schedule)))
    if per_schedule:
        yield from (_File({"schedule": entry.schedule_name}, (entry,)) for entry in entries)
    else:
        yield _File({}, entries)


def _group_by_schedule(members: Sequence[Member[Table]]) -> dict[str, list[Member[Table]]]:
    found: dict[str, list[Member[Table]]] = {}
    for member in members:
        found.setdefault(get_schedule_text(member.node), []).append(member)
    return found


def _build_entries(by_schedule: Mapping[str, list[Member[Table]]], names: Mapping[str, str]) -> tuple[_Entry, ...]:
    return tuple(_Entry(s, names[s], tuple(by_schedule[s])) for s in sorted(by_schedule, key=lambda s: names[s]))


def _build_domain_variables(table: Table) -> dict[str, str]:
    return {"domain": table.domain, "finalDomain": table.final_domain, "renamedDomain": table.final_domain}


def _build_pipelines(planning: Planning, file: DagFile, entries: Sequence[_Entry]) -> Iterator[Pipeline]:
    values = read_common_values(planning, file)
    timezone = find_timezone(file.config, file.reader, planning.timezone)
    pre_load = _PreLoads(planning, file)
    sensor = file.reader.read_boolean("pre_load_sensor") if file.reader.read_text("pre_load_sensor") else None
    interval = file.reader.read_seconds("pre_load_poke_interval", timedelta()) or None
    for entry in entries:
        first = entry.members[0]
        schedule = planning.schedules.read(entry.schedule, entry.schedule_name, locate_schedule(first.node), timezone)
        for member in entry.members[1:]:
            # An invalid cron is reported wherever it occurs.
            planning.schedules.read(entry.schedule, entry.schedule_name, locate_schedule(member.node), timezone)
        tables = tuple(m.node for m in entry.members)
        draft = Pipeline(
            name="",
            kind="load",
            schedule=schedule,
            tables=tables,
            pre_load={domain: pre_load.make(final) for domain, final in sorted({t.domain: t.final_domain for t in tables}.items())},
            file_sensor=sensor,
            file_sensor_interval=interval,
            dag_refs=collect_dag_refs(entry.members),
            **values,
        )
        suffix = entry.schedule_name if len(entries) > 1 and entry.schedule != NONE else None
        yield name_pipeline(draft, suffix)


class _PreLoads:
    """Makes the pre-loads of one file's domains. starlake-orchestration: ``IStarlakeJob.sl_pre_load``."""

    def __init__(self, planning: Planning, file: DagFile) -> None:
        options = file.reader
        self._strategy = options.read_choice("pre_load_strategy", PRE_LOAD_STRATEGIES, "none")
        self._ack_path = options.read_text("global_ack_file_path")
        self._timeout = options.read_seconds("ack_wait_timeout", PreLoad().ack_wait_timeout)
        environment = options.read_environment()
        root = environment.get("SL_ROOT")
        own = planning.project.areas.datasets if not root or root == str(planning.project.root) else f"{root}/datasets"
        self._datasets = environment.get("SL_DATASETS") or own

    def make(self, final_domain: str) -> PreLoad:
        """Return the pre-load of a domain."""
        if self._strategy != "ack":
            return PreLoad(self._strategy, None, self._timeout)
        path = self._ack_path or name_ack_path(self._datasets, final_domain)
        return PreLoad(self._strategy, path, self._timeout)
