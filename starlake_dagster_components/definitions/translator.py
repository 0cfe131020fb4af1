"""``StarlakeTranslator``, which returns the asset spec of a node. Subclass it to change assets."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from ..errors import join_names
from ..project.model import Expectation, Sink, Table, Task, WriteStrategy
from ..project.sinks import find_sink, find_written_table
from .checks import build_default_check_spec
from .code_version import compute_code_version
from .columns import build_inferred_schema, build_table_schema
from .dagster_limits import build_freshness_policy, get_freshness
from .markdown import format_sql_block
from .names import build_group_name, build_tag_value, build_tags
from .nodes import StarlakeNode

MAX_READS = 20
"""Maximum number of tables to name in a task's description."""


class StarlakeTranslator:
    """Returns the asset specs of domains, tables, tasks, and external tables.

    Override :meth:`get_asset_spec` to change specs. If you change a key, dependencies on the original key are updated afterward.

    Example:
        .. code-block:: python

            class Finance(StarlakeTranslator):
                def get_asset_spec(self, node):
                    spec = super().get_asset_spec(node)
                    return spec.replace_attributes(owners=["team:finance"]) if node.domain == "billing" else spec
    """

    def get_asset_spec(self, node: StarlakeNode) -> dg.AssetSpec:
        """Return the asset spec of a node.

        Args:
            node: a domain's pre-load, a load table, a task, or an external table.

        Returns:
            A spec with key, description, group, kinds, tags, metadata (columns, table name, storage kind, links to the source files,
            ``starlake/...``), freshness policy, and code version.
        """
        return dg.AssetSpec(
            key=node.key,
            deps=node.upstream,
            description=_describe(node),
            group_name=build_group_name(node.domain) if node.domain else None,
            kinds=_list_kinds(node),
            tags=build_tags(_list_labels(node)),
            metadata=_build_metadata(node),
            skippable=node.type == "domain",
            freshness_policy=build_freshness_policy(get_freshness(node)),
            code_version=compute_code_version(node),
        )

    def get_asset_check_spec(self, node: StarlakeNode, expectation: Expectation) -> dg.AssetCheckSpec | None:
        """Return the check spec for an expectation. Override this method to change the name, description, metadata, or ``blocking``.

        Args:
            node: a load table or a task.
            expectation: one of its expectations.

        Returns:
            A spec with name, description, metadata (``starlake/expectation``, ``starlake/fail_on_error``), and ``blocking`` according to
            the setting ``expectation_checks``. If an override returns None, the expectation is evaluated, but is not a check. The spec's
            asset is ignored: it is always that of the node.
        """
        return build_default_check_spec(node, expectation, node.key)


def _get_described(node: StarlakeNode) -> Table | Task | None:
    return node.table or node.task


def _describe(node: StarlakeNode) -> str | None:
    if node.type == "domain":
        strategy = node.pipeline.pre_load[node.load_domain.name].strategy if node.pipeline and node.load_domain else "none"
        directory = node.load_domain.metadata.directory if node.load_domain else None
        source = f", files from `{directory}`" if directory and strategy in ("imported", "ack") else ""
        text = f"Pre-load of the domain {node.name}: strategy `{strategy}`{source}. The domain's tables are loaded if it finds files."
        return f"{text}\n\n{node.description}" if node.description else text
    sql = node.task.sql_text if node.task and node.settings.show_sql else None
    how = _describe_table(node.table) if node.table else _describe_task(node, node.task) if node.task else None
    return "\n\n".join(filter(None, (node.description, how, sql and format_sql_block(sql)))) or None


def _describe_table(table: Table) -> str:
    """Return a description of a load table: its files, write strategy, and layout."""
    metadata = table.metadata
    what = "files" if metadata.format is None else f"{metadata.format} files"
    source = f" in `{metadata.directory}`" if metadata.directory else ""
    lines = [f"Loads {what} `{table.pattern}`{source}.", _describe_strategy(metadata.write_strategy)]
    return " ".join([*lines, *_describe_layout(table.primary_key, metadata.sink)])


def _describe_task(node: StarlakeNode, task: Task) -> str:
    """Return a description of a task: the tables that it reads, its write strategy, and the layout of its table."""
    reads = [f"`{name}`" for name in sorted(d.name for d in node.dependencies)]
    lines = [f"Reads {join_names(reads, MAX_READS)}." if reads else "", _describe_strategy(task.write_strategy)]
    return " ".join(filter(None, [*lines, *_describe_layout(task.primary_key, task.sink)]))


def _describe_strategy(strategy: WriteStrategy | None) -> str:
    kind = (strategy.type if strategy else None) or "APPEND"
    keys = f" on {_join_names(strategy.key)}" if strategy and strategy.key else ""
    timestamp = f" by `{strategy.timestamp}`" if strategy and strategy.timestamp else ""
    return f"Write strategy `{kind}`{keys}{timestamp}."


def _describe_layout(primary_key: Sequence[str], sink: Sink | None) -> Iterator[str]:
    if primary_key:
        yield f"Primary key {_join_names(primary_key)}."
    if sink and sink.partition:
        yield f"Partitioned by {_join_names(sink.partition)}."
    if sink and sink.clustering:
        yield f"Clustered by {_join_names(sink.clustering)}."


def _join_names(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _list_kinds(node: StarlakeNode) -> set[str]:
    if node.type == "external":
        return set()
    connection = node.connection
    kinds = {"starlake"}
    if connection and connection.engine != "unknown":
        kinds.add(build_tag_value(connection.engine))
    if node.task and node.task.python_file:
        kinds.add("python")
    return kinds


def _list_labels(node: StarlakeNode) -> tuple[str, ...]:
    described = node.table or node.task or node.load_domain
    return described.tags if described else ()


def _build_metadata(node: StarlakeNode) -> Mapping[str, Any]:
    return dict(_iterate_metadata(node))


def _iterate_metadata(node: StarlakeNode) -> Iterator[tuple[str, Any]]:
    references: list[dg.LocalFileCodeReference | dg.UrlCodeReference] = list(_list_code_references(node))
    if references:
        yield "dagster/code_references", dg.CodeReferencesMetadataValue(code_references=references)
    described = _get_described(node)
    if described is None:
        if node.type == "domain" and node.load_domain:
            yield "starlake/domain", node.load_domain.name
            if node.load_domain.metadata.directory:
                yield "starlake/directory", node.load_domain.metadata.directory
        return
    schema = build_table_schema(described, node.project.types) or build_inferred_schema(node.inferred_columns)
    if schema:
        yield "dagster/column_schema", schema
    final = ".".join(find_written_table(described))
    yield "dagster/table_name", f"{described.database}.{final}" if described.database else final
    connection = node.connection
    if connection:
        yield "starlake/connection", connection.name
        if connection.engine != "unknown":
            yield "dagster/storage_kind", connection.engine
    if isinstance(described, Table):
        yield from _iterate_table_metadata(described)
    else:
        yield "starlake/task", described.full_name
        yield from _iterate_strategy_metadata(described.write_strategy)
    yield from _iterate_layout_metadata(described)
    if node.pipeline:
        yield "starlake/dag", node.pipeline.dag_config.name


def _iterate_layout_metadata(described: Table | Task) -> Iterator[tuple[str, Any]]:
    sink = find_sink(described)
    layout = {"partition": sink.partition, "clustering": sink.clustering} if sink else {}
    for name, columns in {**layout, "primary_key": described.primary_key}.items():
        if columns:
            yield f"starlake/{name}", ", ".join(columns)


def _iterate_table_metadata(table: Table) -> Iterator[tuple[str, Any]]:
    yield "starlake/table", table.full_name
    yield "starlake/pattern", table.pattern
    if table.metadata.format:
        yield "starlake/format", table.metadata.format
    if table.metadata.directory:
        yield "starlake/directory", table.metadata.directory
    yield from _iterate_strategy_metadata(table.metadata.write_strategy)


def _iterate_strategy_metadata(strategy: WriteStrategy | None) -> Iterator[tuple[str, Any]]:
    yield "starlake/write_strategy", (strategy.type if strategy else None) or "APPEND"
    if strategy and strategy.key:
        yield "starlake/key", ", ".join(strategy.key)
    if strategy and strategy.timestamp:
        yield "starlake/timestamp", strategy.timestamp


def _list_code_references(node: StarlakeNode) -> Iterator[dg.LocalFileCodeReference]:
    """Yield references to the files that define a node: its YAML, and a task's SQL or Python."""
    origin = node.origin
    root = node.project.root
    task = node.task
    program = (task.sql_file or task.python_file) if task else None
    if program and task:
        yield dg.LocalFileCodeReference(file_path=str(root / program), line_number=task.sql_line, label=program)
    if origin and origin.file and origin.file != program:
        yield dg.LocalFileCodeReference(file_path=str(root / origin.file), line_number=origin.line, label=origin.file)
