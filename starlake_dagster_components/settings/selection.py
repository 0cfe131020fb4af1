"""The patterns that select tables and tasks (settings ``op``, ``select``, and ``exclude``), and the rules of ``op``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

from ..errors import InvalidSetting, describe_unknown
from .checks import build_error, check_choice, check_keys, check_tags

KEYS = ("name", "domain", "table", "task", "tag", "kind", "dagRef")
KINDS = ("domain", "table", "task")

Backoff = Literal["linear", "exponential"]
Jitter = Literal["full", "plus_minus"]


NodeValues = Mapping[str, Sequence[str]]
"""Key of a pattern -> values of a domain, table, or task, in lower case. A renamed one has two: in the project and the warehouse."""


@dataclass(frozen=True, slots=True)
class NodePattern:
    """A pattern that selects the nodes that meet all of its criteria.

    Attributes:
        text: the pattern as written, for messages.
        criteria: key -> alternatives, in which ``*`` and ``?`` are wildcards.
    """

    text: str
    criteria: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def selects(self, node: NodeValues) -> bool:
        """Return whether the pattern selects a node."""
        return all(
            any(fnmatchcase(value, pattern.lower()) for pattern in patterns for value in node.get(key, ()))
            for key, patterns in self.criteria.items()
        )


@dataclass(frozen=True, slots=True)
class RetryRule:
    """The ``retry_policy`` of an ``op`` rule, with the fields of Dagster's ``RetryPolicy``. The delay is in seconds."""

    max_retries: int = 1
    delay: float | None = None
    backoff: Backoff | None = None
    jitter: Jitter | None = None


@dataclass(frozen=True, slots=True)
class OpRule:
    """An ``op`` rule: attributes of the steps of some domains, tables, and tasks.

    Attributes:
        match: the rule applies to nodes that any of these patterns selects; empty = all nodes.
        pool: concurrency pool of the steps; None = not set by this rule.
        retry_policy: retries of the steps, which override those of the DAG config; None = not set by this rule.
        tags: tags of the steps, in addition to those of other rules.
    """

    match: tuple[NodePattern, ...] = ()
    pool: str | None = None
    retry_policy: RetryRule | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    def covers(self, node: NodeValues) -> bool:
        """Return whether the rule applies to a node."""
        return not self.match or any(pattern.selects(node) for pattern in self.match)


def check_patterns(name: str, value: Any) -> tuple[NodePattern, ...]:
    """Convert a list of names (``sales.*``), ``key:value`` strings, and mappings, or a single one of these.

    Raises:
        InvalidSetting: the value is something else.
    """
    if value is None or value == "":
        return ()
    if isinstance(value, (str, Mapping, NodePattern)):
        value = [value]
    if not isinstance(value, Sequence):
        raise build_error(name, value, "a list of names or mappings such as {domain: sales, tag: pii}")
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
        raise build_error(name, value, "a name such as sales.*, or a mapping such as {tag: pii}")
    criteria = {}
    check_keys(name, value, KEYS)
    for key, patterns in value.items():
        items = [patterns] if isinstance(patterns, (str, int, float)) else patterns
        if not isinstance(items, Sequence) or not items or not all(isinstance(i, (str, int, float)) and str(i) for i in items):
            raise build_error(f"{name}.{key}", patterns, "a string or a list of strings")
        criteria[key] = tuple(str(item) for item in items)
    for kind in criteria.get("kind", ()):
        if kind.lower() not in KINDS:
            raise InvalidSetting(f"{name}.kind: {describe_unknown('kind', kind, KINDS)}")
    text = ", ".join(f"{key}: {' | '.join(patterns)}" for key, patterns in criteria.items())
    return NodePattern(text, criteria)


_REJECTED = {
    "name": "an op has the name of its asset; change the asset's key with translation",
    "description": "an op has the description of its asset; change it with translation",
    "backfill_policy": "use the 'backfill' setting",
}


def check_op_rules(name: str, value: Any) -> tuple[OpRule, ...]:
    """Convert a list of mappings with ``match``, ``pool``, ``retry_policy``, and ``tags``, or a single mapping.

    Raises:
        InvalidSetting: the value is something else, or has an unknown or unsupported key.
    """
    if value is None:
        return ()
    if isinstance(value, (Mapping, OpRule)):
        value = [value]
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise build_error(name, value, "a mapping, or a list of mappings with match")
    return tuple(_check_op_rule(f"{name}[{index}]" if len(value) > 1 else name, item) for index, item in enumerate(value))


def _check_op_rule(name: str, value: Any) -> OpRule:
    if isinstance(value, OpRule):
        return value
    if not isinstance(value, Mapping):
        raise build_error(name, value, "a mapping")
    for key, reason in _REJECTED.items():
        if value.get(key) is not None:
            raise InvalidSetting(f"{name}.{key}: {reason}")
    check_keys(name, {key: item for key, item in value.items() if key not in _REJECTED}, ("match", "pool", "retry_policy", "tags"))
    pool, tags = value.get("pool"), value.get("tags")
    if pool is not None and not isinstance(pool, str):
        raise build_error(f"{name}.pool", pool, "a string")
    if "match" in value and not value["match"]:
        raise InvalidSetting(f"{name}.match: it selects nothing (expected a name such as sales.*, or a mapping such as {{tag: pii}})")
    return OpRule(
        check_patterns(f"{name}.match", value.get("match")),
        pool or None,
        _check_retry(f"{name}.retry_policy", value.get("retry_policy")),
        check_tags(f"{name}.tags", tags or {}),
    )


def _check_retry(name: str, value: Any) -> RetryRule | None:
    if value is None or isinstance(value, RetryRule):
        return value
    if not isinstance(value, Mapping):
        raise build_error(name, value, "a mapping with max_retries")
    check_keys(name, value, ("max_retries", "delay", "backoff", "jitter"))
    retries = _read_number(f"{name}.max_retries", value.get("max_retries", 1))
    if retries != int(retries):
        raise build_error(f"{name}.max_retries", value["max_retries"], "a whole number of at least 0")
    delay = value.get("delay")
    for key in ("backoff", "jitter"):
        if value.get(key) is not None and delay is None:
            raise InvalidSetting(f"{name}.{key}: requires a delay (add delay: <seconds>)")
    backoff, jitter = (
        None if value.get(key) is None else check_choice(f"{name}.{key}", value[key], choices)
        for key, choices in (("backoff", get_args(Backoff)), ("jitter", get_args(Jitter)))
    )
    return RetryRule(int(retries), None if delay is None else _read_number(f"{name}.delay", delay), backoff, jitter)  # type: ignore[arg-type]


def _read_number(name: str, value: Any) -> float:
    try:
        number = float(value) if not isinstance(value, bool) else -1.0
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number < 1e9:
        raise build_error(name, value, "a number of at least 0")
    return number
