"""`make dev`: Dagster's web interface on the example, or on the project that SL_ROOT names.

Settings are the variables ``SL_DAGSTER_<SETTING>`` (docs/settings.md). Only the example runs on DuckDB unless they say otherwise.
"""

import os
import sys
from collections.abc import Mapping

from examples.workspace import REPOSITORY, Workspace


def environment_of(given: Mapping[str, str], workspace: Workspace) -> dict[str, str]:
    """Return the environment to start in.

    Args:
        given: that of this process.
        workspace: where the example is copied to when no project is named, its first batch of files delivered.
    """
    if given.get("SL_ROOT"):
        # As it is named here: Dagster starts in another folder.
        return {**given, "SL_ROOT": os.path.abspath(given["SL_ROOT"])}
    if not workspace.project.exists():
        workspace.create()
        workspace.deliver(workspace.batches[0])
    example = {"SL_DAGSTER_EXECUTOR": "duckdb", "DAGSTER_HOME": str(workspace.dagster_home)}
    return {**example, **given, "SL_ROOT": str(workspace.project)}


def main() -> None:
    """Start ``sl-dagster dev`` in place of this process."""
    environment = environment_of(os.environ, Workspace())
    os.chdir(REPOSITORY)
    program = [sys.executable, "-m", "starlake_dagster_components.cli", "dev", environment["SL_ROOT"], *sys.argv[1:]]
    os.execve(sys.executable, program, environment)


if __name__ == "__main__":
    main()
