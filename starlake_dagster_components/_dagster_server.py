"""Let code servers do once what they would do again: describing their definitions, and reading the migrations of Dagster's databases.

After a reload, the web server asks for the description twice, and the daemon asks, too. Each instance that a process opens, for example for
a tick of a sensor, reads the files of all migrations. For the code servers of ``sl-dagster dev`` only. The first uses names of Dagster that
are not public: if one is missing, everything works as without it.
"""

import threading
from typing import Any


def describe_once() -> None:
    """Let the code servers of this process, and of its forks, describe their definitions once, until they are loaded anew."""
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
