"""Read the state of an Execution. It succeeded only if it reports success; the end of a wait does not count."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .request import COMMAND_ID

if TYPE_CHECKING:
    from google.cloud.run_v2 import Execution

_EXIT_CODE = re.compile(r"exit(?:ed)?(?: with)?(?: (?:non-zero )?(?:exit )?(?:code|status))?:? (\d{1,3})\b")


@dataclass(frozen=True, slots=True)
class ExecutionState:
    """An execution at one moment.

    Attributes:
        name: ``projects/P/locations/R/jobs/J/executions/E``.
        command_id: the value of ``STARLAKE_DAGSTER_COMMAND_ID`` in its environment; empty if it has none.
        created: when it was created, in seconds since 1970.
        finished: whether none of its tasks is still running.
        succeeded: whether all its tasks succeeded. True only together with ``finished``.
        canceled: whether it was canceled.
        running: number of running tasks.
        retried: number of tasks that Cloud Run ran more than once.
        max_retries: how often Cloud Run may run a failing task again.
        reason, message: of the condition ``Completed``.
        log_uri: link to the logs in the console.
    """

    name: str
    command_id: str = ""
    created: float = 0.0
    finished: bool = False
    succeeded: bool = False
    canceled: bool = False
    running: int = 0
    retried: int = 0
    max_retries: int = 0
    reason: str = ""
    message: str = ""
    log_uri: str = ""

    @property
    def short_name(self) -> str:
        """The last part of the name."""
        return self.name.rpartition("/")[2]

    @property
    def console(self) -> str:
        """Link to the execution in the console."""
        parts = self.name.split("/")
        project, region, name = parts[1], parts[3], parts[-1]
        return f"https://console.cloud.google.com/run/jobs/executions/details/{region}/{name}/tasks?project={project}"

    @property
    def exit_code(self) -> int | None:
        """The exit code in the message; None if it has none."""
        match = _EXIT_CODE.search(self.message)
        return int(match[1]) if match else None


def read_state(execution: "Execution") -> ExecutionState:
    """Return the state of an Execution of the API, given as the SDK's message or as the raw protobuf message."""
    from google.cloud import run_v2

    return read_message(run_v2.Execution.pb(execution) if isinstance(execution, run_v2.Execution) else execution)


def read_message(message: Any) -> ExecutionState:
    """Return the state in the protobuf message of an Execution.

    It is finished if it has a completion time or its condition ``Completed`` is final. It succeeded if that condition is not a
    failure, every task succeeded, and none failed or was canceled, because a canceled execution completes without an error.
    """
    from google.cloud.run_v2 import Condition

    completed = next((c for c in message.conditions if c.type_ == "Completed"), None)
    state = Condition.State(completed.state) if completed is not None else Condition.State.STATE_UNSPECIFIED
    final = state in (Condition.State.CONDITION_SUCCEEDED, Condition.State.CONDITION_FAILED)
    finished = message.HasField("completion_time") or message.HasField("delete_time") or (final and not message.running_count)
    tasks = message.task_count or 1
    succeeded = (
        finished
        and state != Condition.State.CONDITION_FAILED
        and message.succeeded_count >= tasks
        and not message.failed_count
        and not message.cancelled_count
    )
    return ExecutionState(
        name=message.name,
        command_id=next((e.value for c in message.template.containers for e in c.env if e.name == COMMAND_ID), ""),
        created=message.create_time.seconds + message.create_time.nanos / 1e9,
        finished=finished,
        succeeded=succeeded,
        canceled=bool(message.cancelled_count) or _read_reason(completed) in ("CANCELLED", "CANCELLING", "DELETED"),
        running=message.running_count,
        retried=message.retried_count,
        max_retries=message.template.max_retries,
        reason=_read_reason(completed),
        message=completed.message.strip() if completed is not None else "",
        log_uri=message.log_uri,
    )


def _read_reason(condition: Any) -> str:
    """Return the name of the condition's reason, which is of one of three kinds."""
    which = condition.WhichOneof("reasons") if condition is not None else None
    if which is None:
        return ""
    from google.cloud.run_v2 import Condition

    kinds: dict[str, Any] = {
        "reason": Condition.CommonReason,
        "execution_reason": Condition.ExecutionReason,
        "revision_reason": Condition.RevisionReason,
    }
    value = getattr(condition, which)
    try:
        return str(kinds[which](value).name)
    except ValueError:
        return str(value)
