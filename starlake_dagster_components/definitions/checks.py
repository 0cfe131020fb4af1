"""Expectations of tables and tasks, and rejected rows of loads, as asset checks."""

import re
import zlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import dagster as dg

from ..project.loaders import find_loader
from ..project.model import Expectation
from .nodes import StarlakeNode

if TYPE_CHECKING:
    from ..executors.base import Counters, ExpectationResult
    from ..settings import Settings

REJECTED_ROWS = "rejected_rows"
"""Name of the check that fails when a load rejected rows."""

_OUTSIDE = re.compile(r"[^A-Za-z0-9_]+")


def make_check_name(expect: str) -> str:
    """Return the check name for the call of an expectation: readable, and different for different calls.

    ``is_col_value_not_unique('id')`` -> ``is_col_value_not_unique_id``; a suffix is added where characters were lost that matter.
    """
    readable = _OUTSIDE.sub("_", expect).strip("_")
    plain = _OUTSIDE.sub("_", expect.replace("'", "").replace('"', "").replace("(", "_").replace(")", "")).strip("_")
    name = plain or "expectation"
    if len(name) > 80 or plain.lower() != readable.lower():
        return f"{name[:80]}_{zlib.crc32(expect.encode()):08x}"
    return name


def drop_repeated_expectations(expectations: Iterable[Expectation]) -> list[Expectation]:
    """Return the expectations, each call once: Starlake joins a default's list twice (Starlake: AutoTaskInfo.merge)."""
    return list({e.expect: e for e in reversed(list(expectations))}.values())[::-1]


def build_check_specs(node: StarlakeNode, key: dg.AssetKey) -> Iterator[dg.AssetCheckSpec]:
    """Yield a check spec for each expectation of a table or task.

    Args:
        node: the table or task; others have none.
        key: its asset key.
    """
    described = node.table or node.task
    if described is None or not node.project.application.expectations_active:
        return
    for expectation in drop_repeated_expectations(described.expectations):
        yield dg.AssetCheckSpec(
            name=make_check_name(expectation.expect),
            asset=key,
            description=expectation.expect,
            metadata={"starlake/expectation": expectation.expect, "starlake/fail_on_error": expectation.fail_on_error},
        )


def build_check_results(node: StarlakeNode, key: dg.AssetKey, results: "Iterable[ExpectationResult]") -> Iterator[dg.AssetCheckResult]:
    """Yield the results of the expectations of a table or task.

    Args:
        node: the table or task.
        key: its asset key.
        results: what the executor reported; expectations that it does not know are left out.
    """
    described = node.table or node.task
    if described is None:
        return
    declared = {e.expect: e for e in described.expectations}
    seen: dict[str, ExpectationResult] = {}
    for result in results:
        seen[result.expect] = result
    for expect, result in seen.items():
        expectation = declared.get(expect)
        if expectation is None:
            continue
        yield dg.AssetCheckResult(
            check_name=make_check_name(expect),
            asset_key=key,
            passed=result.success,
            severity=dg.AssetCheckSeverity.ERROR if expectation.fail_on_error else dg.AssetCheckSeverity.WARN,
            description=result.error,
            metadata={
                **({"violations": result.violations} if result.violations is not None else {}),
                **({"sql": dg.MetadataValue.md(f"```sql\n{result.sql}\n```")} if result.sql else {}),
            },
        )


def build_asset_check_specs(node: StarlakeNode, key: dg.AssetKey, settings: "Settings") -> list[dg.AssetCheckSpec]:
    """Return all checks of a table or task that the settings ask for.

    Args:
        node: the table or task; others have none.
        key: its asset key.
        settings: whether expectations and rejected rows are checks.
    """
    specs = list(build_check_specs(node, key)) if settings.expectation_checks else []
    if has_reject_check(node, settings) and all(spec.name != REJECTED_ROWS for spec in specs):
        specs.append(
            dg.AssetCheckSpec(
                name=REJECTED_ROWS,
                asset=key,
                blocking=settings.rejected_rows == "block",
                description="Whether Starlake's Spark loader took all rows of the files.",
            )
        )
    return specs


def has_reject_check(node: StarlakeNode, settings: "Settings") -> bool:
    """Return whether a table has the check ``rejected_rows``: it may reject rows, and the settings ask for it."""
    if node.table is None or settings.rejected_rows == "ignore" or find_loader(node.project, node.table) == "native":
        return False
    executor = settings.executor_of(node.pipeline)
    return executor is None or executor.rejects_rows


def build_reject_check_result(key: dg.AssetKey, counters: "Counters | None", settings: "Settings") -> dg.AssetCheckResult | None:
    """Return the result of the check ``rejected_rows``; None where it is not known how many rows were rejected, or there was no file.

    Args:
        key: the table's asset key.
        counters: the counts of the load.
        settings: whether rejected rows are an error.
    """
    if counters is None or counters.rejected is None or not counters.files:
        return None
    return dg.AssetCheckResult(
        check_name=REJECTED_ROWS,
        asset_key=key,
        passed=counters.rejected == 0,
        severity=dg.AssetCheckSeverity.ERROR if settings.rejected_rows == "block" else dg.AssetCheckSeverity.WARN,
        description=describe_rejected(counters),
        metadata={"rows_rejected": counters.rejected, **({"rows_read": counters.input} if counters.input is not None else {})},
    )


def describe_rejected(counters: "Counters") -> str:
    """Return how many rows of how many were rejected: ``rejected rows: 3 of 10``."""
    of = f" of {counters.input}" if counters.input is not None else ""
    return f"rejected rows: {counters.rejected}{of}"
