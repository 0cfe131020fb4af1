"""Read and plan a project, or take its plan from the cache if nothing has changed."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..cache import Cache, build_entry_name
from ..errors import Problem
from ..masking import register_secrets
from ..project import disk
from ..project.model import EMPTY
from ..project.reader import read_remaining_files, start_reading
from .pipeline import InferredColumns, Plan
from .stored_columns import iterate_undeclared
from .stored_plans import LastPlan, NotKept, StoredPlans

logger = logging.getLogger("starlake_dagster_components")


@dataclass(slots=True)
class Loaded:
    """A plan, and its state in the cache.

    Attributes:
        plan: the plan.
        stored: the cached plans of the project; None without a cache.
        lookups: all file system lookups that were made for the plan.
        from_cache: whether the plan came from the cache.
        reason: the reason why it did not come from the cache, or could not be kept; else empty.
        identity: its identity in the cache; empty if it is not kept.
        pinned: whether a run was launched with this plan, so that it is used regardless of changes.
    """

    plan: Plan
    stored: StoredPlans | None
    lookups: disk.Lookups
    from_cache: bool = False
    reason: str = ""
    identity: str = ""
    pinned: bool = False

    def keep(self) -> None:
        """Keep the plan as the last good one of its project. If it has errors or cannot be kept, set ``reason``."""
        if self.stored is None or self.identity:
            return
        if any(problem.severity == "error" for problem in self.plan.problems):
            self.reason = "the project has errors"
            return
        broken = self.find_newly_broken()
        if broken:
            self.reason = f"{broken[0].location} is broken, but was not in the last plan that was kept"
            return
        try:
            self.identity = self.stored.keep(self.plan, self.lookups)
        except NotKept as error:
            self.reason = str(error)
            logger.debug("%s: the plan is not cached, because %s", self.plan.project.root, self.reason)

    def keep_for_runs(self, plan: Plan) -> str:
        """Keep a plan that is used in place of this one, for runs. Return its identity; an empty string if it cannot be kept."""
        try:
            return self.stored.keep_for_runs(plan) if self.stored else ""
        except NotKept as error:
            logger.debug("%s: every run reads the project again, because the plan is not kept: %s", self.plan.project.root, error)
            return ""

    def find_newly_broken(self) -> list[Problem]:
        """Return the warnings about files that Starlake skips as a whole, but did not skip in the last plan that was kept."""
        skipped = [p for p in self.plan.problems if p.skips_file]
        last = None if self.from_cache or not skipped else self.find_last_good()
        if last is None:
            return []
        known = {p.location.file for p in last.plan.problems if p.skips_file and p.location}
        return [p for p in skipped if p.location and p.location.file not in known]

    def lacks_columns(self) -> bool:
        """Return whether the columns of tasks have not been inferred yet, and could be kept."""
        if self.stored is None or not self.identity or self.pinned or self.stored.columns.made_for == self.stored.inputs:
            return False
        return next(iterate_undeclared(self.plan), None) is not None

    def keep_columns(self, columns: InferredColumns) -> bool:
        """Keep the inferred columns of the plan's tasks for the next time that it is loaded. Return whether they could be kept."""
        return self.stored is not None and self.stored.columns.keep(self.plan, self.stored.inputs, columns)

    def find_last_good(self) -> LastPlan | None:
        """Return the last plan of the project that was kept, even if files have changed since; None if there is none."""
        return self.stored.find_last() if self.stored else None

    def list_files(self) -> tuple[Path, ...]:
        """Return the cache files of the plan."""
        return self.stored.list_files(self.identity) if self.stored and self.identity else ()


def load_plan(
    root: str | os.PathLike[str],
    *,
    profile: str | None = None,
    environ: Mapping[str, str] | None = None,
    options: Mapping[str, str] = EMPTY,
    orchestrators: Sequence[str] = ("dagster",),
    dependencies: str = "auto",
    timezone: str | None = None,
    name_prefix: str = "",
    cache: Cache | None = None,
    find_pinned: Callable[[str], str] | None = None,
) -> Loaded:
    """Return the plan of the project in a folder. :meth:`Loaded.keep` keeps it for the next time.

    The plan is the same with and without a cache. A cached plan is used if each file system lookup (contents, folders, links) has the
    same result as before, and each variable that can have an effect has the same value.

    ``cache`` is looked in first; None for no cache. ``find_pinned`` takes the name of the project's plans in the cache, and returns the
    identity of the plan to use regardless of changes, as in the processes of a run. If it is None or returns an empty string, the
    project is planned as it is now. The other arguments are those of :func:`~starlake_dagster_components.project.reader.read_project`
    and :func:`~starlake_dagster_components.pipelines.plan.plan_project`.

    Raises:
        ProjectNotFound: the folder does not exist or does not contain a Starlake project.
        InvalidSetting: ``timezone`` is not an IANA name, or one of ``orchestrators`` is unknown.
    """
    environment = os.environ if environ is None else environ
    planning = {"orchestrators": tuple(orchestrators), "timezone": timezone, "name_prefix": name_prefix}
    with disk.record_lookups() as lookups:
        started = start_reading(root, profile=profile, environ=environment, options=options)
        stored, reason = None, "there is no cache"
        if cache is not None:
            name = build_entry_name(
                "plan",
                environment.get("SL_ENV"),
                os.fspath(started.project.root),
                started.project.profile,
                sorted(options.items()),
                dependencies,
                *planning.items(),
            )
            stored = StoredPlans(cache, name, started, environment, options)
            pinned = find_pinned(name) if find_pinned else ""
            if pinned and (plan := stored.find(pinned)):
                _register_options(plan)
                return Loaded(plan, stored, lookups, from_cache=True, identity=pinned, pinned=True)
            found = stored.find_current(lookups)
            if isinstance(found, tuple):
                logger.debug("%s: using the cached plan", root)
                _register_options(found[0])
                return Loaded(stored.add_columns(found[0]), stored, lookups, from_cache=True, identity=found[1])
            reason = found
        logger.debug("%s: reading the project, because %s", root, reason)
        # Imported here because a cached plan does not need these modules.
        from .environments import read_environments
        from .plan import plan_project

        project = read_remaining_files(started, dependencies)
        others = read_environments(project, profile=profile, environ=environment, options=options)
        plan = plan_project(project, environments=others, **planning)  # type: ignore[arg-type]
        _register_options(plan)
    return Loaded(stored.add_columns(plan) if stored else plan, stored, lookups, reason=reason)


def _register_options(plan: Plan) -> None:
    """Register the values of DAG options that may be secrets, so that they are masked."""
    options = [mapping for p in plan.pipelines for mapping in (p.options, p.environment, p.spark, p.dag_config.options)]
    register_secrets(os.fspath(plan.project.root), "options", *options)
