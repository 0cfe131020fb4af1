"""Open Dagster on the example, or on the project that ``SL_ROOT`` names. ``make dev`` runs this.

Settings come from the variables ``SL_DAGSTER_<SETTING>`` (docs/settings.md). For the example, the default executor is ``duckdb``.
"""

import os
import sys
from collections.abc import Mapping

from examples.workspace import REPOSITORY, Workspace


def build_environment(given: Mapping[str, str], workspace: Workspace) -> dict[str, str]:
    """Return the environment for ``sl-dagster dev``.

    Args:
        given: the environment of this process.
        workspace: if ``SL_ROOT`` is not set, the example is copied to this folder, with its first batch of files.
    """
    if given.get("SL_ROOT"):
        # A relative path must be resolved here, because Dagster starts in another folder.
        return {**given, "SL_ROOT": os.path.abspath(given["SL_ROOT"])}
    if not workspace.project.exists():
        workspace.create()
        workspace.deliver(workspace.batches[0])
    example = {"SL_DAGSTER_EXECUTOR": "duckdb", "DAGSTER_HOME": str(workspace.dagster_home)}
    return {**example, **given, "SL_ROOT": str(workspace.project)}


def main() -> None:
    """Replace this process with ``sl-dagster dev``."""
    environment = build_environment(os.environ, Workspace())
    os.chdir(REPOSITORY)
    program = [sys.executable, "-m", "starlake_dagster_components.cli", "dev", environment["SL_ROOT"], *sys.argv[1:]]
    os.execve(sys.executable, program, environment)


if __name__ == "__main__":
    main()
