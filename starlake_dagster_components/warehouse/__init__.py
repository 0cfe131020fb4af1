"""Read from the warehouses that Starlake writes to: its audit tables, row counts, rows. Nothing is ever written."""
