"""Convert the patterns of a project's own types: date formats, regular expressions, words for true and false. Starlake: PrimitiveType."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import duckdb

from ..errors import Location
from ..project.model import TypeDefinition
from ..project.word_sets import split_words
from .casts import cast_text
from .engine_errors import BadSetting, NotSupported
from .instances import lend_instance
from .sqltext import quote_literal

# Patterns of Starlake's own types in all versions. DuckDB converts these, as in Starlake's loader.
_INTEGERS = frozenset({r"[-|\+|0-9][0-9]*", r"-?\d+"})
_OWN: dict[str, frozenset[str]] = {
    **dict.fromkeys(("string", "variant"), frozenset({".*", ".+"})),
    "byte": frozenset({".", ".*"}),
    **dict.fromkeys(("long", "int", "short"), _INTEGERS),
    "double": frozenset({r"[-+]?\d*\.?\d+[Ee]?[-+]?\d*", r"-?\d*\.{0,1}\d+"}),
    "decimal": frozenset({r"[-+]?\d*\.?\d+[Ee]?[-+]?\d*"}),
    "boolean": frozenset({"(?i)true|yes|[y1]|t<-TF->(?i)false|no|[n0]|f", "(?i)true|yes|[y1]<-TF->(?i)false|no|[n0]"}),
    "date": frozenset({"yyyy-MM-dd", "ISO_LOCAL_DATE", "ISO_DATE"}),
    "timestamp": frozenset({"yyyy-MM-dd HH:mm:ss", "yyyy-MM-dd'T'HH:mm:ss"})
    | split_words(
        "BASIC_ISO_DATE ISO_LOCAL_DATE ISO_OFFSET_DATE ISO_DATE ISO_LOCAL_DATE_TIME ISO_OFFSET_DATE_TIME ISO_ZONED_DATE_TIME "
        "ISO_DATE_TIME ISO_ORDINAL_DATE ISO_WEEK_DATE ISO_INSTANT RFC_1123_DATE_TIME"
    ),
}
_OWN_NAMES_ONLY = {"decimal": frozenset({r"-?\d*\.{0,1}\d+"})}

# Code of strptime -> the runs of letters of java.time's DateTimeFormatter that it stands for.
_STRPTIME = {
    "%Y": "yyyy uuuu y u",
    "%y": "yy",
    "%m": "MM",
    "%-m": "M",
    "%b": "MMM",
    "%B": "MMMM",
    "%d": "dd",
    "%-d": "d",
    "%j": "DDD",
    "%H": "HH",
    "%-H": "H",
    "%I": "hh",
    "%-I": "h",
    "%M": "mm",
    "%-M": "m",
    "%S": "ss",
    "%-S": "s",
    "%g": "SSS",
    "%f": "SSSSSS",
    "%n": "SSSSSSSSS",
    "%p": "a",
    "%a": "EEE",
    "%A": "EEEE",
    "%z": "Z X XX XXX x xx xxx",
    "%Z": "VV z",
}
_JAVA_TO_STRPTIME = {letters: code for code, runs in _STRPTIME.items() for letters in runs.split()}
_TF = "<-TF->"


@dataclass(frozen=True, slots=True)
class Form:
    """The format that the text of a value must have.

    Attributes:
        kind: the type's name and pattern, for messages.
        make: (SQL of the text, type of the column, whether to cast with errors) -> SQL of the value; NULL or an error for a bad value.
        test: SQL of the text -> SQL condition for a valid value; None if ``make`` fails for an invalid one.
    """

    kind: str
    make: Callable[[str, str, bool], str]
    test: Callable[[str], str] | None = None

    def build_expression(self, text: str, ddl: str, column: str, checked: bool) -> str:
        """Return the SQL of the value. A bad value is an error, or NULL if ``checked`` is false."""
        made = self.make(text, ddl, checked)
        if self.test is None:
            return made
        bad = f"error({quote_literal(f'column {column}: not {self.kind}: ')} || {text})" if checked else "NULL"
        return f"CASE WHEN {text} IS NULL THEN NULL WHEN {self.test(text)} THEN {made} ELSE {bad} END"


def get_form(definition: TypeDefinition) -> Form | None:
    """Return the format of a type's values; None if DuckDB's own conversion is enough.

    Raises:
        BadSetting: the pattern is neither a format nor a regular expression.
        NotSupported: it contains something that DuckDB cannot check.
    """
    if definition.origin is None or not definition.pattern:
        return None
    # A wrong format of the project's own types would go unnoticed, so DuckDB converts only the patterns of Starlake's own types.
    if definition.pattern in _OWN.get(definition.primitive, ()) or definition.pattern in _OWN_NAMES_ONLY.get(definition.name, ()):
        return None
    return _make_form(definition.name, definition.primitive, definition.pattern, definition.origin.locate())


@lru_cache(maxsize=1024)
def _make_form(name: str, primitive: str, pattern: str, location: Location) -> Form | None:
    kind = f"of type '{name}' (pattern {pattern})"
    if primitive in ("date", "timestamp"):
        return _make_moment_form(kind, pattern, location)
    if primitive == "boolean" and _TF in pattern:
        return _make_boolean_form(kind, pattern, location)
    if primitive in ("struct", "variant"):
        return None
    regex = _check_regex(pattern, location)
    return Form(kind, _cast_text, lambda text: f"regexp_full_match({text}, {quote_literal(regex)})")


def _cast_text(text: str, ddl: str, checked: bool) -> str:
    if ddl.upper().startswith("VARCHAR") and "(" not in ddl:
        return text
    return cast_text(text, ddl, checked=checked)


def _make_boolean_form(kind: str, pattern: str, location: Location) -> Form:
    true, false = (_check_regex(part, location) for part in pattern.split(_TF, 1))

    def make(text: str, ddl: str, checked: bool) -> str:
        return f"CAST(regexp_full_match({text}, {quote_literal(true)}) AS {ddl})"

    return Form(
        kind, make, lambda text: f"(regexp_full_match({text}, {quote_literal(true)}) OR regexp_full_match({text}, {quote_literal(false)}))"
    )


def _make_moment_form(kind: str, pattern: str, location: Location) -> Form:
    if pattern.lower() in ("epoch_milli", "epoch_second"):
        factor = 1000 if pattern.lower() == "epoch_second" else 1

        def parse_epoch(text: str, ddl: str, checked: bool) -> str:
            number = f"{'CAST' if checked else 'TRY_CAST'}({text} AS BIGINT)"
            moment = f"make_timestamp({number} * {factor * 1000})"
            # make_timestamp returns UTC, which a column with a zone must not interpret as local time.
            return f"CAST(({moment} AT TIME ZONE 'UTC') AS {ddl})" if _has_zone(ddl) else f"CAST({moment} AS {ddl})"

        return Form(kind, parse_epoch, lambda text: rf"regexp_full_match({text}, '[+-]?\d+')")
    layout = _translate_format(pattern, location)

    def parse_layout(text: str, ddl: str, checked: bool) -> str:
        parsed = f"{'strptime' if checked else 'try_strptime'}({text}, {quote_literal(layout)})"
        return f"CAST({parsed} AS {ddl})"

    return Form(kind, parse_layout)


def _has_zone(ddl: str) -> bool:
    return ddl.upper() in ("TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE")


def _translate_format(pattern: str, location: Location) -> str:
    named = {
        "BASIC_ISO_DATE": "%Y%m%d",
        "ISO_LOCAL_DATE": "%Y-%m-%d",
        "ISO_DATE": "%Y-%m-%d",
        "ISO_OFFSET_DATE": "%Y-%m-%d%z",
        "ISO_ORDINAL_DATE": "%Y-%j",
        "ISO_LOCAL_DATE_TIME": "%Y-%m-%dT%H:%M:%S",
        "ISO_DATE_TIME": "%Y-%m-%dT%H:%M:%S",
        "ISO_OFFSET_DATE_TIME": "%Y-%m-%dT%H:%M:%S%z",
        "ISO_INSTANT": "%Y-%m-%dT%H:%M:%SZ",
        "RFC_1123_DATE_TIME": "%a, %d %b %Y %H:%M:%S %Z",
    }
    if pattern in named:
        return named[pattern]
    made = []
    for quoted_text, letters, other in re.findall(r"'((?:[^']|'')*)'|([A-Za-z]+)|([^A-Za-z']+)", pattern):
        if letters:
            for run in re.findall(r"((.)\2*)", letters):
                if run[0] not in _JAVA_TO_STRPTIME:
                    known = ", ".join(sorted(_JAVA_TO_STRPTIME))
                    reason = f"the format '{pattern}' has '{run[0]}', which the embedded engine does not support (supported: {known})"
                    raise NotSupported(location, reason)
                made.append(_JAVA_TO_STRPTIME[run[0]])
        else:
            made.append((quoted_text.replace("''", "'") or ("" if other else "'")).replace("%", "%%") + other.replace("%", "%%"))
    return "".join(made)


def _check_regex(pattern: str, location: Location) -> str:
    try:
        with lend_instance() as lent:
            lent.connection.execute("SELECT regexp_full_match('', ?)", [pattern]).fetchall()
    except duckdb.Error as error:
        raise BadSetting(location, f"the pattern '{pattern}' cannot be checked: {str(error).splitlines()[0]}") from error
    return pattern
