"""Infer the columns of tasks whose YAML declares none, for the next load of the project.

It takes about 16 milliseconds of CPU for each task, too much for a load. So it is done once for each plan, by ``sl-dagster cache`` or by an
idle code server, and the cache of plans keeps the result.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator

from ..pipelines.pipeline import InferredColumns, Plan
from ..pipelines.plan_loading import Loaded
from ..pipelines.stored_columns import iterate_undeclared
from ..project.model import Task

logger = logging.getLogger("starlake_dagster_components")

DELAY = 5.0
"""Seconds from the load of a code location until the thread begins, so that requests that follow the load are answered first."""
_SHARE = 4
"""The thread works for one part in so many of the time."""


def find_undeclared_columns(plan: Plan, rest: Callable[[float], object] = lambda seconds: None) -> InferredColumns:
    """Return the columns of the tasks of a plan that declare none. Tasks whose SQL cannot be analyzed are left out.

    Args:
        plan: the plan.
        rest: called after each task with the seconds that it took.
    """
    # Imported here, because the thread is started by loads, which do not need it.
    from .project import ProjectColumns
    from .statement import NotUnderstood

    columns = ProjectColumns(plan.project)
    found: dict[str, tuple[tuple[str, str], ...]] = {}
    for task in _sort_by_dependencies(plan):
        began = time.thread_time()
        try:
            found[task.full_name] = tuple((c.name, c.type) for c in columns.get_task_columns(task))
        except NotUnderstood:
            continue
        except Exception as error:  # noqa: BLE001 -- columns are an extra: the project is loaded without them
            logger.debug("columns of %s: %s: %s", task.full_name, type(error).__name__, error)
        finally:
            rest(time.thread_time() - began)
    return found


def _sort_by_dependencies(plan: Plan) -> Iterator[Task]:
    """Yield the tasks that declare no columns, those upstream first, so that a long chain of tasks needs no deep recursion."""
    from graphlib import TopologicalSorter

    wanted = {task.full_name: task for task in iterate_undeclared(plan)}
    direct = plan.dependencies.get_direct
    order = TopologicalSorter({name: [d.name for d in direct(name) if d.kind == "task"] for name in wanted})
    return (wanted[name] for name in order.static_order() if name in wanted)


def fill_columns(loaded: Loaded) -> None:
    """Infer the columns of a plan that lacks them, and keep them in the cache."""
    if loaded.lacks_columns():
        loaded.keep_columns(find_undeclared_columns(loaded.plan))


def start_filling(loaded: Loaded) -> None:
    """Infer the columns of a plan that lacks them, in a thread that leaves most of the time to others."""

    def fill() -> None:
        time.sleep(DELAY)
        kept = loaded.keep_columns(find_undeclared_columns(loaded.plan, lambda seconds: time.sleep(seconds * (_SHARE - 1))))
        logger.debug("%s: the columns of tasks were inferred%s", loaded.plan.project.root, "" if kept else ", but cannot be kept")

    # A daemon: the process may end at any time, and the columns are inferred after its next start.
    threading.Thread(target=fill, name="starlake-columns", daemon=True).start()
