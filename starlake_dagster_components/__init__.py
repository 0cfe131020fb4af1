"""Run a Starlake project in Dagster without generated code."""

__version__ = "0.1.0"
