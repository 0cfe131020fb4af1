"""``StarlakeProjectComponent``: a Starlake project in a ``defs.yaml``."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal, get_args

import dagster as dg
from dagster.components.resolved.core_models import OpSpec
from dagster.components.utils.translation import ComponentTranslator, TranslationFn, create_component_translator_cls
from dagster_shared.libraries import DagsterLibraryRegistry
from pydantic import BaseModel, ConfigDict, Field

from .. import __version__
from ..definitions.build import Built, build
from ..definitions.names import AssetKeyStyle
from ..definitions.nodes import StarlakeNode
from ..definitions.settings import Settings
from ..definitions.translator import StarlakeTranslator
from ..executors import ResolvedExecutor
from ..executors.base import StarlakeExecutor
from ..step_executor.resolved import StepExecutorFields
from .scaffolder import StarlakeProjectScaffolder
from .yaml_schema import with_precise_schema
from .yaml_values import NodeTranslation, cache_setting, project_folder, setting, starlake_variables


@dg.scaffold_with(StarlakeProjectScaffolder)
class StarlakeProjectComponent(dg.Component, dg.Model, dg.Resolvable):
    """Turns a Starlake project into assets, checks, jobs, schedules and sensors, without generated code.

    The project is read when the code location loads: edit a YAML or SQL file, reload, and Dagster shows it.

    .. code-block:: yaml

        type: starlake_dagster_components.StarlakeProjectComponent

        attributes:
          project: ../../starlake

    What wins, from weak to strong: defaults, a Python subclass (``get_asset_spec``), ``translation``, ``post_processing``.

    Attributes:
        project: folder of the Starlake project, the one that holds ``metadata/``.
        executor: where commands run; None = what the template of each DAG config says.
        env: Starlake's environment (``SL_ENV``).
        variables: Starlake variables on top of all others.
        asset_keys: ``flat``, ``flat_lower`` or ``path``.
        orchestrators: whose templates make jobs.
        dependencies: ``auto``, ``sql``, or a path or glob of dependency JSON.
        timezone: time zone of schedules whose DAG config gives none.
        default_status: whether schedules and sensors start ``RUNNING`` or ``STOPPED``.
        watch: whether sensors watch ``transitive`` dependencies or ``direct`` ones.
        max_concurrent: commands at a time in one run.
        name_prefix: text before the names of all jobs.
        cache: folder in which plans are kept, or ``off``.
        step_executor: how jobs run their steps.
        expectation_checks: whether expectations become asset checks.
        batch: whether the load tables of a domain are loaded in one command.
        op: tags and pool of every step.
        translation: changes of the assets.

    In Python make it with these as keyword arguments; :meth:`build` gives definitions, plan and problems.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    project: Annotated[
        str,
        dg.Resolver(
            project_folder,
            model_field_type=str,
            inject_before_resolve=False,
            description="Folder of the Starlake project (the one that holds metadata/), relative to this file.",
            examples=["../../starlake", "{{ context.project_root }}/starlake", "{{ env.SL_ROOT }}"],
        ),
    ]
    executor: Annotated[StarlakeExecutor | None, get_args(ResolvedExecutor)[1]] = None
    env: Annotated[
        str | None,
        setting(
            "env",
            str | None,
            description="Starlake's environment (SL_ENV): which metadata/env.<name>.sl.yml is used, at load and by every command. "
            "Default: what the project and the process environment say.",
            examples=["PROD"],
        ),
    ] = None
    variables: Annotated[
        Mapping[str, str],
        dg.Resolver(
            starlake_variables,
            model_field_type=Mapping[str, Any] | str | None,
            inject_before_resolve=False,
            description="Starlake variables on top of env files and environment; also passed to every command as --options. {{NAME}} and ${NAME} in "
            "a value are other Starlake variables.",
            examples=[{"country": "FR"}],
        ),
    ] = Field(default_factory=dict)
    asset_keys: Annotated[
        AssetKeyStyle,
        setting(
            "asset_keys",
            AssetKeyStyle | None,
            description="flat: sales_orders (as generated DAGs of starlake-dagster < 0.3). flat_lower: the same in lower case (>= 0.3). path: sales/orders.",
            examples=["flat", "flat_lower", "path"],
        ),
    ] = "flat"
    orchestrators: Annotated[
        Sequence[str],
        setting(
            "orchestrators",
            Sequence[str] | str | None,
            description="DAG configs whose template belongs to one of these make jobs. Add airflow to move a project over without editing it.",
            examples=[["dagster"], ["dagster", "airflow"]],
        ),
    ] = ("dagster",)
    dependencies: Annotated[
        str,
        setting(
            "dependencies",
            str | None,
            description="Where dependencies of tasks come from: auto (metadata/dependencies*.json where present, else SQL), sql, or a path or "
            "glob of JSON files relative to the project.",
            examples=["auto", "sql", "metadata/deps.json"],
        ),
    ] = "auto"
    timezone: Annotated[
        str | None,
        setting(
            "timezone",
            str | None,
            description="Time zone of schedules whose DAG config has no SL_TIMEZONE. Default: UTC.",
            examples=["Europe/Paris"],
        ),
    ] = None
    default_status: Annotated[
        Literal["RUNNING", "STOPPED"],
        setting(
            "default_status",
            Literal["RUNNING", "STOPPED"] | None,
            description="Whether schedules and sensors are on when they are first seen.",
            examples=["RUNNING", "STOPPED"],
        ),
    ] = "RUNNING"
    watch: Annotated[
        Literal["transitive", "direct"],
        setting(
            "watch",
            Literal["transitive", "direct"] | None,
            description="What a sensor watches: everything upstream of the job (transitive), or only what its tasks read themselves (direct).",
            examples=["transitive", "direct"],
        ),
    ] = "transitive"
    max_concurrent: Annotated[
        int | None,
        setting(
            "max_concurrent",
            int | str | None,
            description="Commands at a time in one run. Default: a sensible number for the executor.",
            examples=[8],
        ),
    ] = None
    name_prefix: Annotated[
        str,
        setting(
            "name_prefix",
            str | None,
            description="Text before the names of all jobs, and so of schedules and sensors: lets one project, or two with equal job names, be in a "
            "code location twice. Asset keys differ by translation: {key_prefix: ...}.",
            examples=["north_"],
        ),
    ] = ""
    cache: Annotated[
        str | None,
        dg.Resolver(
            cache_setting,
            model_field_type=str | bool | None,
            inject_before_resolve=False,
            description="Folder in which what was read and planned is kept, relative to this file, or off. Default: SL_DAGSTER_CACHE, else the user's "
            "cache folder.",
            examples=["off", "/var/cache/starlake-plans"],
        ),
    ] = None
    step_executor: Annotated[
        dg.ExecutorDefinition | None,
        setting(
            "step_executor",
            StepExecutorFields | dict[str, Any] | str | None,
            description="How the steps of runs are executed. Default: threads, as many at a time as the executor of commands proposes. "
            "An executor of your own: its import path, or '{{ my_executor }}' with a template variable.",
            examples=["multiprocess", {"type": "threads", "config": {"max_concurrent": 16}}],
            typed=True,
        ),
    ] = None
    expectation_checks: Annotated[
        bool,
        setting(
            "expectation_checks",
            bool | str | None,
            description="Whether expectations become asset checks.",
            examples=[True],
        ),
    ] = True
    batch: Annotated[
        bool,
        setting(
            "batch",
            bool | str | None,
            description="Whether the load tables of a domain are one step, which loads those that a run selects in one command. Saves Starlake's "
            "start per table; each table still gets its own materialisation, counts and checks.",
            examples=[True],
        ),
    ] = False
    op: Annotated[
        OpSpec | None,
        dg.Resolver.default(
            description="Tags and concurrency pool of every step.", examples=[{"pool": "warehouse", "tags": {"team": "data"}}]
        ),
    ] = None
    translation: Annotated[TranslationFn[StarlakeNode] | None, NodeTranslation()] = None

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """Return the model of the YAML; its schema names what is wrong."""
        return with_precise_schema(cls.model())

    @cached_property
    def translator(self) -> StarlakeTranslator:
        """What makes the asset specs: the defaults, then :meth:`get_asset_spec`, then ``translation``."""
        return _ComponentTranslator(self)

    @cached_property
    def _base_translator(self) -> StarlakeTranslator:
        return StarlakeTranslator()

    def get_asset_spec(self, node: StarlakeNode) -> dg.AssetSpec:
        """Return the asset spec of a domain, table, task or external table; override to change it.

        Example:
            .. code-block:: python

                class OurProject(StarlakeProjectComponent):
                    \"\"\"Our Starlake project, with owners.\"\"\"

                    def get_asset_spec(self, node):
                        return super().get_asset_spec(node).replace_attributes(owners=["team:data"])
        """
        return self._base_translator.get_asset_spec(node)

    def settings(self) -> Settings:
        """Return the settings of the definitions that the fields amount to."""
        op = self.op
        return Settings(
            executor=self.executor,
            env=self.env,
            variables=self.variables,
            asset_keys=self.asset_keys,
            orchestrators=self.orchestrators,
            dependencies=self.dependencies,
            timezone=self.timezone,
            default_status=self.default_status,
            watch=self.watch,
            translator=self.translator,
            step_executor=self.step_executor,
            max_concurrent=self.max_concurrent,
            op_tags=(op.tags or {}) if op else {},
            pool=op.pool if op else None,
            expectation_checks=self.expectation_checks,
            batch=self.batch,
            name_prefix=self.name_prefix,
            cache=self.cache,
        )

    def build(self) -> Built:
        """Read the project and build its definitions; see :func:`starlake_dagster_components.definitions.build.build`."""
        return build(self.project, self.settings())

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Build the definitions of the project.

        Raises:
            InvalidProject: the project has errors; the message lists all of them with file and line.
            ProjectNotFound: there is no project in the folder.
        """
        return self.build().definitions


class _ComponentTranslator(
    create_component_translator_cls(StarlakeProjectComponent, StarlakeTranslator),  # type: ignore[misc]
    ComponentTranslator[StarlakeProjectComponent],
):
    """Applies the component's ``get_asset_spec`` and then its ``translation``."""

    def __init__(self, component: StarlakeProjectComponent) -> None:
        self._component = component

    def get_asset_spec(self, node: StarlakeNode) -> dg.AssetSpec:
        """Return the spec after all overrides."""
        spec: dg.AssetSpec = super().get_asset_spec(node)
        return self.component.translation(spec, node) if self.component.translation else spec


DagsterLibraryRegistry.register("starlake-dagster-components", __version__, is_dagster_package=False)
