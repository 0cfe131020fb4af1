"""Keep the plans of a project in the cache: the last one without errors, and those with which runs were launched."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, is_dataclass, replace
from datetime import date, datetime, timedelta, timezone
from datetime import time as time_of_day
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from .. import errors
from ..cache import Cache, deserialize, serialize
from ..masking import holds_secrets
from ..project import disk, model
from ..project.model import EMPTY, Application, Project
from ..project.reader import StartedProject
from ..project.yaml_source import Positions
from . import pipeline as plan_model
from .pipeline import Plan
from .stored_columns import StoredColumns

_FAST_CLOCK = frozenset(("sl_datetime", "sl_minute", "sl_second", "sl_milli", "sl_epoch_second", "sl_epoch_milli"))
"""Date variables that change within a day."""


class NotKept(Exception):
    """A plan cannot be kept; the message gives the reason."""


@dataclass(frozen=True, slots=True)
class LastPlan:
    """The last plan of a project that was kept, its name in the cache, and the local time at which it was kept."""

    plan: Plan
    identity: str
    kept_at: datetime


class StoredPlans:
    """The cached plans of one project with the same settings.

    The entry of the last plan has all inputs from which the plan was made: the results of file system lookups, and variables. Each plan
    also has an entry under its identity, which is the checksum of its content, so that a run finds the plan with which it was launched.

    Variables and ``application.sl.yml`` are not kept, because they may contain secrets. The current ones are used instead.

    The entry of the last plan has a name that depends on the project and the settings. The options are variables that override all others.

    Attributes:
        columns: the stored columns of the project's tasks.
        inputs: identity of the last plan, and checksum of its variables.
    """

    def __init__(
        self, cache: Cache, name: str, started: StartedProject, environ: Mapping[str, str] = EMPTY, options: Mapping[str, str] = EMPTY
    ) -> None:
        self.name = name
        self._cache = cache
        # Without the rest of the state, which includes all files that were read.
        self._project, self._files = started.project, started.reading.files
        self._environ = environ
        self._options = options
        self.columns = StoredColumns(cache, name)
        self.inputs = ""

    def list_files(self, identity: str) -> tuple[Path, ...]:
        """Return the cache files of the last plan, of the plan with an identity, and of the columns if there are any."""
        columns = self.columns.file
        return self._cache.get_path(self.name), self._cache.get_path(identity), *([columns] if columns.is_file() else [])

    def add_columns(self, plan: Plan) -> Plan:
        """Return a plan with the stored columns of its tasks."""
        found = self.columns.find(plan)
        return replace(plan, inferred_columns=found) if found else plan

    def find_current(self, lookups: disk.Lookups) -> tuple[Plan, str] | str:
        """Return the last plan and its identity if none of its inputs has changed, else the reason why it is not used.

        ``lookups`` are file system lookups that were made just now.
        """
        body = self._cache.get(self.name)
        if body is None:
            return "nothing is cached"
        try:
            identity, _, why_not, seen, words, checksum = deserialize(body, {})
            if why_not:
                return str(why_not)
            if _compute_checksum(_select_variables(self._project.variables, words)) != checksum:
                return "variables have changed"
            changed = disk.find_change(seen, lookups.seen)
            if changed is not None:
                return f"{self._files.name(changed)} has changed"
            self.inputs = f"{identity} {checksum.hex()}"
            return self._load_plan(identity), identity
        except Exception as error:  # noqa: BLE001 - if an entry cannot be read for any reason, the project is read again
            return f"the cached plan cannot be used ({type(error).__name__}: {error})"

    def find_last(self) -> LastPlan | None:
        """Return the last plan, even if its inputs have changed."""
        try:
            identity, kept_at, *_ = deserialize(self._cache.get(self.name) or b"", {})
            return LastPlan(self.add_columns(self._load_plan(identity)), identity, datetime.fromtimestamp(kept_at))
        except Exception:  # noqa: BLE001 - as above
            return None

    def find(self, identity: str) -> Plan | None:
        """Return the plan with an identity; None if it is no longer in the cache."""
        try:
            return self._load_plan(identity)
        except Exception:  # noqa: BLE001 - as above
            return None

    def _load_plan(self, identity: str) -> Plan:
        body = self._cache.get(identity)
        if body is None:
            raise LookupError("the plan is missing")
        slim, environments, pipelines, dependencies, problems, settings = deserialize(body, _list_allowed())
        started: dict[int, Project] = {}
        completed = {}
        for name, environment in environments.items():
            # Imported only if pipelines have different environments.
            from .environments import start_reading_environment

            key = id(environment.project)
            if key not in started:
                started[key] = start_reading_environment(environment, self._environ, self._options).project
            completed[name] = replace(environment, project=_complete(environment.project, started[key]))
        return Plan(_complete(slim, self._project), pipelines, dependencies, problems, settings, completed)

    def keep(self, plan: Plan, lookups: disk.Lookups) -> str:
        """Keep a plan without errors as the last one and return its identity, or raise NotKept as :meth:`keep_for_runs` does.

        ``lookups`` were made while reading and planning it.
        """
        identity = self.keep_for_runs(plan)
        used = _select_variables(plan.project.variables, lookups.words)
        changing = sorted(_FAST_CLOCK & used.keys())
        why_not = "" if lookups.consistent else "files changed while they were read"
        if changing:
            why_not = f"the project uses the current time ({', '.join(changing)})"
        checksum = _compute_checksum(used)
        self._put(self.name, serialize((identity, time.time(), why_not, lookups.seen, frozenset(lookups.words), checksum)))
        self.inputs = f"{identity} {checksum.hex()}"
        return identity

    def _put(self, name: str, body: bytes) -> None:
        try:
            self._cache.put(name, body)
        except OSError as error:
            raise NotKept(f"the plan cannot be written: {error}") from error

    def keep_for_runs(self, plan: Plan) -> str:
        """Store a plan for :meth:`find`, and return its identity. Raise NotKept if it contains secrets or cannot be written."""
        slim = {id(p): replace(p, variables=EMPTY, application=Application(), dependency_files=EMPTY) for p in plan.list_projects()}
        environments = {name: replace(e, project=slim[id(e.project)]) for name, e in plan.environments.items()}
        body = serialize((slim[id(plan.project)], environments, plan.pipelines, plan.dependencies, plan.problems, dict(plan.settings)))
        if holds_secrets(body):
            raise NotKept("the plan contains a secret: the value of a connection, or of a variable whose name suggests a secret")
        identity = blake2b(body, digest_size=16).hexdigest()
        self._put(identity, body)
        return identity


def _complete(slim: Project, started: Project) -> Project:
    return replace(slim, variables=started.variables, derived_variables=started.derived_variables, application=started.application)


@lru_cache(maxsize=1)
def _list_allowed() -> Mapping[tuple[str, str], Any]:
    """Return (module, name) -> type for the types of which a plan consists: our data classes, paths, and times."""
    classes: list[type] = [Positions, type(Path()), PurePosixPath, PureWindowsPath, date, datetime, time_of_day, timedelta, timezone]
    for module in (errors, model, plan_model):
        classes += [c for c in vars(module).values() if isinstance(c, type) and c.__module__ == module.__name__ and is_dataclass(c)]
    allowed: dict[tuple[str, str], Any] = {(c.__module__, c.__qualname__): c for c in (*classes, model.FrozenDict)}
    allowed[model.__name__, "EMPTY"] = EMPTY
    return allowed


def _select_variables(values: Mapping[str, str], words: Iterable[str]) -> dict[str, str]:
    """Return the variables that can have an effect: Starlake's, and those that occur in files or in the values of variables."""
    of_starlake = (name for name in values if name.startswith("SL_") and not name.startswith("SL_DAGSTER_"))
    waiting = {*of_starlake, *values.keys() & words}
    found: dict[str, str] = {}
    while waiting:
        name = waiting.pop()
        found[name] = values[name]
        if "{" in values[name]:
            waiting |= (values.keys() & disk.find_words(values[name].encode("utf-8", "surrogateescape"))) - found.keys()
    return found


def _compute_checksum(values: Mapping[str, str]) -> bytes:
    text = "\0".join(f"{name}\0{value}" for name, value in sorted(values.items()))
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=32).digest()
