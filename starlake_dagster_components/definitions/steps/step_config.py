"""Read the op config of steps, which overrides the job and the tags for one step of one run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from ...project.model import EMPTY
from .run_options import OPTIONS, OPTIONS_MERGE, InvalidRunOptions, Sections, parse_sections

RUN_CONFIG = dg.Field(
    {
        "scheduled_date": dg.Field(
            str,
            is_required=False,
            description="Logical date passed as --scheduledDate, ISO 8601. Default: the schedule's tick, else none.",
        ),
        "interval": dg.Field(
            {"start": dg.Field(str, description="Its start, ISO 8601."), "end": dg.Field(str, description="Its end, ISO 8601.")},
            is_required=False,
            description="Data interval of a transform. Default: that of the partition or of the run's tags, "
            "else the last one of the schedule.",
        ),
        "options": dg.Field(
            dg.Map(str, str, key_label_name="variable"),  # type: ignore[no-untyped-call]
            is_required=False,
            description="More Starlake variables for the commands of this step: --options. They override all others.",
        ),
        "dry_run": dg.Field(
            bool, is_required=False, description="Log the commands instead of running them. The assets are materialized with sl_dry_run."
        ),
        "sl_options": dg.Field(
            str,
            is_required=False,
            description='As in starlake-dagster: options of transforms as JSON, {"all": {name: value}, "domain.task": {name: value}}. '
            "Materializations carry them to the jobs downstream. Default: the run tag sl_options.",
        ),
        "sl_options_merge": dg.Field(
            str,
            is_required=False,
            description='As in starlake-dagster: how sensors downstream merge sl_options, {"all": {name: {"policy": "union"}}}. '
            "Default: the run tag sl_options_merge.",
        ),
    },
    is_required=False,
)
"""Config schema of every op."""


@dataclass(frozen=True, slots=True)
class StepConfig:
    """The op config of a step. Values that it does not set are empty.

    Attributes:
        scheduled_date: logical date, as written.
        interval: start and end of the data interval, as written.
        options: more Starlake variables.
        dry_run: whether commands are only logged.
        sl_options: options of transforms by section (``all`` or a task), from the config or the run.
        sl_options_merge: how they merge, by section.
    """

    scheduled_date: str = ""
    interval: tuple[str, str] | None = None
    options: Mapping[str, str] = EMPTY
    dry_run: bool = False
    sl_options: Sections = EMPTY
    sl_options_merge: Sections = EMPTY

    def find_task_options(self, *names: str) -> dict[str, str]:
        """Return the options of a task: those of the section ``all``, overridden by its own.

        starlake-dagster: get_sl_options.
        """
        found = {name: str(value) for name, value in self.sl_options.get("all", {}).items()}
        for section in names:
            found.update({name: str(value) for name, value in self.sl_options.get(section, {}).items()})
        return found


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
