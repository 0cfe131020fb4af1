"""What there is to say about a setting, and what a translator must have. The settings themselves are in ``settings.py``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args, get_origin

from pydantic import GetCoreSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

if TYPE_CHECKING:
    import dagster as dg

OptionGroup = Literal["read", "run", "serve"]
"""Which commands of ``sl-dagster`` have a setting as an option: all, those that run something, or those that keep a Dagster running."""


class Translator(Protocol):
    """What makes the asset specs and the check specs: a ``StarlakeTranslator``."""

    def get_asset_spec(self, node: Any) -> "dg.AssetSpec":
        """Return the asset spec of a node of the project."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What there is to say about a field of :class:`Settings` besides its type and its default.

    Attributes:
        help: what it means, for YAML schemas, ``--help``, docstrings and the documentation.
        examples: values as YAML has them.
        options: the commands that have it as an option; None = no command.
        check: takes the name to show and a value, returns the value in its own type or raises :class:`InvalidSetting`; None = what follows
            from the field's type.
        parse: takes the name to show and a text, returns a value to check; None = the text itself.
        metavar: what stands for a value in ``--help``; empty = what follows from the type.
        path: whether a relative path in YAML is relative to the file that has it.
        values: how the documentation writes the possible values; empty = what follows from the type.
        default: how the documentation writes the default; empty = the default itself.
        more: what the documentation adds to ``help``, in Markdown.
        switch: whether the command line has it as ``--name`` and ``--no-name``, as truth values are.
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
        """Accept anything: :func:`check_values` has checked it, and says more than pydantic would."""
        return core_schema.any_schema()


def setting_of(field: FieldInfo) -> Setting:
    """Return what a field says about its setting."""
    return next(item for item in field.metadata if isinstance(item, Setting))


def choices_of(field: FieldInfo) -> tuple[str, ...]:
    """Return the values of a setting that has fixed ones."""
    return get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
