"""Markdown for descriptions and metadata."""

import re

_BACKTICKS = re.compile(r"`+")


def format_sql_block(sql: str) -> str:
    """Return SQL as a Markdown code block whose fence is longer than any fence inside."""
    fence = "`" * max(3, 1 + max((len(run) for run in _BACKTICKS.findall(sql)), default=0))
    return f"{fence}sql\n{sql.strip()}\n{fence}"
