"""The settings: ``fields.py`` defines each of them once, and the other modules read and check their values."""

from .checks import ExpectationChecks
from .fields import AssetKeyStyle, Settings, SharedSettings
from .setting import OptionGroup, Setting, Translator, get_setting, list_choices

__all__ = [
    "AssetKeyStyle",
    "ExpectationChecks",
    "OptionGroup",
    "Setting",
    "Settings",
    "SharedSettings",
    "Translator",
    "get_setting",
    "list_choices",
]
