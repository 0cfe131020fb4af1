"""The embedded DuckDB engine: stage, preload, load, and transform of a Starlake project, in this process.

The function ``run_command`` runs a command. There is also a command line with Starlake's arguments: ``python -m
starlake_dagster_components.engine``. ``docs/engine.md`` lists the intentional differences from Starlake.
"""

from typing import TYPE_CHECKING, Any

from .result import EngineResult as EngineResult

if TYPE_CHECKING:
    from .run import run_command as run_command

__all__ = ["EngineResult", "run_command"]


def __getattr__(name: str) -> Any:
    """Import DuckDB only when the engine is used."""
    if name != "run_command":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .run import run_command

    return run_command
