"""Job ids of the attempts of a step: each of them has audit rows of its own."""

from dataclasses import replace

from ..commands import Command


def number_attempt(command: Command, attempt: int, *, run_id: str = "", earlier_run: str = "") -> Command:
    """Return a command with the job id of one attempt, where its audit rows can be read.

    Args:
        command: that of the first attempt.
        attempt: number of earlier attempts.
        run_id: Dagster's run.
        earlier_run: the run in which the attempt was, if it is another one.
    """
    noted = command.audit or command.warehouse
    if noted is None:
        return command
    now = noted.job_id
    if earlier_run and run_id and now.startswith(run_id):
        now = earlier_run + now[len(run_id) :]
    now = f"{now}.{attempt}" if attempt else now
    renamed = {name: now for name, value in command.environment.items() if value == noted.job_id}
    return replace(
        command.with_environment(renamed),
        audit=command.audit and replace(command.audit, job_id=now),
        warehouse=command.warehouse and replace(command.warehouse, job_id=now),
    )
