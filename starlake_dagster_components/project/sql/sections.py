"""Render the SQL of a task, split it into sections, and remove comments. Starlake: SqlTaskExtractor, SqlCommentStripper."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ..model import Project, Task
from ..templating import Renderer, TemplateError
from ..variables import build_date_variables
from .tokens import STARLAKE, tokenize_sql

_MARKER = re.compile(r"--\s*(SL_SQL|SL_PRESQL|SL_POSTSQL)\s*")
_JAVA_BLANKS = "".join(map(chr, range(33)))


@dataclass(frozen=True, slots=True)
class SqlPart:
    """A part of a task's SQL, and the source line (from 1) of each of its lines; none if they are the same."""

    text: str
    lines: tuple[int, ...] = ()

    @property
    def line(self) -> int:
        """The source line of the first line."""
        return self.lines[0] if self.lines else 1

    def find_source_line(self, number: int) -> int:
        """Return the source line of a line of the text (from 1)."""
        if not self.lines:
            return number
        return self.lines[min(max(number, 1), len(self.lines)) - 1]

    def find_indentation(self, number: int, source: Sequence[str]) -> str:
        """Return the indentation that Starlake removed from a line."""
        line = self.find_source_line(number)
        text = source[line - 1] if self.lines and 0 < line <= len(source) else ""
        return text[: len(text) - len(text.lstrip())]


@dataclass(frozen=True, slots=True)
class SqlSections:
    """The SQL of a task: pre-SQL, the query, and post-SQL."""

    presql: tuple[SqlPart, ...] = ()
    sql: SqlPart | None = None
    postsql: tuple[SqlPart, ...] = ()


def split_sections(text: str, lines: Sequence[int] = ()) -> SqlSections:
    """Split a rendered SQL file at the lines ``-- SL_PRESQL``, ``-- SL_SQL``, and ``-- SL_POSTSQL``. Starlake: SqlTaskExtractor.

    As in Starlake, every line is trimmed, blank lines are dropped, and the first non-empty SL_SQL section is used. ``lines`` has the
    source line of each line of the text; it is empty if they are the same.
    """
    parts: list[tuple[str, list[str], list[int]]] = [("SL_SQL", [], [])]
    for index, line in enumerate(text.split("\n")):
        # Starlake looks for the marker in the untrimmed line, so an indented marker is a comment.
        if line.startswith("--") and (marker := _MARKER.fullmatch(line)):
            parts.append((marker.group(1), [], []))
        elif trimmed := line.strip(_JAVA_BLANKS):
            parts[-1][1].append(trimmed)
            parts[-1][2].append(lines[index] if index < len(lines) else index + 1)
    sections: dict[str, list[SqlPart]] = {"SL_SQL": [], "SL_PRESQL": [], "SL_POSTSQL": []}
    for kind, kept, kept_lines in parts:
        if kept:
            sections[kind].append(SqlPart("\n".join(kept), tuple(kept_lines)))
    return SqlSections(tuple(sections["SL_PRESQL"]), next(iter(sections["SL_SQL"]), None), tuple(sections["SL_POSTSQL"]))


def strip_comments(part: SqlPart) -> SqlPart:
    """Return SQL without comments, blank lines, and a trailing semicolon. Starlake: SqlCommentStripper."""
    text = part.text
    if "--" in text or "/*" in text:
        # Line breaks in comments stay, so that lines keep their numbers. Blank lines are dropped afterward.
        tokens = tokenize_sql(text, STARLAKE)
        text = "".join("\n" * token.text.count("\n") if token.kind == "comment" else token.text for token in tokens)
    kept = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip(_JAVA_BLANKS)]
    result = "\n".join(line for _, line in kept)
    trimmed = result.strip(_JAVA_BLANKS)
    return SqlPart(trimmed[:-1] if trimmed.endswith(";") else result, tuple(part.find_source_line(number) for number, _ in kept))


def render_task(project: Project, task: Task, variables: Mapping[str, str] | None = None) -> SqlSections:
    """Return a task's SQL as Starlake runs it: rendered, split at the markers, and without comments.

    The file's pre-SQL runs before the YAML's, and its post-SQL runs after the YAML's. Starlake: SchemaHandler.buildAutoTaskInfo.
    The variables (``--options``, the logical date) override those of the project.

    Raises:
        TemplateError: the SQL is not a Jinja template, or it cannot be rendered. Its line is that of the file.
    """
    renderer = Renderer(project.metadata_folder, project.root)
    values = {**project.variables, **_compute_dates(project.variables), **(variables or {})}
    sections = render_sections(renderer, task, values)
    presql = (*sections.presql, *(SqlPart(text) for text in task.presql))
    postsql = (*(SqlPart(text) for text in task.postsql), *sections.postsql)
    return SqlSections(
        tuple(part for part in map(strip_comments, presql) if part.text.strip()),
        strip_comments(sections.sql) if sections.sql else None,
        tuple(part for part in map(strip_comments, postsql) if part.text.strip()),
    )


def _compute_dates(variables: Mapping[str, str]) -> dict[str, str]:
    """Return Starlake's date variables for the current time, except those that an env file or the environment sets."""
    written = variables.get("sl_epoch_milli", "")
    if not written.isdecimal() or len(written) > 15:
        return {}
    then = build_date_variables(datetime.fromtimestamp(int(written) / 1000))
    now = build_date_variables(datetime.now())
    return {name: value for name, value in now.items() if variables.get(name) == then[name]}


def render_sections(renderer: Renderer, task: Task, values: Mapping[str, str]) -> SqlSections:
    """Return the rendered sections of a task's ``sql_text``, as :func:`render_task` does, but with comments."""
    if task.sql_text is None:
        return SqlSections()
    try:
        rendered = renderer.render(task.sql_text, values)
        if "{{" in rendered.text or "{%" in rendered.text or "{#" in rendered.text:
            # Starlake renders SQL when it reads the file and again when it runs the task, which renders the content of {% raw %}.
            warnings = renderer.warnings
            rendered = renderer.render(rendered.text, values).follow(rendered)
            renderer.warnings = warnings
    except TemplateError as error:
        raise TemplateError(str(error), error.line + task.sql_line - 1 if error.line else task.sql_line) from error
    lines = [line + task.sql_line - 1 for line in rendered.list_lines()]
    if task.sql_file is not None and task.sql_file.endswith(".yml"):
        # Starlake looks for markers only in SQL files.
        return SqlSections(sql=SqlPart(rendered.text, tuple(lines)) if rendered.text else None)
    return split_sections(rendered.text, lines)
