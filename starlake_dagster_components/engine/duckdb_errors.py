"""Read the messages of DuckDB's errors, and of others."""

import json

import duckdb

from ..full_disk import explain_full_disk
from .areas import show_path


def explain_error(error: duckdb.Error) -> tuple[str, int | None]:
    """Return DuckDB's message on one line, and the position in the statement if it is known."""
    if full := explain_full_disk(error):
        return full, None
    text = str(error)
    kind, _, rest = text.partition(": ")
    try:
        found = json.loads(rest)
    except ValueError:
        return _join_lines(text), None
    if not isinstance(found, dict):
        return _join_lines(text), None
    position = str(found.get("position", ""))
    return _join_lines(f"{kind}: {found.get('exception_message', rest)}"), int(position) if position.isdigit() else None


def describe_error(error: Exception) -> str:
    """Return a message about an exception of any library, for users."""
    if isinstance(error, duckdb.Error):
        return explain_error(error)[0][:2000]
    if full := explain_full_disk(error):
        return full
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {show_path(error.filename)}" if error.filename else error.strerror
    return f"{type(error).__name__}: {error}"[:2000]


def _join_lines(text: str) -> str:
    kept = [line.strip() for line in text.splitlines() if line.strip()]
    body = []
    for line in kept:
        if line.startswith("LINE ") and ":" in line:
            break
        body.append(line)
    return " ".join(body)
