"""``StarlakeNode``, the input of a translator: a domain, table, task, or external table."""

from dataclasses import dataclass, field
from typing import Literal

import dagster as dg

from ..errors import Location
from ..pipelines.pipeline import Dependency, Pipeline
from ..project.model import Connection, Domain, Origin, Project, Table, Task
from ..settings import Settings

NodeType = Literal["domain", "table", "task", "external"]


@dataclass(frozen=True, slots=True)
class StarlakeNode:
    """An object of a Starlake project that becomes an asset.

    Attributes:
        type: ``domain`` (a pre-load), ``table`` (a load), ``task`` (a transform), or ``external`` (a table that the project only reads).
        name: the name from which the asset key is derived: the final name of a domain or table (but the logical name of a domain that
            has the same ``rename`` as another), ``domain.task`` for a task, and the name as written for an external table.
        key: the default asset key, derived from the name and the ``asset_keys`` setting.
        domain: the final name of its domain; empty for an external table without one.
        project: the whole project.
        pipeline: the first pipeline that runs it; None if it has no ``dagRef``.
        table: the load table; None for other types.
        task: the task; None for other types.
        load_domain: the domain; None for other types.
        dependencies: the dependencies of a task.
        inferred_columns: names and SQL types of a task's columns, if it has no ``attributes`` and they have been inferred from its SQL.
        upstream: default asset keys of its inputs. If the translator changes the key of an input, dependencies are updated afterward.
        settings: the settings of the project's definitions.
    """

    type: NodeType
    name: str
    key: dg.AssetKey
    domain: str
    project: Project = field(repr=False)
    pipeline: Pipeline | None = field(default=None, repr=False)
    table: Table | None = field(default=None, repr=False)
    task: Task | None = field(default=None, repr=False)
    load_domain: Domain | None = field(default=None, repr=False)
    dependencies: tuple[Dependency, ...] = field(default=(), repr=False)
    inferred_columns: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    upstream: tuple[dg.AssetKey, ...] = ()
    settings: Settings = field(default_factory=Settings, repr=False)

    @property
    def load_or_task(self) -> Table | Task | None:
        """The load table or the task; None for a domain or an external table."""
        return self.table or self.task

    @property
    def definition(self) -> Table | Task | Domain | None:
        """The load table, task, or domain; None for an external table."""
        return self.table or self.task or self.load_domain

    @property
    def description(self) -> str | None:
        """Its ``comment`` in the project."""
        return self.definition.comment if self.definition else None

    @property
    def origin(self) -> Origin | None:
        """The file that defines it, with line numbers; None for an external table."""
        return self.definition.origin if self.definition else None

    @property
    def connection(self) -> Connection | None:
        """The connection of the database that contains its table."""
        return self.project.find_connection(self.load_or_task) if self.load_or_task else None

    @property
    def location(self) -> Location | None:
        """The first line of its definition; None for an external table."""
        return self.origin.locate() if self.origin else None
