"""The bodies of ops. Their code is imported when the first step runs, because loading a code location does not need it."""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from inspect import signature
from typing import TYPE_CHECKING, Any

import dagster as dg

from ...masking import LOG_FILTER
from ...settings import Settings
from ..graph import AssetGraph
from ..masked import hide_in_events

if TYPE_CHECKING:
    from .execution import Body, Steps


class Bodies:
    """The bodies of a project's ops."""

    def __init__(self, graph: AssetGraph, settings: Settings) -> None:
        self._graph = graph
        self._settings = settings

    @cached_property
    def steps(self) -> "Steps":
        """The steps of the project, each of which has a body."""
        from .execution import Steps

        return Steps(self._graph, self._settings)


class ComputeFunction:
    """The function of an op that runs a body, with secrets masked in its events, log messages, and exceptions.

    Unlike nested functions, thousands of instances need little memory, and share the signature for which Dagster asks each of them.
    """

    __slots__ = ("_bodies", "_choose_body")

    def __init__(self, bodies: Bodies, choose_body: "Callable[[Steps], Body]") -> None:
        self._bodies, self._choose_body = bodies, choose_body

    def __call__(self, context: dg.AssetExecutionContext, inputs: Mapping[str, Any]) -> Iterator[Any]:
        """Yield the events of the body that is chosen from those of the project."""
        context.log.addFilter(LOG_FILTER)
        yield from hide_in_events(self._choose_body(self._bodies.steps)(context))

    __signature__ = signature(__call__)
    __signature__ = __signature__.replace(parameters=[p for p in __signature__.parameters.values() if p.name != "self"])
