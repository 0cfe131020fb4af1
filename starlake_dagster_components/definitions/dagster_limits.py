"""Report parts of a project that Dagster does not accept as problems with file and line, instead of raising Dagster's exceptions."""

from collections.abc import Iterator
from datetime import timedelta

import dagster as dg
from dagster_shared.check import CheckError

from ..errors import Problem
from ..pipelines.pipeline import Pipeline
from ..project.model import Freshness
from ..settings import Translator
from .names import build_tags
from .nodes import StarlakeNode

MINIMUM_WINDOW = timedelta(minutes=1)
"""The shortest window that Dagster's ``TimeWindowFreshnessPolicy`` accepts."""

NEVER = timedelta(days=3650)
"""The fail window of an asset with only a warn window, because Dagster requires a fail window."""

EDITABLE_TAGS = frozenset(
    (
        "dagster/priority",
        "dagster/max_retries",
        "dagster/retry_strategy",
        "dagster/max_runtime",
        "dagster/isolation",
        "dagster/retry_on_asset_or_op_failure",
    )
)
"""Tags with the prefix ``dagster/`` that users may set (Dagster's ``USER_EDITABLE_SYSTEM_TAGS``)."""


def build_run_tags(labels: tuple[str, ...]) -> dict[str, str]:
    """Return the run tags for the ``tags`` option of a DAG config, without those that Dagster reserves."""
    return {key: value for key, value in build_tags(labels).items() if not _is_reserved(key)}


def find_tag_problems(pipeline: Pipeline) -> Iterator[Problem]:
    """Yield a warning for each tag of a DAG config that Dagster reserves."""
    for key in filter(_is_reserved, build_tags(pipeline.tags)):
        message = f"option 'tags': Dagster reserves the prefix 'dagster/', so '{key}' is left out"
        yield Problem(pipeline.dag_config.origin.locate("options.tags"), "warning", message)


def _is_reserved(key: str) -> bool:
    return key.startswith("dagster/") and key not in EDITABLE_TAGS


def build_freshness_policy(freshness: Freshness | None) -> dg.FreshnessPolicy | None:
    """Return Starlake's freshness as a freshness policy; None if there is none, or Dagster does not accept it."""
    if freshness is None or find_invalid_window(freshness):
        return None
    fail_window = freshness.error or (max(NEVER, freshness.warn * 2) if freshness.warn else None)
    return dg.FreshnessPolicy.time_window(fail_window=fail_window, warn_window=freshness.warn) if fail_window else None


def find_invalid_window(freshness: Freshness) -> tuple[str, str] | None:
    """Return the key (``warn`` or ``error``) that Dagster does not accept, and a message; None if it accepts both."""
    for key, window in (("warn", freshness.warn), ("error", freshness.error)):
        if window is not None and window < MINIMUM_WINDOW:
            reason = "negative" if window < timedelta() else "less than a minute"
            return key, f"freshness {key}: {window.total_seconds():g} s is {reason}; the table gets no freshness policy"
    if freshness.warn and freshness.error and freshness.warn >= freshness.error:
        return "warn", "freshness: 'warn' is not shorter than 'error'; the table gets no freshness policy"
    return None


def find_freshness_problems(node: StarlakeNode) -> Iterator[Problem]:
    """Yield a warning if Dagster does not accept the freshness of a table or task."""
    freshness = get_freshness(node)
    invalid = find_invalid_window(freshness) if freshness else None
    if invalid and node.origin:
        path = f"metadata.freshness.{invalid[0]}" if node.table else f"freshness.{invalid[0]}"
        yield Problem(node.origin.locate(path), "warning", invalid[1])


def get_freshness(node: StarlakeNode) -> Freshness | None:
    """Return the freshness of a table or task; None for other nodes."""
    return node.table.metadata.freshness if node.table else node.task.freshness if node.task else None


def translate_node(translator: Translator, node: StarlakeNode) -> tuple[dg.AssetSpec, Problem | None]:
    """Return the asset spec of a node and None; if Dagster does not accept the translator's spec, one with only the key and a problem."""
    try:
        return translator.get_asset_spec(node), None
    except (dg.DagsterError, CheckError) as error:
        message = f"Dagster does not accept the asset of {node.type} {node.name}: {' '.join(str(error).split())}"
        return dg.AssetSpec(node.key), Problem(node.location, "error", message)
