"""The content of a Starlake project as frozen data: the result of reading it, and the input of everything else.

The values are those that Starlake uses: variables are replaced, metadata is inherited from the domain, and defaults are merged.
The ``origin`` of an object has the location of every value.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, NoReturn

from ..errors import InvalidProject, Location, Problem


class FrozenDict(dict[str, Any]):
    """A dict that cannot be changed. It can be pickled."""

    __slots__ = ()

    def _reject(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("this mapping is read-only")

    __setitem__ = __delitem__ = _reject
    clear = pop = popitem = setdefault = update = _reject

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self))  # of the keys only, because values may be unhashable

    def __reduce__(self) -> tuple[type["FrozenDict"], tuple[dict[str, Any]]]:
        return FrozenDict, (dict(self),)


class _Empty(Mapping[str, Any]):
    """An empty mapping. It is not a dict, because Python 3.10 does not allow a dict as the default of a dataclass field."""

    __slots__ = ()

    def __getitem__(self, key: str) -> Any:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __hash__(self) -> int:
        return hash(FrozenDict())

    def __repr__(self) -> str:
        return "{}"

    def __reduce__(self) -> str:
        return "EMPTY"


EMPTY: Mapping[str, Any] = _Empty()


@dataclass(frozen=True, slots=True)
class Origin:
    """The locations of an object and its values.

    Attributes:
        file: the object's file, relative to the project's root.
        line: first line of the object in it, from 1.
        keys: dotted key (``metadata.schedule``, ``attributes[2].type``) -> its location. That of an inherited value is in the
            file that it comes from (the domain's ``_config.sl.yml``, ``application.sl.yml``).
    """

    file: str
    line: int = 1
    keys: Mapping[str, Location] = field(default=EMPTY, repr=False)

    def locate(self, key: str = "") -> Location:
        """Return the location of a key, else of the nearest enclosing key that has one, else of the object."""
        while key:
            if key in self.keys:
                return self.keys[key]
            cut = max(key.rfind("."), key.rfind("["))
            key = key[:cut] if cut > 0 else ""
        return Location(self.file, self.line)


@dataclass(frozen=True, slots=True)
class Connection:
    """An entry of ``application.connections``. The options may contain secrets, so ``repr`` does not show them."""

    name: str
    type: str
    """In lowercase: ``jdbc``, ``bigquery``, ``snowflake``, ``spark``, ``fs``, ..."""
    options: Mapping[str, str] = field(default=EMPTY, repr=False)
    origin: Origin = Origin("")

    @property
    def engine(self) -> str:
        """Name of the database: ``duckdb``, ``bigquery``, ``snowflake``, ``redshift``, ``postgres``, ``spark``, ...

        It comes from the JDBC URL (``jdbc:<engine>:``), else from the type; ``unknown`` if the type is empty.
        """
        url = self.options.get("url", "")
        name = url[5:].split(":", 1)[0].lower() if url.startswith("jdbc:") else self.type
        return {"postgresql": "postgres", "bq": "bigquery", "fs": "spark", "": "unknown"}.get(name, name)

    @property
    def duckdb_path(self) -> str | None:
        """The path (or ``:memory:``) in a ``jdbc:duckdb:`` URL, without options; None if it is not a DuckDB database."""
        url = self.options.get("url", "")
        return url[len("jdbc:duckdb:") :].split("?", 1)[0].split(";", 1)[0] if url.startswith("jdbc:duckdb:") else None


@dataclass(frozen=True, slots=True)
class WriteStrategy:
    """``writeStrategy``: the way rows are written to the table. ``type`` is in uppercase."""

    type: str | None = None
    types: Mapping[str, str] = EMPTY
    key: tuple[str, ...] = ()
    timestamp: str | None = None
    query_filter: str | None = None
    on: str | None = None
    """``TARGET`` or ``SOURCE_AND_TARGET``."""
    start_ts: str | None = None
    end_ts: str | None = None


@dataclass(frozen=True, slots=True)
class Sink:
    """``sink``: the connection and the format in which a table is stored."""

    connection_ref: str | None = None
    format: str | None = None
    partition: tuple[str, ...] = ()
    clustering: tuple[str, ...] = ()
    materialized_view: str | None = None
    """``TABLE``, ``VIEW``, ``MATERIALIZED_VIEW``, or ``HYBRID``."""
    options: Mapping[str, Any] = EMPTY
    """All other keys, as written."""


@dataclass(frozen=True, slots=True)
class Freshness:
    """``freshness``: the age of a table at which Starlake warns or reports an error."""

    warn: timedelta | None = None
    error: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Expectation:
    """An item of ``expectations``: a macro call whose query counts violations."""

    expect: str
    fail_on_error: bool = True
    origin: Origin = Origin("")


@dataclass(frozen=True, slots=True)
class Attribute:
    """A column (or nested field) of a table. Starlake: TableAttribute."""

    name: str
    type: str = "string"
    array: bool = False
    required: bool = False
    privacy: str | None = None
    comment: str | None = None
    rename: str | None = None
    attributes: tuple["Attribute", ...] = ()
    position: tuple[int, int] | None = None
    """Index of the first and last character of a POSITION field, from 0; both are included."""
    default: str | None = None
    tags: tuple[str, ...] = ()
    trim: str | None = None
    """``LEFT``, ``RIGHT``, ``BOTH``, or ``NONE``."""
    script: str | None = None
    foreign_key: str | None = None
    ignore: bool = False
    access_policy: str | None = None
    metric_type: str | None = None

    @property
    def final_name(self) -> str:
        """Name of the column in the table."""
        return self.rename or self.name


@dataclass(frozen=True, slots=True)
class Metadata:
    """``metadata`` of a load table, merged with its domain's. None means that Starlake's default applies."""

    format: str | None = None
    """In uppercase: DSV, JSON, JSON_FLAT, JSON_ARRAY, POSITION, PARQUET, XML, ..."""
    encoding: str | None = None
    multiline: bool | None = None
    array: bool | None = None
    with_header: bool | None = None
    separator: str | None = None
    quote: str | None = None
    escape: str | None = None
    null_value: str | None = None
    empty_is_null: bool | None = None
    directory: str | None = None
    ack: str | None = None
    loader: str | None = None
    options: Mapping[str, str] = EMPTY
    sink: Sink | None = None
    write_strategy: WriteStrategy | None = None
    dag_ref: str | None = None
    schedule: str | None = None
    freshness: Freshness | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A load table: ``metadata/load/<domain>/<table>.sl.yml``.

    Commands use the logical names ``domain`` and ``name``. The database and the UI use ``final_domain`` and ``final_name``.
    """

    domain: str
    name: str
    final_domain: str
    final_name: str
    pattern: str
    """Java regular expression that the whole name of a file must match."""
    metadata: Metadata = Metadata()
    attributes: tuple[Attribute, ...] = ()
    primary_key: tuple[str, ...] = ()
    comment: str | None = None
    tags: tuple[str, ...] = ()
    presql: tuple[str, ...] = ()
    postsql: tuple[str, ...] = ()
    filter: str | None = None
    expectations: tuple[Expectation, ...] = ()
    acl: tuple[Mapping[str, Any], ...] = ()
    rls: tuple[Mapping[str, Any], ...] = ()
    streams: tuple[str, ...] = ()
    database: str | None = None
    extra: Mapping[str, Any] = EMPTY
    """Keys that have no effect in this package, as written. The engine rejects those that it does not support."""
    origin: Origin = Origin("")

    @property
    def full_name(self) -> str:
        """``domain.table`` with the logical names."""
        return f"{self.domain}.{self.name}"

    @property
    def final_full_name(self) -> str:
        """``domain.table`` with the names in the database."""
        return f"{self.final_domain}.{self.final_name}"


@dataclass(frozen=True, slots=True)
class Domain:
    """A load domain: a folder of ``metadata/load`` with at least one table.

    ``--domains`` must match both ``folder`` and ``name``. They are equal in valid projects.
    """

    name: str
    final_name: str
    folder: str
    tables: tuple[Table, ...]
    metadata: Metadata = Metadata()
    comment: str | None = None
    tags: tuple[str, ...] = ()
    database: str | None = None
    origin: Origin = Origin("")


@dataclass(frozen=True, slots=True)
class TableReference:
    """A table that SQL reads.

    Attributes:
        parts: the name's parts, unquoted, as written: ``("sales", "orders")``.
        location: file and line of the reference.
        kind: ``parsed``, or ``scanned`` if the statement could not be parsed, so that the reference is a guess.
    """

    parts: tuple[str, ...]
    location: Location
    kind: Literal["parsed", "scanned"] = "parsed"

    @property
    def text(self) -> str:
        """The parts of the name, joined by dots."""
        return ".".join(self.parts)


@dataclass(frozen=True, slots=True)
class Task:
    """A transform task: ``metadata/transform/<domain>/<task>.sl.yml`` and/or ``.sql``, ``.sql.j2``, ``.py``, or an inline task.

    ``transform --name`` takes ``full_name``, which is ``domain.name``. The rows are written to ``domain.table``.
    """

    domain: str
    name: str
    table: str
    folder: str
    """Folder under ``metadata/transform``."""
    sql_text: str | None = None
    """The SQL as written, including markers and Jinja; None for Python tasks."""
    sql_file: str | None = None
    """File of the SQL relative to the project's root; the YAML file for inline SQL."""
    sql_line: int = 1
    """Line in ``sql_file`` on which ``sql_text`` begins."""
    python_file: str | None = None
    python_variables: tuple[str, ...] = ()
    """The variables of the data interval that the Python file uses."""
    presql: tuple[str, ...] = ()
    """The statements of the YAML. Those between markers in the SQL file are in ``sql_text``."""
    postsql: tuple[str, ...] = ()
    references: tuple[TableReference, ...] = ()
    """Tables that the main SQL reads, each once, in order of appearance. Empty for Python tasks and with ``parseSQL: false``."""
    parse_sql: bool = True
    write_strategy: WriteStrategy | None = None
    sink: Sink | None = None
    connection_ref: str | None = None
    schedule: str | None = None
    dag_ref: str | None = None
    freshness: Freshness | None = None
    attributes: tuple[Attribute, ...] = ()
    expectations: tuple[Expectation, ...] = ()
    primary_key: tuple[str, ...] = ()
    comment: str | None = None
    tags: tuple[str, ...] = ()
    acl: tuple[Mapping[str, Any], ...] = ()
    rls: tuple[Mapping[str, Any], ...] = ()
    streams: Mapping[str, str] = EMPTY
    database: str | None = None
    dataset_triggering_strategy: str | None = None
    timeout: timedelta | None = None
    extra: Mapping[str, Any] = EMPTY
    origin: Origin = Origin("")

    @property
    def sql_texts(self) -> tuple[str, ...]:
        """The SQL, pre-SQL, and post-SQL, as written."""
        return (self.sql_text or "", *self.presql, *self.postsql)

    @property
    def full_name(self) -> str:
        """``domain.name``: the name on the command line. Starlake: AutoTaskInfo.fullName."""
        return f"{self.domain}.{self.name}"

    @property
    def sink_name(self) -> str:
        """``domain.table``: the table that the task writes."""
        return f"{self.domain}.{self.table}"


@dataclass(frozen=True, slots=True)
class DagConfig:
    """``metadata/dags/<name>.sl.yml``. Values are as written. They are rendered for each DAG, with its variables."""

    name: str
    template: str
    filename: str
    comment: str = ""
    options: Mapping[str, str] = EMPTY
    template_text: str | None = None
    """Source of a template in the project; None for a built-in template."""
    origin: Origin = Origin("")
    template_includes: Mapping[str, str] = field(default=EMPTY, repr=False)
    """Path in an ``include`` -> content of the project's file, for all files that the template includes, directly or not."""


@dataclass(frozen=True, slots=True)
class TypeDefinition:
    """An entry of ``metadata/types`` or one of Starlake's built-in types."""

    name: str
    primitive: str
    """In lowercase: string, long, int, short, byte, double, decimal, boolean, date, timestamp, variant, struct."""
    pattern: str | None = None
    zone: str | None = None
    comment: str | None = None
    ddl_mapping: Mapping[str, str] = EMPTY
    origin: Origin | None = None
    """None for a built-in type."""


@dataclass(frozen=True, slots=True)
class Areas:
    """Absolute paths of the folders of the project's data. Starlake: DatasetArea."""

    datasets: str
    incoming: str
    stage: str
    unresolved: str
    archive: str
    ingesting: str
    replay: str
    metadata: str


@dataclass(frozen=True, slots=True)
class Application:
    """``application.sl.yml``: the settings that this package uses. ``raw`` has all of them, rendered."""

    connection_ref: str | None = None
    load_connection_ref: str | None = None
    transform_connection_ref: str | None = None
    audit_connection_ref: str | None = None
    audit_active: bool = True
    audit_domain: str = "audit"
    expectations_active: bool = True
    expectations_fail_on_error: bool = False
    connections: Mapping[str, Connection] = EMPTY
    dag_ref_load: str | None = None
    dag_ref_transform: str | None = None
    schedule_presets: Mapping[str, str] = EMPTY
    """Starlake's presets, overridden by the project's: name -> cron."""
    ack: str | None = None
    loader: str | None = None
    timezone: str | None = None
    job_id_env_name: str | None = None
    is_read: bool = True
    """False if the file is missing or broken, so that its connections are unknown."""
    raw: Mapping[str, Any] = field(default=EMPTY, repr=False)
    origin: Origin = Origin("metadata/application.sl.yml")

    def find_raw(self, *keys: str) -> Any:
        """Return the value at a path of keys in the file; None if there is none."""
        value: Any = self.raw
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        return value

    @property
    def audit_connection(self) -> Connection | None:
        """The connection that the audit is written to; None if it is not set or not defined."""
        return self.connections.get(self.audit_connection_ref or self.connection_ref or "")


@dataclass(frozen=True, slots=True)
class Project:
    """A Starlake project that has been read."""

    root: Path
    """Absolute path."""
    profile: str | None
    """Name of the active environment (``SL_ENV``); None if there is none."""
    application: Application
    areas: Areas
    variables: Mapping[str, str] = field(default=EMPTY, repr=False)
    """All variables, including the process environment. They may contain secrets. Starlake: activeEnvVars."""
    derived_variables: frozenset[str] = frozenset()
    """Variables of env files whose values depend on Starlake's own variables, which differ by time and machine."""
    domains: tuple[Domain, ...] = ()
    external_domains: tuple[Domain, ...] = ()
    """Domains of ``metadata/external``, whose tables are described but not loaded."""
    tasks: tuple[Task, ...] = ()
    dag_configs: Mapping[str, DagConfig] = EMPTY
    types: Mapping[str, TypeDefinition] = EMPTY
    macros: str = field(default="", repr=False)
    """All ``expectations/**/*.j2`` and ``macros/**/*.j2``, concatenated."""
    dependency_files: Mapping[str, str] = field(default=EMPTY, repr=False, compare=False)
    """File -> dependency JSON (setting ``dependencies``). Empty in a cached plan, to which it was applied already."""
    files: tuple[str, ...] = ()
    """Every file that was read, relative to the root; absolute if it is outside the root."""
    problems: tuple[Problem, ...] = ()

    @property
    def tables(self) -> tuple[Table, ...]:
        """All load tables, sorted by domain and name."""
        return tuple(t for d in self.domains for t in d.tables)

    @property
    def metadata_folder(self) -> Path:
        """The ``metadata`` folder (``SL_METADATA`` may have moved it)."""
        return Path(self.areas.metadata)

    def get_path(self, file: str) -> Path:
        """Return the absolute path of a file whose path is relative to the root."""
        return self.root / file

    def find_connection(self, node: "Table | Task") -> Connection | None:
        """Return the connection that a table or task is written to; None if it is not set or not defined."""
        return self.application.connections.get(self.find_connection_name(node))

    def find_connection_name(self, node: "Table | Task") -> str:
        """Return the first connection name that is set: the sink's, the task's, that of all loads or transforms, the project's; else ""."""
        app = self.application
        if isinstance(node, Table):
            sink = node.metadata.sink
            name = (sink.connection_ref if sink else None) or app.load_connection_ref
        else:
            name = (node.sink.connection_ref if node.sink else None) or node.connection_ref or app.transform_connection_ref
        return name or app.connection_ref or ""

    def raise_for_errors(self) -> None:
        """Raise :class:`InvalidProject` with all problems if any of them is an error."""
        if any(p.severity == "error" for p in self.problems):
            raise InvalidProject(str(self.root), self.problems)
