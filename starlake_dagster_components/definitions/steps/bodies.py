"""The bodies of ops. Their code is imported when the first step runs, because loading a code location does not need it."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import dagster as dg

from ...masking import LOG_FILTER
from ...settings import Settings
from ..graph import AssetGraph
from ..masked import hide_in_events
from ..nodes import StarlakeNode

if TYPE_CHECKING:
    from ..batches import Member
    from .execution import Steps

OpBody = Callable[[dg.AssetExecutionContext], Iterator[Any]]


class Bodies:
    """The bodies of a project's ops."""

    def __init__(self, graph: AssetGraph, settings: Settings) -> None:
        self._graph = graph
        self._settings = settings

    @cached_property
    def _steps(self) -> "Steps":
        from .execution import Steps

        return Steps(self._graph, self._settings)

    def build_body(self, node: StarlakeNode, key: dg.AssetKey) -> OpBody:
        """Return the body of a node's op."""

        def run_node(context: dg.AssetExecutionContext) -> Iterator[Any]:
            yield from _run_step(self._steps.build_body(node, key), context)

        return run_node

    def build_load_body(self, members: "Sequence[Member]") -> OpBody:
        """Return the body of the op of a batch."""

        def run_node(context: dg.AssetExecutionContext) -> Iterator[Any]:
            yield from _run_step(self._steps.build_load_body(members), context)

        return run_node


def _run_step(body: OpBody, context: dg.AssetExecutionContext) -> Iterator[Any]:
    """Run a step, with secrets masked in its events, log messages, and exceptions."""
    context.log.addFilter(LOG_FILTER)
    yield from hide_in_events(body(context))
