"""``dg scaffold defs starlake_dagster_components.StarlakeProjectComponent``: what it asks for and writes."""

from pathlib import Path

import click
import dagster as dg
from pydantic import BaseModel, Field, field_validator


class StarlakeProjectParams(BaseModel):
    """What ``dg scaffold defs`` asks for."""

    project: str = Field(description="Folder of the Starlake project (the one that holds metadata/), relative to the dg project's root.")
    executor: str | None = Field(
        default=None,
        description="Where commands run: shell, cloud_run, dagster_shell or duckdb. Default: what the template of each DAG config says.",
    )

    @field_validator("executor")
    @classmethod
    def _is_known(cls, executor: str | None) -> str | None:
        from ..errors import unknown
        from ..executors import EXECUTORS

        if executor and executor not in EXECUTORS:
            raise ValueError(unknown("executor", executor, EXECUTORS))
        return executor or None


class StarlakeProjectScaffolder(dg.Scaffolder[StarlakeProjectParams]):
    """Writes a ``defs.yaml`` that points at a project."""

    @classmethod
    def get_scaffold_params(cls) -> type[StarlakeProjectParams]:
        """Return the class of the parameters."""
        return StarlakeProjectParams

    def scaffold(self, request: dg.ScaffoldRequest[StarlakeProjectParams]) -> None:
        """Write the component's file; say so when there is no project where it points."""
        params = request.params
        project = Path(params.project)
        folder = project if request.project_root is None else Path(request.project_root, project)
        if not (folder / "metadata").is_dir():
            what = "holds no metadata/" if folder.is_dir() else "does not exist"
            click.secho(f"warning: {folder} {what}: there is no Starlake project yet, and loading will fail", fg="yellow", err=True)
        path = params.project if project.is_absolute() else f"{{{{ context.project_root }}}}/{params.project}"
        executor = {"executor": {"type": params.executor}} if params.executor else {}
        dg.scaffold_component(request, {"project": path, **executor})
