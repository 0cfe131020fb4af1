"""Read the sentinel of ``preload --notReadySentinel``: an object of Cloud Storage, or a file that both sides can see.

Starlake: PreLoadCmd (since 1.5.15). With a sentinel, "not ready" means exit code 0 and an empty file at the given path. The path must be
outside the container, because the container's file system is deleted with it.
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


def find_sentinel(arguments: Sequence[str]) -> str | None:
    """Return the sentinel in a command's arguments, if there is one."""
    for index, argument in enumerate(arguments):
        if argument == OPTION and index + 1 < len(arguments):
            return arguments[index + 1]
        if argument.startswith(f"{OPTION}="):
            return argument.partition("=")[2]
    return None


def choose_place(folder: str, command_id: str) -> str:
    """Return a separate path for one execution. The sentinel of another execution would report "not ready" forever."""
    return f"{folder.rstrip('/')}/{hashlib.sha256(command_id.encode()).hexdigest()[:32]}.not_ready"


def has_sentinel(uri: str, connection: Connection) -> bool:
    """Return whether the sentinel exists.

    Raises:
        CommandError: the path cannot be read.
    """
    if not uri.startswith("gs://"):
        return Path(uri.removeprefix("file://")).exists()
    status = _send_request("GET", uri, connection)
    if status == 403:
        _check_absent(uri, connection)
    return status == 200


def remove_sentinel(uri: str, connection: Connection) -> None:
    """Remove the sentinel. A failure does no harm."""
    try:
        if uri.startswith("gs://"):
            _send_request("DELETE", uri, connection)
        else:
            Path(uri.removeprefix("file://")).unlink(missing_ok=True)
    except (CommandError, OSError):
        return


def _check_absent(uri: str, connection: Connection) -> None:
    """Check whether status 403 means that the object is missing, as it may without ``storage.objects.list``.

    Raises:
        CommandError: the account is not allowed to read objects of the bucket, or this cannot be found out.
    """
    allowed = _ask_for_permissions(uri, connection)
    if allowed is not None and "storage.objects.get" in allowed and "storage.objects.list" not in allowed:
        # The account can read existing objects, so the object does not exist.
        return
    if allowed is not None and "storage.objects.get" not in allowed:
        raise CommandError(
            f"the sentinel {uri} cannot be read (HTTP 403): the account lacks storage.objects.get on the bucket (and should have "
            ".list and .delete: roles/storage.objectUser)",
            retry=False,
        )
    raise CommandError(
        f"it is not known whether the sentinel {uri} exists: Cloud Storage returns 403, as for a missing object if the account "
        "lacks storage.objects.list. The account needs storage.objects.get, .list, and .delete on the bucket (roles/storage.objectUser)",
        retry=False,
    )


def _ask_for_permissions(uri: str, connection: Connection) -> frozenset[str] | None:
    """Return the account's permissions on a bucket; None if they are not known. Any account may ask for them."""
    bucket = uri.removeprefix("gs://").partition("/")[0]
    wanted = "&".join(f"permissions={name}" for name in _PERMISSIONS)
    try:
        response = connection.open_storage().request("GET", f"{_find_bucket(bucket, connection)}/iam/testPermissions?{wanted}", timeout=30)
        return frozenset(response.json().get("permissions", ())) if response.status_code == 200 else None
    except Exception:  # noqa: BLE001 -- the answer is optional: without it, the message lists more causes
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
        f"the sentinel {uri} cannot be read ({problem}): the account needs storage.objects.get, .list, and .delete on the bucket"
    )
