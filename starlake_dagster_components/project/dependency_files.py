"""Read the dependency JSON files that the ``dependencies`` setting selects."""

from collections.abc import Mapping
from pathlib import Path

from ..errors import Location, Problem
from . import disk
from .model import FrozenDict


def read_dependency_files(root: Path, metadata: Path, setting: str, problems: list[Problem]) -> Mapping[str, str]:
    """Return the text of each dependency file that the setting selects, by name. Names of files in the project are relative to it.

    The setting is ``auto`` (``metadata/dependencies*.json``, if any), ``sql`` (no files), or a path or glob relative to the project. An
    error is added to the problems for each file that cannot be read, and if no file matches a path or glob.
    """
    found = {}
    for path in _find_files(root, metadata, setting, problems):
        name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
        try:
            found[name] = disk.read_bytes(path).decode("utf-8").removeprefix("\ufeff")
        except UnicodeDecodeError as error:
            problems.append(Problem(Location(name), "error", f"not UTF-8: {error}"))
        except OSError as error:
            problems.append(Problem(Location(name), "error", f"cannot be read: {error.strerror or error}"))
    return FrozenDict(found)


def _find_files(root: Path, metadata: Path, setting: str, problems: list[Problem]) -> list[Path]:
    if setting == "sql":
        return []
    if setting == "auto":
        return disk.find_files(metadata, "dependencies*.json")
    direct = root / setting
    if disk.find_kind(direct) == "file":
        return [direct]
    anchor = Path(setting).anchor
    base, pattern = (Path(anchor), setting[len(anchor) :]) if anchor else (root, setting)
    try:
        found = disk.find_files(base, pattern)
    except ValueError:
        found = []
    if not found:
        message = f"dependencies: no file matches '{setting}' in {base}; expected auto, sql, or a path or glob relative to the project"
        problems.append(Problem(None, "error", message))
    return found
