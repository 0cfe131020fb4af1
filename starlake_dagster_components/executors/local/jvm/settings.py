"""The ``jvm`` field of the shell executors."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import dagster as dg
from pydantic import BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler

Compiler = Literal["auto", "full", "fast"]

_OPTION = r"^-\S.*$"


def _read_switch(value: Any) -> Any:
    """Convert False to ``off``, because YAML reads ``off`` as a boolean."""
    return "off" if value is False else "auto" if value is True or value is None else value


def _read_jvm(value: Any) -> Any:
    value = _read_switch(value)
    if value == "auto":
        return {}
    if value == "off":
        return {"archive": "off", "compiler": "full"}
    if isinstance(value, (Mapping, JvmSettings)):
        return value
    raise ValueError(f"expected auto, off, or a mapping (archive, compiler, options), not {value!r}")


class JvmSettings(dg.Model):
    """Settings of the Java virtual machine that runs commands."""

    model_config = ConfigDict(defer_build=True)

    archive: Annotated[str, BeforeValidator(_read_switch)] = Field(
        default="auto",
        description="Folder for archives of loaded classes, which are made once and save most of the start; off = none. "
        "Default (auto): the folder jvm in the cache folder (SL_DAGSTER_CACHE, else the user's cache folder).",
        examples=["/var/cache/starlake-jvm", "off"],
        json_schema_extra={"type": ["string", "boolean"]},
    )
    compiler: Annotated[Compiler, BeforeValidator(_read_switch)] = Field(
        default="auto",
        description="fast: the JVM's quick compiler and serial garbage collector, for commands whose start takes most of their time. "
        "full: as Java does. Default (auto): fast where the earlier materializations took less than 40 seconds.",
    )
    options: list[Annotated[str, Field(pattern=_OPTION)]] = Field(
        default_factory=list,
        description="More options of the JVM. They are appended to JDK_JAVA_OPTIONS.",
        examples=[["-XX:ActiveProcessorCount=2"]],
    )

    @property
    def is_off(self) -> bool:
        """True if the environment of commands is left unchanged."""
        return self.archive == "off" and self.compiler == "full" and not self.options


class _AddSwitch:
    """Adds ``auto`` and ``off`` to a JSON schema, when it is needed."""

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"enum": ["auto", "off", True, False]}, handler(core_schema)]}


Jvm = Annotated[JvmSettings, BeforeValidator(_read_jvm), _AddSwitch()]
"""``auto``, ``off``, or a mapping."""
