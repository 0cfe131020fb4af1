"""Find what Starlake's JSON schema rejects in the files of a project. Starlake: YamlSerde.validateConfigFile.

The readers of this package understand more than the schema allows: ``failOnError: "true"``, a format in small letters. Starlake refuses the
whole file, so that a command would fail where the embedded engine goes on.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..errors import Location, Problem, suggest_name
from .documents import Reading
from .schema_shapes import ENUMERATIONS, Type, find_shape, has_shape
from .yaml_mappings import format_scalar

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
class Refusal:
    """Something that the schema refuses.

    Attributes:
        path: dotted key: ``metadata.withHeader``, ``attributes[0].type``.
        message: one sentence without the place.
        unknown_key: the key that the schema does not know, if that is the reason.
    """

    path: str
    message: str
    unknown_key: str = ""


def find_refusals(root: str, body: Mapping[str, Any]) -> list[Refusal]:
    """Return what the schema refuses below a root key, ``table``, ``application``, ...; nothing for root keys of which it is not known."""
    return list(_check_object(root, body, "")) if has_shape(root) else []


def add_refusals(reading: Reading) -> None:
    """Add what the schema refuses to the problems of a project; a problem that is known already is marked as refused by Starlake."""
    problems = reading.problems
    at: dict[Location | None, list[int]] = {}
    for index, problem in enumerate(problems):
        at.setdefault(problem.location, []).append(index)
    unknown = {(p.location.file, p.message.split("'")[1]): i for i, p in enumerate(problems) if p.location and _is_about_unknown_key(p)}
    for root, section in reading.sections:
        for refusal in find_refusals(root, section.data):
            location = section.find_location(refusal.path)
            known = at.get(location, []) if location else []
            if refusal.unknown_key:
                index = unknown.get((section.context.file, refusal.unknown_key), -1)
                if index < 0:
                    unknown[section.context.file, refusal.unknown_key] = len(problems)
            else:
                key = refusal.path.rpartition(".")[2].partition("[")[0]
                index = next((i for i in known if key in problems[i].message or problems[i].severity == "error"), -1)
            if index < 0:
                problems.append(Problem(location, "warning", refusal.message, refused=True))
            elif problems[index].severity == "warning":
                problems[index] = replace(problems[index], refused=True)


def _is_about_unknown_key(problem: Problem) -> bool:
    return problem.message.startswith("unknown key '")


def _check_object(name: str, data: Any, path: str) -> Iterator[Refusal]:
    shape = find_shape(name)
    for key, value in data.items():
        of = shape.keys.get(key)
        place = f"{path}.{key}" if path else str(key)
        if of is None:
            hint = suggest_name(str(key), shape.keys)
            yield Refusal(place, f"unknown key '{key}'{hint}; Starlake refuses the file", str(key))
        elif not _is_simple(of, value):
            yield from _check_value(of, value, place)
    for key in shape.required:
        if key not in data:
            yield Refusal(f"{path}.{key}" if path else key, f"{path or name} needs '{key}', which is missing; Starlake refuses the file")


def _is_simple(of: Type, value: Any) -> bool:
    """Return whether a value is right at first sight."""
    kind = value.__class__
    return (of.kind == "text" and (kind is str or value is None)) or (of.kind == "bool" and kind is bool)


def _check_value(of: Type, value: Any, path: str) -> Iterator[Refusal]:
    if not _has_kind(of, value):
        expected = f"one of {', '.join(ENUMERATIONS[of.name])}" if of.kind == "enum" else _EXPECTED[of.kind]
        yield Refusal(path, f"{path}: expected {expected}, found {_show(value)}; Starlake refuses the file")
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


def _show(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    return f"the string {value!r}" if isinstance(value, str) else repr(value) if not isinstance(value, bool) else str(value).lower()
