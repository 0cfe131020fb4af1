"""The op config of steps, which overrides the tags of the run and the options of the job for one step."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from ...project.model import EMPTY
from .run_options import OPTIONS, OPTIONS_MERGE, InvalidRunOptions, Sections, parse_sections


def _build_optional(kind: Any, description: str | None = None) -> dg.Field:
    return dg.Field(kind, is_required=False, description=description)


RUN_CONFIG = _build_optional(
    {
        "scheduled_date": _build_optional(
            str, "Logical date in ISO 8601, passed as --scheduledDate. Default: the tick of the schedule, or else none."
        ),
        "interval": _build_optional(
            {"start": dg.Field(str, description="Start, in ISO 8601."), "end": dg.Field(str, description="End, in ISO 8601.")},
            "Data interval of a transform. Default: that of the partition or of the run's tags, or else the last complete one of the "
            "schedule.",
        ),
        "options": _build_optional(
            dg.Map(str, str, key_label_name="variable"),  # type: ignore[no-untyped-call]
            "Starlake variables for the commands of this step, passed with --options. They override all others.",
        ),
        "dry_run": _build_optional(
            bool, "Log the commands instead of running them. The metadata of the materializations contains sl_dry_run."
        ),
        "sl_options": _build_optional(
            str,
            'Options of transforms as in starlake-dagster, in JSON: {"all": {name: value}, "domain.task": {name: value}}. They are passed '
            "on to downstream jobs. Default: the run tag sl_options.",
        ),
        "sl_options_merge": _build_optional(
            str,
            "Policies for merging sl_options in downstream sensors, as in starlake-dagster: "
            '{"all": {name: {"policy": "union"}}}. Default: the run tag sl_options_merge.',
        ),
    }
)
"""The config schema of all ops."""


@dataclass(frozen=True, slots=True)
class StepConfig:
    """The op config of a step.

    Attributes:
        scheduled_date: the logical date as written; empty if not set.
        interval: start and end of the data interval as written; None if not set.
        options: Starlake variables for the step's commands.
        dry_run: whether commands are only logged.
        sl_options: options of transforms by section, from the config or the run's tags.
        sl_options_merge: policies for merging them, by section.
    """

    scheduled_date: str = ""
    interval: tuple[str, str] | None = None
    options: Mapping[str, str] = EMPTY
    dry_run: bool = False
    sl_options: Sections = EMPTY
    sl_options_merge: Sections = EMPTY

    def find_task_options(self, *names: str) -> dict[str, str]:
        """Return the options of a task like ``get_sl_options`` of starlake-dagster: those of the ``all`` section, overridden by its own.

        If there are several section names, later ones override earlier ones.
        """
        return {name: str(value) for section in ("all", *names) for name, value in self.sl_options.get(section, {}).items()}


def read_step_config(context: dg.AssetExecutionContext) -> StepConfig:
    """Return the op config of a step.

    Raises:
        dagster.Failure: ``sl_options`` or ``sl_options_merge`` is invalid.
    """
    config: Mapping[str, Any] = context.op_execution_context.op_config or {}
    tags = context.run.tags
    if not config and OPTIONS not in tags:
        return StepConfig()
    interval = config.get("interval")
    try:
        return StepConfig(
            scheduled_date=config.get("scheduled_date") or "",
            interval=(interval["start"], interval["end"]) if interval else None,
            options=config.get("options") or EMPTY,
            dry_run=bool(config.get("dry_run")),
            sl_options=parse_sections(OPTIONS, config.get(OPTIONS) or tags.get(OPTIONS)),
            sl_options_merge=parse_sections(OPTIONS_MERGE, config.get(OPTIONS_MERGE) or tags.get(OPTIONS_MERGE)),
        )
    except InvalidRunOptions as error:
        raise dg.Failure(str(error), allow_retries=False) from error
