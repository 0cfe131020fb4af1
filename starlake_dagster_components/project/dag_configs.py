"""Read DAG configs, their custom templates, and macros. Starlake: DagHandler, AnyTemplateLoader."""

import os
import re
from collections.abc import Mapping

from ..errors import Location
from . import disk
from .documents import FileKind, Reading, load_section
from .model import EMPTY, DagConfig, FrozenDict
from .schema_shapes import find_keys
from .sql.sections import SqlPart, strip_comments
from .templating import TemplateError
from .yaml_mappings import Section

_KIND = FileKind("dag", rendered=False)
_SUFFIX = ".sl.yml"
_INCLUDE = re.compile(r"""\{%[-+]?\s*include\s+['"](?P<path>[^'"]+)['"]""")
_MAX_INCLUDES = 50


def read_dag_configs(reading: Reading, folder: str) -> Mapping[str, DagConfig]:
    """Return the DAG configs directly in ``metadata/dags``, by name. Their values are not rendered."""
    found = {}
    for file_name, path in reading.files.list_files(folder):
        reading.warn_about_suffix(file_name, path)
        section = load_section(reading, path, _KIND) if file_name.endswith(_SUFFIX) else None
        config = _read_config(reading, section, file_name.removesuffix(_SUFFIX), folder) if section else None
        if config is not None:
            found[config.name] = config
    return FrozenDict(found)


def _read_config(reading: Reading, section: Section, name: str, folder: str) -> DagConfig | None:
    section.warn_about_unknown_keys(find_keys("dag"), "dag")
    if not section.require_keys(("template", "filename"), "a DAG config"):
        return None
    template = section.get_string("template") or ""
    text = _read_template(reading, template, folder)
    return DagConfig(
        name=name,
        template=template,
        filename=section.get_string("filename") or "",
        comment=section.get_string("comment") or "",
        options=section.get_mapping("options"),
        template_text=text,
        template_includes=_read_includes(reading, text) if text else EMPTY,
        origin=section.build_origin(),
    )


def _read_template(reading: Reading, template: str, folder: str) -> str | None:
    """Return the source of a template in the project, or None for a built-in template. Starlake: AnyTemplateLoader."""
    if not template or "\0" in template:
        return None
    root = str(reading.files.root)
    for path in (os.path.join(root, template), os.path.join(folder, "templates", template)):
        if disk.find_kind(path) == "file" and disk.is_below(disk.resolve_links(path), (root, folder)):
            return reading.read_file(path)
    return None


def find_includes(text: str) -> list[str]:
    """Return the paths that a template includes, without duplicates."""
    return list(dict.fromkeys(_INCLUDE.findall(text)))


def _read_includes(reading: Reading, text: str) -> Mapping[str, str]:
    """Return the contents of the project files that a template includes, directly or not, by path. The other files are Starlake's."""
    found: dict[str, str] = {}
    paths = find_includes(text)
    for path in paths:
        if len(paths) > _MAX_INCLUDES:
            break
        file = os.path.join(reading.metadata, path)
        try:
            if disk.is_below(disk.resolve_links(file), [reading.metadata]):
                found[path] = disk.read_bytes(file).decode("utf-8")
                paths.extend(p for p in find_includes(found[path]) if p not in paths)
        except (OSError, ValueError):
            continue
    return FrozenDict(found)


def read_macros(reading: Reading, expectations: str, macros: str) -> str:
    """Return the text of every ``.j2`` file in the two folders and their subfolders. Starlake: SchemaHandler.allMacros.

    A file that is not Jinja is reported: Starlake renders all files with each expectation.
    """
    texts = []
    for folder in (expectations, macros):
        for name, path in (*reading.files.list_files(folder), *reading.files.walk_files(folder)):
            text = reading.read_file(path) if name.endswith(".j2") else None
            if text is not None:
                texts.append(text)
                _check_macros(reading, reading.files.name(path), text)
    return "\n".join(f"\n{text}\n" for text in texts)


def _check_macros(reading: Reading, name: str, text: str) -> None:
    part = strip_comments(SqlPart(text))
    try:
        reading.renderer.render(part.text, reading.values)
    except TemplateError as error:
        place = Location(name, part.find_source_line(error.line) if error.line else 0)
        reading.add_problem(place, "warning", f"{error}; every expectation of the project fails")
