"""Define the description of a setting, and the interface of a translator. The settings themselves are in ``fields.py``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args, get_origin

from pydantic import GetCoreSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

if TYPE_CHECKING:
    import dagster as dg

OptionGroup = Literal["read", "run", "serve"]
"""The commands of ``sl-dagster`` that have a setting as an option: all, those that run something, or those that keep Dagster running."""


class Translator(Protocol):
    """An object that makes asset specs and check specs: a ``StarlakeTranslator``."""

    def get_asset_spec(self, node: Any) -> "dg.AssetSpec":
        """Return the asset spec of a node of the project."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Describes a field of :class:`Settings`, in addition to its type and default.

    Attributes:
        help: description for YAML schemas, ``--help``, docstrings, and the documentation.
        examples: values as written in YAML.
        options: the commands that have the setting as an option; None = no command.
        check: takes the name for messages and a value; returns the converted value or raises :class:`InvalidSetting`; None = derived
            from the field's type.
        parse: takes the name for messages and a string; returns a value to check; None = the string itself.
        metavar: placeholder for the value in ``--help``; empty = derived from the type.
        path: whether a relative path in YAML is relative to the YAML file.
        values: possible values in the documentation; empty = derived from the type.
        default: default in the documentation; empty = the default itself.
        more: Markdown that the documentation adds to ``help``.
        switch: whether the command line has ``--name`` and ``--no-name``, as for booleans.
    """

    help: str
    examples: Sequence[Any] = ()
    options: OptionGroup | None = None
    check: Callable[[str, Any], Any] | None = None
    parse: Callable[[str, str], Any] | None = None
    metavar: str = ""
    path: bool = False
    values: str = ""
    default: str = ""
    more: str = ""
    switch: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Accept anything, because :func:`check_values` has checked it with better messages than pydantic's."""
        return core_schema.any_schema()


def get_setting(field: FieldInfo) -> Setting:
    """Return the setting that a field describes."""
    return next(item for item in field.metadata if isinstance(item, Setting))


def list_choices(field: FieldInfo) -> tuple[str, ...]:
    """Return the possible values of a setting that has fixed ones."""
    return get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
