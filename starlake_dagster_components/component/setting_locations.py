"""The file and line of each setting in a component's YAML, for errors that occur after the YAML was read."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import dagster as dg
from pydantic import BaseModel

from ..definitions.build import InvalidProjectDefinition
from ..errors import InvalidSetting, Location, ProjectNotFound


def find_setting_locations(context: dg.ResolutionContext, model: BaseModel) -> dict[str, Location]:
    """Return the file and line of each setting that the YAML contains, by name."""
    tree = context.source_position_tree
    if tree is None:
        return {}
    found = {}
    for name in model.model_fields_set:
        position, _ = tree.lookup_closest_and_path([*context.path, name], trace=None)
        found[name] = Location(position.filename, position.start.line)
    return found


@contextmanager
def locate_errors(locations: Mapping[str, Location]) -> Iterator[None]:
    """Add the file and line of a setting to errors about it that are raised in a ``with`` block."""
    try:
        yield
    except ProjectNotFound as error:
        raise ProjectNotFound(_add_location(f"project: {error}", locations)) from error
    except InvalidSetting as error:
        raise InvalidSetting(_add_location(str(error), locations)) from error
    except InvalidProjectDefinition as error:
        problems = [replace(p, location=p.location or _find_location(p.message, locations)) for p in error.problems]
        if problems == list(error.problems):
            raise
        raise InvalidProjectDefinition(error.root, problems) from error


def _find_location(message: str, locations: Mapping[str, Location]) -> Location | None:
    """Return the location of the setting with which a message begins."""
    name, colon, _ = message.partition(": ")
    return locations.get(name) if colon else None


def _add_location(message: str, locations: Mapping[str, Location]) -> str:
    location = _find_location(message, locations)
    return f"{location}: {message}" if location else message
