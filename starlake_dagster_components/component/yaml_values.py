"""From what a component's YAML says to the values of its fields."""

import re
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

import dagster as dg
from dagster.components.utils.translation import TranslationFnResolver

from ..cache import OFF
from ..definitions.nodes import StarlakeNode
from ..definitions.settings import Settings
from ..definitions.settings_values import check_value
from ..errors import InvalidSetting
from ..executors.yaml_values import rendered

_STARLAKES_OWN = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_DEFAULTS: Mapping[str, Any] = {f.name: f.default if f.default is not MISSING else None for f in fields(Settings)}


def project_folder(context: dg.ResolutionContext, given: Any) -> str:
    """Return the project's folder, relative to the file that names it.

    Raises:
        InvalidSetting: it is empty.
    """
    path = rendered(context, given)
    if path is None or not str(path).strip():
        raise InvalidSetting(f"project: {given!r} gives no folder; is the environment variable set?")
    return str(context.resolve_source_relative_path(str(path)))


def setting(name: str, kind: Any, *, description: str, examples: list[Any], typed: bool = False) -> dg.Resolver:
    """Return the resolver of a setting; what it raises is shown with file, line and key. What gives nothing means the default."""

    def resolve(context: dg.ResolutionContext, given: Any) -> Any:
        value = rendered(context, given, typed=typed)
        return _DEFAULTS[name] if value is None else check_value(name, value)

    return dg.Resolver(resolve, model_field_type=kind, inject_before_resolve=False, description=description, examples=examples)


def starlake_variables(context: dg.ResolutionContext, given: Any) -> Any:
    """Return Starlake variables: ``{{NAME}}`` in one of them is Starlake's, unless Dagster knows the name."""
    if not isinstance(given, Mapping):
        return check_value("variables", rendered(context, given) or {})
    return check_value(
        "variables",
        {key: value if _is_starlakes(context, value) else rendered(context.at_path(key), value) for key, value in given.items()},
    )


def _is_starlakes(context: dg.ResolutionContext, value: Any) -> bool:
    names = _STARLAKES_OWN.findall(value) if isinstance(value, str) else []
    return bool(names) and len(names) == value.count("{{") and "{%" not in value and not any(name in context.scope for name in names)


def cache_setting(context: dg.ResolutionContext, given: Any) -> str | None:
    """Return the folder of the cache, relative to the file that names it; YAML reads ``off`` as false."""
    value = check_value("cache", rendered(context, given))
    if not value or value.lower() == OFF or value.startswith("~"):
        return value or None
    return str(context.resolve_source_relative_path(value))


class NodeTranslation(TranslationFnResolver[StarlakeNode]):
    """The resolver of ``translation``, with a description for the YAML's schema."""

    def __init__(self) -> None:
        super().__init__(template_vars_for_translation_fn=lambda node: {"node": node})
        self.description = (
            "Changes of the assets: any attribute of an asset spec. In templates {{ node }} has type (domain, table, task, external), name, "
            "domain, key, table and task, and {{ spec }} is what the defaults made."
        )
        self.examples = [{"group_name": "{{ 'raw' if node.type == 'table' else node.domain }}"}]
