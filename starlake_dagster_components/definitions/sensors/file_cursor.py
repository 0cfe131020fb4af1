"""What a file sensor remembers between ticks, as the cursor of a Dagster sensor."""

import base64
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .file_rule import FileMemory, SeenFile

_COMPRESSED = "z:"
_MAX_PLAIN = 4096
"""Characters of a cursor from which on it is compressed: the cursor of 10,000 files is about 200 kB instead of 600."""


@dataclass(frozen=True, slots=True)
class FileCursor:
    """What a file sensor remembers.

    Attributes:
        memory: of the files, and of the last run.
        observed: logical name of a domain -> digest of what was last reported of its waiting files.
    """

    memory: FileMemory = field(default_factory=FileMemory)
    observed: Mapping[str, str] = field(default_factory=dict)


def read_file_cursor(cursor: str | None) -> FileCursor:
    """Return what a cursor remembers; nothing for none, and for one that another program wrote."""
    try:
        text = cursor or "{}"
        if text.startswith(_COMPRESSED):
            text = zlib.decompress(base64.b64decode(text[len(_COMPRESSED) :])).decode()
        entries: dict[str, Any] = json.loads(text)
        run_key, requested = entries.get("run", ("", 0.0))
        files = {name: SeenFile(version, runs, since) for name, (version, runs, since) in entries.get("files", {}).items()}
        return FileCursor(FileMemory(files, run_key, requested), dict(entries.get("observed", {})))
    except (ValueError, TypeError, AttributeError, zlib.error):
        return FileCursor()


def write_file_cursor(cursor: FileCursor) -> str:
    """Return the text that :func:`read_file_cursor` reads."""
    memory = cursor.memory
    text = json.dumps(
        {
            "run": [memory.run_key, memory.requested],
            "files": {name: [seen.version, seen.runs, seen.requested] for name, seen in memory.files.items()},
            "observed": dict(cursor.observed),
        },
        separators=(",", ":"),
    )
    return text if len(text) <= _MAX_PLAIN else _COMPRESSED + base64.b64encode(zlib.compress(text.encode())).decode()
