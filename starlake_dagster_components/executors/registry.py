"""The executors by their ``type``, and the field ``executor:`` of a component."""

from collections.abc import Mapping
from typing import Annotated, Any

import dagster as dg
from pydantic import Field

from ..errors import InvalidSetting
from .base import StarlakeExecutor
from .cloud_run import CloudRunExecutor
from .duckdb import DuckDBExecutor
from .given import executor_of
from .local.dagster_shell import DagsterShellExecutor
from .local.shell import ShellExecutor
from .yaml_values import rendered

EXECUTORS: Mapping[str, type[StarlakeExecutor]] = {
    "shell": ShellExecutor,
    "cloud_run": CloudRunExecutor,
    "dagster_shell": DagsterShellExecutor,
    "duckdb": DuckDBExecutor,
}
"""``type`` -> class."""


def _resolve(context: dg.ResolutionContext, given: Any) -> StarlakeExecutor | None:
    # Templates first, so that any field may have one; a template may also give an executor, or nothing.
    found = rendered(context, given)
    if found is None or found == "" or isinstance(found, StarlakeExecutor):
        return found or None
    if not isinstance(found, (str, Mapping)):
        raise InvalidSetting(f"executor: {found!r} cannot be used (expected a type, a mapping with one, or an executor)")
    return executor_of(found)


# The YAML side is a discriminated union of plain models: of a union of Resolvables the wrong class is taken silently. A mapping of anything is
# let through to :func:`executor_of`, which says what is wrong with it.
ResolvedExecutor = Annotated[
    StarlakeExecutor,
    dg.Resolver(
        _resolve,
        model_field_type=Annotated[
            ShellExecutor | CloudRunExecutor | DagsterShellExecutor | DuckDBExecutor,
            Field(discriminator="type"),
        ]
        | dict[str, Any]
        | None,
        inject_before_resolve=False,
        description="Where Starlake commands run: shell (the starlake command), cloud_run, dagster_shell or duckdb (embedded, no Starlake needed). "
        "Default: what the template of each DAG config says. A type alone is enough. An executor of your own: '{{ my_executor }}', see docs/settings.md.",
        examples=[{"type": "shell", "starlake_path": "/opt/starlake/starlake"}, {"type": "duckdb"}],
    ),
]
