"""Render the Jinja of project files as Starlake does, in a sandbox. Starlake: JinjaUtils.parseJinja, Formatter.richFormat.

Project files are data: templates run in Jinja's immutable sandbox and can include only files of the project.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import StarlakeError
from . import disk
from .jinja.budget import ProjectBudget
from .word_sets import split_words

if TYPE_CHECKING:
    from jinja2 import nodes

    from .jinja.environment import JinjavaEnvironment

_PLACEHOLDER = re.compile(r"\$\{\s*([^\s{}$]+)\s*\}|\{\{\s*([^\s{}]+)\s*\}\}")
_SIMPLE = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z_0-9]*)\s*\}\}")
_OPENING = re.compile(r"\{[{%#]")
# Names that are not variables: Jinja's keywords and the globals of every template.
_NO_VARIABLES = split_words(
    "true false none True False None not and or in is if else range dict lipsum cycler joiner namespace self loop caller varargs kwargs"
)
_MAX_ROUNDS = 8
_MAX_SUBSTITUTED = 2_000_000
# These enclose the line number that is put before each line of a template. They are private-use characters, which no file contains.
_MARK_START, _MARK_END = "\uf8f0", "\uf8f1"
_MARK = re.compile(f"{_MARK_START}([0-9]+){_MARK_END}")


class TemplateError(StarlakeError):
    """A template that Jinja cannot render; ``line`` is the line in the template, from 1, or 0 if it is unknown."""

    def __init__(self, message: str, line: int = 0) -> None:
        self.line = line
        super().__init__(message)


@dataclass(slots=True)
class Rendered:
    """A rendered text, and the source lines of its lines. If there are none, they differ from those of the text by the offset."""

    text: str
    offset: int = 0
    lines: list[int] | None = None

    def get_line(self, number: int) -> int:
        """Return the source line (from 1) of a line of the rendered text (from 1)."""
        if self.lines is None:
            return number + self.offset
        return self.lines[min(max(number, 1), len(self.lines)) - 1] if self.lines else 1

    @property
    def moved(self) -> bool:
        """True if line numbers in the text and in the source may differ."""
        return self.lines is not None or self.offset != 0

    def follow(self, earlier: "Rendered") -> "Rendered":
        """Return this text with the source lines of an earlier rendering, whose output is the source of this one."""
        return Rendered(self.text, 0, [earlier.get_line(line) for line in self.list_lines()])

    def list_lines(self) -> list[int]:
        """Return the source line of every line of the rendered text."""
        numbers = range(1, self.text.count("\n") + 2)
        return [number + self.offset for number in numbers] if self.lines is None else [self.get_line(number) for number in numbers]


@dataclass(eq=False)
class Renderer:
    """Renders the templates of one project.

    Attributes:
        metadata_folder: folder to which includes are relative; None allows no includes.
        root: another folder whose files may be included.
        on_include: called with the path of each included file.
        budget: time limit for all templates of the project together; None for no shared limit.
        warnings: (line, message) for the parts of the last template that Starlake silently ignores.
    """

    metadata_folder: Path | None
    root: Path | None = None
    on_include: Callable[[str], None] | None = None
    budget: ProjectBudget | None = None
    warnings: list[tuple[int, str]] = field(default_factory=list)

    def render(self, text: str, variables: Mapping[str, Any]) -> Rendered:
        """Render the Jinja of a template, substitute the remaining placeholders, and trim it. Starlake: JinjaUtils.parseJinja.

        Raises:
            TemplateError: it is not a Jinja template, or it cannot be rendered.
        """
        rendered, lines = text, None
        self.warnings = []
        if "{{" in text or "{%" in text or "{#" in text:
            rendered, lines = self._render_jinja(text, variables)
        if "${" in rendered or "{{" in rendered:
            substituted = substitute(rendered, variables)
            if substituted.count("\n") != rendered.count("\n"):
                lines = _map_lines(rendered, lambda line: substitute(line, variables), lines)
            rendered = substituted
        return _trim(rendered, lines)

    def _render_jinja(self, text: str, variables: Mapping[str, Any]) -> tuple[str, list[int] | None]:
        simple = _SIMPLE.findall(text)
        if len(simple) == len(_OPENING.findall(text)) and "{{{" not in text and _NO_VARIABLES.isdisjoint(simple):
            # With plain variables only, the result is the same as Jinja's, without compiling a template.
            values = [write_variable(variables.get(name, "")) for name in simple]
            if sum(map(len, values)) > _MAX_SUBSTITUTED:
                raise TemplateError(f"variables expand to more than {_MAX_SUBSTITUTED:,} characters")

            def insert(source: str) -> str:
                return _SIMPLE.sub(lambda match: write_variable(variables.get(match.group(1), "")), source)

            return insert(text), _map_lines(text, insert) if any("\n" in value for value in values) else None
        return self._render_template(text, variables)

    def _render_template(self, text: str, variables: Mapping[str, Any]) -> tuple[str, list[int]]:
        import jinja2

        environment = self._environment
        budget = environment.start(self.budget or ProjectBudget())
        try:
            tree = environment.parse(text)
            _mark_lines(tree)
            template = environment.from_string(tree)
            budget.check_time()
            parts = []
            for part in template.generate(dict(variables)):
                budget.count_characters(len(part))
                parts.append(part)
        except jinja2.TemplateSyntaxError as error:
            line = error.lineno if error.name is None else 0
            raise TemplateError(f"is not a Jinja template: {(error.message or '').rstrip('.')}", line) from error
        except jinja2.TemplateNotFound as error:
            name = error.message or error.name
            message = f"includes '{name}', which is not a file in the metadata folder"
            raise TemplateError(message, _find_line_of_include(text, error.name)) from error
        except Exception as error:
            reason = _shorten_reason(error)
            raise TemplateError(f"cannot be rendered: {reason}", _find_line_of_failure(error)) from error
        finally:
            budget.charge_project()
        self.warnings = environment.warnings
        return _remove_marks("".join(parts))

    @cached_property
    def _environment(self) -> "JinjavaEnvironment":
        from .jinja.environment import JinjavaEnvironment

        return JinjavaEnvironment(self._load_include)

    def _load_include(self, name: str) -> str | None:
        if self.metadata_folder is None or "\0" in name:
            return None
        path = disk.resolve_links(os.path.join(self.metadata_folder, name))
        if not disk.is_below(path, (folder for folder in (self.root, self.metadata_folder) if folder)):
            return None
        try:
            content = disk.read_bytes(path).decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
        except (OSError, UnicodeDecodeError):
            return None
        if self.on_include:
            self.on_include(path)
        return content


def render(text: str, variables: Mapping[str, str], *, metadata_folder: Path | None = None) -> str:
    """Render a template as Starlake does; see :meth:`Renderer.render`. Undefined names are empty."""
    return _find_renderer(metadata_folder).render(text, variables).text


def substitute(text: str, variables: Mapping[str, Any]) -> str:
    """Replace ``${X}`` and ``{{X}}`` if the variable exists, and leave the rest unchanged. Starlake: Formatter.richFormat.

    Starlake replaces variables in no particular order. Here, a value that refers to another variable is always resolved.

    Raises:
        TemplateError: the text becomes too long, for example because variables refer to each other.
    """
    for _ in range(_MAX_ROUNDS):
        replaced = substitute_once(text, variables)
        if replaced == text:
            break
        text = replaced
    return text


def write_variable(value: Any) -> str:
    """Return the text that Starlake inserts for a variable. Variables of write strategies can also be lists, maps, and booleans."""
    if isinstance(value, str):
        return value
    from .jinja.values import format_value

    return format_value(value)


def substitute_once(text: str, variables: Mapping[str, Any]) -> str:
    """Replace ``${X}`` and ``{{X}}`` in one pass; see :func:`substitute`."""
    if "${" not in text and "{{" not in text:
        return text
    length = len(text)

    def replace(match: re.Match[str]) -> str:
        nonlocal length
        name = match.group(1) or match.group(2)
        value = write_variable(variables.get(name, match.group()))
        length += len(value)
        if length > _MAX_SUBSTITUTED:
            raise TemplateError(f"variables expand to more than {_MAX_SUBSTITUTED:,} characters: the last one was '{name}'")
        return value

    return _PLACEHOLDER.sub(replace, text)


_find_renderer = lru_cache(maxsize=16)(Renderer)


def _mark_lines(tree: "nodes.Template") -> None:
    """Put a mark before each line of literal text, except where a template may capture the text and compare it."""
    from jinja2 import nodes

    captured = (nodes.AssignBlock, nodes.Macro, nodes.CallBlock, nodes.FilterBlock)
    stack: list[nodes.Node] = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, nodes.TemplateData):
            parts = node.data.split("\n")
            node.data = "\n".join(f"{_MARK_START}{node.lineno + number}{_MARK_END}{part}" for number, part in enumerate(parts))
        elif not isinstance(node, captured):
            stack.extend(node.iter_child_nodes())


def _remove_marks(text: str) -> tuple[str, list[int]]:
    lines = []
    current = 1
    for line in text.split("\n"):
        marks = _MARK.findall(line)
        if marks:
            # If several source lines were joined, the first one with text is used, or else the first one.
            pieces = _MARK.split(line)
            filled = [int(pieces[index]) for index in range(1, len(pieces), 2) if pieces[index + 1].strip()]
            lines.append(filled[0] if filled and not pieces[0].strip() else current if pieces[0].strip() else int(marks[0]))
            current = int(marks[-1])
        else:
            lines.append(current)
    return _MARK.sub("", text), lines


def _map_lines(text: str, replace: Callable[[str], str], lines: list[int] | None = None) -> list[int]:
    """Return the source lines after ``replace``, which may add lines. ``lines`` are the source lines before."""
    mapped: list[int] = []
    for number, line in enumerate(text.split("\n")):
        source = lines[min(number, len(lines) - 1)] if lines else number + 1
        mapped += [source] * (replace(line).count("\n") + 1)
    return mapped


def _trim(text: str, lines: list[int] | None) -> Rendered:
    # Java's trim removes all characters up to U+0020.
    stripped = text.strip("".join(map(chr, range(33))))
    start = text.find(stripped) if stripped else 0
    skipped = text.count("\n", 0, start)
    return Rendered(stripped, skipped) if lines is None else Rendered(stripped, 0, lines[skipped:])


def _shorten_reason(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, SyntaxError):
        return error.msg  # in Jinja's generated Python, for a break outside a loop or a repeated argument of a macro
    reason = str(error).split("\n", 1)[0].rstrip(".")
    return (reason if len(reason) <= 300 else f"{reason[:300]}...") or type(error).__name__


def _find_line_of_include(text: str, name: object) -> int:
    place = text.find(name) if isinstance(name, str) and name else -1
    return text.count("\n", 0, place) + 1 if place >= 0 else 0


def _find_line_of_failure(error: BaseException) -> int:
    trace = error.__traceback__
    line = 0
    while trace is not None:
        if trace.tb_frame.f_code.co_filename in ("<template>", "<unknown>"):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
