"""Check that deliberate differences are only of the kind that their reasons allow.

Each reason has a rule. It says whether the engine accepts input that Starlake rejects, or the other way around (which determines how exit
codes, files, tables, and audit rows may differ), and how the rows and columns of tables may differ.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

Rows = Sequence[Sequence[str | None]]
RowCheck = Callable[[Rows, Rows, Rows], bool]
"""Takes the rows that only Starlake has, the rows that only the engine has, and all rows of the engine's table."""

_EXIT = re.compile(r"exit_code: (\d+), (\d+)$")
_FILE = re.compile(r"file ([-+]) (.*) (\S+)$")
_TABLE = re.compile(r"table ([-+]) (\S+)$")
_ROW = re.compile(r"(\S+): row ([-+]) (\[.*)$")
_COLUMNS = re.compile(r"(\S+): columns: (\[.*?\]), (\[.*\])$")
_TIME = re.compile(r"<now>|<time>|\d{14}|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?([-+]\d\d)?")
_KEPT = ("ingesting", "stage")
"""Areas in which a rejected file stays."""


def have_one_row_per_key(gone: Rows, come: Rows, table: Rows) -> bool:
    """Return whether a table has one row per key (its first column), and differs only in keys that Starlake's table repeats."""
    keys = [row[0] for row in table]
    return len(set(keys)) == len(keys) and _list_keys(come) <= _list_keys(gone) <= set(keys)


def have_versions(gone: Rows, come: Rows, table: Rows) -> bool:
    """Return whether all versions have a start time, each key has one current version, and rows differ only in times or are missing."""
    current = [row[0] for row in table if row[-1] is None]
    begun = all(row[-2] is not None for row in table)
    values = Counter(tuple(row[:-2]) for row in table)
    no_new = {tuple(row[:-2]) for row in come} <= {tuple(row[:-2]) for row in gone}
    return begun and len(set(current)) == len(current) == len(_list_keys(table)) and max(values.values()) == 1 and no_new


def have_same_keys(gone: Rows, come: Rows, table: Rows) -> bool:
    """Return whether the rows have the same keys, but other values."""
    return len(gone) == len(come) and _list_keys(gone) == _list_keys(come)


def have_values_set(gone: Rows, come: Rows, table: Rows) -> bool:
    """Return whether values differ only in that they are trimmed, or set where Starlake's are missing."""
    return len(gone) == len(come) and all(any(_is_set(old, new) for old in gone) for new in come)


def _is_set(before: Sequence[str | None], after: Sequence[str | None]) -> bool:
    return len(before) == len(after) and all(
        (old or "").strip() in ("", (new or "").strip()) for old, new in zip(before, after, strict=True)
    )


def have_near_numbers(gone: Rows, come: Rows, table: Rows) -> bool:
    """Return whether numbers differ only in their last digits."""
    return have_same_keys(gone, come, table) and all(
        old == new or abs(float(old or "nan") - float(new or "nan")) < 0.001
        for before, after in zip(sorted(gone, key=str), sorted(come, key=str), strict=True)
        for old, new in zip(before, after, strict=True)
    )


def keep_keys(gone: Rows, come: Rows, table: Rows) -> bool:
    """Return whether the table has all keys of Starlake's table."""
    return _list_keys(gone) <= _list_keys(come)


def have_more_cells(gone: Rows, come: Rows, table: Rows) -> bool:
    """Return whether rows have more columns than those of Starlake's table, and no key is new."""
    return _list_keys(come) <= _list_keys(gone) and all(len(new) > len(old) for new in come for old in gone)


def are_all_new(gone: Rows, come: Rows, table: Rows) -> bool:
    """Return whether all rows of the table are different, because Starlake's table has those of an earlier batch."""
    return sorted(come, key=str) == sorted(table, key=str)


def are_only_missing(gone: Rows, come: Rows, table: Rows) -> bool:
    """Return whether rows are only missing."""
    return not come


def are_only_added(gone: Rows, come: Rows, table: Rows) -> bool:
    """Return whether rows are only added."""
    return not gone


def have_other_times(gone: Rows, come: Rows, table: Rows) -> bool:
    """Return whether rows differ only in times, which may be missing."""
    return sorted(map(_drop_times, gone)) == sorted(map(_drop_times, come))


def _drop_times(row: Sequence[str | None]) -> list[str]:
    return ["<time>" if value is None or _TIME.fullmatch(value) else value for value in row]


def _list_keys(rows: Rows) -> set[str | None]:
    return {row[0] for row in rows}


@dataclass(frozen=True)
class Rule:
    """The differences that a reason explains.

    Attributes:
        accepts: whether the engine accepts what Starlake rejects: commands succeed, files are archived, and tables are added.
        rejects: whether the engine rejects what Starlake accepts: commands fail, files stay, and tables and rows are missing.
        rows: checks whether a difference in the rows of a table is allowed; None if rows may not differ.
        wider: whether a table may have more columns or fields than Starlake's.
        comments: whether the comments of columns and tables may differ.
        files: pattern of other lines about files that are allowed.
        tables: pattern of other lines about tables that are allowed.
        checks: whether the rows of ``audit.expectations`` may differ.
        audit: whether the audit may have more rows.
    """

    accepts: bool = False
    rejects: bool = False
    rows: RowCheck | None = None
    wider: bool = False
    comments: bool = False
    files: str = r"(?!)"
    tables: str = r"(?!)"
    checks: bool = False
    audit: bool = False

    def allows(self, difference: str) -> bool:
        """Return whether a difference is allowed. Rows of tables and of the audit are checked elsewhere, all together."""
        if match := _EXIT.match(difference):
            return self.accepts if match.group(1) != "0" and match.group(2) == "0" else self.rejects and match.group(1) == "0"
        if match := _FILE.match(difference):
            return self._allows_file(match.group(1), match.group(2)) or re.search(self.files, difference) is not None
        if match := _TABLE.match(difference):
            came = match.group(1) == "+"
            return (self.accepts if came else self.rejects) or re.search(self.tables, difference) is not None
        if match := _COLUMNS.match(difference):
            before, after = json.loads(match.group(2)), json.loads(match.group(3))
            return (self.wider and len(before) <= len(after)) or (self.comments and _drop_comments(before) == _drop_comments(after))
        if ": comment: " in difference:
            return self.comments
        if difference.startswith("audit.audit: rows: "):
            # For a table with many rows, only checksums are recorded.
            return self.accepts
        return _ROW.match(difference) is not None

    def _allows_file(self, sign: str, path: str) -> bool:
        area = path.split("/")[1] if "/" in path else ""
        if path.endswith(("/", ".db")):
            # Empty folders are listed. A command that is rejected creates neither folders nor a database.
            return self.accepts or self.rejects
        kept = area in _KEPT
        return (kept or area == "archive") and ((self.rejects and (sign == "+") == kept) or (self.accepts and (sign == "-") == kept))


def _drop_comments(columns: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in column.items() if key != "comment"} for column in columns]


RULES: Mapping[str, Rule] = {
    "work tables": Rule(tables=r"\.zztmp_"),
    "messages": Rule(),
    "archive": Rule(files=r"file [+] datasets/archive/\S+~\d+"),
    "left files": Rule(rejects=True),
    "no silent failure": Rule(rejects=True, rows=are_only_missing),
    "kept columns": Rule(rejects=True, rows=have_more_cells, wider=True),
    "by name": Rule(accepts=True, rows=are_all_new),
    "one row per key": Rule(rows=have_one_row_per_key),
    "versions": Rule(rows=have_versions),
    "privacy": Rule(rows=have_same_keys),
    "settings": Rule(accepts=True, rows=have_values_set, comments=True),
    "types": Rule(accepts=True, rejects=True, rows=have_values_set),
    "expectations": Rule(accepts=True, rejects=True, rows=are_only_missing, checks=True),
    "arrays": Rule(accepts=True),
    "bad cells": Rule(rejects=True),
    "stage": Rule(files=r"file [+] datasets/incoming/"),
    "sink connection": Rule(accepts=True),
    "accepts more": Rule(accepts=True, rows=are_only_added),
    "exact numbers": Rule(rows=have_near_numbers),
    "structs": Rule(rows=keep_keys, wider=True),
    "Parquet": Rule(accepts=True, rejects=True, files=r"file - datasets/tmp/", tables=r"audit\.rejected$"),
    # The file is not even moved to ingesting.
    "connections": Rule(rejects=True, files=r"file - datasets/ingesting/"),
    "templates": Rule(accepts=True),
    "local times": Rule(rows=have_other_times, audit=True),
    "order of macros": Rule(checks=True),
    "every command in the audit": Rule(audit=True),
}


def list_lines_against_rules(explained: Sequence[tuple[str, Set[str]]], actual: Mapping[str, Any]) -> list[str]:
    """Return the lines that the rules of their reasons do not allow.

    Args:
        explained: (line, reasons). A line is ``step N (command): difference``.
        actual: the observation of the engine.
    """
    found = []
    tables: dict[tuple[str, str], list[tuple[str, Set[str], str, list[str | None]]]] = {}
    for line, reasons in explained:
        step, _, difference = line.partition(" (")
        difference = difference.partition("): ")[2]
        rules = [RULES[reason] for reason in reasons]
        if not any(rule.allows(difference) for rule in rules):
            found.append(line)
        elif match := _ROW.match(difference):
            tables.setdefault((step, match.group(1)), []).append((line, reasons, match.group(2), json.loads(match.group(3))))
    for (step, table), rows in tables.items():
        for reason in {reason for _, reasons, _, _ in rows for reason in reasons}:
            here = [(line, sign, row) for line, reasons, sign, row in rows if reason in reasons]
            if not _are_rows_allowed(RULES[reason], table, here, _find_rows(actual, int(step.split()[1]), table)):
                found += [line for line, _, _ in here]
    return found + _list_unbalanced_files(explained)


def _are_rows_allowed(rule: Rule, table: str, rows: Sequence[tuple[str, str, list[str | None]]], whole: Rows) -> bool:
    gone = [row for _, sign, row in rows if sign == "-"]
    come = [row for _, sign, row in rows if sign == "+"]
    if table == "audit.expectations":
        return rule.checks
    if table != "audit.audit":
        return rule.rows is not None and rule.rows(gone, come, whole)
    if rule.audit or rule.checks:
        return True
    # Rows that differ only in their messages are on both sides.
    successes = Counter(str(row[4]) for row in come)
    successes.subtract(Counter(str(row[4]) for row in gone))
    better = successes["true"] >= 0 >= successes["false"]
    worse = successes["true"] <= 0 <= successes["false"]
    return (rule.accepts and rule.rejects) or (better and rule.accepts) or (worse and rule.rejects)


def _find_rows(actual: Mapping[str, Any], step: int, table: str) -> Rows:
    """Return the rows of a table after a step. A table that did not change is recorded in an earlier step."""
    for index in range(step - 1, -1, -1):
        seen = actual["steps"][index]["tables"].get(table)
        if isinstance(seen, Mapping):
            rows: Rows = seen.get("rows") or []
            return rows
    return []


def _list_unbalanced_files(explained: Sequence[tuple[str, Set[str]]]) -> list[str]:
    """Return the lines about files that were lost or duplicated, not moved from one folder to another."""
    files: dict[tuple[str, str], list[tuple[str, str, Set[str]]]] = {}
    for line, reasons in explained:
        step, _, difference = line.partition(" (")
        match = _FILE.match(difference.partition("): ")[2])
        if match and not match.group(2).endswith(("/", ".db")):
            name = re.sub(r"~\d+", "", match.group(2).rsplit("/", 1)[-1])
            files.setdefault((step, name), []).append((match.group(1), line, reasons))
    found = []
    for lines in files.values():
        growth = sum(1 if sign == "+" else -1 for sign, _, _ in lines)
        if growth < 0 or (growth and not any(reasons & {"archive", "stage"} for _, _, reasons in lines)):
            found += [line for _, line, _ in lines]
    return found
