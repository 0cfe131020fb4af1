"""Build definitions of a project with errors (setting ``on_error``): those of its last good plan, or without everything that is broken."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import Location, Problem
from ..pipelines.broken_files import can_leave_out, leave_out_files
from ..pipelines.pipeline import Pipeline, Plan
from ..pipelines.plan_loading import Loaded
from ..settings import Settings
from .graph import AssetGraph
from .warnings import STALE

Examine = Callable[[Plan, Settings], tuple[AssetGraph, tuple[Problem, ...]]]


@dataclass(frozen=True, slots=True)
class Recovered:
    """The plan that replaces a plan with errors.

    Attributes:
        plan: a plan.
        graph: its assets.
        problems: its problems. The errors of the project are among them as warnings.
        identity: its name in the cache of plans; empty if it is not there.
    """

    plan: Plan
    graph: AssetGraph
    problems: tuple[Problem, ...]
    identity: str = ""


def recover(loaded: Loaded, problems: Sequence[Problem], settings: Settings, examine: Examine) -> Recovered | None:
    """Return the plan that the setting ``on_error`` uses for a project with errors or broken files; None to use the project's own plan.

    A broken file is one that Starlake skips as a whole, with a warning. With ``last_good``, files broken by an edit are errors; with
    ``leave_out``, all broken files are.

    Args:
        loaded: the plan with errors.
        problems: all problems, including those found while its assets were made.
        settings: the settings of the definitions.
        examine: makes the assets of a plan and finds all problems.
    """
    if settings.on_error == "last_good":
        return _find_last_good(loaded, problems, settings, examine)
    if settings.on_error == "leave_out":
        return _leave_out(loaded, problems, settings, examine)
    return None


def _find_last_good(loaded: Loaded, problems: Sequence[Problem], settings: Settings, examine: Examine) -> Recovered | None:
    errors = [*(p for p in problems if p.severity == "error"), *loaded.find_newly_broken()]
    if not errors or not all(_concerns_single_nodes(loaded.plan, p) for p in errors):
        return None
    last = loaded.find_last_good()
    if last is None:
        return None
    graph, found = examine(last.plan, settings)
    if any(p.severity == "error" for p in found):
        return None
    files = sorted({p.location.file for p in errors if p.location})
    stale = Problem(
        None,
        "warning",
        f"THE PROJECT HAS ERRORS ({_list(files)}): jobs and assets are those of the last plan without errors, "
        f"of {last.kept_at:%Y-%m-%d %H:%M:%S}, "
        "until they are fixed",
    )
    weakened = [replace(p, severity="warning", message=f"{STALE}: {p.message}") for p in errors]
    return Recovered(last.plan, graph, (stale, *weakened, *found), last.identity)


def _leave_out(loaded: Loaded, problems: Sequence[Problem], settings: Settings, examine: Examine) -> Recovered | None:
    plan = loaded.plan
    broken: set[str] = set()
    while errors := [p for p in problems if p.severity == "error" or (p.skips_file and p.location and p.location.file not in broken)]:
        files = {p.location.file for p in errors if p.location}
        if not files - broken or not all(_concerns_single_nodes(plan, p) for p in errors):
            return None
        broken |= files
        plan = leave_out_files(plan, broken)
        graph, problems = examine(plan, settings)
    warning = Problem(
        None,
        "warning",
        f"THE PROJECT HAS ERRORS ({_list(sorted(broken))}): anything that depends on them is left out until they are fixed",
    )
    return Recovered(plan, graph, (warning, *problems), loaded.keep_for_runs(plan))


def _concerns_single_nodes(plan: Plan, problem: Problem) -> bool:
    """Return whether other tables, tasks, and jobs can do without the file of a problem.

    Starlake reads application and env files with every command.
    """
    return problem.location is not None and can_leave_out(plan.project, problem.location.file)


def find_dropped_jobs(last: Plan, plan: Plan, share: float) -> list[Problem]:
    """Return a warning for each kind of job of which a reload drops at least a share, because a folder seldom vanishes on purpose.

    Args:
        last: the previous plan.
        plan: the current plan.
        share: from 0 to 1; 1 = all jobs of a kind.
    """
    problems = []
    for kind, what in (("load", "load jobs"), ("transform", "transform jobs")):
        before, now = _list_jobs(last.pipelines, kind), _list_jobs(plan.pipelines, kind)
        dropped = sorted(before - now)
        if dropped and len(dropped) >= share * len(before):
            message = f"THIS RELOAD DROPS {len(dropped)} of {len(before)} {what} with their schedules and sensors: {_list(dropped)}"
            problems.append(Problem(Location(_describe_folder(plan, kind)), "warning", message))
    return problems


def _list_jobs(pipelines: Sequence[Pipeline], kind: str) -> set[str]:
    return {p.name for p in pipelines if p.kind == kind}


def _describe_folder(plan: Plan, kind: str) -> str:
    folder = plan.project.metadata_folder / kind
    root = Path(plan.project.root)
    return folder.relative_to(root).as_posix() if folder.is_relative_to(root) else folder.as_posix()


def _list(names: Sequence[str]) -> str:
    return f"{', '.join(names[:5])}{f' and {len(names) - 5} more' if len(names) > 5 else ''}"
