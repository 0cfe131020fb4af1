"""Which files, and which names, belong to which table of a load. Starlake: DomainInfo.findSchema."""

from collections.abc import Iterable, Mapping, Sequence

from ...commands import LoadTable


def group_by_table(names: Iterable[str], tables: Sequence[LoadTable]) -> Mapping[str, frozenset[str]]:
    """Return names of files by the logical name of the table that takes them: the first whose pattern accepts the name."""
    from ...project.file_patterns import match_patterns

    found: dict[str, set[str]] = {}
    for name, index in match_patterns(names, [table.pattern for table in tables]).items():
        found.setdefault(tables[index].name, set()).add(name)
    return {table: frozenset(files) for table, files in found.items()}


def find_table(tables: Sequence[LoadTable], domain: str, table: str) -> LoadTable | None:
    """Return the table that an audit row is about: rows of the second half of a load have its names in the database. Observed: renames."""
    found = [t for t in tables if (domain, table) == (t.domain, t.name)]
    final = (domain.lower(), table.lower())
    return next(iter(found or (t for t in tables if final == (t.final_domain.lower(), t.final_name.lower()))), None)
