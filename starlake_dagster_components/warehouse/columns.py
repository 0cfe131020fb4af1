"""Read which columns a table of a warehouse has."""

from collections.abc import Mapping

from .address import Address
from .query import run_query


def read_columns(address: Address, schema: str, table: str) -> Mapping[str, str]:
    """Return the names and types of a table's columns, in order; empty if the table does not exist. Types are in lower case.

    Args:
        address: the warehouse.
        schema: the schema, or BigQuery's dataset. Its case does not matter, and neither does that of the table.
        table: the table or view.

    Raises:
        QueryFailed: they cannot be read.
    """
    if address.drivers == ("bigquery",):
        source, chosen = f"{address.quote_name(schema)}.INFORMATION_SCHEMA.COLUMNS", {}
    else:
        source, chosen = "information_schema.columns", {"schema": schema}
    conditions = [*(["lower(table_schema) = lower(:schema)"] if chosen else []), "lower(table_name) = lower(:table)"]
    statement = f"SELECT column_name, data_type FROM {source} WHERE {' AND '.join(conditions)} ORDER BY ordinal_position"
    return {str(name): str(kind).lower() for name, kind in run_query(address, statement, {**chosen, "table": table})}
