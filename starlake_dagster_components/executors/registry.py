"""The executors by their ``type``, and the field ``executor:`` of a component."""

from collections.abc import Mapping
from typing import Annotated, Any

import dagster as dg
from pydantic import Field

from ..errors import InvalidSetting, unknown
from .base import StarlakeExecutor
from .cloud_run import CloudRunExecutor
from .dagster_shell import DagsterShellExecutor
from .duckdb import DuckDBExecutor
from .shell import ShellExecutor

EXECUTORS: Mapping[str, type[StarlakeExecutor]] = {
    "shell": ShellExecutor,
    "cloud_run": CloudRunExecutor,
    "dagster_shell": DagsterShellExecutor,
    "duckdb": DuckDBExecutor,
}
"""``type`` -> class."""


def _resolve(context: dg.ResolutionContext, model: Any) -> StarlakeExecutor | None:
    # A template that gives an executor never comes here; what does is YAML, its templates not rendered yet.
    if isinstance(model, str):
        if not model:
            return None
        if model not in EXECUTORS:
            raise InvalidSetting(unknown("executor", model, EXECUTORS))
        return EXECUTORS[model]()
    return EXECUTORS[model.type].model_validate(context.resolve_value(model.model_dump(exclude_unset=True)))


# The YAML side is a discriminated union of plain models: of a union of Resolvables the wrong class is taken silently.
ResolvedExecutor = Annotated[
    StarlakeExecutor,
    dg.Resolver(
        _resolve,
        model_field_type=Annotated[
            ShellExecutor | CloudRunExecutor | DagsterShellExecutor | DuckDBExecutor,
            Field(discriminator="type"),
        ],
        description="Where Starlake commands run: shell (the starlake command), cloud_run, dagster_shell or duckdb (embedded, no Starlake needed). "
        "Default: what the template of each DAG config says. A type alone is enough. An executor of your own: '{{ my_executor }}' with a template variable.",
        examples=[{"type": "shell", "starlake_path": "/opt/starlake/starlake"}, {"type": "duckdb"}],
    ),
]
