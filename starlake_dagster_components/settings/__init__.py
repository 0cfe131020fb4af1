"""The settings: ``fields.py`` has each once, and everything else here reads, checks, and describes their values."""

from .checks import ExpectationChecks, SecretNames
from .fields import AssetKeyStyle, Settings, SharedSettings
from .setting import OptionGroup, Setting, Translator, get_setting, list_choices

__all__ = [
    "AssetKeyStyle",
    "ExpectationChecks",
    "OptionGroup",
    "SecretNames",
    "Setting",
    "Settings",
    "SharedSettings",
    "Translator",
    "get_setting",
    "list_choices",
]
