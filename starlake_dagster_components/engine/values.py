"""Convert values of a file to values of the table, with trim, pattern, default, and privacy. Starlake: RowValidator, Type.sparkValue."""

from dataclasses import dataclass

from ..project.model import Attribute, Project, Table
from . import privacy
from . import type_patterns as patterns
from .casts import cast_text, normalize_type
from .ddl import TypedAttribute, get_nested_type
from .engine_errors import BadSetting, NotSupported
from .sqltext import quote, quote_literal

_TRIMS = {"LEFT": "ltrim", "RIGHT": "rtrim", "BOTH": "trim"}


@dataclass(frozen=True, slots=True)
class Rule:
    """The rule that converts the text of a value to the value of an attribute.

    Attributes:
        from_text: whether the value must be read as text first, because DuckDB's own conversion is not enough.
        kind: description of a valid value, for messages.
        nested: whether fields below the attribute need their own rules.
        form: the pattern of the value, if DuckDB's own conversion is not enough.
        elements: the pattern of the elements, if the attribute is an array of strings with a pattern.
        masking: how the value is masked, except by SQL for the whole row.
    """

    from_text: bool
    kind: str
    nested: bool = False
    form: patterns.Form | None = None
    elements: patterns.Form | None = None
    masking: privacy.Masking | None = None


def get_rule(project: Project, table: Table, typed: TypedAttribute) -> Rule:
    """Return the rule that converts an attribute's values. Raise NotSupported or BadSetting for unusable patterns, trims, and privacy."""
    attribute = typed.attribute
    masking = _parse_masking(table, typed)
    if typed.definition is None:
        nested = any(_needs_rule(project, table, child) for child in attribute.attributes)
        return Rule(False, typed.type, nested)
    form = patterns.get_form(typed.definition)
    kind, elements = form.kind if form else f"of type {typed.definition.name}", None
    if attribute.array and form and typed.definition.primitive == "string":
        kind, form, elements = f"an array of values {kind}", None, form
    from_text = form is not None or attribute.trim in _TRIMS or masking is not None
    if attribute.array and from_text:
        reason = (
            f"attribute '{attribute.name}': trim, privacy, and patterns of types other than string are not supported for arrays of values"
        )
        raise NotSupported(table.origin.locate(_get_key(table, attribute)), reason)
    exact_as_text = not attribute.array and _is_read_as_double(table, typed.type)
    return Rule(from_text or exact_as_text, kind, form=form, elements=elements, masking=masking)


def _is_read_as_double(table: Table, ddl: str) -> bool:
    """Return whether DuckDB reads a decimal as a double, which changes it: it makes 4194330.900000001 of the JSON number 4194330.9."""
    return (table.metadata.format or "").startswith("JSON") and normalize_type(ddl).startswith("DECIMAL")


def build_value(
    project: Project,
    table: Table,
    typed: TypedAttribute,
    column: str,
    is_text: bool,
    *,
    checked: bool = True,
    masked: bool = True,
    completed: bool = True,
) -> str:
    """Return the SQL expression that computes an attribute's value from ``column``, the SQL of the value as read.

    Bad values are an error, or NULL if ``checked`` is false. The value is without privacy unless ``masked``, and without defaults unless
    ``completed``.

    Raises:
        NotSupported, BadSetting: its pattern, trim, or privacy cannot be used, or that of a field inside it.
    """
    attribute, found = typed.attribute, column
    rule = get_rule(project, table, typed)
    if typed.definition is None:
        if is_text:
            ddl = get_read_type(project, table, typed)
            found = f"{'CAST' if checked else 'TRY_CAST'}(nullif({column}, '') AS {ddl})"
        if rule.nested:
            found = _build_nested(project, table, attribute, found)
    elif is_text:
        found = _convert_text(table, typed, rule, column, checked, masked)
    elif attribute.array and _is_read_as_double(table, typed.type):
        item = cast_text("item", typed.type.removesuffix("[]"), checked=checked)
        found = f"list_transform({found}, lambda item: {item})"
    if rule.elements is not None:
        found = _check_elements(rule.elements, found, attribute.name, checked)
    if completed and attribute.default is not None and typed.definition is not None and not attribute.array:
        found = f"coalesce({found}, CAST({quote_literal(attribute.default)} AS {typed.type}))"
    return found


def _convert_text(table: Table, typed: TypedAttribute, rule: Rule, column: str, checked: bool, masked: bool) -> str:
    attribute = typed.attribute
    text = column
    if attribute.trim in _TRIMS:
        text = f"{_TRIMS[attribute.trim or '']}({text})"
        if table.metadata.empty_is_null is not False:
            text = f"nullif({text}, '')"
    if not typed.is_text:
        text = f"nullif({text}, '')"
    if rule.form is not None:
        found = rule.form.build_expression(text, typed.type, attribute.name, checked)
    elif typed.is_text:
        found = text
    else:
        found = cast_text(text, typed.type, checked=checked)
    if masked and rule.masking is not None:
        found = privacy.mask_value(rule.masking, found, typed.type, is_text=typed.is_text)
    return found


def _check_elements(form: patterns.Form, values: str, column: str, checked: bool) -> str:
    """Return the SQL of an array of strings, ``values``. If an element does not match, it is an error, or NULL if ``checked`` is false."""
    assert form.test is not None  # strings have regular expressions
    values = values if checked else f"TRY_CAST({values} AS VARCHAR[])"  # the search for bad values reads JSON
    wrong = f"list_filter({values}, lambda element: NOT {form.test('element')})"
    bad = f"error({quote_literal(f'column {column}: not {form.kind}: ')} || {wrong}[1])" if checked else "NULL"
    return f"CASE WHEN len({wrong}) > 0 THEN {bad} ELSE {values} END"


def _parse_masking(table: Table, typed: TypedAttribute) -> privacy.Masking | None:
    """Return the masking rule of an attribute; None if it does not have one, or one in SQL, which is applied to the whole row later.

    Raises:
        NotSupported, BadSetting: the rule cannot be used.
    """
    attribute = typed.attribute
    masked = privacy.parse_masking(table, attribute)
    if masked is None or masked.sql is not None:
        return None
    if typed.definition is None:
        reason = f"attribute '{attribute.name}': privacy is not supported for structs; set it for their fields"
        raise NotSupported(table.origin.locate(_get_key(table, attribute)), reason)
    if masked.makes_text and not typed.is_text and not attribute.array:
        reason = f"privacy {masked.name} returns a string, which a column of type {typed.type} cannot hold; use type string"
        raise BadSetting(table.origin.locate(_get_key(table, attribute)), f"attribute '{attribute.name}': {reason}")
    return masked


def _get_key(table: Table, attribute: Attribute) -> str:
    return next((f"attributes[{index}]" for index, one in enumerate(table.attributes) if one is attribute), "attributes")


def get_read_type(project: Project, table: Table, typed: TypedAttribute) -> str:
    """Return the type with which a value is read. Fields of a struct have their names in the file, and are text if they have rules."""
    if typed.definition is None:
        return _get_read_type(project, table, typed.attribute)
    return "VARCHAR[]" if typed.attribute.array and _is_read_as_double(table, typed.type) else typed.type


def _get_read_type(project: Project, table: Table, attribute: Attribute) -> str:
    if attribute.attributes:
        fields = ", ".join(f"{quote(child.name)} {_get_read_type(project, table, child)}" for child in attribute.attributes)
        return f"STRUCT({fields}){'[]' if attribute.array else ''}"
    ddl = get_nested_type(project, table, attribute)
    if attribute.array:
        return "VARCHAR[]" if _is_read_as_double(table, ddl) and not attribute.ignore else "VARCHAR" if attribute.ignore else ddl
    return "VARCHAR" if attribute.ignore or _needs_rule(project, table, attribute) else ddl


def _needs_rule(project: Project, table: Table, attribute: Attribute) -> bool:
    if attribute.ignore or attribute.rename or privacy.parse_masking(table, attribute):
        return True
    if attribute.attributes:
        return any(_needs_rule(project, table, child) for child in attribute.attributes)
    form = patterns.get_form(project.types[attribute.type])
    exact_as_text = _is_read_as_double(table, get_nested_type(project, table, attribute))
    return attribute.trim in _TRIMS or attribute.default is not None or form is not None or exact_as_text


def _build_nested(project: Project, table: Table, attribute: Attribute, expression: str, depth: int = 0) -> str:
    if attribute.array:
        name = f"item{depth}"
        return f"list_transform({expression}, lambda {name}: {_build_struct(project, table, attribute, name, depth + 1)})"
    return _build_struct(project, table, attribute, expression, depth)


def _build_struct(project: Project, table: Table, attribute: Attribute, expression: str, depth: int) -> str:
    fields = []
    for child in (child for child in attribute.attributes if not child.ignore):
        field = f"{expression}.{quote(child.name)}"
        masked = privacy.parse_masking(table, child)
        if masked is not None and (masked.sql is not None or privacy.needs_hashes(masked)):
            reason = f"attribute '{child.name}': privacy {masked.name} is not supported inside a struct"
            raise NotSupported(table.origin.locate("attributes"), reason)
        one = TypedAttribute(child, get_nested_type(project, table, child), None if child.attributes else project.types[child.type], False)
        if child.attributes:
            _parse_masking(table, one)
            made = _build_nested(project, table, child, field, depth)
        else:
            made = build_value(project, table, one, field, _needs_rule(project, table, child) and not child.array)
        fields.append(f"{quote(child.final_name)} := {made}")
    return f"CASE WHEN {expression} IS NULL THEN NULL ELSE struct_pack({', '.join(fields)}) END"
