"""Report parts of a project that the engine accepts, but Starlake's command line rejects.

Observed with Starlake 1.8.2: its SQL parser (JSQLParser) supports fewer statements than DuckDB, and its native loader does not quote column
names. Each function warns once. If the command is strict, it raises NotSupported instead.
"""

import functools
import re
from collections.abc import Iterator, Sequence

from ..project.model import Attribute, Table, Task, TypeDefinition
from ..project.sql.tokens import DUCKDB, tokenize_sql
from .audit_tables import find_template_failure
from .database import Column
from .instances import lend_instance
from .result import ExpectationOutcome
from .session import Session

_PLAIN = re.compile(r"[^\W\d]\w*")
_FIRST = {
    "FROM": "a query that begins with FROM",
    "PIVOT": "PIVOT as a statement",
    "UNPIVOT": "UNPIVOT as a statement",
    "SUMMARIZE": "SUMMARIZE as a query",
    "DESCRIBE": "DESCRIBE as a query",
    "SHOW": "SHOW as a query",
}
_BY_POSITION = frozenset({"OVERWRITE", "UPSERT_BY_KEY", "UPSERT_BY_KEY_AND_TIMESTAMP"})
"""Write strategies whose templates insert without the names of the columns. Starlake: templates/write-strategies/duckdb."""
SHOWN_NAMES = 10
"""Maximum number of column names in a message."""
_TRUE = ("true", "t", "1", "yes", "y")
_FALSE = ("false", "f", "0", "no", "n")
_JOINS = re.compile(r"\b(ASOF|POSITIONAL)\s+(?:LEFT\s+|RIGHT\s+|FULL\s+|INNER\s+)?(?:OUTER\s+)?JOIN\b", re.IGNORECASE)


def report_rejected_sql(session: Session, place: object, name: str, query: str, keyword: str) -> None:
    """Warn about the parts of a task's query that Starlake's SQL parser rejects, given its first word."""
    # Without comments, strings, and quoted names.
    code = "".join(" " if token.kind in ("comment", "string", "quoted") else token.text for token in tokenize_sql(query, DUCKDB))
    found = [_FIRST[keyword]] if keyword in _FIRST else []
    found += [f"{join} JOIN" for join in dict.fromkeys(match.group(1).upper() for match in _JOINS.finditer(code))]
    found += ["the operator **"] if "**" in code else []
    for part in found:
        session.report_rejected(f"{place}: task {name}: Starlake does not run {part}")


def report_rejected_table(session: Session, table: Table) -> None:
    """Warn about attributes that Starlake's loader cannot write, and about an audit that it cannot write.

    These are the project's own types that have no mapping to DuckDB, or have values that DuckDB does not recognize (Starlake:
    TableAttribute.ddlMapping), names that need quotes, and the project's own template ``append``, which Starlake uses for the audit.
    """
    attributes = list(_walk_attributes(table.attributes))
    names = dict.fromkeys(name for attribute in attributes for name in (attribute.name, attribute.final_name) if _needs_quotes(name))
    known = session.project.types
    used = [known[name] for name in dict.fromkeys(attribute.type for attribute in attributes) if name in known]
    unmapped = [own for own in used if own.origin is not None and not own.ddl_mapping.get("duckdb")]
    unread = [own for own in used if own.origin is not None and own not in unmapped and _is_pattern_unknown(own)]
    for what, found in (
        ("columns whose names need quotes", [f"'{name}'" for name in names]),
        ("types without ddlMapping.duckdb", [own.name for own in unmapped]),
        ("values that match only the pattern of a type", [own.name for own in unread]),
    ):
        if found:
            report_rejected_file(session, table, f"{what}: {shorten_names(found)}", key="attributes")
    failure = find_template_failure(session)
    if failure is not None:
        message = f"Starlake also writes its audit with the project's template append, and fails: {failure}"
        session.report_rejected(f"{table.full_name}: {message}")


def _walk_attributes(attributes: Sequence[Attribute]) -> Iterator[Attribute]:
    for attribute in attributes:
        yield attribute
        yield from _walk_attributes(attribute.attributes)


def _needs_quotes(name: str) -> bool:
    return _PLAIN.fullmatch(name) is None or name.lower() in _list_reserved_words()


def _is_pattern_unknown(definition: TypeDefinition) -> bool:
    """Return whether a type's pattern matches values that DuckDB does not recognize. Starlake leaves the conversion to DuckDB."""
    pattern = definition.pattern or ""
    if definition.primitive == "boolean":
        true, _, false = pattern.partition("<-TF->")
        return bool(false) and not (_matches_any(true, _TRUE) and _matches_any(false, _FALSE))
    if definition.primitive not in ("date", "timestamp"):
        return False
    lacks_seconds = "HH:mm" in pattern and ":ss" not in pattern and not pattern.startswith("yyyy")
    return lacks_seconds or re.search("epoch|MMM|EEE", pattern) is not None


def _matches_any(pattern: str, words: Sequence[str]) -> bool:
    try:
        return any(re.fullmatch(pattern, word, re.IGNORECASE) for word in words)
    except re.error:
        return True


def report_rejected_sink(session: Session, task: Task) -> None:
    """Warn about a task whose sink names a connection other than the one on which the task runs."""
    application = session.project.application
    sink = task.sink.connection_ref if task.sink else None
    if sink and sink != (task.connection_ref or application.transform_connection_ref or application.connection_ref):
        place = task.origin.locate("sink.connectionRef")
        session.report_rejected(f"{place}: task {task.full_name}: Starlake does not write to the connection '{sink}' of its sink")


def report_rejected_expectations(session: Session, table: Table, outcomes: Sequence[ExpectationOutcome]) -> None:
    """Warn about expectations of a load that are not met. Starlake fails even if they have ``failOnError: false``."""
    if not session.settings.expectations_fail_on_error:
        return
    places = {expectation.expect: expectation.origin.locate() for expectation in table.expectations}
    for outcome in outcomes:
        if not outcome.success and not outcome.blocking:
            place = places[outcome.expect]
            session.report_rejected(f"{place}: {table.full_name}: Starlake would fail despite failOnError: false: {outcome.expect}")


def report_rejected_order(session: Session, place: object, who: str, strategy: str, names: Sequence[str], existing: Sequence[str]) -> None:
    """Warn about rows whose columns are in a different order from those of their table, if Starlake writes by position."""
    if strategy in _BY_POSITION and [name.lower() for name in names] != [name.lower() for name in existing]:
        shown = shorten_names(existing)
        session.report_rejected(f"{place}: {who}: Starlake writes by position with {strategy}, and the table's columns are {shown}")


def report_rejected_structs(session: Session, table: Table, existing: Sequence[Column], wanted: Sequence[Column]) -> None:
    """Warn about structs that a table does not have yet, because Starlake does not add them."""
    there = {column.name.lower() for column in existing}
    added = [column.name for column in wanted if column.name.lower() not in there and column.type.startswith("STRUCT(")]
    if added:
        place = table.origin.locate("attributes")
        session.report_rejected(f"{place}: {table.full_name}: Starlake does not add structs to a table: {shorten_names(added)}")


def shorten_names(names: Sequence[str]) -> str:
    """Return names separated by commas, at most :data:`SHOWN_NAMES` of them."""
    return ", ".join(names[:SHOWN_NAMES]) + (", ..." if len(names) > SHOWN_NAMES else "")


def report_rejected_file(session: Session, table: Table, found: str, key: str = "") -> None:
    """Warn once per table about something that Starlake's loader does not read. ``key`` is the table's key that asks for it."""
    session.report_rejected(f"{table.origin.locate(key)}: {table.full_name}: Starlake does not load {found}")


@functools.cache
def _list_reserved_words() -> frozenset[str]:
    with lend_instance() as lent:
        words = lent.connection.execute("SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category = 'reserved'").fetchall()
    return frozenset(word for (word,) in words)
