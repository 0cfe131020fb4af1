"""Patterns that select tables and tasks of a project (settings ``op``, ``select``, ``exclude``), and what steps of those get."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

from ..errors import InvalidSetting, describe_unknown

KEYS = ("name", "domain", "table", "task", "tag", "kind", "dagRef")
KINDS = ("domain", "table", "task")

Backoff = Literal["linear", "exponential"]
Jitter = Literal["full", "plus_minus"]


@dataclass(frozen=True, slots=True)
class Described:
    """The names that a pattern is compared with, those of a domain, table or task, regardless of case.

    Attributes:
        kind: ``domain`` (its pre-load), ``table`` or ``task``.
        names: with their domain.
        domains: names of the domain.
        own: names without the domain.
        tags: its tags in the project.
        dag_ref: the DAG config that runs it.
    """

    kind: str
    names: frozenset[str]
    domains: frozenset[str]
    own: frozenset[str]
    tags: frozenset[str] = frozenset()
    dag_ref: str = ""


@dataclass(frozen=True, slots=True)
class NodePattern:
    """Selects what has all of the given values; ``*`` and ``?`` stand for any characters.

    Attributes:
        text: as it was given, for messages.
        wanted: key -> patterns, one of which has to fit.
    """

    text: str
    wanted: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def selects(self, node: Described) -> bool:
        """Return whether it selects a domain, table or task."""
        return all(any(_fits(key, pattern, node) for pattern in patterns) for key, patterns in self.wanted.items())


def _fits(key: str, pattern: str, node: Described) -> bool:
    found = {
        "name": node.names,
        "domain": node.domains,
        "table": node.own | node.names if node.kind == "table" else frozenset(),
        "task": node.own | node.names if node.kind == "task" else frozenset(),
        "tag": node.tags,
        "kind": frozenset((node.kind,)),
        "dagRef": frozenset((node.dag_ref,) if node.dag_ref else ()),
    }[key]
    return any(fnmatchcase(value.lower(), pattern.lower()) for value in found)


@dataclass(frozen=True, slots=True)
class RetryRule:
    """``retry_policy`` of an ``op`` rule, as Dagster's ``RetryPolicy`` has it: how often, after how many seconds."""

    max_retries: int = 1
    delay: float | None = None
    backoff: Backoff | None = None
    jitter: Jitter | None = None


@dataclass(frozen=True, slots=True)
class OpRule:
    """Op attributes of the steps of some domains, tables and tasks.

    Attributes:
        match: which ones: those that any of the patterns selects; none = all.
        pool: their concurrency pool; None = that of the other rules.
        retry_policy: their retries, which override those of the DAG config; None = those of the other rules.
        tags: their tags, added to those of the other rules.
    """

    match: tuple[NodePattern, ...] = ()
    pool: str | None = None
    retry_policy: RetryRule | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    def covers(self, node: Described) -> bool:
        """Return whether it is for a domain, table or task."""
        return not self.match or any(pattern.selects(node) for pattern in self.match)


# ------------------------------------------------------------------------------------------------------------------ values


def check_patterns(name: str, value: Any) -> tuple[NodePattern, ...]:
    """Return patterns: a list of names (``sales.*``), of ``key:value`` and of mappings; one of them alone is a list of one.

    Raises:
        InvalidSetting: something else.
    """
    if value is None or value == "":
        return ()
    if isinstance(value, (str, Mapping, NodePattern)):
        value = [value]
    if not isinstance(value, Sequence):
        raise InvalidSetting(f"{name}: {value!r} cannot be used (expected a list of names or mappings such as {{domain: sales, tag: pii}})")
    return tuple(_check_pattern(f"{name}[{index}]" if len(value) > 1 else name, item) for index, item in enumerate(value))


def _check_pattern(name: str, value: Any) -> NodePattern:
    if isinstance(value, NodePattern):
        return value
    if isinstance(value, str) and value.strip():
        key, sign, rest = value.partition(":")
        if not sign:
            return NodePattern(value, {"name": (value.strip(),)})
        value = {key.strip(): rest.strip()}
    if not isinstance(value, Mapping) or not value:
        raise InvalidSetting(f"{name}: {value!r} cannot be used (expected a name such as sales.*, or a mapping such as {{tag: pii}})")
    wanted = {}
    for key, given in value.items():
        if key not in KEYS:
            raise InvalidSetting(f"{name}: {describe_unknown('key', str(key), KEYS)}")
        items = [given] if isinstance(given, (str, int, float)) else given
        if not isinstance(items, Sequence) or not items or not all(isinstance(i, (str, int, float)) and str(i) for i in items):
            raise InvalidSetting(f"{name}.{key}: {given!r} cannot be used (expected a string or a list of strings)")
        wanted[str(key)] = tuple(str(item) for item in items)
    for kind in wanted.get("kind", ()):
        if kind.lower() not in KINDS:
            raise InvalidSetting(f"{name}.kind: {describe_unknown('kind', kind, KINDS)}")
    text = ", ".join(f"{key}: {' | '.join(patterns)}" for key, patterns in wanted.items())
    return NodePattern(text, wanted)


_REFUSED = {
    "name": "the name of an op is that of its asset: change the asset's key with translation",
    "description": "the description of an op is that of its asset: change it with translation",
    "backfill_policy": "the setting 'backfill' says how partitions are run",
}


def check_op_rules(name: str, value: Any) -> tuple[OpRule, ...]:
    """Return rules for steps: a list of mappings with ``match``, ``pool``, ``retry_policy`` and ``tags``; one alone is a list of one.

    Raises:
        InvalidSetting: something else, or a key that cannot be followed, with the reason.
    """
    if value is None:
        return ()
    if isinstance(value, (Mapping, OpRule)):
        value = [value]
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise InvalidSetting(f"{name}: {value!r} cannot be used (expected a mapping, or a list of mappings with match)")
    return tuple(_check_op_rule(f"{name}[{index}]" if len(value) > 1 else name, item) for index, item in enumerate(value))


def _check_op_rule(name: str, value: Any) -> OpRule:
    if isinstance(value, OpRule):
        return value
    if not isinstance(value, Mapping):
        raise InvalidSetting(f"{name}: {value!r} cannot be used (expected a mapping)")
    known = ("match", "pool", "retry_policy", "tags")
    for key, item in value.items():
        if key in _REFUSED and item is not None:
            raise InvalidSetting(f"{name}.{key}: {_REFUSED[str(key)]}")
        if key not in known and key not in _REFUSED:
            raise InvalidSetting(f"{name}: {describe_unknown('key', str(key), known)}")
    pool, tags = value.get("pool"), value.get("tags")
    if pool is not None and not isinstance(pool, str):
        raise InvalidSetting(f"{name}.pool: {pool!r} cannot be used (expected a string)")
    if "match" in value and not value["match"]:
        raise InvalidSetting(f"{name}.match: it selects nothing (expected a name such as sales.*, or a mapping such as {{tag: pii}})")
    return OpRule(
        check_patterns(f"{name}.match", value.get("match")),
        pool or None,
        _check_retry(f"{name}.retry_policy", value.get("retry_policy")),
        check_tag_values(f"{name}.tags", tags or {}),
    )


def check_tag_values(name: str, value: Any) -> dict[str, str]:
    """Return tags as Dagster takes them: strings, and a mapping or list (a Kubernetes configuration, for example) as JSON.

    Raises:
        InvalidSetting: it is not a mapping of names.
    """
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise InvalidSetting(f"{name}: {value!r} cannot be used (expected a mapping of names to values)")
    return {key: item if isinstance(item, str) else json.dumps(item) for key, item in value.items()}


def _check_retry(name: str, value: Any) -> RetryRule | None:
    if value is None or isinstance(value, RetryRule):
        return value
    if not isinstance(value, Mapping):
        raise InvalidSetting(f"{name}: {value!r} cannot be used (expected a mapping with max_retries)")
    known = ("max_retries", "delay", "backoff", "jitter")
    for key in value:
        if key not in known:
            raise InvalidSetting(f"{name}: {describe_unknown('key', str(key), known)}")
    retries = _read_number(f"{name}.max_retries", value.get("max_retries", 1))
    if retries != int(retries):
        raise InvalidSetting(f"{name}.max_retries: {value['max_retries']!r} cannot be used (expected a whole number from 0)")
    delay = value.get("delay")
    for key in ("backoff", "jitter"):
        if value.get(key) is not None and delay is None:
            raise InvalidSetting(f"{name}.{key}: it changes the delay, and there is none (add delay: <seconds>)")
    backoff, jitter = (_read_choice(f"{name}.{key}", value.get(key), choices) for key, choices in _CHOICES.items())
    return RetryRule(int(retries), None if delay is None else _read_number(f"{name}.delay", delay), backoff, jitter)  # type: ignore[arg-type]


_CHOICES = {"backoff": ("linear", "exponential"), "jitter": ("full", "plus_minus")}


def _read_number(name: str, value: Any) -> float:
    try:
        number = float(value) if not isinstance(value, bool) else -1.0
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number < 1e9:
        raise InvalidSetting(f"{name}: {value!r} cannot be used (expected a number from 0)")
    return number


def _read_choice(name: str, value: Any, choices: Sequence[str]) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or value.lower() not in choices:
        raise InvalidSetting(f"{name}: {describe_unknown('value', str(value), choices)}")
    return value.lower()


def parse_patterns(name: str, text: str) -> Any:
    """Parse ``sales.*,tag:pii``, or a JSON list."""
    if text.lstrip().startswith(("[", "{")):
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            raise InvalidSetting(f"{name}: invalid JSON: {error}") from error
    return [item.strip() for item in text.split(",") if item.strip()]
