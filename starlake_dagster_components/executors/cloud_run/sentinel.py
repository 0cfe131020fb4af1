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
_PERMISSIONS = ("storage.objects.get", "storage.objects.list")
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
    status = _send_request("GET", uri, connection)
    if status == 403:
        _check_absent(uri, connection)
    return status == 200


def remove_sentinel(uri: str, connection: Connection) -> None:
    """Remove the sentinel; it is a matter of tidiness only."""
    try:
        if uri.startswith("gs://"):
            _send_request("DELETE", uri, connection)
        else:
            Path(uri.removeprefix("file://")).unlink(missing_ok=True)
    except (CommandError, OSError):
        return


def _check_absent(uri: str, connection: Connection) -> None:
    """Find out what a refused look means: without ``storage.objects.list``, storage answers 403 for an object that is not there, too.

    Raises:
        CommandError: the account may not read objects of the bucket, or it cannot be found out.
    """
    allowed = _ask_for_permissions(uri, connection)
    if allowed is not None and "storage.objects.get" in allowed and "storage.objects.list" not in allowed:
        # What is there can be read, so that it is not there.
        return
    if allowed is not None and "storage.objects.get" not in allowed:
        raise CommandError(
            f"the sentinel {uri} cannot be read (HTTP 403): the account lacks storage.objects.get on the bucket (and should have "
            ".list and .delete: roles/storage.objectUser)",
            retry=False,
        )
    raise CommandError(
        f"whether the sentinel {uri} is there cannot be said: Cloud Storage answers 403, as it does for a missing object where the account "
        "lacks storage.objects.list. The account needs storage.objects.get, .list and .delete on the bucket (roles/storage.objectUser)",
        retry=False,
    )


def _ask_for_permissions(uri: str, connection: Connection) -> frozenset[str] | None:
    """Return which permissions on a bucket the account has; None where that is not known. Any account may ask."""
    bucket = uri.removeprefix("gs://").partition("/")[0]
    wanted = "&".join(f"permissions={name}" for name in _PERMISSIONS)
    try:
        response = connection.open_storage().request("GET", f"{_find_bucket(bucket, connection)}/iam/testPermissions?{wanted}", timeout=30)
        return frozenset(response.json().get("permissions", ())) if response.status_code == 200 else None
    except Exception:  # noqa: BLE001 -- the answer is an extra: without it the message says more
        return None


def _find_bucket(bucket: str, connection: Connection) -> str:
    host = os.environ.get("STORAGE_EMULATOR_HOST") or connection.access.storage_address
    if "://" not in host:
        host = f"{'http' if connection.access.insecure else 'https'}://{host}"
    return f"{host.rstrip('/')}/storage/v1/b/{quote(bucket, safe='')}"


def _send_request(method: str, uri: str, connection: Connection) -> int:
    from google.auth.exceptions import GoogleAuthError
    from requests import RequestException

    bucket, _, name = uri.removeprefix("gs://").partition("/")
    url = f"{_find_bucket(bucket, connection)}/o/{quote(name, safe='')}"
    problem = ""
    for number in range(_TRIES):
        if number:
            time.sleep(2.0 ** (number - 1))
        try:
            status = connection.open_storage().request(method, url, timeout=30).status_code
        except (RequestException, GoogleAuthError) as error:
            problem = str(error)
            continue
        if status in (200, 204, 403, 404):
            return int(status)
        problem = f"HTTP {status}"
        if status not in (408, 429) and status < 500:
            break
    raise CommandError(
        f"the sentinel {uri} cannot be read ({problem}): the account needs storage.objects.get, .list and .delete on the bucket"
    )
