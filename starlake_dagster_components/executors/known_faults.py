"""Known faults of Starlake, for executors that run Starlake itself. A project that would fail gets a warning before it runs.

To add a fault, write a function that finds the affected tables and tasks, and add it to :data:`KNOWN_FAULTS` with the affected versions.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ..errors import Problem
from ..pipelines.pipeline import Pipeline
from ..project.model import Project, Table, Task
from ..project.sinks import find_section_key, find_write_strategy


@dataclass(frozen=True, slots=True)
class KnownFault:
    """A fault of Starlake.

    Attributes:
        message: the consequence and advice; ``{name}`` is the table or task.
        key: the key of the table or task that causes it, for the location.
        concerns: whether a table or task is affected.
        since: the first affected version; empty = unknown.
        until: the last version that is known to be affected. Later versions are assumed to be affected unless ``fixed`` is set.
        fixed: the first version without it; empty = unknown.
    """

    message: str
    key: str
    concerns: Callable[[Table | Task], bool]
    until: str
    since: str = ""
    fixed: str = ""

    def affects(self, version: str) -> bool:
        """Return whether a version has the fault; True for an unknown version."""
        numbers = _parse_version(version)
        if not numbers:
            return True
        return not (self.since and numbers < _parse_version(self.since)) and not (self.fixed and numbers >= _parse_version(self.fixed))


def _has_history_of_several_keys(node: Table | Task) -> bool:
    strategy = find_write_strategy(node)
    return strategy is not None and strategy.type == "SCD2" and len(strategy.key) > 1


KNOWN_FAULTS: Sequence[KnownFault] = (
    # Starlake: templates/write-strategies/default.j2, renderStrategyKeyIsNull: the last condition is followed by AND.
    KnownFault(
        "{name} has the write strategy SCD2 with several key columns: from the second run on, Starlake's SQL for it has a syntax error "
        "(seen in Starlake {until}). Combine them into one column, and use it as the key",
        key="writeStrategy",
        concerns=_has_history_of_several_keys,
        until="1.8.2",
    ),
)


def find_known_faults(project: Project, pipeline: Pipeline) -> Iterator[Problem]:
    """Yield a warning for each table and task that is affected by a fault, unless ``SL_VERSION`` is a version without it."""
    version = project.variables.get("SL_VERSION") or ""
    nodes: list[Table | Task] = [*pipeline.tables, *pipeline.tasks]
    for node in nodes:
        for fault in KNOWN_FAULTS:
            if fault.affects(version) and fault.concerns(node):
                where = node.origin.locate(find_section_key(node, fault.key))
                yield Problem(where, "warning", fault.message.format(name=node.full_name, until=fault.until))


def _parse_version(text: str) -> tuple[int, ...]:
    """Return the numbers of a version: ``1.8.2-SNAPSHOT`` -> (1, 8, 2)."""
    numbers = []
    for part in text.partition("-")[0].split("."):
        if not part.isdecimal():
            return ()
        numbers.append(int(part))
    return tuple(numbers)
