"""Build the job IDs of the attempts of a step, each of which has its own audit rows."""

from dataclasses import replace

from ..commands import Command


def number_attempt(command: Command, attempt: int, *, run_id: str = "", earlier_run: str = "") -> Command:
    """Return a command with the job ID of one attempt. If the project sets ``SL_JOB_ID``, it is kept.

    Args:
        command: the command of the first attempt.
        attempt: number of earlier attempts.
        run_id: Dagster's run.
        earlier_run: the run of the attempt, if it is a different one.
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
