"""Which files belong to which table of a load. Starlake: DomainInfo.findSchema."""

import re
from collections.abc import Iterable, Mapping, Sequence

from ...commands import LoadTable


def group_by_table(names: Iterable[str], tables: Sequence[LoadTable]) -> Mapping[str, frozenset[str]]:
    """Return names of files by the logical name of the table that takes them: the first whose pattern accepts the name."""
    patterns = [(table.name, compile_file_pattern(table.pattern)) for table in tables]
    found: dict[str, set[str]] = {}
    for name in names:
        table = next((table for table, pattern in patterns if pattern.fullmatch(name)), None)
        if table is not None:
            found.setdefault(table, set()).add(name)
    return {table: frozenset(files) for table, files in found.items()}


def compile_file_pattern(pattern: str) -> re.Pattern[str]:
    """Return the pattern of a table's files; one that accepts nothing where the pattern is wrong, which is reported when the project is read."""
    from ...project.file_patterns import compile_pattern

    try:
        return compile_pattern(pattern)
    except ValueError:
        return re.compile(r"(?!)")
