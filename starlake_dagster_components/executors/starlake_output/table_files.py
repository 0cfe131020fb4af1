"""Assign files and audit rows to the tables of a load. Starlake: DomainInfo.findSchema."""

from collections.abc import Iterable, Mapping, Sequence

from ...commands import LoadTable


def group_by_table(names: Iterable[str], tables: Sequence[LoadTable]) -> Mapping[str, frozenset[str]]:
    """Return the names of files by the logical name of their table, which is the first whose pattern accepts the name."""
    from ...project.file_patterns import match_patterns

    found: dict[str, set[str]] = {}
    for name, index in match_patterns(names, [table.pattern for table in tables]).items():
        found.setdefault(tables[index].name, set()).add(name)
    return {table: frozenset(files) for table, files in found.items()}


def find_table(tables: Sequence[LoadTable], domain: str, table: str) -> LoadTable | None:
    """Return the table of an audit row. Rows of the second step of a load have its name in the database, which a rename may change."""
    found = [t for t in tables if (domain, table) == (t.domain, t.name)]
    final = (domain.lower(), table.lower())
    return next(iter(found or (t for t in tables if final == (t.final_domain.lower(), t.final_name.lower()))), None)
