"""Interpret a database's message about a failed statement: whether a retry may succeed, and where the error is."""

import re

SHOWN_BEFORE = 8
"""Number of lines to show before the line with the error."""
SHOWN_AFTER = 4
SHOWN = 20
"""Number of lines to show if the line with the error is not known."""

_PERMANENT = re.compile(
    "|".join(
        (
            # DuckDB
            r"\b(?:Parser|Binder|Conversion|Constraint|Out of Range|Mismatch Type|Syntax) Error: ",
            r"\bInvalid Input Error: (?!Attempting to execute )",
            r"\bCSV Error on Line: \d",
            # PostgreSQL, Redshift
            r"\bsyntax error at (?:or near|end of input)",
            r"\bcolumn \S+ does not exist",
            r"\bcolumn reference \S+ is ambiguous",
            r"\b(?:operator|function) .{1,200}? does not exist",
            r"\binvalid input syntax for ",
            r"\bvalue too long for type\b",
            r"\bnumeric field overflow\b",
            r"\b(?:integer|bigint|smallint|field value) out of range\b",
            r"\bmore than one row returned by a subquery\b",
            r"\bdivision by zero\b",
            r"\bviolates (?:not-null|unique|check|foreign key) constraint\b",
            # MySQL, MariaDB
            r"\bYou have an error in your SQL syntax\b",
            r"\bUnknown column '",
            r"\b(?:Incorrect \w+ value|Data too long for column|Duplicate entry)\b",
            # Snowflake
            r"\bSQL compilation error(?!.{0,300}does not exist or not authorized)",
            r"\bNumeric value '.{0,200}' is not recognized",
            # BigQuery
            r"\bSyntax error: ",
            r"\bUnrecognized name: ",
            r"\bNo matching signature for ",
            r"\bCould not (?:parse|cast) ",
            # Spark
            r"\[(?:PARSE_SYNTAX_ERROR|UNRESOLVED_COLUMN|DATATYPE_MISMATCH|CAST_INVALID_INPUT)",
            # Starlake and its Jinja
            r"\bInvalid task name ",
            r"\bCould not resolve function '",
        )
    ),
    re.DOTALL,
)
"""Errors that recur with the same SQL and files. A missing table is not one of them, because another job may be about to create it."""

_POSITIONS = (
    # PostgreSQL: the number of the character, from 1.
    re.compile(r"\bPosition: (?P<offset>\d+)"),
    # BigQuery: "at [2:8]", line and column from 1.
    re.compile(r"\bat \[(?P<line>\d+):(?P<column>\d+)\]"),
    # Snowflake: "error line 2 at position 7", the line from 1 and the position from 0.
    re.compile(r"\bline (?P<line>\d+) at position (?P<after>\d+)"),
    re.compile(r"\bat line (?P<line>\d+)"),
)
_EXCERPT = re.compile(r"^LINE (\d+): (.*)\n(\s*)\^", re.MULTILINE)


def is_permanent(reason: str | None) -> bool:
    """Return whether a retry would fail with the same error: a syntax error, an unknown column, or a value of the wrong type."""
    return reason is not None and _PERMANENT.search(reason) is not None


def show_statement(statement: str, line: int | None = None, column: int | None = None) -> str:
    """Return the lines of a statement around an error, indented by four spaces, with a caret that points to the error.

    ``line`` and ``column`` count from 1; None = unknown.
    """
    lines = [text.rstrip().expandtabs(4) for text in statement.split("\n")]
    if line is None or not 1 <= line <= len(lines):
        first = next((number for number, text in enumerate(lines) if text), 0)
        shown = lines[first : first + SHOWN]
        rest = len("\n".join(lines[first + SHOWN :]).strip())
        return "\n".join(f"    {text}".rstrip() for text in (*shown, *(["..."] if rest else []))).rstrip()
    first, last = max(0, line - 1 - SHOWN_BEFORE), min(len(lines), line + SHOWN_AFTER)
    found = [f"    {text}".rstrip() for text in lines[first:last]]
    if column is not None and column >= 1:
        found.insert(line - first, " " * (3 + column) + "^")
    return "\n".join([*(["    ..."] if first else []), *found, *(["    ..."] if last < len(lines) else [])])


def find_place(message: str, statement: str) -> tuple[int | None, int | None]:
    """Return the line and column of an error in a statement, from 1; None for each that the message does not contain."""
    excerpt = _EXCERPT.search(message)
    if excerpt:
        line, text = int(excerpt[1]), excerpt[2]
        lines = statement.split("\n")
        # DuckDB shortens long lines at both ends.
        cut = text.startswith("...")
        kept = text.strip(".") if cut or text.endswith("...") else text
        at = lines[line - 1].find(kept) if line <= len(lines) else -1
        if at < 0:
            return line, None
        return line, len(excerpt[3]) - len(f"LINE {line}: ") - (3 if cut else 0) + at + 1
    for pattern in _POSITIONS:
        found = pattern.search(message)
        if found:
            return _read_place(found.groupdict(), statement)
    return None, None


def _read_place(found: dict[str, str | None], statement: str) -> tuple[int | None, int | None]:
    offset = found.get("offset")
    if offset is not None:
        before = statement[: int(offset) - 1]
        return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
    column = found.get("column")
    after = found.get("after")
    return int(found["line"] or 1), int(column) if column else int(after) + 1 if after is not None else None
