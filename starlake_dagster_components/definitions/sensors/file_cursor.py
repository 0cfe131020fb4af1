"""Store the state of a file sensor in its cursor."""

import base64
import json
import zlib
from typing import Any

from .file_rule import FileMemory, SeenFile

_COMPRESSED = "z:"
_MAX_PLAIN = 4096
"""Length in characters above which a cursor is compressed. For 10,000 files, it then has about 200 kB instead of 600 kB."""


def read_file_cursor(cursor: str | None) -> FileMemory:
    """Return the state in a cursor; an empty one if there is no cursor, or it is invalid."""
    try:
        text = cursor or "{}"
        if text.startswith(_COMPRESSED):
            text = zlib.decompress(base64.b64decode(text[len(_COMPRESSED) :])).decode()
        entries: dict[str, Any] = json.loads(text)
        # Older cursors also have the time of the run, which nothing reads.
        run_key, *_ = entries.get("run", [""])
        files = {name: SeenFile(version, runs, since) for name, (version, runs, since) in entries.get("files", {}).items()}
        return FileMemory(files, run_key, dict(entries.get("observed", {})))
    except (ValueError, TypeError, AttributeError, zlib.error):
        return FileMemory()


def write_file_cursor(memory: FileMemory) -> str:
    """Return the cursor for a state. See :func:`read_file_cursor`."""
    text = json.dumps(
        {
            "run": [memory.run_key],
            "files": {name: [seen.version, seen.runs, seen.requested] for name, seen in memory.files.items()},
            "observed": dict(memory.observed),
        },
        separators=(",", ":"),
    )
    return text if len(text) <= _MAX_PLAIN else _COMPRESSED + base64.b64encode(zlib.compress(text.encode())).decode()
