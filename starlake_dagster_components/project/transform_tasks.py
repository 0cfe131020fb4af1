"""Read transform tasks. Starlake: SchemaHandler.loadJobs, buildAutoTaskInfo, AutoTaskInfo.merge."""

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
from .load_domains import LoadContext, warn_about_suffix
from .model import EMPTY, Attribute, FrozenDict, Origin, Task
from .project_files import UnreadableFile
from .refs import Reference, rewrite_name
from .schema_shapes import find_keys
from .sql.intervals import find_interval_variables
from .sql.tokens import STARLAKE, tokenize_sql
from .word_sets import split_words
from .yaml_mappings import Section
from .yaml_source import Positions

_TASK = FileKind("task", "warning", "Starlake skips the task, including its SQL file")
_CONFIG = FileKind("transform", "warning", "Starlake skips all tasks of the folder")
# In the order in which Starlake looks for a task's command.
_COMMANDS = (".sql", ".sql.j2", ".py")
_SUFFIXES = (".sl.yml", *_COMMANDS)
_HANDLED = split_words(
    "name sql streams primaryKey database domain table presql postsql sink rls expectations acl comment freshness attributes tags "
    "writeStrategy schedule dagRef taskTimeoutMs parseSQL connectionRef dataset_triggering_strategy"
)
# Values that tasks inherit from their folder's default: field -> key.
_DEFAULTED = {
    "database": "database",
    "write_strategy": "writeStrategy",
    "schedule": "schedule",
    "dag_ref": "dagRef",
    "parse_sql": "parseSQL",
    "timeout": "taskTimeoutMs",
    "connection_ref": "connectionRef",
    "dataset_triggering_strategy": "dataset_triggering_strategy",
}
# Values that are concatenated, the default's entries first.
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

    path: str
    name: str
    job: str
    """The folder's name, or ``transform.name``."""
    commands: dict[str, str] = field(default_factory=dict)
    """File name -> path of the SQL and Python files."""
    default: _Body | None = None


def read_tasks(reading: Reading, folder: str, context: LoadContext, references: tuple[Reference, ...]) -> tuple[Task, ...]:
    """Return all tasks of ``metadata/transform``, sorted by name. The tables that they read are added later."""
    tasks: list[Task] = []
    for name, path in reading.files.list_files(folder):
        if name.endswith(_SUFFIXES):
            place = Location(reading.files.name(path))
            reading.add_problem(
                place, "warning", "is not read: a task's file belongs in the folder of its domain, metadata/transform/<domain>"
            )
    for path in reading.files.list_folders(folder):
        tasks.extend(_read_folder(reading, path, context, references))
    return _drop_duplicates(reading, tasks)


def _read_folder(reading: Reading, path: str, context: LoadContext, references: tuple[Reference, ...]) -> list[Task]:
    name = PurePath(path).name
    folder = _Folder(path, name, name)
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
            warn_about_suffix(reading, file_name, file_path)
    _warn_about_nested_files(reading, folder)
    bodies: list[_Body] = []
    if config is not None and not _read_config(reading, config, folder, bodies, context):
        return []
    tasks = [task for body in bodies if (task := _build_inline_task(reading, folder, body, references)) is not None]
    taken = {base.lower() for base in yaml_files} | {body.name.lower() for body in bodies if body.name}
    for base, file_path in yaml_files.items():
        task = _read_yaml_task(reading, folder, base, file_path, context, references)
        if task is not None:
            tasks.append(task)
    for file_name in folder.commands:
        base = _cut_suffix(file_name)
        if base.lower() not in taken:
            tasks.append(_build_sql_task(reading, folder, base, references))
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
        base = _cut_suffix(file_name)
        task = by_name.get(base.lower())
        if name in used or task is None or base.lower() not in taken:
            continue
        other = task.sql_file or task.python_file
        if other:
            reading.add_problem(Location(name), "warning", f"is not read: task '{task.full_name}' uses {PurePath(other).name}")


def _cut_suffix(file_name: str) -> str:
    suffix = next(suffix for suffix in (".sql.j2", ".sql", ".py") if file_name.endswith(suffix))
    return file_name[: -len(suffix)]


def _warn_about_nested_files(reading: Reading, folder: _Folder) -> None:
    for name, path in reading.files.walk_files(folder.path):
        if name.endswith((".sl.yml", ".sql", ".sql.j2")) and not name.startswith("_config."):
            place = Location(reading.files.name(path))
            reading.add_problem(place, "warning", f"is not read: a task's file belongs directly in {reading.files.name(folder.path)}")


def _read_config(reading: Reading, path: str, folder: _Folder, bodies: list[_Body], context: LoadContext) -> bool:
    def migrate(migration: Any, transform: dict[str, Any]) -> None:
        tasks = transform.get("tasks")
        for index, task in enumerate(tasks if isinstance(tasks, list) else []):
            if isinstance(task, dict):
                migration.migrate_task(task, f"tasks[{index}]")

    if _is_empty_config(reading, path):
        return True
    section = load_section(reading, path, _CONFIG, migrate)
    if section is None:
        return False
    section.warn_about_unknown_keys(find_keys("transform"), "transform")
    folder.job = section.get_name("name") or folder.name
    if folder.job != folder.name:
        message = (
            f"the domain is called '{folder.job}', but its folder is called '{folder.name}': tasks with a YAML file are in '{folder.job}', "
            f"tasks that are only a SQL file are in '{folder.name}'"
        )
        section.report_warning("name", message)
    default = section.get_section("default")
    if default is not None:
        folder.default = _read_body(default, context)
    bodies.extend(_read_body(item, context) for item in section.get_sections("tasks"))
    return not section.context.broken


def _is_empty_config(reading: Reading, path: str) -> bool:
    # Starlake treats a file that is exactly "transform:" as empty. Starlake: YamlSerde.deserializeYamlTransform.
    try:
        return reading.files.read(path).strip() == "transform:"
    except UnreadableFile:
        return False


def _read_body(section: Section, context: LoadContext) -> _Body:
    section.warn_about_unknown_keys(find_keys("task"), "a task")
    found: dict[str, Any] = {}
    readers: dict[str, tuple[str, Callable[[], Any]]] = {
        "database": ("database", lambda: section.get_name("database")),
        "sink": ("sink", lambda: _read_sink(section, context)),
        "writeStrategy": ("write_strategy", lambda: read_write_strategy(section, context.strategies)),
        "schedule": ("schedule", lambda: section.get_string("schedule")),
        "dagRef": ("dag_ref", lambda: section.get_name("dagRef")),
        "parseSQL": ("parse_sql", lambda: section.get_boolean("parseSQL")),
        "taskTimeoutMs": ("timeout", lambda: _read_timeout(section)),
        "connectionRef": ("connection_ref", lambda: _read_connection(section, context)),
        "dataset_triggering_strategy": ("dataset_triggering_strategy", lambda: section.get_name("dataset_triggering_strategy")),
        "presql": ("presql", lambda: section.get_strings("presql")),
        "postsql": ("postsql", lambda: section.get_strings("postsql")),
        "rls": ("rls", lambda: read_grants(section, "rls", find_keys("rls"))),
        "acl": ("acl", lambda: read_grants(section, "acl", find_keys("acl"))),
        "expectations": ("expectations", lambda: read_expectations(section)),
        "freshness": ("freshness", lambda: read_freshness(section)),
        "attributes": ("attributes", lambda: _read_attributes(section, context)),
        "tags": ("tags", lambda: section.get_strings("tags")),
        "comment": ("comment", lambda: section.get_string("comment")),
        "primaryKey": ("primary_key", lambda: section.get_strings("primaryKey")),
    }
    for key, (name, read) in readers.items():
        if section.data.get(key) is not None:
            value = read()
            if value is not None:
                found[name] = value
    extra = collect_extra_keys(section, _HANDLED)
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


def _read_sink(section: Section, context: LoadContext) -> Any:
    sink = read_sink(section)
    sink_section = section.get_section("sink")
    if sink is not None and sink_section is not None:
        check_connection(sink_section, "connectionRef", sink.connection_ref, context.application, "running the task fails")
    return sink


def _read_connection(section: Section, context: LoadContext) -> str | None:
    name = section.get_name("connectionRef")
    check_connection(section, "connectionRef", name, context.application, "running the task fails")
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


def _read_yaml_task(
    reading: Reading, folder: _Folder, base: str, path: str, context: LoadContext, references: tuple[Reference, ...]
) -> Task | None:
    section = load_section(reading, path, _TASK, lambda migration, task: migration.migrate_task(task))
    if section is None:
        return None
    body = _read_body(section, context)
    if section.context.broken:
        return None
    return _build_task(reading, folder, body, base, body.domain or folder.job, body.table or base, references)


def _build_inline_task(reading: Reading, folder: _Folder, body: _Body, references: tuple[Reference, ...]) -> Task | None:
    name, table = body.name or body.table, body.table or body.name
    if name is None or table is None:
        reading.add_problem(body.origin.locate(), "error", "a task of transform.tasks needs a 'name' or a 'table'")
        return None
    return _build_task(reading, folder, body, name, body.domain or folder.name, table, references)


def _build_sql_task(reading: Reading, folder: _Folder, base: str, references: tuple[Reference, ...]) -> Task:
    file = next(reading.files.name(folder.commands[base + suffix]) for suffix in _COMMANDS if base + suffix in folder.commands)
    body = _Body(origin=Origin(file, 1))
    return _build_task(reading, folder, body, base, folder.name, base, references)


def _build_task(
    reading: Reading, folder: _Folder, body: _Body, name: str, domain: str, table: str, references: tuple[Reference, ...]
) -> Task:
    """Return a task with its command, its folder's defaults, and the names that ``refs.sl.yml`` gives it."""
    values = dict(body.fields)
    origin = body.origin
    streams, primary_key = body.streams, values.pop("primary_key", ())
    if folder.default is not None:
        # Starlake drops both if the folder has a default. Starlake: AutoTaskInfo.merge.
        streams, primary_key = (), ()
        origin = _merge_default(values, folder.default, origin)
    database, domain, table = rewrite_name(references, values.pop("database", None), domain, table)
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
    for suffix in _COMMANDS:
        path = folder.commands.get(name + suffix)
        if path is None:
            continue
        file = reading.files.name(path)
        if suffix == ".py":
            task = replace(task, python_file=file, sql_text=None, sql_file=None)
        try:
            if suffix == ".py":
                return replace(task, python_variables=tuple(sorted(find_interval_variables((reading.files.read(path),)))))
            return replace(task, sql_text=reading.files.read(path), sql_file=file, sql_line=1)
        except UnreadableFile as error:
            reading.problems.append(error.problem)
            return task
    return task


def _merge_default(values: dict[str, Any], default: _Body, origin: Origin) -> Origin:
    """Add the values of a folder's default to ``values``; return the origin with their locations. Starlake: AutoTaskInfo.merge."""
    defaults = default.fields
    positions = default.origin.keys
    inherited: list[str] = []
    for name, key in _DEFAULTED.items():
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
    keys_of_task = origin.keys
    if isinstance(keys_of_task, Positions):
        return replace(origin, keys=keys_of_task.inherit(places))
    return replace(origin, keys=FrozenDict(places))


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
            if ours == theirs:
                other = f"{task.name}.sql.j2" if ours.endswith(".sql") else theirs
                message = f"task '{task.full_name}' is defined twice, also by {PurePath(ours).parent.as_posix()}/{other}"
            else:
                message = f"task '{task.full_name}' is defined twice, also in {first.origin.locate()}"
            reading.add_problem(task.origin.locate(), "error", message)
    return tuple(found.values())
