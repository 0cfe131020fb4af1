"""Parts of Dagster that are not public and that ``sl-dagster`` needs. If a name is missing, everything works as without it.

For ``run``: the code location of runs, so that the web server shows them as its own. For the code servers of ``dev``: doing once what they
would do again. After a reload, the web server asks for the description of the definitions twice, and the daemon asks, too. Each instance
that a process opens, for example for a tick of a sensor, reads the files of all migrations of Dagster's databases.
"""

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import dagster as dg

REPOSITORY = "__repository__"
"""Dagster's name for the repository of a code location with ``Definitions``."""


def name_location_of_runs(instance: "dg.DagsterInstance", location: str) -> None:
    """Let the runs that this object creates be those of a code location's jobs, as runs that the web server launches are.

    Pages group runs by it, for example the timeline, and without it, a run cannot be re-executed from its page.
    """
    try:
        from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

        repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(location), REPOSITORY)
    except (ImportError, TypeError):
        return
    create = instance.create_run_for_job

    def create_run(job_def: "dg.JobDefinition", **given: Any) -> "dg.DagsterRun":
        return create(job_def, **{"remote_job_origin": RemoteJobOrigin(repository, job_def.name), **given})

    instance.create_run_for_job = create_run  # type: ignore[method-assign,assignment]


def describe_once() -> None:
    """Let the code servers of this process, and of its forks, describe their definitions once, until they are loaded again."""
    try:
        from dagster._grpc.server import DagsterApiServer

        describe = DagsterApiServer._get_serialized_external_repository_data
    except (ImportError, AttributeError):
        return
    lock = threading.Lock()
    kept: dict[bytes, tuple[object, str]] = {}

    def find_description(server: Any, request: Any) -> str:
        key = request.SerializeToString(deterministic=True)
        loaded = getattr(server, "_loaded_repositories", None)
        with lock:
            if key not in kept or kept[key][0] is not loaded:
                kept[key] = (loaded, describe(server, request))
            return kept[key][1]

    DagsterApiServer._get_serialized_external_repository_data = find_description  # type: ignore[assignment,method-assign]


def read_migrations_once() -> None:
    """Let this process, and its forks, read the migrations of Dagster's databases once."""
    from alembic.script import ScriptDirectory

    read = ScriptDirectory.from_config
    kept: dict[str | None, ScriptDirectory] = {}

    def find_directory(config: Any) -> ScriptDirectory:
        folder = config.get_main_option("script_location")
        if folder not in kept:
            kept[folder] = read(config)
        return kept[folder]

    ScriptDirectory.from_config = find_directory  # type: ignore[method-assign]
