"""Find the file and line of each setting in a component's YAML, for errors that occur after it was read."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import dagster as dg
from pydantic import BaseModel

from ..definitions.build import InvalidProjectDefinition
from ..errors import InvalidSetting, Location, Problem, ProjectNotFound


def find_places(context: dg.ResolutionContext, model: BaseModel) -> dict[str, Location]:
    """Return the file and line of each field that the YAML sets."""
    tree = context.source_position_tree
    if tree is None:
        return {}
    found = {}
    for name in model.model_fields_set:
        position, _ = tree.lookup_closest_and_path([*context.path, name], trace=None)
        found[name] = Location(position.filename, position.start.line)
    return found


@contextmanager
def place_errors(places: Mapping[str, Location]) -> Iterator[None]:
    """Add the file and line of a setting to errors about it.

    Args:
        places: the places of the settings that the YAML sets.
    """
    try:
        yield
    except ProjectNotFound as error:
        raise ProjectNotFound(_place(f"project: {error}", places)) from error
    except InvalidSetting as error:
        raise InvalidSetting(_place(str(error), places)) from error
    except InvalidProjectDefinition as error:
        problems = [_place_problem(problem, places) for problem in error.problems]
        if problems == list(error.problems):
            raise
        raise InvalidProjectDefinition(error.root, problems) from error


def _place(message: str, places: Mapping[str, Location]) -> str:
    name, colon, _ = message.partition(": ")
    return f"{places[name]}: {message}" if colon and name in places else message


def _place_problem(problem: Problem, places: Mapping[str, Location]) -> Problem:
    name, colon, _ = problem.message.partition(": ")
    if problem.location is not None or not colon or name not in places:
        return problem
    return replace(problem, location=places[name])
