"""Read a YAML file: render its Jinja, parse it, migrate old formats, and return the content of its root key. Starlake: YamlSerde."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import Location, Problem, ProblemList, Severity, suggest_name
from .empty_references import find_empty_references, name_connections
from .migration import Migration, rename_table_roots
from .project_files import ProjectFiles, UnreadableFile
from .schema_shapes import ROOTS
from .templating import Rendered, Renderer, TemplateError
from .variables import UNSET_MARK, Unset, Variables
from .yaml_mappings import Context, Section
from .yaml_source import Positions, YamlDocument, YamlError, join_key, parse_yaml

# Keys in which an unset variable does no harm while a project is read, because SQL gets the variable's value when it runs.
_DESCRIPTIVE = frozenset(["comment", "description", "sample", "patternSample", "tags", "sql", "presql", "postsql"])


Migrate = Callable[[Migration, dict[str, Any]], None]


@dataclass(slots=True)
class Reading:
    """The state that is shared while a project is read, and the problems found so far.

    Attributes:
        metadata: the ``metadata`` folder.
        variables: the project's variables, except those of the areas.
        values: all variables, as YAML files see them.
        reported_unset: unset variables that were reported already.
        sections: (root key, content) of each file that Starlake checks against its JSON schema.
    """

    files: ProjectFiles
    metadata: Path
    renderer: Renderer
    variables: Variables
    values: Mapping[str, str]
    problems: ProblemList = field(default_factory=ProblemList)
    reported_unset: set[str] = field(default_factory=set)
    sections: list[tuple[str, Section]] = field(default_factory=list)

    def add_problem(self, location: Location | None, severity: Severity, message: str) -> None:
        """Add a problem."""
        self.problems.append(Problem(location, severity, message))

    def read_file(self, path: str) -> str | None:
        """Return a file's text; None if it cannot be read, which is reported."""
        try:
            return self.files.read(path)
        except UnreadableFile as error:
            self.problems.append(error.problem)
            return None

    def report_files(self, files: Iterable[tuple[str, str]], suffixes: tuple[str, ...], severity: Severity, message: str) -> None:
        """Add a problem for each of the files, (name, path), whose name has one of the suffixes."""
        for name, path in files:
            if name.endswith(suffixes):
                self.add_problem(Location(self.files.name(path)), severity, message)

    def warn_about_suffix(self, name: str, path: str) -> None:
        """Warn about a YAML file that Starlake ignores because of its name."""
        if not name.endswith(".sl.yml"):
            self.report_files([(name, path)], (".yml", ".yaml"), "warning", "is not read: Starlake reads only files named *.sl.yml")


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of file.

    Attributes:
        root: the root key.
        severity: the severity of a file that cannot be read: ``error`` if Starlake stops, ``warning`` if it skips the file.
        effect: the consequence of a skipped file, for messages.
        rendered: whether Starlake renders the file's Jinja.
        lenient: whether all of its problems are only warnings.
        harmless: beginnings of the dotted keys whose values may contain unset variables.
    """

    root: str
    severity: Severity = "error"
    effect: str = ""
    rendered: bool = True
    lenient: bool = False
    harmless: tuple[str, ...] = ()


def load_section(reading: Reading, path: str, kind: FileKind, migrate: Migrate | None = None) -> Section | None:
    """Return the content of a file's root key. If the file cannot be read, report it and return None.

    ``migrate`` migrates the content to version 1 if the file has no version.
    """
    document = load_document(reading, path, kind)
    return None if document is None else find_root_section(reading, path, document, kind, migrate)


def load_document(reading: Reading, path: str, kind: FileKind) -> YamlDocument | None:
    """Return a parsed file, whose line numbers are those of the source. If the file cannot be read, report it and return None."""
    name = reading.files.name(path)
    try:
        text = reading.files.read(path)
    except UnreadableFile as error:
        # Not what its author wrote, so an error even where Starlake skips the file.
        asked = kind if kind.lenient else replace(kind, severity="error")
        reject_file(reading, asked, error.problem.location or Location(name), error.problem.message)
        return None
    if kind.rendered:
        try:
            rendered = reading.renderer.render(text, reading.values)
        except TemplateError as error:
            reject_file(reading, kind, Location(name, error.line), str(error))
            return None
        for line, message in reading.renderer.warnings:
            reading.add_problem(Location(name, line), "warning", message)
    else:
        rendered = Rendered(text)
    try:
        document = parse_yaml(rendered.text, kind.root)
    except YamlError as error:
        reject_file(reading, kind, Location(name, rendered.get_line(error.line)), str(error))
        return None
    if rendered.moved:
        document.lines = {key: rendered.get_line(line) for key, line in document.lines.items()}
        document.duplicates = [(key, rendered.get_line(first), rendered.get_line(second)) for key, first, second in document.duplicates]
    severity: Severity = "warning" if kind.lenient else "error"
    for key, first, second in document.duplicates:
        reading.add_problem(Location(name, second), severity, f"key '{key}' appears twice, first on line {first}")
    if document.more:
        place = Location(name, rendered.get_line(document.more))
        reading.add_problem(place, "warning", "a second YAML document begins here; Starlake reads only the first")
    if kind.rendered and not kind.lenient:
        reading.problems.extend(find_empty_references(name, text, document, reading.variables))
    if reading.variables.unset and kind.rendered:
        _report_unset(reading, name, document, kind)
    return document


def reject_file(reading: Reading, kind: FileKind, location: Location, message: str) -> None:
    """Report that a file cannot be read, with the consequence."""
    if kind.lenient or kind.severity == "warning":
        full = f"{message}{kind.effect and '; ' + kind.effect}"
        reading.problems.append(Problem(location, "warning", full, skips_file=not kind.lenient))
    else:
        reading.add_problem(location, "error", f"{message}{kind.effect and '; ' + kind.effect}")


def find_root_section(
    reading: Reading, path: str, document: YamlDocument, kind: FileKind, migrate: Migrate | None = None
) -> Section | None:
    """Return the content of a parsed file's root key; see :func:`load_section`."""
    name, data = reading.files.name(path), document.data
    fault = _find_root_fault(data, kind.root)
    faults = [fault] if fault else []
    body = data.get(kind.root, data) if fault is None else {}
    if migrate and fault is None and "version" not in data:
        migration = Migration(document)
        migrate(migration, body)
        faults = migration.failures
    for key, message in faults:
        reject_file(reading, kind, Location(name, document.lines.get(key, 1)), message)
    if faults:
        return None
    severity: Severity = "warning" if kind.lenient else kind.severity
    context = Context(name, Positions(name, document.lines), reading.problems, severity, kind.lenient, kind.effect, document.blocks)
    if body is not data:
        Section(context, data).warn_about_unknown_keys(ROOTS | {"version"}, "the file")
    section = Section(context, body)
    if not kind.lenient:
        reading.sections.append((kind.root, section))
    return section


def _find_root_fault(data: Any, root: str) -> tuple[str, str] | None:
    """Return (key, message) if the content of the root key cannot be read; None if it can."""
    if not isinstance(data, dict):
        return "", "is empty" if data is None else f"is not a mapping with the root key '{root}'"
    if "version" in data and data["version"] != 1:
        return "version", f"version must be 1, found {data['version']!r}"
    if root not in data and ("version" in data or root == "table"):
        other = min(data.keys() - {"version"}, default="")
        hint = f"; found '{other}'{suggest_name(other, (root,))}" if other else ""
        return other, f"the root key '{root}' is missing{hint}"
    if not isinstance(data.get(root, data), dict):
        return "", f"'{root}' is empty" if data[root] is None else f"'{root}' must be a mapping"
    return None


def load_list_section(reading: Reading, path: str, kind: FileKind) -> Section | None:
    """Return the content of a file whose root key has a list. An old file without a version may itself be the list.

    If the file cannot be read, report it and return None.
    """
    document = load_document(reading, path, kind)
    if document is None:
        return None
    name, data = reading.files.name(path), document.data
    if isinstance(data, list):
        data = {kind.root: data}
    if not isinstance(data, dict) or kind.root not in data:
        reject_file(reading, kind, Location(name, 1), "is empty" if data is None else f"the root key '{kind.root}' is missing")
        return None
    lines = {kind.root + key if key.startswith("[") else key: line for key, line in document.lines.items()}
    section = Section(Context(name, Positions(name, lines), reading.problems, "error"), data)
    reading.sections.append((kind.root, section))
    return section


def unwrap_table(reading: Reading, name: str, document: YamlDocument, kind: FileKind) -> YamlDocument | None:
    """Rename old root keys of a table file to ``table``. Only the first item of ``tables`` is used. Starlake: deserializeYamlTables."""
    data = document.data
    if not isinstance(data, dict):
        return document
    if "version" not in data:
        rename_table_roots(data, document)
    tables = data.get("tables")
    if "tables" not in data:
        return document
    if not isinstance(tables, list) or not tables or not isinstance(tables[0], dict):
        reject_file(reading, kind, Location(name, document.lines.get("tables", 1)), "'tables' must be a list of tables")
        return None
    if len(tables) > 1:
        place = Location(name, document.lines.get("tables[1]", 1))
        reading.add_problem(place, "warning", "Starlake reads only the first table of a file; give each table its own file")
    first = tables[0]
    prefix = "tables[0].table." if "table" in first else "tables[0]."
    lines = {key[len(prefix) :]: line for key, line in document.lines.items() if key.startswith(prefix)}
    lines[""] = document.lines.get("tables[0]", 1)
    if "version" in data:
        first = {"version": data["version"], **first}
    wrapped = first if "table" in first else {"table": first}
    return YamlDocument(wrapped, lines, [], document.blocks)


def load_table_section(reading: Reading, path: str, kind: FileKind) -> Section | None:
    """Return the content of a table's file. If the file cannot be read, report it and return None."""
    document = load_document(reading, path, kind)
    if document is not None:
        document = unwrap_table(reading, reading.files.name(path), document, kind)
    return None if document is None else find_root_section(reading, path, document, kind, Migration.migrate_table)


def build_inline_table_section(section: Section, document: YamlDocument, data: dict[str, Any], path: str) -> Section:
    """Return a table that is defined in its domain's ``_config``, an old format."""
    migration = Migration(document)
    body = data["table"] if isinstance(data.get("table"), dict) else data
    place = f"{path}.table" if body is not data else path
    migration.migrate_table(body, place)
    return Section(section.context, body, place)


def _report_unset(reading: Reading, name: str, document: YamlDocument, kind: FileKind) -> None:
    """Report unset variables where their values have an effect. Elsewhere, restore their placeholders.

    Starlake keeps the placeholder as the value and fails later, far from the cause.
    """

    def walk(value: Any, path: str) -> Any:
        if isinstance(value, dict):
            return {key: walk(item, "" if not path and key == kind.root else join_key(path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [walk(item, f"{path}[{index}]") for index, item in enumerate(value)]
        if not isinstance(value, str):
            return value
        found = UNSET_MARK.findall(value)
        if not found:
            return value
        if kind.lenient or path.startswith(kind.harmless) or _find_last_key(path) in _DESCRIPTIVE:
            return UNSET_MARK.sub(lambda match: reading.variables.unset[match.group(1)].value, value)
        for variable in found:
            choice = name_connections(document) if _find_last_key(path) == "connectionRef" else ""
            used = Location(name, document.lines.get(path, 1))
            _report_variable(reading, reading.variables.unset[variable], used, path, choice)
        return UNSET_MARK.sub("", value) or None

    document.data = walk(document.data, "")


def _report_variable(reading: Reading, unset: Unset, used: Location, path: str, choice: str) -> None:
    if unset.name in reading.reported_unset:
        return
    reading.reported_unset.add(unset.name)
    if unset.missing.replace("_", "").isalnum():
        cause = f"{unset.missing} is not set; set it{f' to {choice}' if choice else ''} in the environment, or give '{unset.name}' a value"
    else:
        cause = "an env file supports only {{NAME}} and ${NAME}, no other Jinja"
    reading.add_problem(unset.location, "error", f"variable '{unset.name}' is '{unset.value}', and {cause} (used for {path} in {used})")


def _find_last_key(path: str) -> str:
    return path.rpartition(".")[2].partition("[")[0]
