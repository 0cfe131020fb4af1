"""Job ids of the attempts of a step: each of them has audit rows of its own."""

from dataclasses import replace

from ..commands import Command


def number_attempt(command: Command, attempt: int, *, run_id: str = "", earlier_run: str = "") -> Command:
    """Return a command with the job id of one attempt; where the project sets ``SL_JOB_ID`` itself it stays as it is.

    Args:
        command: that of the first attempt.
        attempt: number of earlier attempts.
        run_id: Dagster's run.
        earlier_run: the run in which the attempt was, if it is another one.
    """
    noted = command.audit or command.warehouse
    before = command.job_id or (noted.job_id if noted else "")
    if not before:
        return command
    now = before
    if earlier_run and run_id and now.startswith(run_id):
        now = earlier_run + now[len(run_id) :]
    now = f"{now}.{attempt}" if attempt else now
    renamed = {name: now for name, value in command.environment.items() if value == before}
    return replace(
        command.with_environment(renamed),
        job_id=now,
        audit=command.audit and replace(command.audit, job_id=now),
        warehouse=command.warehouse and replace(command.warehouse, job_id=now),
    )
