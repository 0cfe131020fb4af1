"""The bodies of ops. Their code is imported when the first step runs, because loading a code location does not need it."""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
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
    def _steps(self) -> "Steps":
        from .execution import Steps

        return Steps(self._graph, self._settings)

    def build_compute_fn(
        self, choose_body: "Callable[[Steps], Body]"
    ) -> Callable[[dg.AssetExecutionContext, Mapping[str, Any]], Iterator[Any]]:
        """Return the function of an op that runs a body, with secrets masked in its events, log messages, and exceptions."""

        def compute(context: dg.AssetExecutionContext, inputs: Mapping[str, Any]) -> Iterator[Any]:
            context.log.addFilter(LOG_FILTER)
            yield from hide_in_events(choose_body(self._steps)(context))

        return compute
