"""Read ``application.sl.yml``: connections, defaults, and folders. Starlake: Settings, reference*.conf."""

import os
from collections.abc import Mapping
from pathlib import Path

from ..errors import ProblemList
from . import disk
from .documents import FileKind, Reading, load_section
from .model import EMPTY, Application, Areas, Connection, FrozenDict, Origin
from .schema_shapes import find_keys
from .yaml_mappings import Context, Section
from .yaml_source import Positions

PRESETS = {
    "hourly": "0 * * * *",
    "daily": "0 0 * * *",
    "weekly": "0 0 * * 1",
    "monthly": "0 0 1 * *",
    "yearly": "0 0 1 1 *",
}
# Connections that are not used here often name variables that are set only elsewhere.
_HARMLESS = ("connections.", "spark.", "extra.", "kafka.", "hadoop.", "jdbcEngines.", "privacy.", "dsvOptions.", "accessPolicies.")
_KIND = FileKind("application", harmless=_HARMLESS)


class Folders:
    """The folders of a project's files and data, from the application's settings, the environment, or Starlake's defaults.

    Attributes:
        metadata, dags, types, macros, write_strategies: absolute paths of the folders of the project's files.
        areas: absolute paths of the folders of its data.
        variables: the ``SL_*`` variables that the project's files can use.
    """

    def __init__(self, root: Path, environ: Mapping[str, str], application: Section | None) -> None:
        def find_folder(key: str, variable: str, *default: str) -> str:
            written = _find_setting(application, key, environ, variable)
            return _join_path(str(root), written or os.path.join(*default))

        def find_area(name: str, *variables: str, default: str = "") -> str:
            area = application.get_section("area") if application else None
            return _find_setting(area, name, environ, *variables) or default or name

        self.metadata = find_folder("metadata", "SL_METADATA", str(root), "metadata")
        self.dags = find_folder("dags", "SL_DAGS", self.metadata, "dags")
        self.types = find_folder("types", "SL_TYPES", self.metadata, "types")
        self.macros = find_folder("macros", "SL_MACROS", self.metadata, "macros")
        self.write_strategies = find_folder("writeStrategies", "SL_WRITE_STRATEGIES", self.metadata, "write-strategies")
        datasets = find_folder("datasets", "SL_DATASETS", str(root), "datasets")
        names = {name: find_area(name, f"SL_AREA_{name.upper()}") for name in ("stage", "unresolved", "archive", "ingesting", "replay")}
        names["incoming"] = find_area("incoming", "SL_INCOMING", "SL_AREA_INCOMING")
        areas = {name: _join_path(datasets, value) for name, value in names.items()}
        self.areas = Areas(datasets=datasets, metadata=self.metadata, **areas)
        self.variables = {
            "SL_AREA_INCOMING": names["incoming"],
            "SL_INCOMING": names["incoming"],
            "SL_AREA_STAGE": names["stage"],
            "SL_AREA_UNRESOLVED": names["unresolved"],
            "SL_AREA_ARCHIVE": names["archive"],
            "SL_AREA_INGESTING": names["ingesting"],
            "SL_AREA_HIVE_DATABASE": find_area("hiveDatabase", "SL_AREA_HIVE_DATABASE", default="${domain}_${area}"),
            "SL_DATASETS": datasets,
            "SL_METADATA": self.metadata,
            "SL_DAGS": self.dags,
            "SL_TESTS": _find_setting(application, "tests", environ, "SL_TESTS") or "tests",
            "SL_TYPES": self.types,
            "SL_MACROS": self.macros,
        }


def _find_setting(section: Section | None, key: str, environ: Mapping[str, str], *variables: str) -> str | None:
    """Return a setting of the file, else the first of the environment variables that is set; None if there is none."""
    written = section.get_name(key) if section else None
    return written or next((value for name in variables if (value := environ.get(name))), None)


def _join_path(folder: str, path: str) -> str:
    """Return a path below a folder. An absolute path or a URL is returned unchanged."""
    if "://" in path:
        return path
    if "://" in folder:
        return f"{folder.rstrip('/')}/{path}"
    return os.path.normpath(os.path.join(folder, path))


def read_application_section(reading: Reading, path: str) -> Section | None:
    """Return the content of ``application.sl.yml``, or None if it is missing or broken."""
    return load_section(reading, path, _KIND) if disk.find_kind(path) else None


def build_application(section: Section | None, environ: Mapping[str, str], metadata_name: str) -> Application:
    """Return the application's settings: from the file, else from ``SL_*`` environment variables, else Starlake's defaults.

    ``section`` is the content of the file; None if it is missing or broken. ``metadata_name`` is the name of the metadata folder.
    """
    is_read = section is not None
    if section is None:
        file = f"{metadata_name}/application.sl.yml"
        section = Section(Context(file, Positions(file, {}), ProblemList(), "error"), {})
        origin = Origin(file)
    else:
        origin = section.build_origin()
        section.warn_about_unknown_keys(find_keys("application") | {"ack"}, "application")
    empty = Section(section.context, {})
    audit = section.get_section("audit", "audit") or empty
    expectations = section.get_section("expectations", "expectations") or empty
    dag_ref = section.get_section("dagRef", "dag_ref") or empty
    section.get_section("area", "area")
    sink = audit.get_section("sink")

    def find(section: Section | None, key: str, *variables: str) -> str | None:
        return _find_setting(section, key, environ, *variables)

    application = Application(
        connection_ref=find(section, "connectionRef", "SL_CONNECTION_REF"),
        load_connection_ref=find(section, "loadConnectionRef", "SL_CONNECTION_REF", "SL_LOAD_CONNECTION_REF"),
        transform_connection_ref=find(section, "transformConnectionRef", "SL_CONNECTION_REF", "SL_TRANSFORM_CONNECTION_REF"),
        audit_connection_ref=find(sink, "connectionRef", "SL_AUDIT_SINK_CONNECTION_REF", "SL_CONNECTION_REF"),
        audit_active=_read_boolean(audit, "active", environ, "SL_AUDIT_ACTIVE", True),
        audit_domain=find(audit, "domain", "SL_AUDIT_DOMAIN") or "audit",
        expectations_active=_read_boolean(expectations, "active", environ, "SL_EXPECTATIONS_ACTIVE", True),
        expectations_fail_on_error=_read_boolean(expectations, "failOnError", environ, "SL_EXPECTATIONS_FAIL_ON_ERROR", False),
        connections=_read_connections(section),
        dag_ref_load=find(dag_ref, "load", "SL_DAG_REF_LOAD"),
        dag_ref_transform=find(dag_ref, "transform", "SL_DAG_REF_TRANSFORM"),
        schedule_presets=FrozenDict({**PRESETS, **section.get_mapping("schedulePresets")}),
        ack=section.get_string("ack"),
        loader=find(section, "loader", "SL_LOADER"),
        timezone=find(section, "timezone", "SL_TIMEZONE"),
        job_id_env_name=find(section, "jobIdEnvName", "SL_JOB_ID_ENV_NAME"),
        is_read=is_read,
        raw=FrozenDict(section.data),
        origin=origin,
    )
    for key in ("connectionRef", "loadConnectionRef", "transformConnectionRef"):
        check_connection(section, key, section.get_name(key), application)
    if sink:
        check_connection(sink, "connectionRef", sink.get_name("connectionRef"), application)
    return application


def _read_boolean(section: Section, key: str, environ: Mapping[str, str], variable: str, default: bool) -> bool:
    written = section.get_boolean(key)
    if written is not None:
        return written
    value = environ.get(variable, "").strip().lower()
    return value in ("true", "yes", "on") if value else default


def _read_connections(section: Section) -> Mapping[str, Connection]:
    connections = section.get_section("connections")
    if connections is None:
        return EMPTY
    found = {}
    for name in connections.data:
        connection = connections.get_section(name, "connection", f"connection '{name}'")
        if connection is None:
            continue
        kind = connection.get_name("type")
        if kind is None:
            connection.reject_file("type", f"connection '{name}' needs a 'type', such as jdbc, bigquery, or fs")
        found[name] = Connection(name, (kind or "").lower(), connection.get_mapping("options"), connection.build_origin())
    return FrozenDict(found)


def check_connection(section: Section, key: str, name: str | None, application: Application, effect: str = "") -> None:
    """Report a ``connectionRef`` that does not name a connection; nothing if the application, which defines them, could not be read.

    With an ``effect``, the consequence for a project that can still be loaded, this is only a warning.
    """
    if name is None or name in application.connections or not application.is_read:
        return
    known = sorted(application.connections)
    hint = section.suggest_name(name, known) or (f" (known: {', '.join(known)})" if known else "; the application has no connections")
    report = section.report_warning if effect else section.report_error
    report(key, f"unknown connection '{name}'{hint}{effect and f'; {effect}'}")
