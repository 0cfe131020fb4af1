"""Find values that name nothing, or another folder, because a variable is not set. Starlake does not report them."""

import re
from collections.abc import Iterator

from ..errors import Location, Problem
from .templating import substitute
from .variables import Variables
from .yaml_source import YamlDocument

_KEY = re.compile(r"(?:^|\.)(?:dagRef(?:\.load|\.transform)?|schedule|connectionRef|directory)$")
_CONNECTION = re.compile(r"(?:application\.)?connections\.([^.\[]+)$")
_NAMES = ("dagRef", "schedule", "connectionRef", "directory")
_VARIABLE = re.compile(r"\{\{\s*([A-Za-z_][\w.]*)")


def find_empty_references(name: str, text: str, document: YamlDocument, variables: Variables) -> Iterator[Problem]:
    """Yield an error for each ``dagRef`` whose variable is not set; for ``schedule``, ``connectionRef``, and ``directory``, a warning.

    Starlake renders an unset variable as an empty string. A variable that an env file sets to an empty value is not reported.
    ``text`` is the file before rendering, and ``document`` its parsed content, with the line numbers of ``text``.
    """
    if "{{" not in text or not any(key in text for key in _NAMES):
        return
    lines = text.splitlines()
    for key, number in document.lines.items():
        match = _KEY.search(key)
        line = lines[number - 1] if match and 0 < number <= len(lines) else ""
        value = _find_value(key.rpartition(".")[2], line) if "{{" in line else None
        if value is None:
            continue
        written = value.strip().strip("\"'")
        unset = [v for v in _VARIABLE.findall(written) if not variables.values.get(v) and v not in variables.origins]
        rest = re.sub(r"\{\{.*?\}\}", "", written).strip()
        short = key[key.index("dagRef") :] if "dagRef" in key else key.rpartition(".")[2]
        if not unset or (rest and short != "directory") or "default(" in written:
            continue
        message = f"{short} '{written}': the variable {unset[0]} is not set"
        if short == "schedule":
            message += ", so there is no schedule"
        elif short == "directory":
            folder = substitute(written, {**variables.values, **dict.fromkeys(unset, "")})
            message += f", so the folder is '{folder or '.'}'"
        elif short == "connectionRef":
            choice = name_connections(document)
            message += f", so there is no connection{choice and f'; set it to {choice}'}"
        yield Problem(Location(name, number), "error" if short.startswith("dagRef") else "warning", message)


def name_connections(document: YamlDocument) -> str:
    """Return the names of the connections in an application file: ``a``, or ``one of a, b``; empty if it has none."""
    names = [found[1] for found in map(_CONNECTION.match, document.lines) if found]
    return f"one of {', '.join(names)}" if len(names) > 1 else "".join(names)


def _find_value(key: str, line: str) -> str | None:
    """Return the text after a key on a line: ``"{{A}}"`` for ``load`` in ``{load: "{{A}}", transform: b}``; None without the key."""
    found = re.search(rf"(?<![\w.-])[\"']?{re.escape(key)}[\"']?\s*:\s*(\"[^\"]*\"|'[^']*'|(?:\{{\{{.*?\}}\}}|[^,}}#])*)", line)
    return found[1] if found else None
