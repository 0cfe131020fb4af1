"""The exceptions of this package.

    StarlakeError
    ├── InvalidProject           the project's files have errors: all problems at once, each with file and line
    ├── ProjectNotFound          the folder does not exist, or does not contain a Starlake project
    ├── UnknownName              a job, task, table, or setting does not exist
    ├── InvalidSetting           a setting of the component, the environment, or the command line is invalid
    ├── MissingDependency        an optional package is required but not installed
    ├── CommandError             a Starlake command could not be started, or was interrupted
    │   ├── CommandCanceled      ... because the run was canceled
    │   └── CommandTimeout       ... because it ran longer than allowed
    └── EngineError              an error of the embedded DuckDB engine (see ``engine/engine_errors.py`` for its subclasses)

Messages say what is wrong, where (``file:line``), what was expected, and how to fix it.
"""

import difflib
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from .masking import mask_text

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True, order=True)
class Location:
    """A line of a file, or a whole file.

    Attributes:
        file: path relative to the project's root, with ``/``.
        line: line number from 1; 0 for the whole file.
    """

    file: str
    line: int = 0

    def __str__(self) -> str:
        """Return the location as ``metadata/load/sales/orders.sl.yml:12``, which editors recognize."""
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """A problem with a project.

    Attributes:
        location: where it is; None if it is not in a file (but, for example, in an environment variable).
        severity: ``error`` prevents the definitions from loading, ``warning`` does not.
        message: what is wrong, with the value, what was expected, and the closest known name.
        rejected: whether Starlake rejects the file because of this, although this package does not. It is an error if Starlake runs the
            commands.
        skips_file: whether Starlake ignores the whole file because of this.
        only_jobs: whether this affects only jobs and their schedules, because no Starlake command reads what is wrong.
    """

    location: Location | None
    severity: Severity
    message: str
    rejected: bool = False
    skips_file: bool = False
    only_jobs: bool = False

    def __post_init__(self) -> None:
        """Shorten long values in the message, and then the message itself, because values with spaces or quotes may not be recognized."""
        if len(self.message) > _LONGEST_VALUE:
            message = cut_values(self.message)
            rest = len(message) - _LONGEST_MESSAGE
            shown = message if rest <= 0 else f"{message[:_LONGEST_MESSAGE]}... ({rest:,} more characters)"
            object.__setattr__(self, "message", shown)

    def __str__(self) -> str:
        """Return ``file:line: message``, or ``file:line: warning: message``."""
        where = f"{self.location}: " if self.location else ""
        return f"{where}{'warning: ' if self.severity == 'warning' else ''}{self.message}"


class ProblemList(list[Problem]):
    """Problems of a project. If a file has too many, only the first ones are kept, and the last one says that there are more."""

    def __init__(self) -> None:
        super().__init__()
        self._counts: Counter[Hashable] = Counter()
        self._full: set[str] = set()

    def append(self, problem: Problem) -> None:
        """Add a problem."""
        if problem.location is None:
            super().append(problem)
            return
        # These fields determine how a project loads, so at least one problem of each kind is kept.
        kind = (problem.location.file, problem.severity, problem.rejected, problem.skips_file, problem.only_jobs)
        self._counts[kind] += 1
        if self._counts[kind] <= MOST_OF_FILE:
            super().append(problem)
        elif self._counts[kind] == MOST_OF_FILE + 1:
            self._full.add(problem.location.file)
            super().append(replace(problem, message=f"the file has more than {MOST_OF_FILE} {problem.severity}s; the rest are not shown"))

    def extend(self, problems: Iterable[Problem]) -> None:
        """Add problems."""
        for problem in problems:
            self.append(problem)

    def is_full(self, file: str) -> bool:
        """Return whether further problems of the file are no longer recorded."""
        return file in self._full


class StarlakeError(Exception):
    """The base class of this package's exceptions. Known secrets are masked in their messages, and long values are shortened."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*(cut_values(mask_text(a)) if isinstance(a, str) else a for a in arguments))


class InvalidProject(StarlakeError):
    """A project has errors in its files. The exception contains all problems, not only the first.

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
    """A folder does not exist, or does not contain a Starlake project."""


class UnknownName(StarlakeError):
    """A name does not exist. The message suggests existing names."""

    def __init__(self, *, kind: str, name: str, known: Iterable[str]) -> None:
        super().__init__(describe_unknown(kind, name, known))


class InvalidSetting(StarlakeError):
    """A setting of the component, the environment, or the command line is invalid."""


class MissingDependency(StarlakeError):
    """An optional package is required but not installed. The message explains how to install it.

    Args:
        package: name of the package.
        extra: the extra of this package that installs it; None = it must be installed without its dependencies, which are outdated.
        purpose: the feature that requires it.
    """

    def __init__(self, *, package: str, extra: str | None, purpose: str) -> None:
        # Not `pip install starlake-dagster-components[extra]`, because this package may come from Git or a wheel.
        how = f"install starlake-dagster-components with the '{extra}' extra" if extra else f"pip install --no-deps {package}"
        super().__init__(f"{purpose} requires {package}: {how}")


class CommandError(StarlakeError):
    """A Starlake command could not be started, or was interrupted.

    Attributes:
        retry: whether a retry may succeed. False, for example, for a missing permission.
        tables: the known results of an interrupted ``load``: logical table name -> ``executors.base.TableResult``.
        trail: information from the output so far, an ``executors.starlake_output.process_output.OutputTrail``.
    """

    def __init__(self, message: str = "", *, retry: bool = True) -> None:
        super().__init__(message)
        self.retry = retry
        self.tables: Mapping[str, Any] = {}
        self.trail: Any = None


class CommandCanceled(CommandError):
    """A Starlake command was stopped because its run was canceled."""


CommandCancelled = CommandCanceled
"""An earlier spelling, for executors of users."""


class CommandTimeout(CommandError):
    """A Starlake command was stopped because it ran longer than allowed."""


class EngineError(StarlakeError):
    """The base class of the embedded DuckDB engine's exceptions."""


MOST_OF_FILE = 200
"""Maximum number of problems of one kind to keep for a file."""
_LONGEST_VALUE = 200
_LONGEST_MESSAGE = 2_000
_SHOWN = 100
_LONG_VALUE = re.compile(rf"'[^'\n]{{{_LONGEST_VALUE},}}'|\"[^\"\n]{{{_LONGEST_VALUE},}}\"|[^\s'\"]{{{2 * _LONGEST_VALUE},}}")


def cut_values(message: str) -> str:
    """Return a message in which long values are replaced by their first 100 characters and their length."""
    if len(message) <= _LONGEST_VALUE:
        return message

    def cut(match: re.Match[str]) -> str:
        value = match.group()
        end = value[-1] if value[0] in "'\"" and value[-1] == value[0] else ""
        return f"{value[: _SHOWN + len(end)]}...{end} ({len(value) - 2 * len(end):,} characters)"

    return _LONG_VALUE.sub(cut, message)


def join_names(names: Sequence[str], limit: int) -> str:
    """Return names separated by commas; those beyond a limit are counted: ``a, b, and 3 more``."""
    rest = len(names) - limit
    return f"{', '.join(names[:limit])}{f', and {rest} more' if rest > 0 else ''}"


def join_with(conjunction: str, words: Sequence[str]) -> str:
    """Return words in a sentence, such as ``a and b`` and ``a, b, and c``."""
    if len(words) < 3:
        return f" {conjunction} ".join(words)
    return f"{', '.join(words[:-1])}, {conjunction} {words[-1]}"


def suggest_name(name: str, known: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the known name closest to ``name``, or an empty string."""
    candidates = {k.lower(): k for k in known}
    close = candidates and difflib.get_close_matches(name.lower(), candidates, n=1, cutoff=0.6)
    return f" (did you mean '{candidates[close[0]]}'?)" if close else ""


def describe_unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Return a message about an unknown name of a kind (such as ``job``), with the closest known name or, if there are at most 12, all of
    them.
    """
    names = sorted(set(known))
    hint = suggest_name(name, names)
    if not hint and names and len(names) <= 12:
        hint = f" (known: {', '.join(names)})"
    return f"unknown {kind} '{name}'{hint}"
