"""The types of setting values, and the conversion of a value to its field's type."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias, get_args, get_origin

from pydantic import BaseModel

from ..errors import InvalidSetting, suggest_name
from ..masking import mask_exception
from .checks import check_boolean, check_choice, check_count, check_mapping, check_string
from .setting import get_setting, list_choices

if TYPE_CHECKING:
    import dagster as dg

    from ..executors.base import StarlakeExecutor
    from .checks import ExpectationChecks

    AnyExecutor = StarlakeExecutor | str | Mapping[str, Any] | None
    AnyStepExecutor = dg.ExecutorDefinition | str | Mapping[str, Any] | None
    AnyPath = str | os.PathLike[str] | None
    AnyChecks: TypeAlias = bool | Mapping[str, Any] | ExpectationChecks
    AnySecrets: TypeAlias = Mapping[str, Any] | Sequence[str]
else:
    AnyExecutor = AnyStepExecutor = AnyPath = AnyChecks = AnySecrets = Any


def check_field(model: type[BaseModel], name: str, value: Any, shown: str = "") -> Any:
    """Check the value of a field of a model, and return it converted to the field's type.

    ``shown`` is the name of the setting in messages; empty = the field's name.

    Raises:
        InvalidSetting: the value is invalid; the message contains the setting, the value, and what was expected.
    """
    try:
        return _find_check(model, name)(shown or name, value)
    except InvalidSetting as error:
        mask_exception(error)
        raise


@cache
def _find_check(model: type[BaseModel], name: str) -> Callable[[str, Any], Any]:
    field = model.model_fields[name]
    check, choices = get_setting(field).check, list_choices(field)
    if choices and not check:
        return lambda shown, value: check_choice(shown, value, choices)
    of_type = check_boolean if field.annotation is bool else check_count if int in get_args(field.annotation) else check_string
    return check or (check_mapping if get_origin(field.annotation) is Mapping else of_type)


def check_values(values: Mapping[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """Check the values of settings, and return them converted to the fields' types.

    Raises:
        InvalidSetting: a setting is unknown, or a value is invalid.
    """
    known = model.model_fields
    for name in values:
        if name not in known:
            raise InvalidSetting(f"unknown setting '{name}'{suggest_name(name, known)}")
    return {name: check_field(model, name, value) for name, value in values.items()}
