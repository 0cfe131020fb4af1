"""Find the loader that Starlake uses for a table. Starlake: IngestionJob.selectLoader, isNativeCandidate."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from .model import Attribute, Project, Table, Task

Loader = Literal["native", "spark"]

_NATIVE_FORMATS: Mapping[str, frozenset[str]] = {
    "duckdb": frozenset(("DSV", "JSON", "JSON_FLAT", "POSITION")),
    "bigquery": frozenset(("DSV", "JSON", "JSON_FLAT", "POSITION")),
    "snowflake": frozenset(("DSV", "JSON", "JSON_FLAT", "XML", "PARQUET", "POSITION")),
}


def find_loader(project: Project, table: Table) -> Loader:
    """Return a table's loader: ``native`` if it is configured and the warehouse supports the format, else ``spark``, the default."""
    application = project.application
    connection = project.find_connection(table)
    own = application.find_raw("connections", connection.name, "loader") if connection else None
    asked = table.metadata.loader or (own if isinstance(own, str) else None) or application.loader
    if (asked or project.variables.get("SL_LOADER") or "").lower() != "native" or connection is None:
        return "spark"
    return "native" if (table.metadata.format or "DSV").upper() in _NATIVE_FORMATS.get(connection.engine, ()) else "spark"


def starts_spark(project: Project, task: Task) -> bool:
    """Return whether Starlake starts Spark for a task: it does if the task's table is not in a database."""
    connection = project.find_connection(task)
    return connection is None or connection.engine == "spark"


def explain_unmasked_columns(project: Project, tables: Sequence[Table]) -> Iterator[str]:
    """Yield a sentence for each DuckDB table whose ``privacy`` Starlake ignores. Both of its loaders apply only ``SQL:``."""
    for table in tables:
        connection = project.find_connection(table)
        if connection is not None and connection.engine == "duckdb":
            names = ", ".join(_list_private_columns(table.attributes))
            if names:
                loader = {"native": "native", "spark": "Spark"}[find_loader(project, table)]
                yield (
                    f"Starlake's {loader} loader ignores privacy on DuckDB: these columns of {table.full_name} are stored in clear text: "
                    f"{names}"
                )


def _list_private_columns(attributes: Iterable[Attribute], prefix: str = "") -> Iterator[str]:
    for attribute in attributes:
        if (attribute.privacy or "NONE").upper() != "NONE" and not (attribute.privacy or "").upper().startswith("SQL:"):
            yield prefix + attribute.final_name
        yield from _list_private_columns(attribute.attributes, f"{prefix}{attribute.final_name}.")
