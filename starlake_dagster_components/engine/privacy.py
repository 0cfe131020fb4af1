"""Mask values according to the ``privacy`` of attributes. Starlake: TransformEngine, TransformInput."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import describe_unknown, join_with
from ..project.model import Attribute, Table
from .database import Database
from .engine_errors import BadSetting
from .scratch import Scratch, write_file
from .sqltext import quote, quote_literal

_HASHES = ("MD5", "SHA1", "SHA256", "SHA512")
_PARAMETERS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("NONE", "NO", *_HASHES, "INITIALS"), (0,)),
    **dict.fromkeys(("HIDE", "RANDOMDOUBLE", "RANDOMLONG", "RANDOMINT"), (0, 2)),
    **dict.fromkeys(("EMAIL", "IPV4", "IPV6", "APPROXDOUBLE", "APPROXLONG"), (1,)),
    "MASK": (4,),
}
"""Name of a rule -> how many parameters it can have."""
HASHES = "temp.sl_sha512"
_BATCH = 20_000
_NUMBERS = ("RANDOMDOUBLE", "RANDOMLONG", "RANDOMINT", "APPROXDOUBLE", "APPROXLONG")


@dataclass(frozen=True, slots=True)
class Masking:
    """A parsed masking rule.

    Attributes:
        name: upper case; ``SQL`` for an expression of the project.
        parameters: strings, without quotes.
        sql: the expression of ``SQL:<expression>``; None otherwise.
    """

    name: str
    parameters: tuple[str, ...] = ()
    sql: str | None = None

    @property
    def makes_text(self) -> bool:
        """True if the result is text that no other type can hold. A hidden number is NULL."""
        return self.name not in _NUMBERS and not (self.name == "HIDE" and not self.parameters)


def parse_masking(table: Table, attribute: Attribute) -> Masking | None:
    """Return the masking rule of an attribute; None if it does not have one.

    Raises:
        BadSetting: the rule is unknown, or has the wrong number of parameters.
    """
    written = (attribute.privacy or "").strip()
    if not written or written.upper() in ("NONE", "NO"):
        return None
    if written[:4].upper() == "SQL:":
        return Masking("SQL", sql=written[4:].strip())
    match = re.fullmatch(r"(\w+)\s*(?:\((.*)\))?", written, re.DOTALL)
    name = match.group(1).upper() if match else written
    if match is None or name not in _PARAMETERS:
        raise _build_rejection(table, attribute, describe_unknown("privacy", name, [*_PARAMETERS, "SQL:<expression>"]))
    parameters = tuple(_strip_quotes(p) for p in match.group(2).split(",")) if (match.group(2) or "").strip() else ()
    if len(parameters) not in _PARAMETERS[name]:
        wanted = join_with("or", [str(number) for number in _PARAMETERS[name]])
        noun = "parameter" if wanted == "1" else "parameters"
        raise _build_rejection(table, attribute, f"privacy {name} takes {wanted} {noun}, not {len(parameters)}")
    if name == "EMAIL" and parameters[0].upper().replace("-", "") not in ("MD5", "SHA1", "SHA256"):
        raise _build_rejection(table, attribute, f"privacy EMAIL takes MD5, SHA1, or SHA256, not '{parameters[0]}'")
    for parameter in parameters[{"EMAIL": 1, "HIDE": 1, "MASK": 1}.get(name, 0) :]:
        if not re.fullmatch(r"-?\d+(\.\d+)?", parameter):
            raise _build_rejection(table, attribute, f"privacy {name}: '{parameter}' is not a number")
    return Masking(name, parameters)


def _build_rejection(table: Table, attribute: Attribute, reason: str) -> BadSetting:
    """Return the exception for an attribute's masking, with its location, which takes time to find among thousands of attributes."""
    index = next((i for i, a in enumerate(table.attributes) if a is attribute), None)
    place = table.origin.locate("attributes" if index is None else f"attributes[{index}].privacy")
    return BadSetting(place, f"attribute '{attribute.name}': {reason}")


def _strip_quotes(text: str) -> str:
    text = text.strip()
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'" else text


def mask_value(masking: Masking, value: str, ddl: str, *, is_text: bool) -> str:
    """Return the SQL expression that masks a value. NULL stays NULL."""
    if masking.name == "HIDE" and not masking.parameters:
        return f"CASE WHEN {value} IS NULL THEN NULL ELSE '' END" if is_text else f"CAST(NULL AS {ddl})"
    text = value if is_text else f"CAST({value} AS VARCHAR)"
    masked = f"CASE WHEN {value} IS NULL THEN NULL ELSE {_apply_masking(masking, text)} END"
    return masked if is_text else f"CAST({masked} AS {ddl})"


def _apply_masking(masking: Masking, text: str) -> str:
    name, parameters = masking.name, masking.parameters
    if name in _HASHES:
        return _hash_text(name, text)
    if name == "HIDE":
        return quote_literal(parameters[0] * int(parameters[1]))
    if name == "INITIALS":
        words = rf"list_filter(regexp_split_to_array({text}, '\s+'), lambda word: word <> '')"
        return f"coalesce(array_to_string(list_transform({words}, lambda word: word[1]), '.'), '') || '.'"
    if name == "EMAIL":
        hashed = _hash_text(parameters[0].upper().replace("-", ""), f"split_part({text}, '@', 1)")
        return f"{hashed} || '@' || split_part({text}, '@', 2)"
    if name in ("IPV4", "IPV6"):
        return _mask_ip(text, "." if name == "IPV4" else ":", int(parameters[0]))
    if name in ("RANDOMDOUBLE", "RANDOMLONG", "RANDOMINT"):
        return _make_random(name, parameters)
    if name in ("APPROXDOUBLE", "APPROXLONG"):
        made = f"(CAST({text} AS DOUBLE) * (1 + (random() * 2 - 1) * {int(parameters[0])} / 100.0))"
        return made if name == "APPROXDOUBLE" else f"CAST(trunc({made}) AS BIGINT)"
    return _mask_with_stars(text, *parameters)


def _mask_with_stars(text: str, character: str, number: str, left: str, right: str) -> str:
    stars, before = quote_literal(character[:1] * int(number)), int(left)
    whole = f"left({text}, {before}) || {stars} || right({text}, {int(right)})"
    return f"CASE WHEN length({text}) <= {before} THEN {text} || {stars} ELSE {whole} END"


def _hash_text(name: str, text: str) -> str:
    if name == "SHA512":
        return f"(SELECT hash FROM {HASHES} WHERE value = {text})"
    return f"{name.lower()}({text})"


def needs_hashes(masking: Masking | None) -> bool:
    """Return whether a masking rule looks up its results in the table of hashes, because DuckDB has no SHA512."""
    return masking is not None and masking.name == "SHA512"


def fill_hashes(database: Database, values: Sequence[str], scratch: Scratch) -> None:
    """Fill the table of hashes, which lasts as long as the command.

    ``values`` are queries with one text column each, whose values are hashed. ``scratch`` holds a limited number of hashes at a time.
    """
    database.execute(f"CREATE TEMP TABLE IF NOT EXISTS {HASHES.split('.')[1]} (value VARCHAR, hash VARCHAR)")
    database.execute(f"DELETE FROM {HASHES}")
    union = " UNION ".join(values)
    file = scratch.make_file("hashes")
    reader = database.connection.cursor()
    try:
        reader.execute(f"USE {quote(database.catalog)}")
        found = reader.execute(f"SELECT DISTINCT encode(value) FROM ({union}) AS v(value) WHERE value IS NOT NULL")
        while rows := found.fetchmany(_BATCH):
            with write_file(file) as out:
                out.writelines(f"{value.hex()},{hashlib.sha512(value).hexdigest()}\n".encode() for (value,) in rows)
            longest = max(4 * len(value) for (value,) in rows) + 1_000_000
            database.execute(
                f"INSERT INTO {HASHES} SELECT decode(unhex(v)), h FROM read_csv({quote_literal(str(file))}, auto_detect = false, header = "
                f"false, delim = ',', quote = '', escape = '', max_line_size = {longest}, columns = {{'v': 'VARCHAR', 'h': 'VARCHAR'}})"
            )
    finally:
        reader.close()


def _mask_ip(text: str, separator: str, masked: int) -> str:
    parts = f"string_split({text}, {quote_literal(separator)})"
    zeros = "[" + ", ".join(["'0'"] * masked) + "]" if masked else "[]::VARCHAR[]"
    kept = f"list_slice({parts}, 1, len({parts}) - {masked})"
    return f"array_to_string(list_concat({kept}, {zeros}), {quote_literal(separator)})"


def _make_random(name: str, parameters: tuple[str, ...]) -> str:
    if parameters:
        low, up = float(parameters[0]), float(parameters[1])
        made = f"({low} + ({up} - {low}) * random())"
    else:
        largest = {"RANDOMLONG": 2**63 - 1, "RANDOMINT": 2**31 - 1}.get(name, 1)
        made = f"(random() * {largest})"
    return made if name == "RANDOMDOUBLE" else f"CAST(trunc({made}) AS BIGINT)"
