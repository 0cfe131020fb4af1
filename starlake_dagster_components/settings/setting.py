"""The class that describes a setting, and the translator protocol. The settings themselves are in ``fields.py``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args, get_origin

from pydantic import Field, GetCoreSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

if TYPE_CHECKING:
    import dagster as dg

OptionGroup = Literal["read", "run", "serve"]
"""The ``sl-dagster`` commands that have a setting as an option: all (``read``), ``run`` and ``dev`` (``run``), or ``dev`` (``serve``)."""


class Translator(Protocol):
    """The interface of ``StarlakeTranslator``, which creates asset specs and check specs."""

    def get_asset_spec(self, node: Any) -> "dg.AssetSpec":
        """Return the asset spec of a node of the project."""


@dataclass(frozen=True, slots=True)
class Setting:
    """The description of a field of :class:`Settings`, in addition to its type and default.

    Attributes:
        help: description for YAML schemas, ``--help``, docstrings, and the documentation.
        examples: example values, as written in YAML; empty = the values of a ``Literal``.
        options: the commands that have the setting as an option; None = no command.
        check: function of the setting's name (for messages) and a value. It returns the converted value or raises
            :class:`InvalidSetting`. None = derived from the field's type.
        parse: function of the setting's name (for messages) and a string. It returns the value to check. None = the string itself.
        metavar: placeholder for the value in ``--help``; empty = derived from the type.
        path: whether the value is a path that is relative to the YAML file.
        values: allowed values, for the documentation; empty = derived from the type.
        shown_default: default, for the documentation; empty = the field's default.
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
    shown_default: str = ""
    more: str = ""
    switch: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Accept any value: :func:`check_values` has already checked it, with better messages than pydantic's."""
        return core_schema.any_schema()


def describe_setting(default: Any, help: str, **details: Any) -> Any:
    """Return a field with a default (or a function that returns it), a description, and further attributes of :class:`Setting`."""
    field: FieldInfo = Field(default_factory=default) if callable(default) else Field(default)
    field.metadata.append(Setting(help, **details))
    return field


def get_setting(field: FieldInfo) -> Setting:
    """Return the description of a field of :class:`Settings`."""
    return next(item for item in field.metadata if isinstance(item, Setting))


def list_choices(field: FieldInfo) -> tuple[str, ...]:
    """Return the values of a ``Literal`` field; empty for other fields."""
    return get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
