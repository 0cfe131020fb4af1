"""`make dev`: Dagster's web interface on the example, or on the project that SL_ROOT names."""

import os
import sys

from examples.workspace import REPOSITORY, Workspace


def main() -> None:
    """Start ``dagster dev`` in place of this process; a first call without a demo delivers the first batch."""
    environment = dict(os.environ)
    if not environment.get("SL_ROOT"):
        workspace = Workspace()
        if not workspace.project.exists():
            workspace.create()
            workspace.deliver(workspace.batches[0])
        environment["SL_ROOT"] = str(workspace.project)
        environment.setdefault("SL_DAGSTER_EXECUTOR", "duckdb")
        environment.setdefault("DAGSTER_HOME", str(workspace.dagster_home))
    os.chdir(REPOSITORY)
    os.execve(sys.executable, [sys.executable, "-m", "dagster", "dev", *sys.argv[1:]], environment)


if __name__ == "__main__":
    main()
