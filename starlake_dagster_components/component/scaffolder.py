"""The scaffolder behind ``dg scaffold defs starlake_dagster_components.StarlakeProjectComponent``."""

from pathlib import Path

import click
import dagster as dg
from pydantic import BaseModel, Field, field_validator


class StarlakeProjectParams(BaseModel):
    """The parameters that ``dg scaffold defs`` asks for."""

    project: str = Field(description="Folder of the Starlake project (the one that contains metadata/), relative to the dg project's root.")
    executor: str | None = Field(
        default=None,
        description="Where commands run: shell, cloud_run, dagster_shell, or duckdb. Default: chosen by the template of each DAG config.",
    )

    @field_validator("executor")
    @classmethod
    def _is_known(cls, executor: str | None) -> str | None:
        from ..errors import describe_unknown
        from ..executors.registry import EXECUTOR_TYPES

        if executor and executor not in EXECUTOR_TYPES:
            raise ValueError(describe_unknown("executor", executor, EXECUTOR_TYPES))
        return executor or None


class StarlakeProjectScaffolder(dg.Scaffolder[StarlakeProjectParams]):
    """Writes a ``defs.yaml`` that refers to a Starlake project."""

    @classmethod
    def get_scaffold_params(cls) -> type[StarlakeProjectParams]:
        """Return the model of the parameters."""
        return StarlakeProjectParams

    def scaffold(self, request: dg.ScaffoldRequest[StarlakeProjectParams]) -> None:
        """Write ``defs.yaml``, and warn if there is no project in the folder yet."""
        params = request.params
        project = Path(params.project)
        folder = project if request.project_root is None else Path(request.project_root, project)
        if not (folder / "metadata").is_dir():
            reason = "does not contain metadata/" if folder.is_dir() else "does not exist"
            click.secho(f"warning: {folder} {reason}; the code location loads once it contains a Starlake project", fg="yellow", err=True)
        path = params.project if project.is_absolute() else f"{{{{ context.project_root }}}}/{params.project}"
        executor = {"executor": {"type": params.executor}} if params.executor else {}
        dg.scaffold_component(request, {"project": path, **executor})
