"""Which files belong to which table of a load. Starlake: DomainInfo.findSchema."""

from collections.abc import Iterable, Mapping, Sequence

from ...commands import LoadTable


def group_by_table(names: Iterable[str], tables: Sequence[LoadTable]) -> Mapping[str, frozenset[str]]:
    """Return names of files by the logical name of the table that takes them: the first whose pattern accepts the name."""
    from ...project.file_patterns import match_patterns

    found: dict[str, set[str]] = {}
    for name, index in match_patterns(names, [table.pattern for table in tables]).items():
        found.setdefault(tables[index].name, set()).add(name)
    return {table: frozenset(files) for table, files in found.items()}
