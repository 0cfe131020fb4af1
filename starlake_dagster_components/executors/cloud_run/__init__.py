"""Starlake commands as executions of a Google Cloud Run job, through the client library ``google-cloud-run``.

Importing this needs neither the library nor credentials.
"""

from .executor import CloudRunExecutor

__all__ = ["CloudRunExecutor"]
