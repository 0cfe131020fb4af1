"""Define the session of a command: its project, variables, output, and clock."""

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ..cancellation_event import Canceled
from ..errors import CommandCanceled
from ..project.model import Project, Table, Task
from .engine_errors import BadSetting, NotFound, NotSupported

Out = Callable[[str], None]
"""A function that receives a line that Starlake prints on stdout."""

LogLine = Callable[[Any, str], None]
"""A function that receives a level (``debug``, ``info``, ``warning``, ``error``) and a line that Starlake writes to its log."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings in the project's application file, or else in the environment of the command. Starlake: reference*.conf."""

    audit_active: bool
    audit_domain: str
    expectations_active: bool
    expectations_fail_on_error: bool
    archive: bool
    grouped: bool
    scd2_start: str
    scd2_end: str
    api: bool


@dataclass(frozen=True, slots=True)
class Session:
    """The session of one command.

    Attributes:
        project: the project, read with the command's options.
        variables: variables of the project's files: its own, the date, the command's options.
        canceled: set if the command must end.
        scheduled: ``--scheduledDate``, or else the time at which the command began, as a local time without a zone.
        zone: name of the zone of local times; None = that of the process.
        strict: whether to reject commands, files, and queries that Starlake rejects.
        reported: the warnings that have already been logged.
    """

    project: Project
    environ: Mapping[str, str]
    variables: Mapping[str, str]
    settings: Settings
    out: Out
    log: LogLine
    began: datetime
    scheduled: datetime
    canceled: Canceled | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    zone: str | None = None
    strict: bool = False
    reported: set[str] = field(default_factory=set)

    def report_rejected(self, message: str) -> None:
        """Warn once about something that works here, but that Starlake rejects. Raise NotSupported if the command is strict."""
        if self.strict:
            raise NotSupported(None, f"{message} (the executor is strict)")
        self.warn(f"{message}; it works in the embedded engine only")

    def warn(self, message: str) -> None:
        """Log a warning once."""
        if message not in self.reported:
            self.reported.add(message)
            self.log("warning", message)

    def check_canceled(self) -> None:
        """Raise CommandCanceled if the command was canceled."""
        if self.canceled is not None and self.canceled.is_set():
            raise CommandCanceled("the command was canceled")

    def make_job_id(self, name: str) -> str:
        """Return the job ID of the audit rows: that of the environment, or else the name and the time. Starlake: JobBase.applicationId."""
        variable = self.project.application.job_id_env_name or "SL_JOB_ID"
        return self.environ.get(variable) or f"{name}-{int(get_time().timestamp() * 1000)}"

    def find_database(self, node: Table | Task | None) -> Path:
        """Return the DuckDB file that a table or task is written to; that of the audit if there is no node.

        Raises:
            NotFound: the connection does not exist.
            NotSupported: the connection is not a DuckDB file.
        """
        application = self.project.application
        connection = self.project.find_connection(node) if node else application.audit_connection
        if connection is None:
            who = f"{node.full_name}: " if node else ""
            known = ", ".join(sorted(application.connections)) or "none"
            if node and (name := self.project.find_connection_name(node)):
                raise NotFound(f"{who}unknown connection '{name}' (known: {known})")
            raise NotFound(f"{who}no connection: set application.connectionRef to one of application.connections (known: {known})")
        path = connection.duckdb_path
        at = connection.origin.locate("options.url")
        if path is None:
            raise NotSupported(
                at, f"connection '{connection.name}' uses {connection.engine}; the embedded engine writes only to DuckDB files"
            )
        if path in ("", ":memory:") or path.startswith((":memory:", "md:", "ducklake:")):
            reason = f"connection '{connection.name}' is not a file ('{path}'): its data would be lost at the end of the command"
            raise NotSupported(at, reason)
        return Path(self.project.root, path)

    def find_audit_database(self) -> Path | None:
        """Return the DuckDB file that the audit is written to; None if the audit is off."""
        return self.find_database(None) if self.settings.audit_active else None


def get_time() -> datetime:
    """Return the current time, with a zone."""
    return datetime.now(timezone.utc)


def find_zone(environ: Mapping[str, str]) -> str | None:
    """Return the command's time zone: ``TZ``, if Java and DuckDB support the name. None means the zone of the process."""
    name = environ.get("TZ", "").removeprefix(":")
    if not name:
        return None
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
    return name


def make_local(moment: datetime, zone: str | None) -> datetime:
    """Return a time as stored in the database: the local time of a zone, without the zone, as in Starlake."""
    return moment.astimezone(ZoneInfo(zone) if zone else None).replace(tzinfo=None)


def read_settings(project: Project, environ: Mapping[str, str]) -> Settings:
    """Return the settings of a command: from the file, or else from the command's environment, or else Starlake's defaults."""
    raw = project.application.raw
    get_switch = functools.partial(read_switch, project, environ)
    return Settings(
        audit_active=get_switch("audit.active", "SL_AUDIT_ACTIVE", default=True),
        audit_domain=project.application.audit_domain,
        expectations_active=get_switch("expectations.active", "SL_EXPECTATIONS_ACTIVE", default=True),
        expectations_fail_on_error=get_switch("expectations.failOnError", "SL_EXPECTATIONS_FAIL_ON_ERROR"),
        archive=get_switch("archive", "SL_ARCHIVE", default=True),
        grouped=get_switch("grouped", "SL_GROUPED"),
        scd2_start=str(raw.get("scd2StartTimestamp") or environ.get("SL_SCD2_START_TIMESTAMP") or "sl_start_ts"),
        scd2_end=str(raw.get("scd2EndTimestamp") or environ.get("SL_SCD2_END_TIMESTAMP") or "sl_end_ts"),
        api="SL_API" in environ,
    )


def read_switch(project: Project, environ: Mapping[str, str], key: str, variable: str, *, default: bool = False) -> bool:
    """Return a switch of the application file, such as ``audit.active``, or else of the command's environment."""
    value = project.application.find_raw(*key.split("."))
    text = str(environ.get(variable, "") if value is None or value == "" else value).strip().lower()
    return text in ("true", "yes", "on") if text else default


def parse_scheduled_date(text: str | None, default: datetime, zone: str | None = None) -> datetime:
    """Return the local time of ``--scheduledDate``: ``2024-02-03T04:05:06``, fraction and zone optional. Raise BadSetting otherwise."""
    if not text:
        return default
    written = text.strip().strip("'\"").replace("T", " ")
    try:
        moment = datetime.fromisoformat(_normalize_iso(written))
    except ValueError:
        raise BadSetting(None, f"--scheduledDate '{text}' is not a date and time such as 2024-02-03T04:05:06") from None
    return make_local(moment, zone) if moment.tzinfo else moment


def _normalize_iso(text: str) -> str:
    """Return a time in a format that Python 3.10 can parse: with 6 decimal places, and a colon in the zone."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\d)(?: (\d\d:\d\d(?::\d\d)?)(?:[.,](\d+))?\s*(Z|[+-]\d\d:?\d\d)?)?", text)
    if match is None:
        raise ValueError(text)
    day, time, fraction, zone = match.groups()
    if time is None:
        return day
    if len(time) == 5:
        time += ":00"
    zone = "+00:00" if zone == "Z" else (f"{zone[:3]}:{zone[-2:]}" if zone else "")
    return f"{day} {time}{'.' + fraction[:6].ljust(6, '0') if fraction else ''}{zone}"
