"""Every setting of the definitions in one place: the component, the function and the environment fill the same object."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, cast

import dagster as dg

from ..pipelines.pipeline import Pipeline
from .names import AssetKeyStyle
from .nodes import StarlakeNode
from .settings_values import check_value
from .translator import StarlakeTranslator

if TYPE_CHECKING:
    from ..executors.base import StarlakeExecutor

Translation = Callable[[dg.AssetSpec, StarlakeNode], dg.AssetSpec]


@dataclass(frozen=True, slots=True)
class Settings:
    """How a project becomes definitions.

    Attributes:
        executor: where all commands run: an executor, its type or a mapping with its type and fields; None = what the template of each
            DAG config says (``shell``, ``cloud_run``).
        env: Starlake's profile (``SL_ENV``); None = what the project and the process environment say. When given it is also
            what commands run with, whatever the DAG config's ``sl_env_var`` says.
        variables: Starlake variables on top of all others, for reading and as ``--options`` of commands.
        asset_keys: style of asset keys.
        orchestrators: whose templates make jobs.
        dependencies: ``auto``, ``sql``, or a path or glob of dependency JSON relative to the project.
        timezone: IANA name for schedules whose pipeline gives none.
        default_status: whether schedules and sensors start RUNNING or STOPPED.
        watch: assets that a sensor watches: all ``transitive`` dependencies (seed) or the ``direct`` ones (starlake-dagster 0.5).
        translator: makes asset specs.
        name_prefix: text before the names of all jobs, and so of schedules and sensors.
        step_executor: how jobs run their steps: a definition, ``threads``, ``multiprocess``, ``in_process`` or an import path; None = the
            one of this package.
        max_concurrent: commands at a time in one run; None = what the executor proposes.
        op_tags: tags for every step (``dagster/priority``, concurrency keys, k8s configuration).
        pool: concurrency pool of every step.
        expectation_checks: whether expectations become asset checks (where the executor can report their results).
        batch: whether the load tables of a domain are one step, which loads them in one command.
        cache: folder in which what was read and planned is kept, or ``off``; None = ``SL_DAGSTER_CACHE``, else a folder of the user's.

    Raises:
        InvalidSetting: a value cannot be used.
    """

    executor: "StarlakeExecutor | str | Mapping[str, Any] | None" = None
    env: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    asset_keys: AssetKeyStyle = "flat"
    orchestrators: Sequence[str] = ("dagster",)
    dependencies: str = "auto"
    timezone: str | None = None
    default_status: Literal["RUNNING", "STOPPED"] = "RUNNING"
    watch: Literal["transitive", "direct"] = "transitive"
    translator: StarlakeTranslator = field(default_factory=StarlakeTranslator)
    name_prefix: str = ""
    step_executor: dg.ExecutorDefinition | str | Mapping[str, Any] | None = None
    max_concurrent: int | None = None
    op_tags: Mapping[str, str] = field(default_factory=dict)
    pool: str | None = None
    expectation_checks: bool = True
    batch: bool = False
    cache: str | None = None

    def __post_init__(self) -> None:
        """Bring every value into its own type."""
        for name in self.__dataclass_fields__:
            object.__setattr__(self, name, check_value(name, getattr(self, name)))

    def executor_of(self, pipeline: Pipeline | None) -> "StarlakeExecutor | None":
        """Return the executor of a pipeline's commands (of commands without a pipeline: ``shell``).

        None when the template asks for one that does not exist here (``dataproc``, ``fargate``) and no setting replaces it.
        """
        if self.executor is not None:
            return cast("StarlakeExecutor", self.executor)
        return _of_template(pipeline.executor if pipeline else "shell")


@cache
def _of_template(name: str) -> "StarlakeExecutor | None":
    # Imported where a template asks for it, as every import here makes every start longer.
    if name == "shell":
        from ..executors.local.shell import ShellExecutor

        return ShellExecutor()
    if name == "cloud_run":
        from ..executors.cloud_run import CloudRunExecutor

        return CloudRunExecutor()
    return None
