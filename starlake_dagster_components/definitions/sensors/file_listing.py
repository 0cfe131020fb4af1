"""List the folders in which files wait: local folders, and object stores through fsspec."""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ...errors import InvalidSetting, StarlakeError
from ...pipelines.waiting_files import WaitingFolder, match_tables, name_ack_file
from .file_rule import WaitingFile


@dataclass(frozen=True, slots=True)
class _Entry:
    version: str
    modified: float = 0.0


class FolderUnreadable(StarlakeError):
    """A folder cannot be listed. The message contains its path and the reason."""


def find_ack_file(folder: WaitingFolder, now: datetime) -> list[WaitingFile]:
    """Return the ack file of a domain (pre-load strategy ``ack``), or an empty list if it does not exist.

    ``now`` is the current local time, for the date in the file's name.

    Raises:
        FolderUnreadable: the folder exists but cannot be read.
        InvalidSetting: the package for the storage is not installed.
    """
    path = folder.get_ack_file(now)
    parent, _, name = path.rpartition("/")
    entry = _list_entries(parent).get(name)
    return [WaitingFile(path, entry.version, complete=True, modified=entry.modified)] if entry is not None else []


def list_folder_files(folder: WaitingFolder) -> list[WaitingFile]:
    """Return the files in a folder that belong to a table, sorted by name.

    Raises:
        FolderUnreadable: the folder exists but cannot be read, or its storage cannot be reached.
        InvalidSetting: the package for the storage is not installed.
    """
    entries = _list_entries(folder.path)
    # Object stores list only complete files.
    is_object_store = "://" in folder.path
    found = []
    for name, table in sorted(match_tables(list(entries), folder.tables).items()):
        ack, entry = name_ack_file(name, table), entries[name]
        missing = ack if ack and ack not in entries else ""
        complete = is_object_store or bool(ack)
        found.append(WaitingFile(f"{folder.path}/{name}", entry.version, complete, missing, table.table, entry.modified))
    return found


def _list_entries(folder: str) -> Mapping[str, _Entry]:
    """Return the files in a folder by name, except hidden ones; empty if the folder does not exist."""
    try:
        return dict(_scan_remote(folder) if "://" in folder else _scan_local(folder))
    except FileNotFoundError:
        return {}
    except NotADirectoryError as error:
        raise FolderUnreadable(f"{folder} is not a folder") from error
    except InvalidSetting:
        raise
    except Exception as error:  # each storage library raises its own errors
        raise FolderUnreadable(f"{folder} cannot be read: {error or type(error).__name__}") from error


def _scan_local(folder: str) -> Iterator[tuple[str, _Entry]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            # A file may be removed in the meantime.
            with suppress(FileNotFoundError):
                if not entry.name.startswith(".") and entry.is_file():
                    status = entry.stat()
                    yield entry.name, _Entry(f"{status.st_size}-{status.st_mtime_ns}-{status.st_ino}", status.st_mtime)


_EXTRAS = {"gs": "gcs", "gcs": "gcs", "s3": "s3", "s3a": "s3", "abfs": "azure-storage", "abfss": "azure-storage", "az": "azure-storage"}
"""URL scheme -> the extra of this package that installs fsspec's storage library for it."""


def _scan_remote(folder: str) -> Iterator[tuple[str, _Entry]]:
    scheme, separator, rest = folder.partition("://")
    # Hadoop's name of a scheme -> fsspec's.
    url = {"s3a": "s3", "wasbs": "abfs"}.get(scheme, scheme) + separator + rest
    try:
        import fsspec

        # fsspec caches listings by default.
        storage, path = fsspec.url_to_fs(url, use_listings_cache=False)
    except (ImportError, ValueError) as error:
        extra = _EXTRAS.get(scheme)
        hint = f": install starlake-dagster-components with the '{extra}' extra" if extra else ""
        raise InvalidSetting(f"file_sensors: {folder} cannot be listed{hint} ({error})") from error
    for found in storage.ls(path, detail=True):
        name = str(found["name"]).rstrip("/").rpartition("/")[2]
        if found.get("type") == "file" and name and not name.startswith("."):
            yield name, _describe_remote(found)


def _describe_remote(found: Mapping[str, Any]) -> _Entry:
    modified = next((found[key] for key in ("mtime", "LastModified", "last_modified", "updated", "created") if found.get(key)), None)
    version = next((found[key] for key in ("generation", "ETag", "etag", "md5Hash", "VersionId") if found.get(key)), modified)
    return _Entry(f"{found.get('size')}-{version}", _read_time(modified))


def _read_time(value: Any) -> float:
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, (int, float)):
        return float(value)
    try:
        return datetime.fromisoformat(str(value).replace("Z", "+00:00")).timestamp()
    except ValueError:
        return 0.0
