"""Adapt existing tables to changed columns of the project. Starlake: JdbcAutoTask.updateJdbcTableSchema."""

from collections.abc import Mapping, Sequence

from ..errors import Location
from .casts import find_missing_fields, get_shape, normalize_type
from .database import Column
from .engine_errors import TableDiffers
from .sqltext import quote, quote_list, quote_path
from .strategies import Target


def evolve_table(
    target: Target, existing: Sequence[Column], wanted: Sequence[Column], kept: Sequence[Column], *, emptied: bool, location: Location
) -> bool:
    """Adapt a table with ``existing`` columns to those of the project. Return whether it was changed.

    New columns are added at the end, and are nullable regardless of the project, because existing rows have no value. Columns that the
    project no longer has are dropped if they are empty, or if all rows are about to be replaced (``emptied``). The types of columns do not
    change. ``kept`` are the columns that the engine adds.

    Raises:
        TableDiffers: a column with values would be dropped, or a column would have to change between array, struct, and scalar.
    """
    run = target.database
    there = {c.name.lower(): c for c in existing}
    named = {c.name.lower() for c in (*wanted, *kept)}
    gone = [c for c in existing if c.name.lower() not in named]
    added = [c for c in (*wanted, *kept) if c.name.lower() not in there]
    _reject_other_shapes(target, wanted, there, location)
    if gone and not emptied:
        _reject_loss(target, gone, location)
    changes = [f"ADD COLUMN {quote(column.name)} {column.type}" for column in added]
    known = [(column, there[column.name.lower()]) for column in wanted if column.name.lower() in there]
    changes += [
        f"ADD COLUMN {quote_path(column.name, *path)} {ddl}"
        for column, found in known
        for path, ddl in find_missing_fields(found.type, column.type)
    ]
    changes += [f"DROP COLUMN {quote(column.name)}" for column in gone]
    changes += [f"ALTER COLUMN {quote(column.name)} DROP NOT NULL" for column, found in known if column.nullable and not found.nullable]
    for change in changes:
        run.execute(f"ALTER TABLE {target.sql} {change}")
    return bool(changes)


def _reject_other_shapes(target: Target, wanted: Sequence[Column], there: Mapping[str, Column], location: Location) -> None:
    for column in wanted:
        existing = there.get(column.name.lower())
        if existing is None or get_shape(existing.type) == get_shape(column.type):
            continue
        name = quote(column.name)
        using = f" USING CASE WHEN {name} IS NOT NULL THEN [{name}] END" if normalize_type(column.type) == f"{existing.type}[]" else ""
        raise TableDiffers(
            f"{location}: column '{column.name}' of {target} has the type {existing.type}, "
            f"but the type in the project is {normalize_type(column.type)}. "
            f"Its type is not changed automatically: put the attribute back, or run "
            f"ALTER TABLE {target.local_sql} ALTER COLUMN {name} TYPE {normalize_type(column.type)}{using}"
        )


def _reject_loss(target: Target, gone: Sequence[Column], location: Location) -> None:
    run = target.database
    counts = run.fetch_rows(f"SELECT {', '.join(f'count({quote(c.name)})' for c in gone)} FROM {target.sql}")[0]
    held = [(column, count) for column, count in zip(gone, counts, strict=True) if count]
    if not held:
        return
    one = len(held) == 1
    names = ", ".join(f"'{column.name}' ({count} value{'s' if count != 1 else ''})" for column, count in held)
    drop = "; ".join(f"ALTER TABLE {target.local_sql} DROP COLUMN {quote_list([column.name])}" for column, _ in held)
    raise TableDiffers(
        f"{location}: {target} has the column{'' if one else 's'} {names}, which the project no longer has. "
        f"{'It is' if one else 'They are'} not dropped automatically: put the attribute{'' if one else 's'} back, or run {drop}"
    )
