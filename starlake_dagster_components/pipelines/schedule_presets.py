"""Read schedules, which are presets or inline crons, and their time zones."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..errors import InvalidSetting, Location, Problem, suggest_name
from ..project.model import DagConfig, Project, Table, Task
from ..project.sinks import find_section_key
from .crons import MACROS, InvalidCron, check_cron
from .dag_options import OptionReader
from .pipeline import Schedule

NONE = "None"
"""Name that stands for no schedule. Starlake: DagGenerateJob."""


def get_schedule_text(node: Table | Task) -> str:
    """Return the schedule of a table or task as written, by which dag-generate groups; :data:`NONE` if it has none.

    An empty string and ``None`` in any case mean that there is no schedule. starlake-orchestration: StarlakeSchedule.
    """
    text = ((node.metadata.schedule if isinstance(node, Table) else node.schedule) or "").strip()
    return NONE if text.lower() in ("", "none") else text


def locate_schedule(node: Table | Task) -> Location:
    """Return the location where the schedule of a table or task is set."""
    return node.origin.locate(find_section_key(node, "schedule"))


def is_inline(schedule: str) -> bool:
    """Return whether a schedule is an inline cron, not the name of a preset. Starlake: ``getScheduleName``."""
    return " " in schedule


def number_crons(schedules: Sequence[str], first: int = 1) -> dict[str, str]:
    """Return schedule -> name. Inline crons are numbered: ``cron1``, ``cron2``, ...

    The schedules are in Scala's order. ``first`` is the number of the first inline cron.
    """
    numbers = itertools.count(first)
    return {schedule: f"cron{next(numbers)}" if is_inline(schedule) else schedule for schedule in schedules}


@dataclass(slots=True)
class ScheduleReader:
    """Converts the schedules of a project to crons, and reports each invalid one once."""

    project: Project
    problems: list[Problem]
    _crons: dict[tuple[str, Location], str | None] = field(default_factory=dict)

    def read(self, text: str, name: str, where: Location, timezone: str | None) -> Schedule | None:
        """Return a schedule; None if the text, which is the name of a preset or a cron, is :data:`NONE` or invalid.

        ``where`` is the place where it is set. ``timezone`` must be a valid IANA name, or None for that of the definitions.
        """
        if text == NONE:
            return None
        key = (text, where)
        preset = None if is_inline(text) else self.project.application.origin.keys.get(f"schedulePresets.{text}")
        if key not in self._crons:
            self._crons[key] = self._find_cron(text, where, preset)
        cron = self._crons[key]
        return Schedule(name=name, cron=cron, timezone=timezone, location=where, preset=preset) if cron else None

    def _find_cron(self, text: str, where: Location, preset: Location | None) -> str | None:
        presets = self.project.application.schedule_presets
        cron, what = text, ""
        if not is_inline(text) and text.lower() not in MACROS:
            if text not in presets:
                hint = suggest_name(text, presets)
                known = "" if hint else f"; known presets: {', '.join(sorted(presets))}"
                self._add_error(where, f"unknown schedule '{text}'{hint}: neither a preset nor a cron{known}")
                return None
            cron, what, where = presets[text].strip(), f"preset '{text}': ", preset or where
            if cron.lower() in ("", "none"):
                return None
        try:
            return check_cron(cron)
        except InvalidCron as error:
            self._add_error(where, f"{what}{error}")
            return None

    def _add_error(self, where: Location, message: str) -> None:
        self.problems.append(Problem(where, "error", message, only_jobs=True))


def find_timezone(config: DagConfig, options: OptionReader, default: str | None) -> str | None:
    """Return the time zone of a pipeline's schedules: the ``timezone`` option or ``SL_TIMEZONE``, else the default.

    starlake-orchestration reads ``timezone``. An error is added for a name that is not an IANA name.
    """
    for name in ("timezone", "SL_TIMEZONE"):
        text = options.read_text(name)
        if text:
            fault = _find_timezone_fault(text)
            if not fault:
                return text
            options.add_error(name, f"option '{name}': {fault}")
    return default


def check_timezone(name: str | None) -> str | None:
    """Return the ``timezone`` setting; None if it is empty. Raise InvalidSetting if it is not an IANA name."""
    if name and (fault := _find_timezone_fault(name)):
        raise InvalidSetting(f"timezone: {fault}")
    return name or None


def _find_timezone_fault(name: str) -> str:
    """Return why ``name`` is not the IANA name of a time zone; an empty string if it is one."""
    from zoneinfo import ZoneInfo, available_timezones

    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return f"unknown time zone '{name}'{suggest_name(name, available_timezones())}; expected an IANA name like Europe/Paris"
    return ""
