"""Make random projects and files: names, types, formats, strategies, and values as written and as loaded."""

import gzip
import json
import os
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

from engine_help import make_instance

Value = Any
Row = tuple[Value, ...]

NAMES = [
    "id",
    "name",
    "value",
    "rowid",
    "record",
    "row",
    "select",
    "order",
    "group",
    "table",
    "from",
    "where",
    "user",
    "index",
    "key",
    "values",
    "date",
    "time",
    "timestamp",
    "interval",
    "end",
    "sl_incoming",
    "sl_values",
    "sl_input_file_name",
    "sl_kept",
    "t",
    "i",
    "s",
    "rows",
    "count",
    "record_",
    "number",
    "found",
    "test",
    "json",
    "csv",
    "column",
    "file",
    "files",
    "main",
    "temp",
]
NAMES += [
    "two words",
    'quo"te',
    "dot.ted",
    "it's",
    "Größe",
    "a-b",
    "1st",
    "semi;colon",
    "comma,",
    "e\\s",
    "UPPER",
    "ñ",
    "#",
    "%",
    "a/b",
    "@",
    "$x",
    "[x]",
]
TABLES = ["instance", "json", "csv", "sql", "os", "order", "select", "rows", "Mixed", "duckdb", "parquet", "t1", "audit", "file", "values"]
SEPARATORS = [";", ",", "|", "\\t", "::", "<->", "<~~~>", "#####", "|;|;|", "~"]
TYPES = ["string", "string", "long", "int", "double", "decimal", "boolean", "date", "timestamp"]
STRATEGIES = [
    "APPEND",
    "APPEND",
    "OVERWRITE",
    "UPSERT_BY_KEY",
    "DELETE_THEN_INSERT",
    "OVERWRITE_BY_PARTITION",
    "UPSERT_BY_KEY_AND_TIMESTAMP",
]
WORDS = [
    "",
    "a",
    "word",
    "two words",
    " lead",
    "trail ",
    "é",
    "ü€",
    "line\nbreak",
    "car\rriage",
    "tab\there",
    "q'uote",
    "#no comment",
    "NULL",
    "x" * 300,
]


@dataclass
class Column:
    name: str
    type: str
    rename: str | None
    required: bool
    ignore: bool

    @property
    def final(self) -> str:
        return self.rename or self.name


@dataclass
class File:
    """A file, with its rows if it is valid, or else the reason why it is not."""

    name: str
    content: bytes
    rows: list[Row]
    bad: str | None = None


@dataclass
class Case:
    """A project and its files, batch by batch."""

    seed: int
    chance: random.Random
    domain: str = "d"
    table: str = "t"
    format: str = "DSV"
    columns: list[Column] = field(default_factory=list)
    strategy: str = "APPEND"
    separator: str = ";"
    quote: str = '"'
    escape: str = "\\"
    header: bool = True
    null: str | None = None
    keep_empty: bool = False
    encoding: str = "UTF-8"
    end: str = "\n"
    packed: bool = False
    grouped: bool = False
    array: bool = False
    batches: list[list[File]] = field(default_factory=list)

    @property
    def key(self) -> Column:
        return next(c for c in self.columns if not c.ignore)

    @property
    def moment(self) -> Column:
        return [c for c in self.columns if not c.ignore][-1]

    @property
    def kept(self) -> list[Column]:
        return [c for c in self.columns if not c.ignore]


def make_case(seed: int) -> Case:
    chance = random.Random(seed)
    case = Case(seed, chance)
    case.domain = chance.choice(["d", "sales", "order", "main2", "x_y"])
    case.table = chance.choice(TABLES)
    case.format = chance.choice(["DSV"] * 6 + ["JSON", "JSON", "POSITION", "PARQUET"])
    names = chance.sample(NAMES, chance.randint(1, 6) if case.format != "POSITION" else chance.randint(1, 4))
    taken = {name.lower() for name in names}
    for index, name in enumerate(names):
        rename = None
        if chance.random() < 0.2:
            rename = chance.choice([other for other in NAMES if other.lower() not in taken])
            taken.add(rename.lower())
        ignore = index > 0 and chance.random() < 0.1
        case.columns.append(Column(name, chance.choice(TYPES), rename, chance.random() < 0.15 and not ignore, ignore))
    case.strategy = chance.choice(STRATEGIES)
    if case.strategy == "UPSERT_BY_KEY_AND_TIMESTAMP" and len(case.kept) < 2:
        case.strategy = "UPSERT_BY_KEY"
    if case.strategy.startswith("UPSERT") or case.strategy == "DELETE_THEN_INSERT":
        case.key.type = chance.choice(["long", "string", "int"])
    case.grouped = chance.random() < 0.3
    case.packed = chance.random() < 0.2 and case.format != "PARQUET"
    case.array = chance.random() < 0.3
    if case.format == "DSV":
        case.separator = chance.choice(SEPARATORS)
        case.quote = chance.choice(['"', '"', "'"])
        case.escape = chance.choice(["\\", "\\", case.quote])
        case.header = chance.random() < 0.75
        case.null = chance.choice([None, None, None, "NA", "NA" if case.escape == "\\" else "\\N"])
        case.keep_empty = case.null is None and chance.random() < 0.2
        case.end = chance.choice(["\n", "\n", "\r\n"])
    if case.format in ("DSV", "POSITION"):
        case.encoding = chance.choice(["UTF-8", "UTF-8", "UTF-8", "ISO-8859-1", "windows-1252", "UTF-16LE"])
    for batch in range(chance.randint(1, 3)):
        case.batches.append([make_file(case, batch, number) for number in range(chance.randint(1, 4))])
    return case


# Values: (text in the file, value in the table).


def make_value(case: Case, column: Column) -> tuple[str | None, Value]:
    chance = case.chance
    if chance.random() < 0.12 and not column.required and len(case.columns) > 1:
        return None, "" if case.keep_empty and column.type == "string" else None
    if column.type == "string":
        return make_text(case, column)
    if column.type in ("long", "int"):
        number = chance.choice([chance.randint(0, 5), chance.randint(-(2**31), 2**31 - 1), 0])
        return str(number), number
    if column.type == "double":
        real = chance.choice([0.1, -1.5, 1e300, 3.0, chance.random()])
        return repr(real), real
    if column.type == "decimal":
        exact = Decimal(chance.randint(-(10**9), 10**9)) / 1000
        return str(exact), exact
    if column.type == "boolean":
        truth = chance.random() < 0.5
        return ("true" if truth else "false"), truth
    day = date(2000, 1, 1) + timedelta(days=chance.randint(0, 9000))
    if column.type == "date":
        return day.isoformat(), day
    moment = datetime(day.year, day.month, day.day, chance.randint(0, 23), chance.randint(0, 59), tzinfo=timezone.utc)
    return moment.strftime("%Y-%m-%d %H:%M:%S"), moment


def make_text(case: Case, column: Column) -> tuple[str | None, Value]:
    separator = case.separator.replace("\\t", "\t")
    words = [*WORDS, separator, f"a{separator}b", case.quote, f"in{case.quote}side", f"{case.quote}around{case.quote}", case.escape, "\\n"]
    text = case.chance.choice(words) if case.chance.random() < 0.7 else str(case.chance.randint(0, 9))
    text = "".join(char for char in text if can_encode(char, case.encoding))
    if case.format == "POSITION":
        text = " ".join(text.split())[:20]
        return (text, text) if text else ("x", "x")
    if text == "" and (column.required or len(case.columns) == 1):
        text = "full"
    if text == "" and case.format == "DSV" and case.null is None and not case.keep_empty:
        return "", None
    return text, text


def can_encode(char: str, encoding: str) -> bool:
    try:
        char.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


BAD = ["value", "value", "required", "short", "long", "cut", "bytes", "empty", "header", "malformed"]


def make_file(case: Case, batch: int, number: int) -> File:
    chance = case.chance
    rows = [[make_value(case, column) for column in case.columns] for _ in range(chance.randint(0, 8))]
    bad = chance.choice(BAD) if chance.random() < 0.25 else None
    bad = spoil_rows(case, rows, bad)
    if bad is None and random.Random(f"odd {case.seed} {batch} {number}").random() < 0.04:
        # It has its own generator, so that the other files of a seed stay the same.
        bad = "columns"
    content, bad = write_file(case, rows, bad)
    ending = {"DSV": "csv", "JSON": "json", "POSITION": "txt", "PARQUET": "parquet"}[case.format]
    name = f"f{chance.choice(['', '[1]', '*', ' ', chr(39), 'é', '?'])}_{batch}_{number}.{ending}"
    if case.packed:
        content = gzip.compress(content)
        name += chance.choice([".gz", ".GZ"])
        if bad == "cut":
            content = content[: -chance.randint(1, max(1, len(content) - 20))]
    elif bad == "cut":
        bad = None
    values = [tuple(value for (_, value), column in zip(row, case.columns, strict=True) if not column.ignore) for row in rows]
    return File(name, content, values, bad)


def spoil_rows(case: Case, rows: list[list[tuple[str | None, Value]]], bad: str | None) -> str | None:
    """Put an invalid value into the rows if the fault is one of values. Return the fault."""
    if bad == "value":
        found = [index for index, column in enumerate(case.columns) if column.type != "string" and not column.ignore]
        if not rows or not found:
            return None
        rows[case.chance.randrange(len(rows))][case.chance.choice(found)] = ("bad!", None)
    if bad == "required":
        found = [i for i, column in enumerate(case.columns) if column.required and not (case.keep_empty and column.type == "string")]
        if not rows or not found or len(case.columns) == 1:
            return None
        rows[case.chance.randrange(len(rows))][case.chance.choice(found)] = (None, None)
    return bad


def write_file(case: Case, rows: Sequence[Sequence[tuple[str | None, Value]]], bad: str | None) -> tuple[bytes, str | None]:
    texts = [[text for text, _ in row] for row in rows]
    if case.format == "DSV":
        return write_dsv(case, texts, bad)
    if case.format == "JSON":
        return write_json(case, rows, bad)
    if case.format == "POSITION":
        lines = [("".join("#" * 24 for _ in case.columns))] if case.header else []
        lines += ["".join(f"{text or '':<24}" for text in row) for row in texts]
        return "".join(f"{line}\n" for line in lines).encode(case.encoding), bad if bad in ("value", "required", "cut") else None
    return write_parquet(case, rows, bad)


def write_dsv(case: Case, texts: Sequence[Sequence[str | None]], bad: str | None) -> tuple[bytes, str | None]:
    chance = case.chance
    order = list(range(len(case.columns)))
    if case.header:
        chance.shuffle(order)
    separator = case.separator.replace("\\t", "\t")
    lines = []
    if bad == "columns" and not case.header:
        bad = None
    prefix = "other" if bad == "columns" else ""
    if case.header:
        lines.append(separator.join(write_field(case, prefix + case.columns[index].name, name=True) for index in order))
    for row in texts:
        lines.append(separator.join(write_field(case, row[index]) for index in order))
    body = range(1 if case.header else 0, len(lines))
    if bad in ("short", "long"):
        if len(body) < 2 or (len(order) == 1 and bad == "short") or (len(order) == 2 and bad == "short"):
            bad = None
        else:
            at = chance.choice(body)
            lines[at] = lines[at] + separator + "more" if bad == "long" else separator.join(["1"] * (len(order) - 1))
    if bad == "header":
        if not case.header:
            bad = None
        else:
            lines[0] += separator + "no_such_column"
    if bad == "malformed":
        bad = None
    end = case.end if chance.random() < 0.9 or not lines or not lines[-1] or len(lines) < 2 else ""
    text = case.end.join(lines) + end if lines else ""
    if bad == "empty":
        return b"", bad
    if not text:
        return b"", "empty"
    content = text.encode(case.encoding)
    if bad == "bytes":
        if case.encoding != "UTF-8" or not body:
            return content, None
        content += b"\xff\xfe"
    return content, bad


def write_field(case: Case, text: str | None, *, name: bool = False) -> str:
    """Write a field. It is quoted if necessary, and sometimes if not."""
    separator = case.separator.replace("\\t", "\t")
    if text is None:
        return case.null if case.null is not None else ""
    special = (separator, case.quote, case.escape, "\n", "\r", '"')
    # A character of the separator at the edge of a field would be read as part of the separator.
    edges = any(char in text for char in separator)
    must = any(sign in text for sign in special) or edges or text != text.strip() or text.startswith("#") or (name and not text.isalnum())
    if not must and (text == "" or case.chance.random() < 0.8):
        return text
    escaped = text.replace(case.escape, case.escape * 2) if case.escape != case.quote else text
    escaped = escaped.replace(case.quote, case.escape + case.quote)
    return case.quote + escaped + case.quote


def write_json(case: Case, rows: Sequence[Sequence[tuple[str | None, Value]]], bad: str | None) -> tuple[bytes, str | None]:
    objects = []
    keys: set[str] = set()
    for row in rows:
        made: dict[str, Any] = {}
        for column, (text, value) in zip(case.columns, row, strict=True):
            if text is None and case.chance.random() < 0.5:
                continue
            plain = isinstance(value, bool | int | float) and case.chance.random() < 0.7
            made[("other" if bad == "columns" else "") + column.name] = value if plain else text
        if case.chance.random() < 0.2:
            made["no such column"] = {"more": [1]}
        if not made and case.array:
            made["no such column"] = 1
        keys |= made.keys()
        objects.append(json.dumps(made, ensure_ascii=case.chance.random() < 0.5))
    if bad in (None, "columns"):
        bad = "columns" if keys and keys.isdisjoint(column.name for column in case.columns) else None
    if bad == "malformed":
        objects.append('{"open": ')
    elif bad not in ("value", "required", "cut", "columns"):
        bad = None
    text = "[" + ",\n".join(objects) + "]" if case.array else "".join(f"{one}\n" for one in objects)
    return text.encode(), bad


def write_parquet(case: Case, rows: Sequence[Sequence[tuple[str | None, Value]]], bad: str | None) -> tuple[bytes, str | None]:
    if bad == "malformed":
        return b"PAR1 is not enough", bad
    types = {"string": "VARCHAR", "long": "BIGINT", "int": "INTEGER", "double": "DOUBLE", "decimal": "DECIMAL(38,9)", "boolean": "BOOLEAN"}
    types |= {"date": "DATE", "timestamp": "TIMESTAMPTZ"}
    spoiled = {i for row in rows for i, (text, _) in enumerate(row) if text == "bad!"}
    as_text = [i in spoiled or case.chance.random() < 0.3 for i in range(len(case.columns))]
    if bad == "columns" and not rows:
        bad = None
    prefix = '"other' if bad == "columns" else '"'
    with make_instance(os.getpid()).cursor() as connection, tempfile.TemporaryDirectory() as folder:
        names = ", ".join(
            prefix + column.name.replace('"', '""') + '" ' + ("VARCHAR" if as_text[i] else types[column.type])
            for i, column in enumerate(case.columns)
        )
        connection.execute(f"create or replace temp table t ({names})")
        for row in rows:
            values = [text if as_text[i] or text is None else value for i, (text, value) in enumerate(row)]
            connection.execute(f"insert into t values ({', '.join('?' * len(values))})", values)
        connection.execute(f"copy t to '{folder}/p.parquet'")
        return Path(folder, "p.parquet").read_bytes(), bad if bad in ("value", "required", "columns") else None
