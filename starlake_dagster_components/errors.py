"""The exceptions of this package.

::

    StarlakeError
    ├── InvalidProject           the project's files: all problems at once, each with file and line
    ├── ProjectNotFound          there is no Starlake project at the given folder
    ├── UnknownName              a name (of a job, task, table, setting) that does not exist
    ├── InvalidSetting           a setting of the component, the environment or the command line
    ├── MissingDependency        an optional package that is needed and not installed
    ├── CommandError             a Starlake command that could not be started or followed
    │   ├── CommandCancelled     ... because the run was canceled
    │   └── CommandTimeout       ... because it ran longer than allowed
    └── EngineError              the embedded DuckDB engine (see ``engine/errors.py`` for its branches)

Messages say what is wrong, where (``file:line``), what was expected and how to fix it.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .masking import mask_text

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True, order=True)
class Location:
    """A place in a file of the project.

    Attributes:
        file: path relative to the project's root, with ``/``.
        line: line number from 1; 0 for the whole file.
    """

    file: str
    line: int = 0

    def __str__(self) -> str:
        """Return the place in the form that editors recognize: ``metadata/load/sales/orders.sl.yml:12``."""
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """A problem with a project.

    Attributes:
        location: the place; None if it is not in a file (but, for example, in an environment variable).
        severity: ``error`` stops the definitions from loading, ``warning`` does not.
        message: one sentence: what is wrong, the value, what was expected, and the closest known name.
        rejected: True if Starlake rejects the file because of it, although this package understands it. If Starlake runs the
            commands, the problem is an error.
        skips_file: whether Starlake ignores everything that the file defines.
    """

    location: Location | None
    severity: Severity
    message: str
    rejected: bool = False
    skips_file: bool = False

    def __post_init__(self) -> None:
        """Cut long values in the message."""
        if len(self.message) > _LONGEST_VALUE:
            object.__setattr__(self, "message", cut_values(self.message))

    def __str__(self) -> str:
        """Return ``file:line: message``; warnings are marked as such."""
        where = f"{self.location}: " if self.location else ""
        return f"{where}{'warning: ' if self.severity == 'warning' else ''}{self.message}"


class StarlakeError(Exception):
    """The base class of all exceptions of this package. Known secrets are removed from their messages."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*(cut_values(mask_text(a)) if isinstance(a, str) else a for a in arguments))


class InvalidProject(StarlakeError):
    """A project with errors in its files; carries all problems, not just the first.

    Attributes:
        root: the project's folder.
        problems: all problems, errors and warnings.
    """

    def __init__(self, root: str, problems: Sequence[Problem]) -> None:
        self.root = root
        self.problems = tuple(problems)
        errors = [p for p in self.problems if p.severity == "error"]
        count = f"{len(errors)} problem{'s' if len(errors) != 1 else ''}"
        super().__init__("\n".join([f"{count} in the Starlake project {root}:", *(f"  {p}" for p in errors)]))

    def __reduce__(self) -> tuple[type["InvalidProject"], tuple[str, tuple[Problem, ...]]]:
        """Make the exception picklable."""
        return InvalidProject, (self.root, self.problems)


class ProjectNotFound(StarlakeError):
    """A folder without a Starlake project."""


class UnknownName(StarlakeError):
    """A name that does not exist; the message suggests existing names."""

    def __init__(self, *, kind: str, name: str, known: Iterable[str]) -> None:
        super().__init__(describe_unknown(kind, name, known))


class InvalidSetting(StarlakeError):
    """A setting of the component, the environment or the command line that cannot be used."""


class MissingDependency(StarlakeError):
    """An optional package that is required but not installed; the message explains how to install it."""

    def __init__(self, *, package: str, extra: str | None, purpose: str) -> None:
        """Explain how to install a package: as an extra of this one, or alone if the package pins outdated requirements."""
        # Not `pip install starlake-dagster-components[extra]`: it may have come from Git or a wheel.
        how = f"install starlake-dagster-components with the extra '{extra}'" if extra else f"pip install --no-deps {package}"
        super().__init__(f"{purpose} needs {package}: {how}")


class CommandError(StarlakeError):
    """A Starlake command that could not be started or followed.

    Attributes:
        retry: False if a retry cannot succeed (a missing permission, a wrong name).
        tables: the known results of an interrupted ``load``: logical table name -> ``executors.base.TableResult``.
        trail: information from its output so far: ``executors.starlake_output.process_output.OutputTrail``.
    """

    def __init__(self, message: str = "", *, retry: bool = True) -> None:
        super().__init__(message)
        self.retry = retry
        self.tables: Mapping[str, Any] = {}
        self.trail: Any = None


class CommandCancelled(CommandError):
    """A Starlake command that was stopped because its run was canceled."""


class CommandTimeout(CommandError):
    """A Starlake command that was stopped because it ran longer than allowed."""


class EngineError(StarlakeError):
    """The base class of all exceptions of the embedded DuckDB engine."""


_LONGEST_VALUE = 200
_SHOWN = 100
_LONG_VALUE = re.compile(rf"'[^'\n]{{{_LONGEST_VALUE},}}'|\"[^\"\n]{{{_LONGEST_VALUE},}}\"|[^\s'\"]{{{2 * _LONGEST_VALUE},}}")


def cut_values(message: str) -> str:
    """Return a message whose values are short: of a longer one, its beginning and its length."""
    if len(message) <= _LONGEST_VALUE:
        return message

    def cut(match: re.Match[str]) -> str:
        value = match.group()
        end = value[-1] if value[0] in "'\"" and value[-1] == value[0] else ""
        return f"{value[: _SHOWN + len(end)]}...{end} ({len(value) - 2 * len(end):,} characters)"

    return _LONG_VALUE.sub(cut, message)


def suggest_name(name: str, known: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the known name closest to ``name``, or an empty string."""
    candidates = {k.lower(): k for k in known}
    close = difflib.get_close_matches(name.lower(), candidates, n=1, cutoff=0.6)
    return f" (did you mean '{candidates[close[0]]}'?)" if close else ""


def describe_unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Return a message about an unknown value: the value, and the closest known one or a short list of known ones."""
    names = sorted(set(known))
    hint = suggest_name(name, names)
    if not hint and names and len(names) <= 12:
        hint = f" (known: {', '.join(names)})"
    return f"unknown {kind} '{name}'{hint}"
