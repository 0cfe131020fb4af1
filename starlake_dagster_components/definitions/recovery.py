"""Choose the plan for a project with errors (setting ``on_error``): its last plan without errors, or its plan without the broken files."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ..errors import Location, Problem, join_names
from ..pipelines.broken_files import affects_everything, can_leave_out, leave_out_files
from ..pipelines.pipeline import Plan
from ..pipelines.plan_loading import Loaded
from ..settings import Settings
from .graph import AssetGraph
from .warnings import STALE

_MAX_NAMES = 5
Examine = Callable[[Plan, Settings], tuple[AssetGraph, tuple[Problem, ...]]]


class Recovered(NamedTuple):
    """The assets of the plan that replaces a plan with errors, all problems, and the plan's identity in the cache; empty if not cached.

    The problems begin with a summary, and the errors of the project are warnings.
    """

    graph: AssetGraph
    problems: tuple[Problem, ...]
    identity: str = ""


def recover(loaded: Loaded, problems: Sequence[Problem], settings: Settings, examine: Examine) -> Recovered | None:
    """Return the plan to use instead of a plan with errors or broken files, according to the ``on_error`` setting; None if there is none.

    A broken file is one that Starlake skips as a whole, with a warning. With ``last_good``, files that an edit has broken count as errors.
    With ``leave_out``, all broken files do. ``examine`` is ``build.examine_plan``.
    """
    if settings.on_error == "fail":
        return None
    return (_find_last_good if settings.on_error == "last_good" else _leave_out)(loaded, problems, settings, examine)


def _find_last_good(loaded: Loaded, problems: Sequence[Problem], settings: Settings, examine: Examine) -> Recovered | None:
    errors = [*(p for p in problems if p.severity == "error"), *loaded.find_newly_broken()]
    if not errors or any(_affects_commands(loaded.plan, p) for p in errors):
        return None
    last = loaded.find_last_good()
    if last is None:
        return None
    graph, found = examine(last.plan, settings)
    if any(p.severity == "error" for p in found):
        return None
    shown = join_names(sorted({p.location.file for p in errors if p.location}), _MAX_NAMES)
    text = f"THE PROJECT HAS ERRORS ({shown}): until they are fixed, jobs and assets are those of the last plan without errors, from "
    stale = Problem(None, "warning", f"{text}{last.kept_at:%Y-%m-%d %H:%M:%S}")
    weakened = [replace(p, severity="warning", message=f"{STALE}: {p.message}") for p in errors]
    return Recovered(graph, (stale, *weakened, *found), last.identity)


def _leave_out(loaded: Loaded, problems: Sequence[Problem], settings: Settings, examine: Examine) -> Recovered | None:
    plan = loaded.plan
    broken: set[str] = set()
    while errors := [p for p in problems if p.severity == "error" or (p.skips_file and p.location and p.location.file not in broken)]:
        files = {p.location.file for p in errors if p.location}
        if not files - broken or not all(_is_isolated(plan, p) for p in errors):
            return None
        broken |= files
        plan = leave_out_files(plan, broken)
        graph, problems = examine(plan, settings)
    shown = join_names(sorted(broken), _MAX_NAMES)
    text = f"THE PROJECT HAS ERRORS ({shown}): until they are fixed, everything that depends on these files is left out"
    warning = Problem(None, "warning", text)
    return Recovered(graph, (warning, *problems), loaded.keep_for_runs(plan))


def _affects_commands(plan: Plan, problem: Problem) -> bool:
    """Return whether all Starlake commands may fail because of a problem, so that the last plan is of no use."""
    return not problem.only_jobs and (problem.location is None or affects_everything(plan.project, problem.location.file))


def _is_isolated(plan: Plan, problem: Problem) -> bool:
    """Return whether a problem affects only a part of the project, unlike one in the application file or an env file."""
    return problem.location is not None and can_leave_out(plan.project, problem.location.file)


def find_dropped_jobs(last: Plan, plan: Plan, share: float) -> list[Problem]:
    """Return a warning for each kind of job (load, transform) of which a reload drops at least a share, which is probably a mistake.

    ``share`` is the ``dropped_jobs`` setting, from 0 to 1.
    """
    problems = []
    for kind in ("load", "transform"):
        before, now = ({p.name for p in one.pipelines if p.kind == kind} for one in (last, plan))
        dropped = sorted(before - now)
        if dropped and len(dropped) >= share * len(before):
            shown = join_names(dropped, _MAX_NAMES)
            message = f"THIS RELOAD DROPS {len(dropped)} of {len(before)} {kind} jobs with their schedules and sensors: {shown}"
            folder, root = plan.project.metadata_folder / kind, Path(plan.project.root)
            shown_folder = folder.relative_to(root) if folder.is_relative_to(root) else folder
            problems.append(Problem(Location(shown_folder.as_posix()), "warning", message))
    return problems
