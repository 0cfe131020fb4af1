"""Check that Starlake's commands can use the names of domains, tables, and tasks, and that the names are distinct in a database.

Starlake: forceDomainPattern, forceTablePattern, forceJobPattern, and forceTaskPattern of reference-general.conf.
"""

import re
import unicodedata
from collections.abc import Iterable

from ..errors import Location
from .documents import Reading
from .model import Domain, Task

_RULE = re.compile(r"[_a-zA-Z][$£a-zA-Z0-9_]{0,255}", re.ASCII)
_WORD = re.compile(r"[^\s,*?'\"`$;&|<>()\\={}\[\]#!~%^\x00-\x1f\x7f-]" r"[^\s,*?'\"`;&|<>()\\={}\[\]#!~%^\x00-\x1f\x7f]*")


def check_names(reading: Reading, domains: Iterable[Domain], tasks: Iterable[Task]) -> None:
    """Report names that Starlake's command line would split, and warn about names that do not match Starlake's pattern."""
    for domain in domains:
        _check_name(reading, "domain", domain.name, domain.origin.locate("name"))
        for table in domain.tables:
            _check_name(reading, "table", table.name, table.origin.locate("name"))
    checked: set[str] = set()
    for task in tasks:
        if task.domain not in checked:
            checked.add(task.domain)
            _check_name(reading, "domain", task.domain, task.origin.locate("domain"))
        _check_name(reading, "task", task.name, task.origin.locate())


def _check_name(reading: Reading, kind: str, name: str, place: Location) -> None:
    if _RULE.fullmatch(name):
        return
    shown = repr(name) if len(name) <= 80 else f"{name[:80]!r}..."
    usable = _WORD.fullmatch(name) and len(name) <= 256
    what = "is not a name that Starlake accepts everywhere" if usable else "cannot be passed to Starlake's commands"
    message = f"{kind} {shown} {what}: Starlake's rule is [a-zA-Z][a-zA-Z0-9_]{{1,256}}"
    reading.add_problem(place, "warning" if usable else "error", message)


def warn_about_equal_tables(reading: Reading, domains: Iterable[Domain], tasks: Iterable[Task]) -> None:
    """Warn about tables whose names differ only in case or accents, because many databases treat them as one table."""
    nodes = [(f"{table.final_domain}.{table.final_name}", table.origin.locate("name")) for domain in domains for table in domain.tables]
    nodes += [(task.sink_name, task.origin.locate("table")) for task in tasks]
    first: dict[str, tuple[str, Location]] = {}
    for name, place in nodes:
        other, other_place = first.setdefault(_fold_name(name), (name, place))
        if other == name:
            continue
        what = "case" if other.casefold() == name.casefold() else "accents"
        message = f"table '{name}' and table '{other}' in {other_place} differ only in {what}: many databases treat them as one table"
        reading.add_problem(place, "warning", message)


def _fold_name(name: str) -> str:
    if name.isascii():
        return name.lower()
    return "".join(char for char in unicodedata.normalize("NFKD", name.casefold()) if not unicodedata.combining(char))
