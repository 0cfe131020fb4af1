"""Changes to private parts of Dagster for ``sl-dagster``. If a release of Dagster lacks one of them, the change is skipped.

For ``run``, runs get a code location, so that the web server shows them with the runs that it launches. For the code servers of ``dev``,
repeated work is cached: after a reload, the web server requests the serialized definitions twice and the daemon once, and every instance
that a process opens (for example, for a sensor tick) reads the migration scripts of Dagster's databases.
"""

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import dagster as dg

REPOSITORY = "__repository__"
"""The name that Dagster gives to the repository of a code location that is defined by ``Definitions``."""


def name_location_of_runs(instance: "dg.DagsterInstance", location: str) -> None:
    """Assign a code location to all runs that an instance creates from now on, as the web server does.

    Without one, a run is missing from the timeline, and its page cannot re-execute it.
    """
    try:
        from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

        repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(location), REPOSITORY)
    except (ImportError, TypeError):
        return
    create = instance.create_run_for_job

    def create_run(job_def: "dg.JobDefinition", **arguments: Any) -> "dg.DagsterRun":
        return create(job_def, **{"remote_job_origin": RemoteJobOrigin(repository, job_def.name), **arguments})

    instance.create_run_for_job = create_run  # type: ignore[method-assign,assignment]


def describe_once() -> None:
    """Cache the serialized definitions of the code servers in this process and its forks, until they are loaded again."""
    try:
        from dagster._grpc.server import DagsterApiServer

        describe = DagsterApiServer._get_serialized_external_repository_data
    except (ImportError, AttributeError):
        return
    lock = threading.Lock()
    cached: dict[bytes, tuple[object, str]] = {}

    def find_description(server: Any, request: Any) -> str:
        key = request.SerializeToString(deterministic=True)
        loaded = getattr(server, "_loaded_repositories", None)
        with lock:
            if key not in cached or cached[key][0] is not loaded:
                cached[key] = (loaded, describe(server, request))
            return cached[key][1]

    DagsterApiServer._get_serialized_external_repository_data = find_description  # type: ignore[assignment,method-assign]


def read_migrations_once() -> None:
    """Cache the migration scripts of Dagster's databases in this process and its forks."""
    from alembic.script import ScriptDirectory

    read = ScriptDirectory.from_config
    cached: dict[str | None, ScriptDirectory] = {}

    def find_directory(config: Any) -> ScriptDirectory:
        folder = config.get_main_option("script_location")
        if folder not in cached:
            cached[folder] = read(config)
        return cached[folder]

    ScriptDirectory.from_config = find_directory  # type: ignore[method-assign]
