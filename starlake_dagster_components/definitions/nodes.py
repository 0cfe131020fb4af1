"""What a translator is handed: one domain, table, task or external table of a project."""

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
    """One thing of a Starlake project that becomes an asset.

    Attributes:
        type: ``domain`` (its pre-load), ``table`` (a load table), ``task`` (a transform) or ``external`` (read, not made here).
        name: the name that the asset key is made of: the final names for domains and tables (the logical name of a domain
            that shares its ``rename`` with another: ``load_domain`` has both), ``domain.task`` for tasks, the name as
            written for external tables.
        key: the asset key that follows from the name and the setting ``asset_keys``.
        domain: the final name of its domain; empty for an external table without one.
        project: the whole project.
        pipeline: the job's pipeline that runs it first; None without a ``dagRef``.
        table, task, load_domain: what it is, according to ``type``.
        dependencies: what a task reads.
        upstream: asset keys of what it waits for, as they follow from the names; a key that the translator changes is followed afterwards.
        settings: how the project becomes definitions.
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
    upstream: tuple[dg.AssetKey, ...] = ()
    settings: Settings = field(default_factory=Settings, repr=False)

    @property
    def description(self) -> str | None:
        """The comment that the project gives it."""
        described = self.table or self.task or self.load_domain
        return described.comment if described else None

    @property
    def origin(self) -> Origin | None:
        """Where it stands in the project's files."""
        described = self.table or self.task or self.load_domain
        return described.origin if described else None

    @property
    def connection(self) -> Connection | None:
        """The connection that its rows are written to."""
        node = self.table or self.task
        return self.project.connection_of(node) if node else None

    @property
    def location(self) -> Location | None:
        """Its first line; for an external table the line that reads it."""
        return self.origin.at() if self.origin else None
