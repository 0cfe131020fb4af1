"""Migrate files in Starlake's old formats to version 1. Only files without ``version`` change. Starlake: YamlMigrator.

The parsed mappings are changed in place, before objects are made from them.
"""

from typing import Any

from .yaml_source import YamlDocument, join_key

_UPSERT = "UPSERT_BY_KEY"
_DELETE_THEN_INSERT = "DELETE_THEN_INSERT"


class Migration:
    """The migration of one document; ``failures`` has (dotted key, message) of each part that Starlake cannot migrate."""

    def __init__(self, document: YamlDocument) -> None:
        self._lines = document.lines
        self.failures: list[tuple[str, str]] = []

    def migrate_table(self, table: dict[str, Any], path: str = "") -> None:
        """Migrate a load table. Starlake: YamlMigrator.V1.TableConfig."""
        metadata = table.get("metadata")
        if isinstance(metadata, dict):
            self.migrate_metadata(metadata, join_key(path, "metadata"))
        write = metadata.get("write") if isinstance(metadata, dict) else None
        table.pop("flat", None)
        if "merge" in table:
            if not isinstance(metadata, dict):
                metadata = table["metadata"] = {}
            self._migrate_merge(table, metadata, write, path, join_key(path, "metadata"))
        if isinstance(metadata, dict):
            metadata.pop("write", None)

    def migrate_metadata(self, metadata: dict[str, Any], path: str) -> None:
        """Migrate the metadata of a table or domain."""
        self._migrate_sink(metadata, path)
        strategy = _get_strategy(metadata)
        if strategy:
            if isinstance(strategy.get("type"), str) and strategy["type"].upper() == _UPSERT:
                strategy["type"] = _DELETE_THEN_INSERT
            types = strategy.get("types")
            if isinstance(types, dict):
                for name in [name for name in types if name.upper() == _UPSERT]:
                    types[_DELETE_THEN_INSERT] = types.pop(name)
        self._migrate_write(metadata, path)
        metadata.pop("mode", None)

    def migrate_domain(self, domain: dict[str, Any]) -> None:
        """Migrate the ``_config`` of a load domain. Starlake: YamlMigrator.V1.LoadConfig."""
        metadata = domain.get("metadata")
        if isinstance(metadata, dict):
            self.migrate_metadata(metadata, "metadata")
            metadata.pop("write", None)
        domain.pop("tables", None)

    def migrate_task(self, task: dict[str, Any], path: str = "") -> None:
        """Migrate a transform task. Starlake: YamlMigrator.V1.TaskConfig."""
        self._rename_key(task, "attributesDesc", "attributes", path)
        self._rename_key(task, "dataset", "table", path)
        for key in ("engine", "sqlEngine", "flat"):
            task.pop(key, None)
        self._migrate_sink(task, path)
        self._migrate_write(task, path)
        if "merge" in task:
            self._migrate_merge(task, task, task.get("write"), path, path)
        task.pop("write", None)

    def _rename_key(self, mapping: dict[str, Any], old: str, new: str, path: str) -> None:
        if mapping.get(old) is not None and mapping.get(new) is None:
            mapping[new] = mapping.pop(old)
            self._move_lines(join_key(path, old), join_key(path, new))

    def _move_lines(self, old: str, new: str) -> None:
        _move_lines(self._lines, old, new)

    def _migrate_sink(self, parent: dict[str, Any], path: str) -> None:
        sink = parent.get("sink")
        if not isinstance(sink, dict):
            return
        place = join_key(path, "sink")
        sink.pop("type", None)
        if "partition" in sink:
            partition = sink["partition"]
            if isinstance(partition, dict) and "attributes" in partition:
                sink["partition"] = partition["attributes"]
            elif not isinstance(partition, list):
                del sink["partition"]
        timestamp = sink.pop("timestamp", None)
        if timestamp is not None and not isinstance(timestamp, (dict, list)):
            sink["partition"] = [timestamp]
            self._move_lines(f"{place}.timestamp", f"{place}.partition")
        dynamic = sink.pop("dynamicPartitionOverwrite", None)
        strategy = parent.get("writeStrategy")
        if dynamic is True and not (isinstance(strategy, dict) and ("type" in strategy or "types" in strategy)):
            parent["writeStrategy"] = {"type": "OVERWRITE_BY_PARTITION"}
            self._move_lines(f"{place}.dynamicPartitionOverwrite", join_key(path, "writeStrategy"))

    def _migrate_write(self, parent: dict[str, Any], path: str) -> None:
        write = parent.get("write")
        if isinstance(write, str) and write and not _get_strategy(parent):
            parent["writeStrategy"] = {"type": "OVERWRITE" if write.upper() == "OVERWRITE" else "APPEND"}
            self._move_lines(join_key(path, "write"), join_key(path, "writeStrategy"))

    def _migrate_merge(self, owner: dict[str, Any], target: dict[str, Any], write: object, path: str, target_path: str) -> None:
        merge = owner["merge"]
        strategy = target.get("writeStrategy") if target is not owner else None
        if isinstance(strategy, dict) and strategy.get("type") == "OVERWRITE_BY_PARTITION":
            self.failures.append((join_key(path, "merge"), "'merge' cannot be used together with dynamicPartitionOverwrite"))
            return
        del owner["merge"]
        merge = dict(merge) if isinstance(merge, dict) else {}
        self._move_lines(join_key(path, "merge"), join_key(target_path, "writeStrategy"))
        has_types = isinstance(strategy, dict) and isinstance(strategy.get("types"), dict)
        result = {**merge, **strategy} if isinstance(strategy, dict) else merge
        if not has_types:
            if "key" in merge:
                result["type"] = "UPSERT_BY_KEY_AND_TIMESTAMP" if "timestamp" in merge else _DELETE_THEN_INSERT
            else:
                result["type"] = "OVERWRITE" if isinstance(write, str) and write.upper() == "OVERWRITE" else "APPEND"
        target["writeStrategy"] = result


def _get_strategy(parent: dict[str, Any]) -> dict[str, Any] | None:
    """Return ``writeStrategy`` if it has a type or types."""
    strategy = parent.get("writeStrategy")
    typed = isinstance(strategy, dict) and (strategy.get("type") is not None or strategy.get("types") is not None)
    return strategy if typed else None


def _move_lines(lines: dict[str, int], old: str, new: str) -> None:
    """Let a key and the keys below it have the lines of those that it replaces. An empty key is that of the document."""
    for key in [key for key in lines if key == old or key.startswith((f"{old}.", f"{old}["))]:
        lines.setdefault(f"{new}{key[len(old) :]}".lstrip("."), lines[key])


def rename_table_roots(data: dict[str, Any], document: YamlDocument) -> None:
    """Rename the oldest root keys of a table file: ``schema`` and ``schemas``. Starlake: YamlMigrator.PreV1.TableConfig."""
    for old, new in (("schema", "table"), ("schemas", "tables")):
        if data.get(old) is not None and data.get(new) is None:
            data[new] = data.pop(old)
            _move_lines(document.lines, old, "" if new == "table" else new)
