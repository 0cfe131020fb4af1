"""Infer the columns of tasks that do not declare them, for the next load of the project.

This takes about 16 ms of CPU time per task, which is too slow for a load. It is therefore done once per plan, by ``sl-dagster cache`` or by
an idle code server, and the result is cached with the plan.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ..pipelines.pipeline import InferredColumns, Plan
from ..pipelines.plan_loading import Loaded
from ..pipelines.stored_columns import iterate_undeclared

logger = logging.getLogger("starlake_dagster_components")

DELAY = 5.0
"""Seconds to wait after the load of a code location, so that requests that follow the load are answered first."""
_SHARE = 4
"""The background thread works for one fourth of the time, and sleeps for the rest."""
NOTICE = "STARLAKE_DAGSTER_COLUMNS_NOTICE"
"""Environment variable with the path of a file. A code server creates the file when it has stored columns that it does not show yet."""


def find_undeclared_columns(plan: Plan, rest: Callable[[float], object] = lambda seconds: None) -> InferredColumns:
    """Return the columns of a plan's tasks that do not declare any. Tasks with SQL that cannot be analyzed are skipped.

    ``rest`` is called after each task, with the CPU seconds that the task took.
    """
    # Imported here to keep sqlglot out of the load path.
    from graphlib import TopologicalSorter

    from .parsed_query import UnsupportedQuery
    from .project import ProjectColumns

    columns = ProjectColumns(plan.project)
    found: dict[str, tuple[tuple[str, str], ...]] = {}
    # Upstream tasks first, so that a long chain of tasks does not cause deep recursion.
    tasks = {task.full_name: task for task in iterate_undeclared(plan)}
    direct = plan.dependencies.get_direct
    order = TopologicalSorter({name: [d.name for d in direct(name) if d.kind == "task"] for name in tasks})
    for task in (tasks[name] for name in order.static_order() if name in tasks):
        began = time.thread_time()
        try:
            found[task.full_name] = tuple((c.name, c.type) for c in columns.get_task_columns(task))
        except UnsupportedQuery:
            continue
        except Exception as error:  # noqa: BLE001 -- columns are optional
            logger.debug("cannot infer the columns of %s: %s: %s", task.full_name, type(error).__name__, error)
        finally:
            rest(time.thread_time() - began)
    return found


def fill_columns(loaded: Loaded) -> None:
    """Infer the columns of a plan unless they are cached, and cache them."""
    if loaded.lacks_columns():
        loaded.keep_columns(find_undeclared_columns(loaded.plan))


def start_filling(loaded: Loaded) -> None:
    """Start a thread that infers and caches the columns of a plan, with low CPU usage."""

    def fill() -> None:
        time.sleep(DELAY)
        found = find_undeclared_columns(loaded.plan, lambda seconds: time.sleep(seconds * (_SHARE - 1)))
        kept = loaded.keep_columns(found)
        logger.debug("%s: inferred the columns of tasks%s", loaded.plan.project.root, "" if kept else ", but cannot cache them")
        notice = os.environ.get(NOTICE)
        if kept and notice and found != dict(loaded.plan.inferred_columns):
            Path(notice).touch()

    # A daemon thread, so that the process can exit at any time. The next process starts over.
    threading.Thread(target=fill, name="starlake-columns", daemon=True).start()
