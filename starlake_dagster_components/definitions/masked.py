"""Mask secrets in Dagster objects: specs, metadata, events, failures, and skip reasons."""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, TypeVar

import dagster as dg

from ..full_disk import explain_full_disk
from ..masking import HIDDEN, mask_data, mask_exception, mask_text

Event = dg.MaterializeResult[Any] | dg.AssetCheckResult | dg.AssetObservation
Tick = TypeVar("Tick")


def hide_in_spec(spec: dg.AssetSpec) -> dg.AssetSpec:
    """Return an asset spec with secrets masked in its description, metadata, and tags."""
    shown = "\n".join(_list_texts(spec))
    if mask_text(shown) == shown:
        return spec
    return spec.replace_attributes(
        description=spec.description and mask_text(spec.description),
        metadata=hide_in_metadata(spec.metadata),
        tags=hide_in_tags(spec.tags),
    )


def hide_in_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return tags with secrets replaced by ``hidden``, because tags cannot contain ``***``."""
    return {mask_text(key).replace(HIDDEN, "hidden"): mask_text(value).replace(HIDDEN, "hidden") for key, value in tags.items()}


def _list_texts(spec: dg.AssetSpec) -> Iterator[str]:
    if spec.description:
        yield spec.description
    yield from (text for tag in spec.tags.items() for text in tag)
    for value in spec.metadata.values():
        if isinstance(value, str):
            yield value
        elif isinstance(value, dg.TableSchema):
            yield from (column.description for column in value.columns if column.description)
        elif isinstance(value, dg.MetadataValue):
            yield str(value.value)


def hide_in_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata with secrets masked."""
    return {key: _hide_in_value(value) for key, value in metadata.items()}


def _hide_in_value(value: Any) -> Any:
    if type(value) in (str, list, tuple, dict):
        return mask_data(value)
    if isinstance(value, dg.TableSchema):
        return _hide_in_schema(value)
    if isinstance(value, dg.TableColumnLineage) or not isinstance(value, dg.MetadataValue):
        return value
    if isinstance(value, dg.TableSchemaMetadataValue):
        return dg.MetadataValue.table_schema(_hide_in_schema(value.schema))
    for kind, make in _TEXTS:
        if isinstance(value, kind):
            hidden = mask_text(str(value.value))
            return value if hidden == value.value else make(hidden)
    if isinstance(value, dg.JsonMetadataValue):
        hidden = mask_data(value.data)
        return value if hidden == value.data else dg.MetadataValue.json(hidden)
    return value


_TEXTS: tuple[tuple[type, Callable[[str], Any]], ...] = (
    (dg.TextMetadataValue, dg.MetadataValue.text),
    (dg.MarkdownMetadataValue, dg.MetadataValue.md),
    (dg.UrlMetadataValue, dg.MetadataValue.url),
    (dg.PathMetadataValue, dg.MetadataValue.path),
)


def _hide_in_schema(schema: dg.TableSchema) -> dg.TableSchema:
    if not any(column.description and mask_text(column.description) != column.description for column in schema.columns):
        return schema
    columns = [dg.TableColumn(c.name, c.type, c.description and mask_text(c.description), c.constraints, c.tags) for c in schema.columns]
    return dg.TableSchema(columns, schema.constraints)


def hide_in_event(event: Event) -> Event:
    """Return an event of a step with secrets masked."""
    if isinstance(event, dg.MaterializeResult):
        if event.check_results:
            event = event._replace(check_results=[hide_in_event(check) for check in event.check_results])
        return event._replace(metadata=hide_in_metadata(event.metadata)) if event.metadata else event
    if isinstance(event, dg.AssetCheckResult):
        return event._replace(
            description=event.description and mask_text(event.description), metadata=hide_in_metadata(event.metadata or {})
        )
    return dg.AssetObservation(
        event.asset_key, event.description and mask_text(event.description), hide_in_metadata(event.metadata), event.partition, event.tags
    )


@contextmanager
def hide_in_errors() -> Iterator[None]:
    """Mask secrets in exceptions that are raised in a ``with`` block, and in their causes."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, dg.Failure):
            error.metadata = hide_in_metadata(error.metadata)
        mask_exception(error)
        raise


def hide_in_events(events: Generator[Event, None, None] | Iterator[Event]) -> Iterator[Event]:
    """Yield the events of a step with secrets masked. Exceptions are masked as well, and full disks are explained."""
    with hide_in_errors(), explain_full_disks(), closing(events) as steps:  # type: ignore[type-var]
        for event in steps:
            yield hide_in_event(event)


@contextmanager
def explain_full_disks() -> Iterator[None]:
    """Convert exceptions that a full disk causes in a ``with`` block to failures with a clear message.

    Raises:
        dagster.Failure: a disk is full.
    """
    try:
        yield
    except dg.Failure:
        raise
    except Exception as error:
        full = explain_full_disk(error)
        if full is None:
            raise
        raise dg.Failure(full) from None


def hide_in_tick(evaluate: Callable[[], Tick]) -> Tick:
    """Evaluate a sensor tick, with secrets masked in the skip reason and in exceptions."""
    with hide_in_errors():
        result: Any = evaluate()
    if isinstance(result, dg.SkipReason) and result.skip_message:
        result = dg.SkipReason(mask_text(result.skip_message))
    elif isinstance(result, dg.SensorResult) and isinstance(result.skip_reason, dg.SkipReason) and result.skip_reason.skip_message:
        result = result._replace(skip_reason=dg.SkipReason(mask_text(result.skip_reason.skip_message)))
    return result  # type: ignore[no-any-return]
