"""Read transform tasks. Starlake: SchemaHandler.loadJobs, buildAutoTaskInfo, AutoTaskInfo.merge."""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import PurePath
from typing import Any

from ..errors import Location
from .application import check_connection
from .attribute_checks import find_repeated_names
from .common_sections import (
    collect_extra_keys,
    find_strategy_faults,
    merge_sinks,
    read_attributes,
    read_expectations,
    read_freshness,
    read_grants,
    read_sink,
    read_write_strategy,
)
from .documents import FileKind, Reading, load_section
from .load_domains import LoadContext
from .migration import Migration
from .model import EMPTY, Attribute, FrozenDict, Origin, Task
from .project_files import UnreadableFile
from .refs import rewrite_name
from .schema_shapes import find_keys
from .sql.intervals import find_interval_variables
from .sql.tokens import STARLAKE, tokenize_sql
from .word_sets import split_words
from .yaml_mappings import Section
from .yaml_source import Positions

_TASK = FileKind("task", "warning", "Starlake skips the task, including its SQL file")
_CONFIG = FileKind("transform", "warning", "Starlake skips all tasks of the folder")
_FAILS = "running the task fails"
# In the order in which Starlake looks for a task's command.
_COMMANDS = (".sql", ".sql.j2", ".py")
# Keys whose fields have other names.
_FIELDS = {
    "writeStrategy": "write_strategy",
    "dagRef": "dag_ref",
    "parseSQL": "parse_sql",
    "taskTimeoutMs": "timeout",
    "connectionRef": "connection_ref",
    "primaryKey": "primary_key",
}
# Keys that tasks inherit from their folder's default.
_DEFAULTED = split_words("database writeStrategy schedule dagRef parseSQL taskTimeoutMs connectionRef dataset_triggering_strategy")
# Keys whose values are concatenated, the default's entries first.
_JOINED = ("presql", "postsql", "rls", "expectations", "acl")


@dataclass(slots=True)
class _Body:
    """The content of a task's YAML. ``fields`` does not contain absent keys."""

    origin: Origin
    fields: dict[str, Any] = field(default_factory=dict)
    domain: str | None = None
    table: str | None = None
    name: str | None = None
    sql: str | None = None
    sql_line: int = 1
    streams: tuple[str, ...] = ()


@dataclass(slots=True)
class _Folder:
    """A folder of ``metadata/transform`` while its tasks are read."""

    name: str
    job: str
    """The folder's name, or ``transform.name``."""
    commands: dict[str, str] = field(default_factory=dict)
    """File name -> path of the SQL and Python files."""
    default: _Body | None = None

    def find_command(self, task: str) -> str | None:
        """Return the path of the SQL or Python file of a task; None if it has none."""
        return next((self.commands[task + suffix] for suffix in _COMMANDS if task + suffix in self.commands), None)


def read_tasks(reading: Reading, folder: str, context: LoadContext) -> tuple[Task, ...]:
    """Return all tasks of ``metadata/transform``, sorted by name. The tables that they read are added later."""
    message = "is not read: a task's file belongs in the folder of its domain, metadata/transform/<domain>"
    reading.report_files(reading.files.list_files(folder), (".sl.yml", *_COMMANDS), "warning", message)
    return _drop_duplicates(reading, [t for path in reading.files.list_folders(folder) for t in _read_folder(reading, path, context)])


def _read_folder(reading: Reading, path: str, context: LoadContext) -> list[Task]:
    name = PurePath(path).name
    folder = _Folder(name, name)
    yaml_files: dict[str, str] = {}
    config = None
    for file_name, file_path in reading.files.list_files(path):
        if file_name == "_config.sl.yml":
            config = file_path
        elif file_name.startswith("_config."):
            continue
        elif file_name.endswith(".sl.yml"):
            yaml_files[file_name[: -len(".sl.yml")]] = file_path
        elif file_name.endswith(_COMMANDS):
            folder.commands[file_name] = file_path
        else:
            reading.warn_about_suffix(file_name, file_path)
    nested = (file for file in reading.files.walk_files(path) if not file[0].startswith("_config."))
    message = f"is not read: a task's file belongs directly in {reading.files.name(path)}"
    reading.report_files(nested, (".sl.yml", ".sql", ".sql.j2"), "warning", message)
    bodies: list[_Body] = []
    if config is not None and not _read_config(reading, config, folder, bodies, context):
        return []
    built = [_build_inline_task(reading, folder, body, context) for body in bodies]
    built += [_read_yaml_task(reading, folder, base, file_path, context) for base, file_path in yaml_files.items()]
    tasks = [task for task in built if task is not None]
    taken = {base.lower() for base in yaml_files} | {body.name.lower() for body in bodies if body.name}
    for base in map(_cut_suffix, folder.commands):
        if base.lower() not in taken:
            body = _Body(origin=Origin(reading.files.name(folder.find_command(base) or ""), 1))
            tasks.append(_build_task(reading, folder, body, base, folder.name, base, context))
    _warn_about_unused_files(reading, folder, tasks, taken)
    for task in tasks:
        _check_command(reading, folder, task)
    return tasks


def _warn_about_unused_files(reading: Reading, folder: _Folder, tasks: list[Task], taken: Collection[str]) -> None:
    """Warn about SQL and Python files that are not used because their task uses another file, whose name differs at most in case."""
    used = {file for task in tasks for file in (task.sql_file, task.python_file)}
    by_name = {task.name.lower(): task for task in tasks}
    for file_name, path in folder.commands.items():
        name = reading.files.name(path)
        base = _cut_suffix(file_name).lower()
        task = by_name.get(base)
        other = (task.sql_file or task.python_file) if task and name not in used and base in taken else None
        if task and other:
            reading.add_problem(Location(name), "warning", f"is not read: task '{task.full_name}' uses {PurePath(other).name}")


def _cut_suffix(file_name: str) -> str:
    return re.sub(r"\.(?:sql\.j2|sql|py)\Z", "", file_name)


def _read_config(reading: Reading, path: str, folder: _Folder, bodies: list[_Body], context: LoadContext) -> bool:
    def migrate(migration: Migration, transform: dict[str, Any]) -> None:
        tasks = transform.get("tasks")
        for index, task in enumerate(tasks if isinstance(tasks, list) else []):
            if isinstance(task, dict):
                migration.migrate_task(task, f"tasks[{index}]")

    try:
        # Starlake treats a file that is exactly "transform:" as empty. Starlake: YamlSerde.deserializeYamlTransform.
        if reading.files.read(path).strip() == "transform:":
            return True
    except UnreadableFile:
        pass  # reported below
    section = load_section(reading, path, _CONFIG, migrate)
    if section is None:
        return False
    section.warn_about_unknown_keys(find_keys("transform"), "transform")
    folder.job = section.get_name("name") or folder.name
    if folder.job != folder.name:
        section.report_warning(
            "name",
            f"the domain is called '{folder.job}', but its folder is called '{folder.name}': tasks with a YAML file are in '{folder.job}', "
            f"tasks that are only a SQL file are in '{folder.name}'",
        )
    default = section.get_section("default", "task", "a task")
    if default is not None:
        folder.default = _read_body(default, context)
    bodies.extend(_read_body(item, context) for item in section.get_sections("tasks", "task", "a task"))
    return not section.context.broken


def _read_body(section: Section, context: LoadContext) -> _Body:
    found: dict[str, Any] = {}
    readers: dict[str, Callable[[str], Any]] = {
        **dict.fromkeys(("database", "dagRef", "dataset_triggering_strategy"), section.get_name),
        **dict.fromkeys(("schedule", "comment"), section.get_string),
        **dict.fromkeys(("presql", "postsql", "tags", "primaryKey"), section.get_strings),
        **dict.fromkeys(("rls", "acl"), lambda key: read_grants(section, key)),
        "parseSQL": section.get_boolean,
        "sink": lambda _: read_sink(section, context.application, _FAILS),
        "writeStrategy": lambda _: read_write_strategy(section, context.strategies),
        "taskTimeoutMs": lambda _: _read_timeout(section),
        "connectionRef": lambda _: _read_connection(section, context),
        "expectations": lambda _: read_expectations(section),
        "freshness": lambda _: read_freshness(section),
        "attributes": lambda _: _read_attributes(section, context),
    }
    for key, read in readers.items():
        if section.data.get(key) is not None and (value := read(key)) is not None:
            found[_FIELDS.get(key, key)] = value
    extra = collect_extra_keys(section, (*readers, "name", "domain", "table", "sql", "streams"))
    if extra:
        found["extra"] = FrozenDict(extra)
    sql = section.get_string("sql")
    sql_place = section.find_location("sql") if sql is not None else section.find_location()
    in_block = section.join_key("sql") in section.context.blocks
    return _Body(
        fields=found,
        domain=section.get_name("domain"),
        table=section.get_name("table"),
        name=section.get_name("name"),
        sql=sql if sql and sql.strip() else None,
        sql_line=sql_place.line + (1 if in_block else 0),
        streams=section.get_strings("streams"),
        origin=section.build_origin(),
    )


def _read_connection(section: Section, context: LoadContext) -> str | None:
    name = section.get_name("connectionRef")
    check_connection(section, "connectionRef", name, context.application, _FAILS)
    return name


def _read_timeout(section: Section) -> timedelta | None:
    milliseconds = section.get_integer("taskTimeoutMs")
    if milliseconds is None:
        return None
    if not 0 <= milliseconds < 10**15:
        section.report_error("taskTimeoutMs", f"taskTimeoutMs {milliseconds} is out of range: expected milliseconds")
        return None
    return timedelta(milliseconds=milliseconds)


def _read_attributes(section: Section, context: LoadContext) -> tuple[Attribute, ...]:
    attributes = read_attributes(section)
    for index, message in find_repeated_names(attributes):
        section.report_warning(f"attributes[{index}].name", message)
    for index, attribute in enumerate(attributes):
        if attribute.type not in context.types:
            hint = section.suggest_name(attribute.type, context.types)
            section.report_warning(f"attributes[{index}].type", f"attribute '{attribute.name}': unknown type '{attribute.type}'{hint}")
    return attributes


def _read_yaml_task(reading: Reading, folder: _Folder, base: str, path: str, context: LoadContext) -> Task | None:
    section = load_section(reading, path, _TASK, Migration.migrate_task)
    if section is None:
        return None
    section.warn_about_unknown_keys(find_keys("task"), "a task")
    body = _read_body(section, context)
    if section.context.broken:
        return None
    return _build_task(reading, folder, body, base, body.domain or folder.job, body.table or base, context)


def _build_inline_task(reading: Reading, folder: _Folder, body: _Body, context: LoadContext) -> Task | None:
    name, table = body.name or body.table, body.table or body.name
    if name is None or table is None:
        reading.add_problem(body.origin.locate(), "error", "a task of transform.tasks needs a 'name' or a 'table'")
        return None
    return _build_task(reading, folder, body, name, body.domain or folder.name, table, context)


def _build_task(reading: Reading, folder: _Folder, body: _Body, name: str, domain: str, table: str, context: LoadContext) -> Task:
    """Return a task with its command, its folder's defaults, and the names that ``refs.sl.yml`` gives it."""
    values = dict(body.fields)
    origin = body.origin
    streams, primary_key = body.streams, values.pop("primary_key", ())
    if folder.default is not None:
        # Starlake drops both if the folder has a default. Starlake: AutoTaskInfo.merge.
        streams, primary_key = (), ()
        origin = _merge_default(values, folder.default, origin)
    database, domain, table = rewrite_name(context.references, values.pop("database", None), domain, table)
    task = Task(
        domain=domain,
        name=name,
        table=table,
        folder=folder.name,
        sql_text=body.sql,
        sql_file=body.origin.file if body.sql else None,
        sql_line=body.sql_line,
        primary_key=primary_key,
        streams=FrozenDict({stream: f"{folder.job}.{table}" for stream in streams}) if streams else EMPTY,
        database=database,
        origin=origin,
        **values,
    )
    if task.write_strategy is not None:
        for key, severity, message in find_strategy_faults(task.write_strategy, primary_key=task.primary_key):
            reading.add_problem(origin.locate(f"writeStrategy.{key}"), severity, message)
    path = folder.find_command(name)
    if path is None:
        return task
    file = reading.files.name(path)
    if path.endswith(".py"):
        task = replace(task, python_file=file, sql_text=None, sql_file=None)
    text = reading.read_file(path)
    if text is None:
        return task
    if path.endswith(".py"):
        return replace(task, python_variables=tuple(sorted(find_interval_variables((text,)))))
    return replace(task, sql_text=text, sql_file=file, sql_line=1)


def _merge_default(values: dict[str, Any], default: _Body, origin: Origin) -> Origin:
    """Add the values of a folder's default to ``values``; return the origin with their locations. Starlake: AutoTaskInfo.merge."""
    defaults = default.fields
    positions = default.origin.keys
    inherited: list[str] = []
    for key in _DEFAULTED:
        name = _FIELDS.get(key, key)
        if name not in values and name in defaults:
            values[name] = defaults[name]
            inherited.append(key)
    for name in _JOINED:
        if name in defaults:
            values[name] = (*defaults[name], *values.get(name, ()))
    if "freshness" in defaults:
        # The default takes precedence here, as in Starlake.
        values["freshness"] = defaults["freshness"]
        inherited.append("freshness")
    if "tags" in defaults:
        values["tags"] = tuple(dict.fromkeys((*defaults["tags"], *values.get("tags", ()))))
    if "sink" in defaults:
        values["sink"] = merge_sinks(defaults["sink"], values.get("sink"))
        inherited.append("sink")
    places = positions.select_under(inherited) if inherited and isinstance(positions, Positions) else {}
    if not places:
        return origin
    return replace(origin, keys=origin.keys.inherit(places) if isinstance(origin.keys, Positions) else FrozenDict(places))


def _check_command(reading: Reading, folder: _Folder, task: Task) -> None:
    """Warn about a task that has neither SQL nor Python, or whose SQL is empty. As in Starlake, the task remains."""
    if task.sql_text is None and task.python_file is None:
        near = next((name for name in folder.commands if name.lower().startswith(task.name.lower() + ".")), None)
        hint = f"; did you mean {near}? Names are case-sensitive" if near else f"; expected {task.name}.sql beside it, or a key 'sql'"
        reading.add_problem(task.origin.locate(), "warning", f"task '{task.full_name}' has neither SQL nor Python{hint}")
    elif task.sql_text is not None and all(t.kind in ("comment", "blank") for t in tokenize_sql(task.sql_text, STARLAKE)):
        place = Location(task.sql_file or task.origin.file, task.sql_line)
        what = "has only comments" if task.sql_text.strip() else "is empty"
        reading.add_problem(place, "warning", f"the SQL of task '{task.full_name}' {what}")


def _drop_duplicates(reading: Reading, tasks: list[Task]) -> tuple[Task, ...]:
    # In Starlake, task names are not case-sensitive.
    found: dict[str, Task] = {}
    for task in sorted(tasks, key=lambda task: (task.domain, task.name, task.origin.file)):
        first = found.setdefault(task.full_name.lower(), task)
        if first is not task:
            ours, theirs = task.sql_file or task.origin.file, first.sql_file or first.origin.file
            also = f"in {first.origin.locate()}"
            if ours == theirs:
                other = f"{task.name}.sql.j2" if ours.endswith(".sql") else theirs
                also = f"by {PurePath(ours).parent.as_posix()}/{other}"
            reading.add_problem(task.origin.locate(), "error", f"task '{task.full_name}' is defined twice, also {also}")
    return tuple(found.values())
