"""Run a Starlake project in Dagster without generated code.

Entry points: :class:`StarlakeProjectComponent` in a ``defs.yaml``, :func:`load_definitions_from_starlake_project`, the module
``starlake_dagster_components.code_location``, and the command line ``sl-dagster``.

Public names are imported on first use, so that reading a project or running the embedded engine works without importing Dagster.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .garbage_collection import pause_garbage_collection
from .version import __version__ as __version__

if TYPE_CHECKING:
    from .commands import Command as Command
    from .component.component import StarlakeProjectComponent as StarlakeProjectComponent
    from .definitions.asset_tables import table_of as table_of
    from .definitions.nodes import StarlakeNode as StarlakeNode
    from .definitions.translator import StarlakeTranslator as StarlakeTranslator
    from .errors import CommandCanceled as CommandCanceled
    from .errors import CommandCancelled as CommandCancelled
    from .errors import InvalidProject as InvalidProject
    from .errors import InvalidSetting as InvalidSetting
    from .errors import ProjectNotFound as ProjectNotFound
    from .errors import StarlakeError as StarlakeError
    from .executors.base import CommandResult as CommandResult
    from .executors.base import Invocation as Invocation
    from .executors.base import StarlakeExecutor as StarlakeExecutor
    from .executors.cloud_run import CloudRunExecutor as CloudRunExecutor
    from .executors.duckdb import DuckDBExecutor as DuckDBExecutor
    from .executors.local.dagster_shell import DagsterShellExecutor as DagsterShellExecutor
    from .executors.local.shell import ShellExecutor as ShellExecutor
    from .load import load_definitions_from_starlake_project as load_definitions_from_starlake_project
    from .settings import Settings as Settings
    from .step_executor.definition import starlake_step_executor as starlake_step_executor

_HOMES = {
    "CloudRunExecutor": "executors.cloud_run",
    "Command": "commands",
    "CommandCanceled": "errors",
    "CommandCancelled": "errors",
    "CommandResult": "executors.base",
    "DagsterShellExecutor": "executors.local.dagster_shell",
    "DuckDBExecutor": "executors.duckdb",
    "InvalidProject": "errors",
    "InvalidSetting": "errors",
    "Invocation": "executors.base",
    "ProjectNotFound": "errors",
    "Settings": "settings",
    "ShellExecutor": "executors.local.shell",
    "StarlakeError": "errors",
    "StarlakeExecutor": "executors.base",
    "StarlakeNode": "definitions.nodes",
    "StarlakeProjectComponent": "component",
    "StarlakeTranslator": "definitions.translator",
    "load_definitions_from_starlake_project": "load",
    "starlake_step_executor": "step_executor.definition",
    "table_of": "definitions.asset_tables",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a public name on its first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Modules stay in memory. With Dagster's among them, a collection during an import would take longer than the imports themselves.
    with pause_garbage_collection():
        value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return all names, including public ones that are not imported yet. ``dg list components`` needs this."""
    return sorted({*globals(), *__all__})
