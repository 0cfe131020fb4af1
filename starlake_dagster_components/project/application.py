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

_PRESETS = {
    "hourly": "0 * * * *",
    "daily": "0 0 * * *",
    "weekly": "0 0 * * 1",
    "monthly": "0 0 1 * *",
    "yearly": "0 0 1 1 *",
}
_KIND = FileKind("application")
_CONNECTION_KEYS = ("connectionRef", "loadConnectionRef", "transformConnectionRef")


class Folders:
    """The folders of a project's files and data, from the application's settings, the environment, or Starlake's defaults.

    Attributes:
        metadata, dags, types, macros, write_strategies: absolute paths of the folders of the project's files.
        areas: absolute paths of the folders of its data.
        variables: the ``SL_*`` variables that the project's files can use.
    """

    def __init__(self, root: Path, environ: Mapping[str, str], application: Section | None) -> None:
        self._root = root
        self._environ = environ
        self._application = application
        self.metadata = self._find_folder("metadata", "SL_METADATA", str(root / "metadata"))
        self.dags = self._find_folder("dags", "SL_DAGS", os.path.join(self.metadata, "dags"))
        self.types = self._find_folder("types", "SL_TYPES", os.path.join(self.metadata, "types"))
        self.macros = self._find_folder("macros", "SL_MACROS", os.path.join(self.metadata, "macros"))
        self.write_strategies = self._find_folder("writeStrategies", "SL_WRITE_STRATEGIES", os.path.join(self.metadata, "write-strategies"))
        datasets = self._find_folder("datasets", "SL_DATASETS", str(root / "datasets"))
        names = {name: self._find_area(name) for name in ("incoming", "stage", "unresolved", "archive", "ingesting", "replay")}
        self.areas = Areas(
            datasets=datasets, metadata=self.metadata, **{name: _join_path(datasets, value) for name, value in names.items()}
        )
        self.variables = {
            "SL_AREA_INCOMING": names["incoming"],
            "SL_INCOMING": names["incoming"],
            "SL_AREA_STAGE": names["stage"],
            "SL_AREA_UNRESOLVED": names["unresolved"],
            "SL_AREA_ARCHIVE": names["archive"],
            "SL_AREA_INGESTING": names["ingesting"],
            "SL_AREA_HIVE_DATABASE": self._find_area("hiveDatabase", "${domain}_${area}"),
            "SL_DATASETS": datasets,
            "SL_METADATA": self.metadata,
            "SL_DAGS": self.dags,
            "SL_TESTS": self._find_setting("tests", "SL_TESTS") or "tests",
            "SL_TYPES": self.types,
            "SL_MACROS": self.macros,
        }

    def _find_setting(self, key: str, variable: str) -> str | None:
        written = self._application.get_name(key) if self._application else None
        return written or self._environ.get(variable) or None

    def _find_folder(self, key: str, variable: str, default: str) -> str:
        return _join_path(str(self._root), self._find_setting(key, variable) or default)

    def _find_area(self, name: str, default: str = "") -> str:
        area = self._application.get_section("area") if self._application else None
        written = area.get_name(name) if area else None
        variables = {"incoming": ("SL_INCOMING", "SL_AREA_INCOMING"), "hiveDatabase": ("SL_AREA_HIVE_DATABASE",)}
        for variable in variables.get(name, (f"SL_AREA_{name.upper()}",)):
            written = written or self._environ.get(variable)
        return written or default or name


def _join_path(folder: str, path: str) -> str:
    """Return a path below a folder. An absolute path or a URL is returned unchanged."""
    if "://" in path:
        return path
    if "://" in folder:
        return f"{folder.rstrip('/')}/{path}"
    return os.path.normpath(os.path.join(folder, path))


def read_application_section(reading: Reading, path: str) -> Section | None:
    """Return the content of ``application.sl.yml``, or None if it is missing or broken."""
    if not disk.find_kind(path):
        return None
    return load_section(reading, path, _KIND, ignore_unset=_allows_unset)


def _allows_unset(path: str) -> bool:
    # Connections that are not used here often name variables that are set only elsewhere.
    return path.startswith(
        ("connections.", "spark.", "extra.", "kafka.", "hadoop.", "jdbcEngines.", "privacy.", "dsvOptions.", "accessPolicies.")
    )


def build_application(section: Section | None, environ: Mapping[str, str], metadata_name: str) -> Application:
    """Return the application's settings: from the file, else from ``SL_*`` environment variables, else Starlake's defaults.

    Args:
        section: content of the file; None if the file is missing or broken.
        environ: process environment.
        metadata_name: name of the metadata folder, to name the file if it is missing.
    """
    if section is None:
        file = f"{metadata_name}/application.sl.yml"
        section = Section(Context(file, Positions(file, {}), ProblemList(), "error"), {})
        origin = Origin(file)
    else:
        origin = section.build_origin()
        section.warn_about_unknown_keys(find_keys("application"), "application", legacy=("ack",))
    audit = _read_sub_section(section, "audit", find_keys("audit"))
    expectations = _read_sub_section(section, "expectations", find_keys("expectations"))
    dag_ref = _read_sub_section(section, "dagRef", find_keys("dag_ref"))
    _read_sub_section(section, "area", find_keys("area"))
    sink = audit.get_section("sink")
    default_connection = environ.get("SL_CONNECTION_REF") or None
    application = Application(
        connection_ref=section.get_name("connectionRef") or default_connection,
        load_connection_ref=section.get_name("loadConnectionRef") or default_connection or environ.get("SL_LOAD_CONNECTION_REF") or None,
        transform_connection_ref=section.get_name("transformConnectionRef")
        or default_connection
        or environ.get("SL_TRANSFORM_CONNECTION_REF")
        or None,
        audit_connection_ref=(sink.get_name("connectionRef") if sink else None)
        or environ.get("SL_AUDIT_SINK_CONNECTION_REF")
        or default_connection,
        audit_active=_read_boolean(audit, "active", environ, "SL_AUDIT_ACTIVE", True),
        audit_domain=audit.get_name("domain") or environ.get("SL_AUDIT_DOMAIN") or "audit",
        expectations_active=_read_boolean(expectations, "active", environ, "SL_EXPECTATIONS_ACTIVE", True),
        expectations_fail_on_error=_read_boolean(expectations, "failOnError", environ, "SL_EXPECTATIONS_FAIL_ON_ERROR", False),
        connections=_read_connections(section),
        dag_ref_load=dag_ref.get_name("load") or environ.get("SL_DAG_REF_LOAD") or None,
        dag_ref_transform=dag_ref.get_name("transform") or environ.get("SL_DAG_REF_TRANSFORM") or None,
        schedule_presets=FrozenDict({**_PRESETS, **section.get_mapping("schedulePresets")}),
        ack=section.get_string("ack"),
        loader=section.get_name("loader") or environ.get("SL_LOADER") or None,
        timezone=section.get_name("timezone") or environ.get("SL_TIMEZONE") or None,
        job_id_env_name=section.get_name("jobIdEnvName") or environ.get("SL_JOB_ID_ENV_NAME") or None,
        raw=FrozenDict(section.data),
        origin=origin,
    )
    _check_connections(section, application)
    return application


def _read_sub_section(section: Section, key: str, known: frozenset[str]) -> Section:
    found = section.get_section(key)
    if found is None:
        return Section(section.context, {}, section.join_key(key))
    found.warn_about_unknown_keys(known, key)
    return found


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
        connection = connections.get_section(name)
        if connection is None:
            continue
        connection.warn_about_unknown_keys(find_keys("connection"), f"connection '{name}'")
        kind = connection.get_name("type")
        if kind is None:
            connection.reject_file("type", f"connection '{name}' needs a 'type', such as jdbc, bigquery, or fs")
        found[name] = Connection(
            name=name,
            type=(kind or "").lower(),
            options=connection.get_mapping("options"),
            origin=connection.build_origin(),
        )
    return FrozenDict(found)


def _check_connections(section: Section, application: Application) -> None:
    for key in _CONNECTION_KEYS:
        check_connection(section, key, section.get_name(key), application)
    audit = section.get_section("audit")
    sink = audit.get_section("sink") if audit else None
    if sink:
        check_connection(sink, "connectionRef", sink.get_name("connectionRef"), application)


def check_connection(section: Section, key: str, name: str | None, application: Application, effect: str = "") -> None:
    """Report a ``connectionRef`` that does not name a connection.

    Args:
        section: the section that contains the reference.
        key: the reference's key.
        name: the reference's value.
        application: the application, which defines the connections. If it could not be read, nothing is reported.
        effect: the consequence, if the project can still be loaded. Turns the error into a warning.
    """
    if name is None or name in application.connections or not application.is_read:
        return
    known = sorted(application.connections)
    hint = section.suggest_name(name, known) or (f" (known: {', '.join(known)})" if known else "; the application has no connections")
    if effect:
        section.report_warning(key, f"unknown connection '{name}'{hint}; {effect}")
    else:
        section.report_error(key, f"unknown connection '{name}'{hint}")
