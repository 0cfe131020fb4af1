"""Call the API: repeat calls that failed temporarily, and explain permanent failures."""

import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from ...errors import CommandError, StarlakeError
from ..base import Log
from .connection import explain_missing_credentials

T = TypeVar("T")

QUOTA = frozenset(("RESOURCE_EXHAUSTED",))
"""The call was rejected, and was certainly not carried out."""
PASSING = QUOTA | frozenset(("UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL", "UNKNOWN", "ABORTED", "CANCELLED"))
"""Temporary failures. Unless the quota was exceeded, the call may have been carried out."""

FIRST_DELAY = 1.0
LAST_DELAY = 60.0

_BAD_CREDENTIALS = re.compile(
    r"RefreshError|Reauthentication|invalid_grant|iam\.serviceAccounts\.getAccessToken|DefaultCredentialsError", re.I
)


class Interrupted(Exception):
    """The run was canceled while a call waited for its next try."""


def iterate_delays(longest: float = LAST_DELAY) -> Iterator[float]:
    """Yield delays in seconds that double from try to try, with jitter, up to ``longest``."""
    delay = min(FIRST_DELAY, longest)
    while True:
        yield delay * random.uniform(0.5, 1.0)
        delay = min(delay * 2, longest)


def read_status(error: BaseException) -> str:
    """Return the name of an error's gRPC status (``NOT_FOUND``); empty if it has none."""
    code = getattr(error, "grpc_status_code", None)
    return str(code.name) if code is not None else ""


def summarize_error(error: BaseException) -> str:
    """Return an error on one line."""
    return f"{read_status(error) or type(error).__name__}: {getattr(error, 'message', None) or error}"


def is_transient(error: BaseException) -> bool:
    """Return whether a failed call is worth another try."""
    from google.api_core import exceptions

    if _BAD_CREDENTIALS.search(str(error)):
        return False
    return read_status(error) in PASSING or isinstance(error, exceptions.RetryError)


def explain_failure(error: BaseException, *, doing: str, resource: str) -> StarlakeError:
    """Return the exception for a call that failed permanently. Its message has the reason and advice.

    Args:
        error: the exception of the SDK.
        doing: the action, for the message: ``start the job``.
        resource: the full name of the job or execution.
    """
    if isinstance(error, StarlakeError):
        return error
    detail = getattr(error, "message", None) or str(error)
    name = read_status(error)
    parts = resource.split("/")
    project, region, job = parts[1], parts[3], parts[5]
    if name == "UNAUTHENTICATED" or _BAD_CREDENTIALS.search(str(error)) or type(error).__module__.startswith("google.auth"):
        return explain_missing_credentials(detail)
    if name == "PERMISSION_DENIED":
        return CommandError(
            f"not allowed to {doing} {resource}: {detail}. Check that the account has run.jobs.run, run.jobs.runWithOverrides, "
            "and run.executions.get, .list, and .cancel on the job (role roles/run.developer), that the Cloud Run Admin API is enabled in "
            f"project {project}, and that cloud_run_service_account, if set, may be impersonated (roles/iam.serviceAccountTokenCreator)",
            retry=False,
        )
    if name == "NOT_FOUND":
        return CommandError(
            f"cannot {doing} {resource}: {detail}. Check cloud_run_job_name ('{job}'), cloud_run_job_region ('{region}'), "
            f"and cloud_run_project_id ('{project}'): `gcloud run jobs list --project {project}` shows the jobs with their regions",
            retry=False,
        )
    return CommandError(f"cannot {doing} {resource}: {name or type(error).__name__}: {detail}", retry=is_transient(error))


def call_until_answered(
    call: Callable[[], T],
    *,
    doing: str,
    resource: str,
    log: Log,
    canceled: threading.Event | None,
    seconds: float,
    longest_delay: float = LAST_DELAY,
) -> T:
    """Repeat an idempotent call until it gets an answer.

    Args:
        call: makes the call.
        doing: the action, for messages.
        resource: the full name of the job or execution.
        log: receives a message about each temporary failure.
        canceled: ends the wait when set; None = only the time limit ends it.
        seconds: the time limit in seconds.
        longest_delay: the maximum delay between two tries, in seconds.

    Raises:
        Interrupted: ``canceled`` was set.
        CommandError: it failed permanently, or until the time limit.
    """
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError

    delays = iterate_delays(longest_delay)
    end = time.monotonic() + seconds
    while True:
        try:
            return call()
        except exceptions.GoogleAPIError as error:
            delay = next(delays)
            if not is_transient(error):
                raise explain_failure(error, doing=doing, resource=resource) from error
            if time.monotonic() + delay > end:
                raise CommandError(f"could not {doing} {resource} within {seconds:g} seconds: {read_status(error)}: {error}") from error
            log("debug", f"cannot {doing} {resource} yet ({read_status(error)}); retrying in {delay:.1f} s")
        except GoogleAuthError as error:
            raise explain_missing_credentials(str(error)) from error
        pause(delay, canceled)


def pause(seconds: float, canceled: threading.Event | None) -> None:
    """Wait.

    Raises:
        Interrupted: ``canceled`` is set.
    """
    if canceled is None:
        time.sleep(seconds)
    elif canceled.wait(seconds):
        raise Interrupted
