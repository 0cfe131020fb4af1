"""Find tables whose patterns match the same file. Starlake loads the file into only one of them."""

import os
import re
from collections.abc import Iterable

from .documents import Reading
from .file_patterns import compile_pattern
from .model import Domain, Table
from .pattern_samples import build_samples, find_literal_prefix

# Without a limit, comparing a thousand patterns that begin with .* takes seconds.
_MAX_COMPARISONS = 50_000
_MAX_SAMPLE = 60
_REPEATS = re.compile(r"[*+]|\{\d*,\d*\}")
_REPEATED_GROUP = re.compile(r"\)[*+{]")


def warn_about_shared_patterns(reading: Reading, domains: Iterable[Domain]) -> None:
    """Report tables of one domain, or of domains that share an incoming folder, whose patterns match the same file.

    Equal patterns in domains that share a folder are an error in Starlake, too (SchemaHandler). Starlake does not detect other overlaps.
    """
    folders: dict[str, list[Table]] = {}
    for domain in domains:
        _compare_tables(reading, domain.tables)
        for table in domain.tables:
            if table.metadata.directory:
                folders.setdefault(os.path.normpath(table.metadata.directory), []).append(table)
    for tables in folders.values():
        if any(table.domain != tables[0].domain for table in tables):
            _compare_tables(reading, tables, across=True)


def _compare_tables(reading: Reading, tables: Iterable[Table], *, across: bool = False) -> None:
    # Patterns can match the same name only if one literal prefix begins with the other, so most tables are compared with few others.
    earlier: dict[str, list[Table]] = {}
    left = _MAX_COMPARISONS
    for table in sorted(tables, key=lambda table: len(find_literal_prefix(table.pattern))):
        own = find_literal_prefix(table.pattern)
        for length in range(len(own) + 1):
            for other in earlier.get(own[:length], ()):
                if other.full_name != table.full_name and not (across and other.domain == table.domain) and left > 0:
                    left -= 1
                    _compare_two(reading, table, other)
        earlier.setdefault(own, []).append(table)


def _compare_two(reading: Reading, table: Table, other: Table) -> None:
    try:
        shared = _find_shared_name(table.pattern, other.pattern)
    except ValueError:
        return  # reported where the pattern was read
    if shared is None:
        return
    second, first = (table, other) if (table.domain, table.name) > (other.domain, other.name) else (other, table)
    place = first.origin.locate("pattern")
    if table.domain != other.domain and table.pattern == other.pattern:
        message = f"table '{second.full_name}' has the same pattern as '{first.full_name}' in {place}, and their domains share a folder"
        reading.add_problem(second.origin.locate("pattern"), "error", f"{message}; Starlake rejects this")
    else:
        message = f"the patterns of '{second.full_name}' and of '{first.full_name}' in {place} match the same file, such as '{shared}'"
        reading.add_problem(second.origin.locate("pattern"), "warning", f"{message}; only one of the two tables gets it")


def _find_shared_name(pattern: str, other: str) -> str | None:
    """Return a file name that both patterns match, or None if no sample matches both."""
    if not _is_fast(pattern) or not _is_fast(other):
        return None
    first, second = compile_pattern(pattern), compile_pattern(other)
    for sample in (*build_samples(pattern), *build_samples(other)):
        if 0 < len(sample) <= _MAX_SAMPLE and first.fullmatch(sample) and second.fullmatch(sample):
            return sample
    return None


def _is_fast(pattern: str) -> bool:
    """Return whether a pattern is safe from exponential time: it repeats no group and has few repetitions."""
    return bool(pattern) and len(_REPEATS.findall(pattern)) <= 4 and _REPEATED_GROUP.search(pattern) is None
