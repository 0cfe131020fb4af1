"""Build load pipelines by grouping tables as dag-generate does. Starlake: ``DagGenerateJob.generateDomainDags``."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby

from ..project.model import DagConfig, Table
from .dag_files import DagFile, Planning, read_common_values, render_dag_file
from .dag_options import PRE_LOAD_STRATEGIES
from .dag_refs import Member, collect_dag_refs
from .dag_variables import find_filename_variables
from .job_names import build_job_name
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


_File = tuple[Mapping[str, str], Sequence[_Entry]]
"""The variables and the schedules of a file."""


def build_load_pipelines(planning: Planning, members: Iterable[Member[Table]]) -> Iterator[Pipeline]:
    """Yield the pipelines of load tables, one per file and schedule. Each table is in exactly one pipeline."""
    ordered = sorted(members, key=lambda m: (m.config.name, m.node.domain, m.node.name))
    for _, group in groupby(ordered, key=lambda m: m.config.name):
        of_config = list(group)
        config = of_config[0].config
        for variables, entries in _group_into_files(config, of_config):
            yield from _build_pipelines(planning, render_dag_file(planning, config, variables), entries)


def _group_into_files(config: DagConfig, members: Sequence[Member[Table]]) -> Iterator[_File]:
    variables = find_filename_variables(config.filename)
    if variables & _TABLE_VARIABLES:
        return _build_files_per_table(members)
    if variables & _DOMAIN_VARIABLES:
        return _build_files_per_domain(members, per_schedule="schedule" in variables)
    by_schedule = _group_by_schedule(members)
    entries = _build_entries(by_schedule, number_crons(sort_as_scala(by_schedule)))
    return _build_files({}, entries, per_schedule="schedule" in variables)


def _build_files_per_table(members: Sequence[Member[Table]]) -> Iterator[_File]:
    """Yield one file per table. Every inline cron gets its own number. Domains are sorted, because Starlake's order is not stable."""
    number = 1
    by_schedule = _group_by_schedule(members)
    for schedule in sort_as_scala(by_schedule):
        for member in by_schedule[schedule]:
            name = number_crons([schedule], number)[schedule]
            number += name != schedule
            table = member.node
            names = {"schedule": name, "table": table.name, "finalTable": table.final_name, "renamedTable": table.final_name}
            yield {**_build_domain_variables(table), **names}, [_Entry(schedule, name, (member,))]


def _build_files_per_domain(members: Sequence[Member[Table]], *, per_schedule: bool) -> Iterator[_File]:
    """Yield one file per domain, or per domain and schedule. The members are sorted by domain.

    Starlake names the schedules of a domain once for each schedule and keeps counting, and the last names apply. If a domain has one
    inline cron, and tables without a schedule, its cron is therefore named ``cron2``. The names here are the same.
    """
    number = 1
    order = sort_as_scala(_group_by_schedule(members))
    for _, group in groupby(members, key=lambda m: m.node.domain):
        of_domain = list(group)
        by_schedule = _group_by_schedule(of_domain)
        schedules = [s for s in order if s in by_schedule]
        names: dict[str, str] = {}
        for _ in schedules:
            names = number_crons(schedules, number)
            number += sum(name != schedule for schedule, name in names.items())
        variables = _build_domain_variables(of_domain[0].node)
        yield from _build_files(variables, _build_entries(by_schedule, names), per_schedule=per_schedule)


def _build_files(variables: Mapping[str, str], entries: Sequence[_Entry], *, per_schedule: bool) -> Iterator[_File]:
    if per_schedule:
        return (({**variables, "schedule": entry.schedule_name}, [entry]) for entry in entries)
    return iter([(variables, entries)])


def _group_by_schedule(members: Iterable[Member[Table]]) -> dict[str, list[Member[Table]]]:
    found: dict[str, list[Member[Table]]] = {}
    for member in members:
        found.setdefault(get_schedule_text(member.node), []).append(member)
    return found


def _build_entries(by_schedule: Mapping[str, list[Member[Table]]], names: Mapping[str, str]) -> list[_Entry]:
    return [_Entry(s, names[s], tuple(by_schedule[s])) for s in sorted(by_schedule, key=lambda s: names[s])]


def _build_domain_variables(table: Table) -> dict[str, str]:
    return {"domain": table.domain, "finalDomain": table.final_domain, "renamedDomain": table.final_domain}


def _build_pipelines(planning: Planning, file: DagFile, entries: Sequence[_Entry]) -> Iterator[Pipeline]:
    values = read_common_values(planning, file)
    timezone = find_timezone(file.config, file.reader, planning.timezone)
    pre_loads = _read_pre_loads(planning, file, [member.node for entry in entries for member in entry.members])
    sensor = file.reader.read_boolean("pre_load_sensor") if file.reader.read_text("pre_load_sensor") else None
    interval = file.reader.read_seconds("pre_load_poke_interval", timedelta()) or None
    for entry in entries:
        tables = tuple(m.node for m in entry.members)
        # The schedule of each table is read, so that an invalid cron is reported wherever it occurs.
        schedules = [planning.schedules.read(entry.schedule, entry.schedule_name, locate_schedule(t), timezone) for t in tables]
        suffix = entry.schedule_name if len(entries) > 1 and entry.schedule != NONE else None
        yield Pipeline(
            name=build_job_name(file.filename, suffix),
            kind="load",
            schedule=schedules[0],
            tables=tables,
            pre_load={domain: pre_loads[domain] for domain in sorted({t.domain for t in tables})},
            file_sensor=sensor,
            file_sensor_interval=interval,
            dag_refs=collect_dag_refs(entry.members),
            **values,
        )


def _read_pre_loads(planning: Planning, file: DagFile, tables: Iterable[Table]) -> dict[str, PreLoad]:
    """Return logical domain name -> pre-load, for the domains of a file's tables. starlake-orchestration: ``IStarlakeJob.sl_pre_load``."""
    options = file.reader
    strategy = options.read_choice("pre_load_strategy", PRE_LOAD_STRATEGIES, "none")
    written = options.read_text("global_ack_file_path")
    timeout = options.read_seconds("ack_wait_timeout", PreLoad().ack_wait_timeout)
    environment = options.read_environment()
    root = environment.get("SL_ROOT")
    own = planning.project.areas.datasets if not root or root == str(planning.project.root) else f"{root}/datasets"
    datasets = environment.get("SL_DATASETS") or own
    paths = {table.domain: written or name_ack_path(datasets, table.final_domain) for table in tables}
    return {domain: PreLoad(strategy, path if strategy == "ack" else None, timeout) for domain, path in paths.items()}
