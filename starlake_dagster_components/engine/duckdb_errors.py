"""Read DuckDB's error messages."""

import json

import duckdb


def explain_error(error: duckdb.Error) -> tuple[str, int | None]:
    """Return DuckDB's message on one line, and the position in the statement if it is known."""
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


def _join_lines(text: str) -> str:
    kept = [line.strip() for line in text.splitlines() if line.strip()]
    body = []
    for line in kept:
        if line.startswith("LINE ") and ":" in line:
            break
        body.append(line)
    return " ".join(body)
