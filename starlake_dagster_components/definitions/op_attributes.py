"""Pool, retries, and tags of steps, from the settings, the rules of ``op``, and the DAG config."""

from typing import Any

import dagster as dg

from ..pipelines.pipeline import Pipeline
from ..settings import Settings
from ..settings.selection import RetryRule
from .names import build_tag_value
from .nodes import StarlakeNode
from .selecting import describe_node

_VERBS = {"domain": "preload", "table": "load", "task": "transform"}

AIRFLOW_DEFAULT_POOL = "default_pool"
"""The pool that Airflow uses if none is set. In a DAG config, it therefore means no pool."""


def find_op_attributes(node: StarlakeNode, settings: Settings) -> dict[str, Any]:
    """Return the pool, retry policy, and tags of the op of a domain, table, or task, as arguments of :class:`dagster.OpDefinition`.

    Rules of ``op`` are applied in order, so later ones override earlier ones. They override the ``pool`` and ``op_tags`` settings, which
    override the options of the DAG config (``default_pool``, ``retries``).
    """
    own = node.pipeline.options.get("default_pool", "").strip() if node.pipeline else ""
    pool = settings.pool or (own if own != AIRFLOW_DEFAULT_POOL else "") or None
    retry: RetryRule | None = None
    tags = dict(settings.op_tags)
    values = describe_node(node.definition, node.pipeline) if settings.op_rules and node.definition else {}
    for rule in settings.op_rules:
        if rule.covers(values):
            pool, retry = rule.pool or pool, rule.retry_policy or retry
            tags |= rule.tags
    tags |= {"starlake/command": _VERBS[node.type], "starlake/domain": build_tag_value(node.domain)}
    retry_policy = _build_retry_policy(node.pipeline, settings) if retry is None else _convert_retry_rule(retry)
    return {"pool": pool, "retry_policy": retry_policy, "tags": tags}


def _convert_retry_rule(rule: RetryRule) -> dg.RetryPolicy | None:
    if not rule.max_retries:
        return None
    return dg.RetryPolicy(
        max_retries=rule.max_retries,
        delay=rule.delay,
        backoff=dg.Backoff[rule.backoff.upper()] if rule.backoff else None,
        jitter=dg.Jitter[rule.jitter.upper()] if rule.jitter else None,
    )


def _build_retry_policy(pipeline: Pipeline | None, settings: Settings) -> dg.RetryPolicy | None:
    """Return the retries of the DAG config, or else those of the executor's options; None if neither sets them."""
    if pipeline is None:
        return None
    retries, delay = pipeline.retries, pipeline.retry_delay
    executor = settings.get_executor(pipeline)
    if retries <= 0 and executor is not None:
        retries, delay = executor.get_retries(pipeline) or (0, delay)
    return dg.RetryPolicy(max_retries=retries, delay=delay.total_seconds()) if retries > 0 else None
