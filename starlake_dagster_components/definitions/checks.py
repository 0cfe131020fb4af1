"""Asset checks for expectations, declared columns, and rejected rows."""

import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING

import dagster as dg

from ..masking import mask_text
from ..project.loaders import find_loader
from ..project.model import Expectation
from ..project.sinks import find_duckdb_file
from ..settings import Settings
from .nodes import StarlakeNode

if TYPE_CHECKING:
    from ..executors.base import Counters, ExpectationResult

REJECTED_ROWS = "rejected_rows"
"""Name of the check that fails if a load rejected rows."""

DECLARED_SCHEMA = "declared_schema"
"""Name of the check that fails if a table's columns are not those that its YAML declares."""

_OUTSIDE = re.compile(r"[^A-Za-z0-9_]+")


def build_check_name(expect: str) -> str:
    """Return the check name for an expectation's call. Different calls have different names.

    For ``is_col_value_not_unique('id')``, it is ``is_col_value_not_unique_id``. If significant characters are lost, a checksum is appended.
    """
    shown = mask_text(expect)
    readable = _OUTSIDE.sub("_", shown).strip("_")
    plain = _OUTSIDE.sub("_", shown.replace("'", "").replace('"', "").replace("(", "_").replace(")", "")).strip("_")
    name = plain or "expectation"
    if len(name) > 80 or shown != expect or plain.lower() != readable.lower():
        return f"{name[:80]}_{zlib.crc32(expect.encode()):08x}"
    return name


def build_default_check_spec(node: StarlakeNode, expectation: Expectation, key: dg.AssetKey) -> dg.AssetCheckSpec:
    """Return the default check spec for an expectation."""
    blocking = node.settings.checks.blocking
    if blocking == "auto":
        blocking = expectation.fail_on_error and node.project.application.expectations_fail_on_error
    shown = mask_text(expectation.expect)
    return dg.AssetCheckSpec(
        name=build_check_name(expectation.expect),
        asset=key,
        description=shown,
        blocking=blocking and can_block(),
        metadata={"starlake/expectation": shown, "starlake/fail_on_error": expectation.fail_on_error},
    )


@cache
def can_block() -> bool:
    """Return whether checks can be blocking. Before 1.13.10, Dagster skips downstream assets if a blocking check has no result."""
    return tuple(int(part) for part in re.findall(r"\d+", dg.__version__)[:3]) >= (1, 13, 10)


def _pair_with_specs(node: StarlakeNode, key: dg.AssetKey) -> Iterator[tuple[Expectation, dg.AssetCheckSpec]]:
    """Yield each expectation of a node with the translator's check spec for it."""
    described, settings = node.load_or_task, node.settings
    if described is None or not settings.checks.enabled or not node.project.application.expectations_active:
        return
    translate = getattr(settings.translator, "get_asset_check_spec", None)
    # Starlake adds the default expectations of tasks twice (``AutoTaskInfo.merge``).
    for expectation in list({e.expect: e for e in reversed(described.expectations)}.values())[::-1]:
        spec = translate(node, expectation) if translate else build_default_check_spec(node, expectation, key)
        if spec is not None:
            yield expectation, spec if spec.asset_key == key else spec._replace(asset_key=key)


def build_check_results(
    node: StarlakeNode,
    key: dg.AssetKey,
    results: "Iterable[ExpectationResult]",
    show_rows: "Callable[[ExpectationResult], str | None]" = lambda result: None,
) -> Iterator[dg.AssetCheckResult]:
    """Yield the check results for the expectations of a table or task.

    Expectations without a result are left out. ``show_rows`` returns the rows that violate an expectation, in Markdown, or None.
    """
    declared = {expectation.expect: (expectation, spec) for expectation, spec in _pair_with_specs(node, key)}
    for expect, result in {result.expect: result for result in results}.items():
        if expect not in declared:
            continue
        expectation, spec = declared[expect]
        rows = show_rows(result)
        severity = node.settings.checks.severity or ("error" if expectation.fail_on_error else "warn")
        yield dg.AssetCheckResult(
            check_name=spec.name,
            asset_key=key,
            passed=result.success,
            severity=dg.AssetCheckSeverity[severity.upper()],
            description=result.error,
            metadata={
                **({"starlake/violations": result.violations} if result.violations is not None else {}),
                **({"starlake/violating_rows": dg.MetadataValue.md(rows)} if rows else {}),
                **({"starlake/sql": dg.MetadataValue.md(f"```sql\n{result.sql}\n```")} if result.sql else {}),
            },
        )


def build_asset_check_specs(node: StarlakeNode, key: dg.AssetKey, settings: Settings) -> list[dg.AssetCheckSpec]:
    """Return all check specs of a node, according to the settings."""
    specs = [spec for _, spec in _pair_with_specs(node, key)]
    if has_reject_check(node, settings) and all(spec.name != REJECTED_ROWS for spec in specs):
        text = "Starlake's Spark loader accepted all rows of the files."
        specs.append(dg.AssetCheckSpec(name=REJECTED_ROWS, asset=key, blocking=settings.rejected_rows == "block", description=text))
    if has_schema_check(node, settings) and all(spec.name != DECLARED_SCHEMA for spec in specs):
        specs.append(dg.AssetCheckSpec(name=DECLARED_SCHEMA, asset=key, description="The table has the columns that its YAML declares."))
    return specs


def has_schema_check(node: StarlakeNode, settings: Settings) -> bool:
    """Return whether a node has the ``declared_schema`` check: it is turned on, the node declares columns, and its table can be read."""
    described = node.load_or_task
    if not settings.schema_checks or described is None or not described.attributes:
        return False
    from ..warehouse.address import find_address

    connection = node.project.find_connection(described)
    return connection is not None and (find_duckdb_file(node.project, connection) is not None or find_address(connection) is not None)


def has_reject_check(node: StarlakeNode, settings: Settings) -> bool:
    """Return whether a node has the ``rejected_rows`` check: it is turned on, and the node is a table whose loader may reject rows."""
    if node.table is None or settings.rejected_rows == "ignore" or find_loader(node.project, node.table) == "native":
        return False
    executor = settings.get_executor(node.pipeline)
    return executor is None or executor.runs_starlake


def build_reject_check_result(key: dg.AssetKey, counters: "Counters | None", settings: Settings) -> dg.AssetCheckResult | None:
    """Return the result of the ``rejected_rows`` check; None if the number of rejected rows is unknown, or no file was loaded."""
    if counters is None or counters.rejected is None or not counters.files:
        return None
    return dg.AssetCheckResult(
        check_name=REJECTED_ROWS,
        asset_key=key,
        passed=counters.rejected == 0,
        severity=dg.AssetCheckSeverity.ERROR if settings.rejected_rows == "block" else dg.AssetCheckSeverity.WARN,
        description=describe_rejected(counters),
        metadata={
            "starlake/rows_rejected": counters.rejected,
            **({"starlake/rows_read": counters.input} if counters.input is not None else {}),
        },
    )


def describe_rejected(counters: "Counters") -> str:
    """Return a message such as ``rejected rows: 3 of 10``."""
    of = f" of {counters.input}" if counters.input is not None else ""
    return f"rejected rows: {counters.rejected}{of}"
