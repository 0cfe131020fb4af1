"""Read the variables of a project from the environment, env files, and profiles.

Starlake: SchemaHandler.loadActiveEnvVars. The precedence follows its documentation.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from ..errors import Location, Problem
from .project_files import ProjectFiles, UnreadableFile
from .templating import TemplateError, substitute, substitute_once
from .yaml_mappings import describe_value, format_scalar
from .yaml_source import YamlDocument, YamlError, parse_yaml

_LEFT_OVER = re.compile(r"\{\{([^{}\n]*)\}\}|\$\{\s*([A-Za-z_][A-Za-z_0-9]*)\s*\}")
_MAX_ALL_VALUES = 20_000_000
# These mark the value of an unset variable while YAML is rendered and parsed.
_UNSET_START, _UNSET_END = "\uf8f2", "\uf8f3"
UNSET_MARK = re.compile(f"{_UNSET_START}(.*?){_UNSET_END}")


@dataclass(frozen=True, slots=True)
class Unset:
    """A variable of an env file, and the ``missing`` one to which its value refers with a placeholder."""

    name: str
    value: str
    missing: str
    location: Location


@dataclass(slots=True)
class Variables:
    """The variables of a project, before and after its application file is read.

    Attributes:
        profile: name of the active environment; None if there is none.
        values: the variables by name, without those of the areas.
        origins: variable of an env file -> its location.
        unset: the variables whose value refers to a variable that is not set, by name.
        derived: variables whose value depends on Starlake's own: dates, folders.
        problems: problems with the env files.
    """

    profile: str | None = None
    values: dict[str, str] = field(default_factory=dict)
    derived: set[str] = field(default_factory=set)
    origins: dict[str, Location] = field(default_factory=dict)
    unset: dict[str, Unset] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def mark_unset(self) -> dict[str, str]:
        """Return the values, with marks in place of those of unset variables, so that their uses can be found after parsing."""
        return {**self.values, **{name: f"{_UNSET_START}{name}{_UNSET_END}" for name in self.unset}}


def build_date_variables(now: datetime) -> dict[str, str]:
    """Return Starlake's built-in date variables for a local time. Starlake: SchemaHandler.slDateVars."""
    milliseconds = int(now.timestamp() * 1000)
    return {
        "sl_date": now.strftime("%Y%m%d"),
        "sl_datetime": now.strftime("%Y%m%d%H%M%S"),
        "sl_year": now.strftime("%Y"),
        "sl_month": now.strftime("%m"),
        "sl_day": now.strftime("%d"),
        "sl_hour": now.strftime("%H"),
        "sl_minute": now.strftime("%M"),
        "sl_second": now.strftime("%S"),
        "sl_milli": f"{now.microsecond // 1000:03d}",
        "sl_epoch_second": str(milliseconds // 1000),
        "sl_epoch_milli": str(milliseconds),
    }


@dataclass(slots=True)
class EnvFiles:
    """The env files of the metadata folder, with the values as written, and their problems.

    Attributes:
        common: values of ``env.sl.yml``.
        profiles: name -> values of ``env.<name>.sl.yml``.
        places: (name of the profile or "", variable) -> location.
    """

    common: dict[str, str] = field(default_factory=dict)
    profiles: dict[str, dict[str, str]] = field(default_factory=dict)
    places: dict[tuple[str, str], Location] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def read_env_files(files: ProjectFiles, metadata: Path) -> EnvFiles:
    """Read ``env.sl.yml`` and every ``env.<profile>.sl.yml``."""
    env = EnvFiles()
    for name, path in files.list_files(metadata):
        if name == "env.sl.yml":
            env.common = _read_env_file(files, path, "", env)
        elif name.startswith("env.") and name.endswith(".sl.yml"):
            profile = name[len("env.") : -len(".sl.yml")]
            env.profiles[profile] = _read_env_file(files, path, profile, env)
    return env


def _read_env_file(files: ProjectFiles, path: str, profile: str, env: EnvFiles) -> dict[str, str]:
    name = files.name(path)
    try:
        text = files.read(path)
        return _read_env_values(parse_yaml(text, "env"), name, profile, env) if text.strip() else {}
    except UnreadableFile as error:
        env.problems.append(error.problem)
    except YamlError as error:
        env.problems.append(Problem(Location(name, error.line), "error", str(error)))
    return {}


def _read_env_values(document: YamlDocument, name: str, profile: str, env: EnvFiles) -> dict[str, str]:
    data = document.data
    for key, first, second in document.duplicates:
        env.problems.append(Problem(Location(name, second), "error", f"'{key}' appears twice, first on line {first}"))
    if isinstance(data, dict) and "env" in data:
        body = data["env"]
    elif isinstance(data, dict) and "version" not in data:
        body = data
    else:
        env.problems.append(Problem(Location(name, 1), "error", "the root key 'env' is missing"))
        return {}
    if isinstance(data, dict) and body is not data:
        env.problems.extend(_find_rejected_roots(document, name))
    if not isinstance(body, dict):
        message = "'env' is empty" if body is None else "'env' must be a mapping of names to values"
        env.problems.append(Problem(Location(name, document.lines.get("", 1)), "error", message))
        return {}
    values = {}
    for key, value in body.items():
        text = "" if value is None else format_scalar(value)
        place = Location(name, document.lines.get(key, 1))
        if text is None:
            env.problems.append(Problem(place, "error", f"variable '{key}' must be a string, found {describe_value(value)}"))
            continue
        values[key] = text
        env.places[profile, key] = place
    return values


def _find_rejected_roots(document: YamlDocument, name: str) -> Iterator[Problem]:
    """Yield the root keys beside ``env`` that Starlake's JSON schema rejects: any other key, and a version other than 1."""
    for key, value in document.data.items():
        if key == "version" and value != 1:
            message = f"version must be 1, found {value!r}; Starlake rejects the file"
        elif key not in ("env", "version"):
            message = f"'{key}' beside 'env' is ignored here, and Starlake rejects the file"
        else:
            continue
        yield Problem(Location(name, document.lines.get(key, 1)), "warning", message, rejected=True)


def resolve_variables(
    env: EnvFiles,
    *,
    root: str,
    environ: Mapping[str, str],
    profile: str | None,
    application_env: str | None,
    options: Mapping[str, str],
    now: datetime,
) -> Variables:
    """Return the effective variables, without those of the areas. Starlake: SchemaHandler.loadActiveEnvVars.

    ``root`` is the value of ``SL_ROOT``. ``profile`` is the name of the active environment, which overrides all other sources; None to use
    them. ``application_env`` is ``application.env``; None if it is not set or not read yet. ``now`` is a local time.
    """
    result = Variables()
    dates = build_date_variables(now)
    # Shells set "_" to the path of each program they start, so it differs from program to program and means nothing to a project.
    external = {**{name: value for name, value in environ.items() if name != "_"}, "SL_ROOT": root}
    if profile is not None:
        external["SL_ENV"] = profile
    outside = {**external, **dates}

    left = _MAX_ALL_VALUES

    def resolve(key: str, value: str, profile_name: str, siblings: Mapping[str, str], variables: Mapping[str, str]) -> str:
        nonlocal left
        try:
            resolved = substitute(substitute_once(value, siblings), variables)
            left -= len(resolved)
            if left < 0:
                raise TemplateError(f"the variables together have more than {_MAX_ALL_VALUES:,} characters")
        except TemplateError as error:
            result.problems.append(Problem(env.places.get((profile_name, key)), "error", f"variable '{key}': {error}"))
            return ""
        return resolved

    common = {key: resolve(key, value, "", {}, outside) for key, value in env.common.items()}
    chosen = _choose_name(profile, application_env, environ.get("SL_ENV"), common.get("SL_ENV"))
    result.profile = chosen
    local: dict[str, str] = {}
    if chosen is not None:
        written = env.profiles.get(chosen)
        if written is None:
            known = ", ".join(sorted(env.profiles)) or "none"
            message = f"the environment '{chosen}' has no file env.{chosen}.sl.yml (known: {known}); only the values of env.sl.yml are used"
            result.problems.append(Problem(env.places.get(("", "SL_ENV")), "warning", message))
            written = {}
        inside = {**outside, **common}
        siblings = dict(written)
        for key, value in written.items():
            del siblings[key]
            local[key] = resolve(key, value, chosen, siblings, inside)
            siblings[key] = value
    values = {**external, **dates, **common, **local, **options}
    for names in (env.common, *env.profiles.values()):
        for name in names:
            values.setdefault(name, "")
    result.values = values
    result.origins = {key: env.places["", key] for key in common} | {key: env.places[chosen or "", key] for key in local}
    result.derived = _find_derived([env.common, env.profiles.get(chosen or "", {})]) - options.keys()
    _find_unset(result, options)
    return result


def is_own_variable(name: str) -> bool:
    """Return whether a variable is one of Starlake's own, such as ``sl_date`` and ``SL_ROOT``, by its name."""
    return name.lower().startswith("sl_")


def _find_derived(layers: Sequence[Mapping[str, str]]) -> set[str]:
    """Return the variables whose values refer to Starlake's own variables, directly or through other variables."""
    uses = [(name, set(re.findall(r"\w+", value))) for layer in layers for name, value in layer.items() if "{" in value]
    found: set[str] = set()
    while new := {name for name, words in uses if words & found or any(map(is_own_variable, words))} - found:
        found |= new
    return found


def _choose_name(profile: str | None, *others: str | None) -> str | None:
    if profile is not None:
        return profile if profile not in ("", "None") else None
    return next((name for name in others if name and name != "None" and not _LEFT_OVER.search(name)), None)


def _find_unset(variables: Variables, options: Mapping[str, str]) -> None:
    for name, location in variables.origins.items():
        value = variables.values[name]
        if name in options or ("{{" not in value and "${" not in value):
            continue
        for match in _LEFT_OVER.finditer(value):
            missing = match.group(1).strip() if match.group(1) is not None else match.group(2)
            if missing == name or missing not in variables.values:
                variables.unset[name] = Unset(name, value, missing, location)
                break
