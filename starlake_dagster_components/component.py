"""``StarlakeProjectComponent``: a Starlake project in a ``defs.yaml``."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import dagster as dg
from dagster.components.resolved.core_models import OpSpec
from dagster.components.utils.translation import ComponentTranslator, TranslationFn, TranslationFnResolver, create_component_translator_cls
from dagster_shared.libraries import DagsterLibraryRegistry
from pydantic import BaseModel, ConfigDict, Field

from . import __version__
from .definitions.build import Built, build
from .definitions.names import AssetKeyStyle
from .definitions.nodes import StarlakeNode
from .definitions.settings import Settings
from .definitions.settings_values import check_value
from .definitions.translator import StarlakeTranslator
from .errors import InvalidSetting
from .executors import ResolvedExecutor
from .executors.base import StarlakeExecutor
from .step_executor import ResolvedStepExecutor


def _path(context: dg.ResolutionContext, value: str) -> str:
    path = context.resolve_value(value)
    if not path:
        raise InvalidSetting(f"project: {value!r} gives no folder; is the environment variable set?")
    return str(context.resolve_source_relative_path(str(path)))


def _checked(name: str) -> Callable[[dg.ResolutionContext, Any], Any]:
    """Return the resolver of a setting; what it raises is shown with file, line and key."""

    def resolve(context: dg.ResolutionContext, value: Any) -> Any:
        return check_value(name, context.resolve_value(value))

    return resolve


class _NodeTranslation(TranslationFnResolver[StarlakeNode]):
    """The resolver of ``translation``, with a description for the YAML's schema."""

    def __init__(self) -> None:
        super().__init__(template_vars_for_translation_fn=lambda node: {"node": node})
        self.description = (
            "Changes of the assets: any attribute of an asset spec. In templates {{ node }} has type (domain, table, task, external), name, "
            "domain, key, table and task, and {{ spec }} is what the defaults made."
        )
        self.examples = [{"group_name": "{{ 'raw' if node.type == 'table' else node.domain }}"}]


class StarlakeProjectParams(BaseModel):
    """What ``dg scaffold defs`` asks for."""

    project: str = Field(description="Folder of the Starlake project (the one that holds metadata/), relative to the dg project's root.")
    executor: str | None = Field(
        default=None,
        description="Where commands run: shell, cloud_run, dagster_shell or duckdb. Default: what the template of each DAG config says.",
    )


class StarlakeProjectScaffolder(dg.Scaffolder[StarlakeProjectParams]):
    """Writes a ``defs.yaml`` that points at a project."""

    @classmethod
    def get_scaffold_params(cls) -> type[StarlakeProjectParams]:
        """Return the class of the parameters."""
        return StarlakeProjectParams

    def scaffold(self, request: dg.ScaffoldRequest[StarlakeProjectParams]) -> None:
        """Write the component's file."""
        params = request.params
        path = params.project if Path(params.project).is_absolute() else f"{{{{ context.project_root }}}}/{params.project}"
        executor = {"executor": {"type": params.executor}} if params.executor else {}
        dg.scaffold_component(request, {"project": path, **executor})


@dg.scaffold_with(StarlakeProjectScaffolder)
class StarlakeProjectComponent(dg.Component, dg.Model, dg.Resolvable):
    """Turns a Starlake project into assets, checks, jobs, schedules and sensors, without generated code.

    The project is read when the code location loads: edit a YAML or SQL file, reload, and Dagster shows it.

    .. code-block:: yaml

        type: starlake_dagster_components.StarlakeProjectComponent

        attributes:
          project: ../../starlake

    What wins, from weak to strong: defaults, a Python subclass (``get_asset_spec``), ``translation``, ``post_processing``.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    project: Annotated[
        str,
        dg.Resolver(
            _path,
            model_field_type=str,
            description="Folder of the Starlake project (the one that holds metadata/), relative to this file.",
            examples=["../../starlake", "{{ context.project_root }}/starlake", "{{ env.SL_ROOT }}"],
        ),
    ]
    executor: Annotated[StarlakeExecutor | None, get_args(ResolvedExecutor)[1]] = None
    env: Annotated[
        str | None,
        dg.Resolver.default(
            description="Starlake's environment (SL_ENV): which metadata/env.<name>.sl.yml is used, at load and by every command. "
            "Default: what the project and the process environment say.",
            examples=["PROD"],
        ),
    ] = None
    variables: Annotated[
        Mapping[str, str],
        dg.Resolver(
            _checked("variables"),
            model_field_type=Mapping[str, Any] | str,
            description="Starlake variables on top of env files and environment; also passed to every command as --options.",
            examples=[{"country": "FR"}],
        ),
    ] = Field(default_factory=dict)
    asset_keys: Annotated[
        AssetKeyStyle,
        dg.Resolver(
            _checked("asset_keys"),
            model_field_type=str,
            description="flat: sales_orders (as generated DAGs of starlake-dagster < 0.3). flat_lower: the same in lower case (>= 0.3). path: sales/orders.",
            examples=["flat", "flat_lower", "path"],
        ),
    ] = "flat"
    orchestrators: Annotated[
        Sequence[str],
        dg.Resolver(
            _checked("orchestrators"),
            model_field_type=Sequence[str] | str,
            description="DAG configs whose template belongs to one of these make jobs. Add airflow to move a project over without editing it.",
            examples=[["dagster"], ["dagster", "airflow"]],
        ),
    ] = ("dagster",)
    dependencies: Annotated[
        str,
        dg.Resolver.default(
            description="Where dependencies of tasks come from: auto (metadata/dependencies*.json where present, else SQL), sql, or a path or "
            "glob of JSON files relative to the project.",
            examples=["auto", "sql", "metadata/deps.json"],
        ),
    ] = "auto"
    timezone: Annotated[
        str | None,
        dg.Resolver.default(
            description="Time zone of schedules whose DAG config has no SL_TIMEZONE. Default: UTC.", examples=["Europe/Paris"]
        ),
    ] = None
    default_status: Annotated[
        Literal["RUNNING", "STOPPED"],
        dg.Resolver(
            _checked("default_status"),
            model_field_type=str,
            description="Whether schedules and sensors are on when they are first seen.",
            examples=["RUNNING", "STOPPED"],
        ),
    ] = "RUNNING"
    watch: Annotated[
        Literal["transitive", "direct"],
        dg.Resolver(
            _checked("watch"),
            model_field_type=str,
            description="What a sensor watches: everything upstream of the job (transitive), or only what its tasks read themselves (direct).",
            examples=["transitive", "direct"],
        ),
    ] = "transitive"
    max_concurrent: Annotated[
        int | None,
        dg.Resolver(
            _checked("max_concurrent"),
            model_field_type=int | str | None,
            description="Commands at a time in one run. Default: a sensible number for the executor.",
            examples=[8],
        ),
    ] = None
    name_prefix: Annotated[
        str,
        dg.Resolver(
            _checked("name_prefix"),
            model_field_type=str,
            description="Text before the names of all jobs, and so of schedules and sensors: lets one project, or two with equal job names, be in a "
            "code location twice. Asset keys differ by translation: {key_prefix: ...}.",
            examples=["north_"],
        ),
    ] = ""
    cache: Annotated[
        str | None,
        dg.Resolver(
            _checked("cache"),
            model_field_type=str | None,
            description="Folder in which what was read and planned is kept, or off. Default: SL_DAGSTER_CACHE, else the user's cache folder.",
            examples=["off", "/var/cache/starlake-plans"],
        ),
    ] = None
    step_executor: Annotated[dg.ExecutorDefinition | None, get_args(ResolvedStepExecutor)[1]] = None
    expectation_checks: Annotated[
        bool,
        dg.Resolver(
            _checked("expectation_checks"),
            model_field_type=bool | str,
            description="Whether expectations become asset checks.",
            examples=[True],
        ),
    ] = True
    batch: Annotated[
        bool,
        dg.Resolver(
            _checked("batch"),
            model_field_type=bool | str,
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
    translation: Annotated[TranslationFn[StarlakeNode] | None, _NodeTranslation()] = None

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
            op_tags={k: str(v) for k, v in (op.tags or {}).items()} if op else {},
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
