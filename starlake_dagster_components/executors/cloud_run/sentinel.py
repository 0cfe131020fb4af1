"""The file by which ``preload --notReadySentinel`` says "not ready": an object of Cloud Storage, or a file both sides see.

Starlake: PreLoadCmd (since 1.5.15). With a sentinel every "not ready" ends with exit code 0 and an empty file at the given place;
a container's file system is gone with the container, so the place must be outside of it.
"""

import hashlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from ...errors import CommandError
from .connection import Connection

OPTION = "--notReadySentinel"
_STORAGE = "https://storage.googleapis.com"
_TRIES = 5


def find_given(arguments: Sequence[str]) -> str | None:
    """Return the sentinel that a command's arguments name already."""
    for index, argument in enumerate(arguments):
        if argument == OPTION and index + 1 < len(arguments):
            return arguments[index + 1]
        if argument.startswith(f"{OPTION}="):
            return argument.partition("=")[2]
    return None


def choose_place(folder: str, command_id: str) -> str:
    """Return a place of its own for one execution: a sentinel that was left by another one would say "not ready" for ever."""
    return f"{folder.rstrip('/')}/{hashlib.sha256(command_id.encode()).hexdigest()[:32]}.not_ready"


def has_sentinel(uri: str, connection: Connection) -> bool:
    """Say whether the sentinel is there.

    Raises:
        CommandError: the place cannot be read.
    """
    if not uri.startswith("gs://"):
        return Path(uri.removeprefix("file://")).exists()
    return _send_request("GET", uri, connection) == 200


def remove_sentinel(uri: str, connection: Connection) -> None:
    """Remove the sentinel; it is a matter of tidiness only."""
    try:
        if uri.startswith("gs://"):
            _send_request("DELETE", uri, connection)
        else:
            Path(uri.removeprefix("file://")).unlink(missing_ok=True)
    except (CommandError, OSError):
        return


def _send_request(method: str, uri: str, connection: Connection) -> int:
    from google.auth.exceptions import GoogleAuthError
    from requests import RequestException

    bucket, _, name = uri.removeprefix("gs://").partition("/")
    host = os.environ.get("STORAGE_EMULATOR_HOST") or _STORAGE
    url = f"{host.rstrip('/')}/storage/v1/b/{quote(bucket, safe='')}/o/{quote(name, safe='')}"
    problem = ""
    for number in range(_TRIES):
        if number:
            time.sleep(2.0 ** (number - 1))
        try:
            status = connection.open_storage().request(method, url, timeout=30).status_code
        except (RequestException, GoogleAuthError) as error:
            problem = str(error)
            continue
        if status in (200, 204, 404):
            return int(status)
        problem = f"HTTP {status}"
        if status not in (408, 429) and status < 500:
            break
    raise CommandError(f"the sentinel {uri} cannot be read ({problem}): the account needs storage.objects.get and .delete on the bucket")
