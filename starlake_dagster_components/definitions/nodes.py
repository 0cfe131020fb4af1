"""Define the input of a translator: one domain, table, task, or external table of a project."""

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
        type: ``domain`` (its pre-load), ``table`` (a load table), ``task`` (a transform), or ``external`` (read, but not made here).
        name: the name from which the asset key is made: the final names for domains and tables (the logical name of a domain
            that shares its ``rename`` with another; ``load_domain`` has both), ``domain.task`` for tasks, and the name as
            written for external tables.
        key: the default asset key, made from the name and the setting ``asset_keys``.
        domain: the final name of its domain; empty for an external table without one.
        project: the whole project.
        pipeline: the first pipeline that runs it; None without a ``dagRef``.
        table, task, load_domain: the object itself, depending on ``type``.
        dependencies: the dependencies of a task.
        inferred_columns: names and SQL types of the columns of a task without ``attributes``, once they have been inferred from its SQL.
        upstream: default asset keys of its inputs. Keys that the translator changes are updated afterward.
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
    def description(self) -> str | None:
        """Its comment in the project."""
        described = self.table or self.task or self.load_domain
        return described.comment if described else None

    @property
    def origin(self) -> Origin | None:
        """Its place in the project's files."""
        described = self.table or self.task or self.load_domain
        return described.origin if described else None

    @property
    def connection(self) -> Connection | None:
        """The connection that its rows are written to."""
        node = self.table or self.task
        return self.project.find_connection(node) if node else None

    @property
    def location(self) -> Location | None:
        """Its first line, or for an external table, the line that reads it."""
        return self.origin.locate() if self.origin else None
