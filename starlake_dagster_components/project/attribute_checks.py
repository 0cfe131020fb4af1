"""Check attributes for repeated names, unknown types, or privacy algorithms, and structs without fields. Starlake: SchemaInfo."""

from collections.abc import Iterable, Mapping, Sequence

from ..errors import describe_unknown
from .model import Application, Attribute, TypeDefinition
from .word_sets import split_words
from .yaml_mappings import Section

_PRIVACY = split_words(
    "none no hide hide10x md5 sha1 sha256 sha512 initials email ipv4 ipv6 mask approxlong20 randomdouble randomlong randomint "
    "approxdouble approxlong"
)
"""Names of Starlake's privacy algorithms in lowercase. Starlake: reference-general.conf, privacy.options; TransformEngine."""


def check_attributes(
    section: Section,
    attributes: Sequence[Attribute],
    types: Mapping[str, TypeDefinition],
    application: Application,
    key: str = "attributes",
) -> None:
    """Report invalid attributes of a load table, or fields of a struct in it. ``key`` is their dotted key."""
    for index, message in find_repeated_names(attributes):
        section.report_error(f"{key}[{index}].name", message)
    for index, attribute in enumerate(attributes):
        place = f"{key}[{index}]"
        if attribute.type not in types:
            unknown = describe_unknown("type", attribute.type, () if section.is_full else types)
            section.report_error(f"{place}.type", f"attribute '{attribute.name}': {unknown}")
        if attribute.privacy:
            _check_privacy(section, f"{place}.privacy", attribute, application)
        if attribute.attributes:
            check_attributes(section, attribute.attributes, types, application, f"{place}.attributes")
        elif attribute.type == "struct":
            section.report_error(f"{place}.type", f"attribute '{attribute.name}': a struct needs 'attributes', its fields")


def find_repeated_names(attributes: Iterable[Attribute]) -> list[tuple[int, str]]:
    """Return (index, message) for each attribute that repeats an earlier one's name or final name, ignoring case."""
    found: list[tuple[int, str]] = []
    names: dict[str, str] = {}
    final_names: dict[str, str] = {}
    for index, attribute in enumerate(attributes):
        first = names.get(attribute.name.lower())
        other = None if attribute.ignore else final_names.get(attribute.final_name.lower())
        if first is not None and attribute.name:
            how = "" if first == attribute.name else f", also as '{first}': column names are not case-sensitive"
            found.append((index, f"attribute '{attribute.name}' is defined twice{how}"))
        elif other is not None and attribute.name:
            found.append((index, f"attributes '{other}' and '{attribute.name}' are both called '{attribute.final_name}' in the table"))
        names.setdefault(attribute.name.lower(), attribute.name)
        if not attribute.ignore:
            final_names.setdefault(attribute.final_name.lower(), attribute.name)
    return found


def _check_privacy(section: Section, key: str, attribute: Attribute, application: Application) -> None:
    written = (attribute.privacy or "").strip()
    name = written.partition("(")[0].strip()
    own = application.find_raw("privacy", "options")
    known_names = _PRIVACY.union(str(key).lower() for key in own) if isinstance(own, Mapping) else _PRIVACY
    if written.upper().startswith("SQL:") or name.lower() in known_names:
        return
    hint = section.suggest_name(name, (known.upper() for known in _PRIVACY))
    hint = hint or " (known: NONE, HIDE, MD5, SHA1, SHA256, SHA512, INITIALS, ..., SQL:)"
    section.report_error(key, f"attribute '{attribute.name}': unknown privacy '{name[:80]}'{hint}")
