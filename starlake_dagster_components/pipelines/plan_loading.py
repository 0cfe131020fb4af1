"""``load_plan``: read and plan a project, or take what came of it before from a cache, where nothing that it came from has changed."""

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from ..cache import Cache, dumps, loads, name_of
from ..masking import find_secrets
from ..project import disk
from ..project.model import EMPTY, Application, Project
from ..project.reader import StartedProject, read_remaining_files, start_reading
from .pipeline import Plan

logger = logging.getLogger("starlake_dagster_components")

_FAST_CLOCK = frozenset(("sl_datetime", "sl_minute", "sl_second", "sl_milli", "sl_epoch_second", "sl_epoch_milli"))
"""Variables of the present time that are never twice the same."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A plan and where it came from.

    Attributes:
        plan: the plan.
        from_cache: whether it was taken from the cache.
        reason: why it was not, or why it was not kept there either; empty otherwise.
        entry: its file in the cache; None without one.
    """

    plan: Plan
    from_cache: bool = False
    reason: str = ""
    entry: Path | None = None


def load_plan(
    root: str | os.PathLike[str],
    *,
    profile: str | None = None,
    environ: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
    orchestrators: Sequence[str] = ("dagster",),
    dependencies: str = "auto",
    timezone: str | None = None,
    name_prefix: str = "",
    cache: Cache | None = None,
) -> Loaded:
    """Return the plan of the project in a folder.

    It is the same with and without a cache. What came of the files before is taken from it when every look at the file system that was taken
    then (contents, folders, links) shows the same now, and every variable that can have had an effect has the same value.

    Args:
        root: folder that has ``metadata`` in it (``SL_ROOT``).
        profile: active environment, as ``SL_ENV`` names it; by default what the project or the environment says.
        environ: environment variables to look at; by default those of the process.
        options: more variables, as ``--options`` of Starlake's commands gives them.
        orchestrators: whose templates make jobs.
        dependencies: ``auto``, ``sql``, or a path or glob of dependency JSON relative to the project.
        timezone: IANA name for schedules whose DAG config gives none.
        name_prefix: text before the names of all jobs.
        cache: where to look first, and to keep it; None for neither.

    Raises:
        ProjectNotFound: the folder is not there, or holds no Starlake project.
        InvalidSetting: ``timezone`` is no time zone, or one of ``orchestrators`` is none.
    """
    environment = os.environ if environ is None else environ
    planning = {"orchestrators": tuple(orchestrators), "dependencies": dependencies, "timezone": timezone, "name_prefix": name_prefix}
    if cache is None:
        begun = start_reading(root, profile=profile, environ=environment, options=options)
        return Loaded(_plan(begun, planning), reason="there is no cache")
    with disk.record_lookups() as looks:
        begun = start_reading(root, profile=profile, environ=environment, options=options)
        about = (
            os.fspath(begun.project.root),
            begun.project.profile,
            sorted((options or {}).items()),
            *planning.items(),
        )
        name = name_of("plan", environment.get("SL_ENV"), *about)
        kept = cache.get(name)
        if kept is None:
            reason = "nothing was kept"
        else:
            found = _recall(kept, begun, looks)
            if isinstance(found, Plan):
                cache.used(name)
                logger.debug("%s: taken from the cache %s", root, cache.path(name))
                return Loaded(found, from_cache=True, entry=cache.path(name))
            reason = found
        plan = _plan(begun, planning)
    why_not = _keep(cache, name, plan, looks)
    logger.debug("%s: read anew, because %s%s", root, reason, f"; not kept, because {why_not}" if why_not else "")
    return Loaded(plan, reason=why_not or reason, entry=None if why_not else cache.path(name))


def _plan(begun: StartedProject, planning: Mapping[str, Any]) -> Plan:
    # Not imported where the plan comes from a cache.
    from .plan import plan_project

    return plan_project(read_remaining_files(begun), **planning)


def _keep(cache: Cache, name: str, plan: Plan, looks: disk.Lookups) -> str:
    """Keep a plan; return why it was not kept, or an empty text."""
    if not looks.steady:
        return "files changed while they were read"
    project = plan.project
    used = _used_variables(project.variables, looks.words)
    restless = sorted(_FAST_CLOCK & used.keys())
    if restless:
        return f"the project uses the time of reading it ({', '.join(restless)})"
    # Variables and connections are read anew each time, so that their secrets are not written anywhere.
    slim = replace(project, variables=EMPTY, application=Application())
    payload = dumps((slim, plan.pipelines, plan.dependencies, plan.problems, dict(plan.settings)))
    if any(secret.encode() in payload for secret in find_secrets(project.variables)):
        return "the value of a variable that is secret by its name stands in it"
    header = dumps((looks.seen, frozenset(looks.words), _checksum(used)))
    try:
        cache.put(name, len(header).to_bytes(8, "big") + header + payload)
    except OSError as error:
        return f"it cannot be written: {error}"
    return ""


def _recall(kept: memoryview, begun: StartedProject, looks: disk.Lookups) -> Plan | str:
    """Return the plan that was kept, or why it does not hold any more."""
    try:
        length = int.from_bytes(kept[:8], "big")
        seen, words, checksum = loads(kept[8 : 8 + length])
        if _checksum(_used_variables(begun.project.variables, words)) != checksum:
            return "variables have other values"
        changed = disk.find_change(seen, looks.seen)
        if changed is not None:
            return f"{begun.reading.files.name(changed)} has changed"
        slim, pipelines, dependencies, problems, settings = loads(kept[8 + length :])
        project: Project = replace(slim, variables=begun.project.variables, application=begun.project.application)
        return Plan(project, pipelines, dependencies, problems, settings)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it, reading anew is right
        return f"what was kept cannot be used ({type(error).__name__}: {error})"


def _used_variables(values: Mapping[str, str], words: Iterable[str]) -> dict[str, str]:
    """Return the variables that can have had an effect: those that a file may name, Starlake's own, and those that their values may name."""
    known = words if isinstance(words, (set, frozenset)) else set(words)
    found = {name: value for name, value in values.items() if name in known or _is_starlakes(name)}
    waiting = list(found.values())
    while waiting:
        value = waiting.pop()
        if "{" not in value:
            continue
        for name in disk.find_words(value.encode("utf-8", "surrogateescape")):
            if name in values and name not in found:
                found[name] = values[name]
                waiting.append(values[name])
    return found


def _is_starlakes(name: str) -> bool:
    return name.startswith("SL_") and not name.startswith("SL_DAGSTER_")


def _checksum(values: Mapping[str, str]) -> bytes:
    text = "\0".join(f"{name}\0{value}" for name, value in sorted(values.items()))
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=32).digest()
