"""``StarlakeProjectComponent``: add a Starlake project with a ``defs.yaml``."""

from functools import cached_property
from typing import Annotated

import dagster as dg
from dagster.components.utils.translation import ComponentTranslator, TranslationFn, create_component_translator_cls
from pydantic import BaseModel, PrivateAttr
from typing_extensions import Self

from ..definitions.build import Built, build_definitions
from ..definitions.nodes import StarlakeNode
from ..definitions.translator import StarlakeTranslator
from ..errors import Location
from ..project.model import Expectation
from ..settings import Settings, SharedSettings
from ..settings.selection import check_op_rules
from .fields import NodeTranslation, OpRules, SettingFields, describe_fields
from .scaffolder import StarlakeProjectScaffolder
from .setting_locations import find_setting_locations, locate_errors
from .yaml_schema import make_schema_precise


@dg.scaffold_with(StarlakeProjectScaffolder)
class StarlakeProjectComponent(dg.Component, SettingFields, dg.Resolvable):
    """Turns a Starlake project into assets, checks, jobs, schedules, and sensors, without generated code.

    The project is read when the code location loads. After you edit a YAML or SQL file, reload the code location to see the change.

    Example:
        ```yaml
        type: starlake_dagster_components.StarlakeProjectComponent

        attributes:
          project: ../../starlake
        ```

    Asset specs come from the defaults, then a subclass (``get_asset_spec``), then ``translation``, then ``post_processing``. Each overrides
    the ones before it.

    In Python, pass the fields as keyword arguments. ``build`` returns the definitions, the plan, and the problems.
    """

    op: OpRules = None
    translation: Annotated[TranslationFn[StarlakeNode] | None, NodeTranslation()] = None

    _locations: dict[str, Location] = PrivateAttr(default_factory=dict)

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """Return the model of the YAML, with a JSON schema that gives precise errors."""
        return make_schema_precise(cls.model())

    @classmethod
    def resolve_from_model(cls, context: dg.ResolutionContext, model: BaseModel) -> Self:
        """Create the component from its YAML, and record the line of each setting for error messages."""
        component: Self = super().resolve_from_model(context, model)
        component._locations = find_setting_locations(context, model)
        return component

    _base_translator = StarlakeTranslator()

    @cached_property
    def translator(self) -> StarlakeTranslator:
        """The translator that creates the asset specs: it calls ``get_asset_spec``, and then applies ``translation``."""
        return _ComponentTranslator(self)

    def get_asset_spec(self, node: StarlakeNode) -> dg.AssetSpec:
        """Return the asset spec of a domain, table, task, or external table. Override this method to change specs.

        Example:
            ```python
            class OurProject(StarlakeProjectComponent):
                \"\"\"Our Starlake project, with owners.\"\"\"

                def get_asset_spec(self, node):
                    return super().get_asset_spec(node).replace_attributes(owners=["team:data"])
            ```
        """
        return self._base_translator.get_asset_spec(node)

    def get_asset_check_spec(self, node: StarlakeNode, expectation: Expectation) -> dg.AssetCheckSpec | None:
        """Return the check spec for an expectation of a table or task, or None for no check. Override this method to change specs."""
        return self._base_translator.get_asset_check_spec(node, expectation)

    def build_settings(self) -> Settings:
        """Return the component's fields as settings."""
        op = self.op.model_dump(exclude_none=True) if isinstance(self.op, BaseModel) else self.op
        return Settings(
            **{name: getattr(self, name) for name in SharedSettings.model_fields},
            translator=self.translator,
            op_rules=check_op_rules("op", op),
        )

    def build(self) -> Built:
        """Read the project and build its definitions; see ``build_definitions``."""
        return build_definitions(self.project, self.build_settings())

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Build the definitions of the project.

        Raises:
            InvalidProject: the project has errors; the message lists all of them with their files and lines.
            ProjectNotFound: the folder does not exist, or does not contain a Starlake project.
        """
        with locate_errors(self._locations):
            return self.build().definitions


StarlakeProjectComponent.__doc__ = describe_fields(StarlakeProjectComponent)


class _ComponentTranslator(
    create_component_translator_cls(StarlakeProjectComponent, StarlakeTranslator),  # type: ignore[misc]
    ComponentTranslator[StarlakeProjectComponent],
):
    """Applies the component's ``get_asset_spec`` and then its ``translation``."""

    def __init__(self, component: StarlakeProjectComponent) -> None:
        self._component = component

    def get_asset_spec(self, node: StarlakeNode) -> dg.AssetSpec:
        """Return the asset spec with all overrides applied."""
        spec: dg.AssetSpec = super().get_asset_spec(node)
        return self.component.translation(spec, node) if self.component.translation else spec

    def get_asset_check_spec(self, node: StarlakeNode, expectation: Expectation) -> dg.AssetCheckSpec | None:
        """Return the component's check spec."""
        found: dg.AssetCheckSpec | None = self.component.get_asset_check_spec(node, expectation)
        return found
