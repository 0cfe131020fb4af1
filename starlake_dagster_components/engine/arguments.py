"""The command line of ``stage``, ``preload``, ``load``, and ``transform``. Starlake: StageCmd, PreLoadCmd, LoadCmd, TransformCmd."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from ..errors import suggest_name
from .engine_errors import BadArguments

EngineVerb = Literal["stage", "preload", "load", "transform"]

_VERBS: Mapping[str, EngineVerb] = {"stage": "stage", "preload": "preload", "load": "load", "transform": "transform", "job": "transform"}

# Kind of each option: "list" = comma-separated, "map" = k=v,k2=v2, "text", "flag", "bool", "int"; "no" = supported by Starlake, but not
# here.
_COMMON = {"options": "map", "reportFormat": "text"}
_OPTIONS: Mapping[EngineVerb, Mapping[str, str]] = {
    "stage": {**_COMMON, "domains": "list", "tables": "list"},
    "preload": {**_COMMON, "domain": "text", "tables": "list", "strategy": "text", "globalAckFilePath": "text", "notReadySentinel": "text"},
    "load": {
        **_COMMON,
        **dict.fromkeys(("domains", "tables", "include", "schemas", "files"), "list"),
        **dict.fromkeys(("scheduledDate", "accessToken"), "text"),
        **dict.fromkeys(("test", "primaryKeys"), "no"),
        "inPlace": "flag",
    },
    "transform": {
        **_COMMON,
        **dict.fromkeys(("name", "scheduledDate", "interactive", "accessToken"), "text"),
        **dict.fromkeys(("recursive", "compile", "reload"), "flag"),
        **dict.fromkeys(("pageSize", "pageNumber"), "int"),
        "truncate": "bool",
        **dict.fromkeys(("action", "sync-apply", "sync-preview", "query", "dry-run", "tags", "format", "test"), "no"),
    },
}
_REQUIRED: Mapping[EngineVerb, str] = {"preload": "domain", "transform": "name"}
_FORMER = {"include": "domains", "schemas": "tables"}


@dataclass(frozen=True, slots=True)
class Arguments:
    """A parsed command line. Fields have the names of options, in snake case. Those that a verb does not have keep their defaults.

    Attributes:
        verb: the command; ``job`` is an alias of ``transform``.
        domains: logical names; empty = all.
        tables: logical names; empty = all.
        options: variables of the project's files.
        scheduled_date: ``--scheduledDate`` as written, without quotes.
        name: ``domain.task`` of a transform.
    """

    verb: EngineVerb
    domains: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    scheduled_date: str | None = None
    files: tuple[str, ...] = ()
    in_place: bool = False
    strategy: str | None = None
    global_ack_file_path: str | None = None
    not_ready_sentinel: str | None = None
    name: str = ""
    recursive: bool = False
    interactive: str | None = None
    compile: bool = False
    truncate: bool = False
    page_size: int = 200
    page_number: int = 1


def parse_arguments(argv: Sequence[str]) -> Arguments:
    """Parse a command line. Raise BadArguments, whose message begins like Starlake's, for anything unknown or malformed."""
    if not argv or argv[0] not in _VERBS:
        word = argv[0] if argv else ""
        raise BadArguments(f"Unknown command {word}{suggest_name(word, _VERBS)} (supported: {', '.join(_VERBS)})")
    verb = _VERBS[argv[0]]
    values = _parse_values(verb, argv[1:])
    required = _REQUIRED.get(verb)
    if required and required not in values:
        raise BadArguments(f"Error: Missing option --{required}")
    for former, name in _FORMER.items():
        if former in values:
            values.setdefault(name, values[former])
    if values.get("inPlace") and not values.get("files"):
        raise BadArguments("Error: --inPlace needs --files")
    if "domain" in values:
        values["domains"] = (values["domain"],)
    if "scheduledDate" in values:
        values["scheduledDate"] = values["scheduledDate"].strip("'\"")
    given = {re.sub(r"(?=[A-Z])", "_", name).lower(): value for name, value in values.items()}
    return Arguments(verb, **{field.name: given[field.name] for field in fields(Arguments) if field.name in given})


def _parse_values(verb: EngineVerb, arguments: Sequence[str]) -> dict[str, Any]:
    known = _OPTIONS[verb]
    values: dict[str, Any] = {}
    items = iter(arguments)
    for item in items:
        if not item.startswith("--"):
            raise BadArguments(f"Error: Unknown argument '{item}'")
        name, given, text = item[2:].partition("=")
        kind = known.get(name)
        if kind is None:
            raise BadArguments(f"Error: Unknown option --{name}{suggest_name(name, known)}")
        if kind == "no":
            raise BadArguments(f"Error: Option --{name} of {verb} is not supported by the embedded engine")
        if kind == "flag":
            values[name] = True
            continue
        if not given:
            found = next(items, None)
            if found is None:
                raise BadArguments(f"Error: Missing value after --{name}")
            text = found
        value = _convert_value(name, kind, text)
        values[name] = {**values[name], **value} if kind == "map" and name in values else value
    return values


def _convert_value(name: str, kind: str, text: str) -> Any:
    if kind == "list":
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if kind == "map":
        return dict(_parse_pair(name, part) for part in text.split(",") if part.strip())
    if kind == "bool":
        if text.lower() not in ("true", "false", "yes", "no", "1", "0"):
            raise BadArguments(f"Error: Option --{name} expects true or false, not '{text}'")
        return text.lower() in ("true", "yes", "1")
    if kind == "int":
        if not text.isdigit():
            raise BadArguments(f"Error: Option --{name} expects a number, not '{text}'")
        return int(text)
    return text


def _parse_pair(name: str, text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise BadArguments(f"Error: Option --{name} expects k1=v1,k2=v2, not '{text}'")
    return key.strip(), value
