"""``StarlakeTranslator``, which returns the asset spec of a node. Subclass it to change assets."""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from ..errors import join_names
from ..project.model import Expectation, Table, WriteStrategy
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

    Override ``get_asset_spec`` to change specs. If you change a key, dependencies on the original key are updated afterward.

    Example:
        ```python
        class Finance(StarlakeTranslator):
            def get_asset_spec(self, node):
                spec = super().get_asset_spec(node)
                return spec.replace_attributes(owners=["team:finance"]) if node.domain == "billing" else spec
        ```
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
            description=_build_description(node),
            group_name=build_group_name(node.domain) if node.domain else None,
            kinds=_list_kinds(node),
            tags=build_tags(node.definition.tags if node.definition else ()),
            metadata={name: value for name, value in _iterate_metadata(node) if value},
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
            the ``expectation_checks`` setting. If an override returns None, the expectation is evaluated, but is not a check. The spec's
            asset is ignored: it is always that of the node.
        """
        return build_default_check_spec(node, expectation, node.key)


def _build_description(node: StarlakeNode) -> str | None:
    if node.load_domain:
        strategy = node.pipeline.pre_load[node.load_domain.name].strategy if node.pipeline else "none"
        directory = node.load_domain.metadata.directory
        source = f", files from `{directory}`" if directory and strategy in ("imported", "ack") else ""
        text = f"Pre-load of the domain {node.name}: strategy `{strategy}`{source}. The domain's tables are loaded if it finds files."
        return f"{text}\n\n{node.description}" if node.description else text
    sql = node.task.sql_text if node.task and node.settings.show_sql else None
    return "\n\n".join(filter(None, (node.description, " ".join(_describe_writing(node)), sql and format_sql_block(sql)))) or None


def _describe_writing(node: StarlakeNode) -> Iterator[str]:
    """Yield sentences about the input of a table or task, its write strategy, and the layout of the table that it writes."""
    strategy: WriteStrategy | None
    if node.table:
        metadata, strategy, sink = node.table.metadata, node.table.metadata.write_strategy, node.table.metadata.sink
        files = f"{metadata.format} files" if metadata.format else "files"
        yield f"Loads {files} `{node.table.pattern}`{f' in `{metadata.directory}`' if metadata.directory else ''}."
    elif node.task:
        strategy, sink = node.task.write_strategy, node.task.sink
        if node.dependencies:
            yield f"Reads {join_names([f'`{name}`' for name in sorted(d.name for d in node.dependencies)], MAX_READS)}."
    else:
        return
    keys = f" on {_join_names(strategy.key)}" if strategy and strategy.key else ""
    timestamp = f" by `{strategy.timestamp}`" if strategy and strategy.timestamp else ""
    yield f"Write strategy `{(strategy and strategy.type) or 'APPEND'}`{keys}{timestamp}."
    primary_key = node.load_or_task.primary_key if node.load_or_task else ()
    layout = (("Primary key", primary_key), ("Partitioned by", sink and sink.partition), ("Clustered by", sink and sink.clustering))
    yield from (f"{label} {_join_names(columns)}." for label, columns in layout if columns)


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


def _iterate_metadata(node: StarlakeNode) -> Iterator[tuple[str, Any]]:
    """Yield the metadata of a node; values that are not set are empty or None."""
    references: list[dg.LocalFileCodeReference | dg.UrlCodeReference] = list(_list_code_references(node))
    if references:
        yield "dagster/code_references", dg.CodeReferencesMetadataValue(code_references=references)
    described = node.load_or_task
    if node.load_domain:
        yield "starlake/domain", node.load_domain.name
        yield "starlake/directory", node.load_domain.metadata.directory
    if described is None:
        return
    yield "dagster/column_schema", build_table_schema(described, node.project.types) or build_inferred_schema(node.inferred_columns)
    final = ".".join(find_written_table(described))
    yield "dagster/table_name", f"{described.database}.{final}" if described.database else final
    connection = node.connection
    if connection:
        yield "starlake/connection", connection.name
        yield "dagster/storage_kind", connection.engine if connection.engine != "unknown" else None
    if isinstance(described, Table):
        strategy = described.metadata.write_strategy
        yield "starlake/table", described.full_name
        yield "starlake/pattern", described.pattern
        yield "starlake/format", described.metadata.format
        yield "starlake/directory", described.metadata.directory
    else:
        strategy = described.write_strategy
        yield "starlake/task", described.full_name
    yield "starlake/write_strategy", (strategy and strategy.type) or "APPEND"
    if strategy:
        yield "starlake/key", ", ".join(strategy.key)
        yield "starlake/timestamp", strategy.timestamp
    sink = find_sink(described)
    if sink:
        yield "starlake/partition", ", ".join(sink.partition)
        yield "starlake/clustering", ", ".join(sink.clustering)
    yield "starlake/primary_key", ", ".join(described.primary_key)
    yield "starlake/dag", node.pipeline.dag_config.name if node.pipeline else None


def _list_code_references(node: StarlakeNode) -> Iterator[dg.LocalFileCodeReference]:
    """Yield references to the files that define a node: its YAML, and a task's SQL or Python."""
    origin, root, task = node.origin, node.project.root, node.task
    program = (task.sql_file or task.python_file) if task else None
    if program and task:
        yield dg.LocalFileCodeReference(file_path=str(root / program), line_number=task.sql_line, label=program)
    if origin and origin.file and origin.file != program:
        yield dg.LocalFileCodeReference(file_path=str(root / origin.file), line_number=origin.line, label=origin.file)
