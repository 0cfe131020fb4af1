"""The component's fields, which are made from ``settings/fields.py``, and the resolvers that read them from YAML."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import dagster as dg
from dagster.components.utils.translation import TranslationFnResolver
from pydantic import BaseModel, ConfigDict, Field, create_model, field_validator
from pydantic.fields import FieldInfo

from ..cache import OFF
from ..definitions.nodes import StarlakeNode
from ..errors import InvalidSetting
from ..executors.registry import import_executors
from ..settings import SharedSettings, get_setting, list_choices
from ..settings.selection import check_op_rules
from ..settings.values import check_field
from .templates import render_value, render_variables


class StepExecutorFields(BaseModel):
    """The mapping form of ``step_executor``."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, defer_build=True)

    type: str = Field(
        default="threads",
        description="threads (of this package), multiprocess or in_process (of Dagster), or the import path of an executor definition.",
        examples=["threads", "multiprocess", "dagster_k8s.k8s_job_executor"],
    )
    config: Mapping[str, Any] = Field(
        default_factory=dict,
        description="The executor's configuration, as in run config.",
        examples=[{"max_concurrent": 16}, {"start_method": {"forkserver": {}}}],
    )


_YAML_TYPES: Mapping[str, Any] = {
    # A discriminated union of plain models, because Dagster silently picks the wrong class from a union of Resolvables. Any other mapping
    # is accepted as well, because check_executor has better messages.
    "executor": Annotated[Union[tuple(import_executors().values())], Field(discriminator="type")] | dict[str, Any] | None,  # noqa: UP007
    "step_executor": StepExecutorFields | dict[str, Any] | str | None,
    "cache": str | bool | None,
    "secrets": dict[str, Any] | None,
    "samples": int | bool | dict[str, Any] | str | None,
    "select": Sequence[str | dict[str, Any]] | dict[str, Any] | str | None,
    "exclude": Sequence[str | dict[str, Any]] | dict[str, Any] | str | None,
    "expectation_checks": bool | dict[str, Any] | str | None,
}
"""The settings whose YAML type cannot be derived from the Python type, and that YAML type."""

_YAML_SWITCHES = {"on": True, "off": False}


def _build_yaml_type(name: str, field: FieldInfo) -> Any:
    """Return the type of a setting in YAML. Strings are accepted everywhere, because they may be templates."""
    if name in _YAML_TYPES:
        return _YAML_TYPES[name]
    annotation: Any = field.annotation
    origin = get_origin(annotation)
    if origin is Mapping:
        return Mapping[str, Any] | str | None
    if origin is Sequence:
        return Sequence[str] | str | None
    if origin is Literal:
        # YAML reads a plain ``on`` as true and ``off`` as false.
        choices = get_args(annotation)
        annotation = Literal.__getitem__(choices + tuple(value for word, value in _YAML_SWITCHES.items() if word in choices))
    return annotation | str | None if annotation is bool or int in get_args(annotation) else annotation | None


def _build_resolver(name: str, field: FieldInfo) -> dg.Resolver:
    """Return the resolver of a setting. An empty value in YAML means the default. Dagster adds file, line, and key to its errors."""
    setting = get_setting(field)
    default = f" Default: {setting.shown_default.replace('`', '')}." if setting.shown_default else ""

    def resolve(context: dg.ResolutionContext, written: Any) -> Any:
        if name == "variables":
            value = render_variables(context, written)
        else:
            # Dagster checks the configuration of a step executor, and it rejects strings for numeric fields.
            value = render_value(context, written, typed=name == "step_executor")
        if value is None:
            return field.get_default(call_default_factory=True)
        checked = check_field(SharedSettings, name, value)
        return _resolve_path(context, checked) if setting.path and isinstance(checked, str) else checked

    return dg.Resolver(
        resolve,
        model_field_type=_build_yaml_type(name, field),
        inject_before_resolve=False,
        description=f"{setting.help}{default}",
        examples=list(setting.examples or list_choices(field)),
    )


def _resolve_path(context: dg.ResolutionContext, path: str) -> str:
    return path if path.lower() == OFF or path.startswith("~") else str(context.resolve_source_relative_path(path))


def _resolve_project(context: dg.ResolutionContext, written: Any) -> str:
    """Return the project's folder. A relative path is resolved from the YAML file's folder.

    Raises:
        InvalidSetting: the path is empty.
    """
    path = render_value(context, written)
    if path is None or not str(path).strip():
        raise InvalidSetting(f"project: the path is empty; set the environment variable in {written!r}, or write a folder")
    return str(context.resolve_source_relative_path(str(path)))


ProjectFolder = Annotated[
    str,
    dg.Resolver(
        _resolve_project,
        model_field_type=str,
        inject_before_resolve=False,
        description="Folder of the Starlake project (the one that contains metadata/), relative to this file.",
        examples=["../../starlake", "{{ context.project_root }}/starlake", "{{ env.SL_ROOT }}"],
    ),
]

if TYPE_CHECKING:

    class SettingFields(SharedSettings, dg.Model):
        """``project`` and the settings, as fields of a component."""

        project: ProjectFolder

else:

    class _CheckedFields(dg.Model):
        model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid", hide_input_in_errors=True)

        @field_validator(*SharedSettings.model_fields, mode="before", check_fields=False)
        @classmethod
        def _check(cls, value: Any, info: Any) -> Any:
            return check_field(SharedSettings, info.field_name, value)

    SettingFields = create_model(
        "SettingFields",
        __base__=_CheckedFields,
        project=(ProjectFolder, ...),
        **{
            name: (
                Annotated[Any, _build_resolver(name, field)],
                Field(default_factory=field.default_factory) if field.default_factory else field.default,
            )
            for name, field in SharedSettings.model_fields.items()
        },
    )


def describe_fields(component: type[BaseModel]) -> str:
    """Return the docstring of a component, with a description of each field."""
    resolvers = ((name, item) for name, field in component.model_fields.items() for item in field.metadata if isinstance(item, dg.Resolver))
    lines = [f"        {name}: {resolver.description}" for name, resolver in resolvers]
    return "\n".join([(component.__doc__ or "").rstrip(), "", "    Attributes:", *lines, "    "])


class OpFields(BaseModel):
    """A rule of ``op:`` in YAML."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, defer_build=True)

    match: str | dict[str, Any] | list[str | dict[str, Any]] | None = Field(
        default=None,
        description="The tables, tasks, or domains whose steps the rule applies to: a name (sales.*), a mapping with any of name, domain, "
        "table, task, tag, kind, and dagRef, or a list of these.",
        examples=["sales.*", {"domain": "sales", "kind": "table"}],
    )
    pool: str | None = Field(default=None, description="Concurrency pool of the steps.", examples=["warehouse"])
    retry_policy: dict[str, Any] | None = Field(
        default=None,
        description="Retries of the steps: max_retries, delay (seconds), backoff (linear, exponential), and jitter (full, plus_minus).",
        examples=[{"max_retries": 3, "delay": 30, "backoff": "exponential"}],
    )
    tags: dict[str, Any] | None = Field(default=None, description="Tags of the steps.", examples=[{"team": "data"}])
    name: Any = Field(default=None, description="Not supported: an op has the name of its asset.")
    description: Any = Field(default=None, description="Not supported: an op has the description of its asset.")
    backfill_policy: Any = Field(default=None, description="Not supported: use the backfill setting.")


OpRules = Annotated[
    Any,
    dg.Resolver(
        lambda context, written: None if written is None else check_op_rules("op", render_value(context, written)),
        # Other values are accepted as well, because check_op_rules has better messages.
        model_field_type=OpFields | dict[str, Any] | list[OpFields | Any] | None,
        inject_before_resolve=False,
        description="Pool, retries, and tags of steps: a mapping for all steps, or a list of mappings with match. Later ones override "
        "earlier ones.",
        examples=[
            {"pool": "warehouse", "tags": {"team": "data"}},
            [{"match": {"domain": "sales"}, "pool": "warehouse", "retry_policy": {"max_retries": 3, "delay": 30}}],
        ],
    ),
]


class NodeTranslation(TranslationFnResolver[StarlakeNode]):
    """The resolver of ``translation``, with a description and examples for the JSON schema."""

    def __init__(self) -> None:
        super().__init__(template_vars_for_translation_fn=lambda node: {"node": node})
        self.description = (
            "Changes to asset specs: any of their attributes. In templates, {{ node }} has the attributes type (domain, table, task, or "
            "external), name, domain, key, table, and task, and {{ spec }} is the default spec."
        )
        self.examples = [{"group_name": "{{ 'raw' if node.type == 'table' else node.domain }}"}]
