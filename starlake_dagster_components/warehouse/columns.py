"""Read the columns of a table from a warehouse."""

from collections.abc import Mapping

from .address import Address
from .query import run_query


def read_columns(address: Address, schema: str, table: str) -> Mapping[str, str]:
    """Return the columns of a table in order: name -> type in lower case; empty if the table does not exist.

    Args:
        address: the warehouse.
        schema: name of the schema (BigQuery: the dataset), in any case.
        table: name of the table or view, in any case.

    Raises:
        QueryFailed: the columns cannot be read.
    """
    source, conditions, parameters = "information_schema.columns", "lower(table_name) = lower(:table)", {"table": table}
    if address.drivers == ("bigquery",):
        source = f"{address.quote_name(schema)}.INFORMATION_SCHEMA.COLUMNS"
    else:
        conditions += " AND lower(table_schema) = lower(:schema)"
        parameters["schema"] = schema
    statement = f"SELECT column_name, data_type FROM {source} WHERE {conditions} ORDER BY ordinal_position"
    return {str(name): str(kind).lower() for name, kind in run_query(address, statement, parameters)}
