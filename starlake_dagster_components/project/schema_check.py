"""Check a project's files against Starlake's JSON schema. Starlake: YamlSerde.validateConfigFile.

This package reads more than the schema allows, such as ``failOnError: "true"`` or a format in lowercase. Starlake rejects the whole file,
so its command would fail where the embedded engine succeeds.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from ..errors import MOST_OF_FILE, Location, Problem, suggest_name
from .documents import Reading
from .schema_shapes import ENUMERATIONS, SHAPES, Type, find_shape
from .yaml_mappings import describe_value, format_scalar
from .yaml_source import join_key

_EXPECTED = {
    "text": "a string",
    "bool": "true or false",
    "int": "a whole number",
    "number": "a number",
    "string": "a string",
    "list": "a list",
    "map": "a mapping",
    "object": "a mapping",
}


@dataclass(frozen=True, slots=True)
class SchemaViolation:
    """A violation of the schema: a dotted key, such as ``attributes[0].type``, and one sentence without the location.

    ``unknown_key`` is the key that the schema does not have, if that is the reason; else empty.
    """

    path: str
    message: str
    unknown_key: str = ""


def find_schema_violations(root: str, body: Mapping[str, Any]) -> Iterator[SchemaViolation]:
    """Yield the violations in the mapping below a root key such as ``table``; none for a root key without a known schema."""
    return _check_object(root, body, "") if root in SHAPES else iter(())


def add_schema_violations(reading: Reading) -> None:
    """Add the violations of a project's files to its problems. One that was reported already is only marked as rejected by Starlake."""
    problems = reading.problems
    at: dict[Location | None, list[int]] = {}
    for index, problem in enumerate(problems):
        at.setdefault(problem.location, []).append(index)
    unknown = {
        (problem.location.file, problem.message.split("'")[1]): index
        for index, problem in enumerate(problems)
        if problem.location and problem.message.startswith("unknown key '")
    }
    for root, section in reading.sections:
        for violation in islice(find_schema_violations(root, section.data), MOST_OF_FILE):
            location = section.find_location(violation.path)
            known = at.get(location, [])
            if violation.unknown_key:
                index = unknown.get((section.context.file, violation.unknown_key), -1)
            else:
                key = violation.path.rpartition(".")[2].partition("[")[0]
                index = next((i for i in known if key in problems[i].message or problems[i].severity == "error"), -1)
            if index < 0:
                added = len(problems)
                problems.append(Problem(location, "warning", violation.message, rejected=True))
                if violation.unknown_key and added < len(problems):
                    unknown[section.context.file, violation.unknown_key] = added
            elif problems[index].severity == "warning":
                problems[index] = replace(problems[index], rejected=True)


def _check_object(name: str, data: Any, path: str) -> Iterator[SchemaViolation]:
    shape = find_shape(name)
    for key, value in data.items():
        of = shape.keys.get(key)
        place = join_key(path, str(key))
        if of is None:
            hint = suggest_name(str(key), shape.keys)
            yield SchemaViolation(place, f"unknown key '{key}'{hint}; Starlake rejects the file", str(key))
        elif not _is_simple(of, value):
            yield from _check_value(of, value, place)
    for key in shape.required:
        if key not in data:
            yield SchemaViolation(join_key(path, key), f"{path or name} needs '{key}', which is missing; Starlake rejects the file")


def _is_simple(of: Type, value: Any) -> bool:
    """Return whether a value is obviously valid: a fast path for most values."""
    kind = value.__class__
    return (of.kind == "text" and (kind is str or value is None)) or (of.kind == "bool" and kind is bool)


def _check_value(of: Type, value: Any, path: str) -> Iterator[SchemaViolation]:
    if not _has_kind(of, value):
        expected = f"one of {', '.join(ENUMERATIONS[of.name])}" if of.kind == "enum" else _EXPECTED[of.kind]
        yield SchemaViolation(path, f"{path}: expected {expected}, found {_show_value(value)}; Starlake rejects the file")
    elif of.kind == "object":
        yield from _check_object(of.name, value, path)
    elif of.of is not None and of.of.kind != "any":
        items = ((f"{path}[{i}]", v) for i, v in enumerate(value)) if of.kind == "list" else ((f"{path}.{k}", v) for k, v in value.items())
        for place, item in items:
            if not _is_simple(of.of, item):
                yield from _check_value(of.of, item, place)


def _has_kind(of: Type, value: Any) -> bool:
    match of.kind:
        case "any":
            return True
        case "text":
            return value is None or format_scalar(value) is not None
        case "bool":
            return isinstance(value, bool)
        case "int":
            return not isinstance(value, bool) and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))
        case "number":
            return not isinstance(value, bool) and isinstance(value, (int, float))
        case "string":
            return isinstance(value, str)
        case "list":
            return isinstance(value, list)
        case "enum":
            return value in ENUMERATIONS[of.name] or (value is None and of.name == "transpile_dialect")
        case _:
            return isinstance(value, dict)


def _show_value(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    return f"the string {value!r}" if isinstance(value, str) else describe_value(value)
