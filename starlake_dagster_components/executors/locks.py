"""The locks that executors take; see :mod:`starlake_dagster_components.locks`, which the engine's command line uses too."""

from ..locks import database_lock as database_lock
from ..locks import database_locks as database_locks
