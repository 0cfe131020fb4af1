"""Resume a run in a new process after its first one was lost (run monitoring with ``max_resume_run_attempts``)."""

from collections.abc import Mapping, Sequence

import dagster as dg

from .._dagster import ErrorSource, PlanOrchestrationContext

_TELLING = {dg.DagsterEventType.STEP_OUTPUT, dg.DagsterEventType.STEP_SUCCESS, dg.DagsterEventType.STEP_FAILURE}


def read_finished_steps(plan_context: PlanOrchestrationContext) -> Mapping[str, Sequence[dg.DagsterEvent]]:
    """Return the steps that the lost process finished, which do not run again, with the events that show how they ended, oldest first."""
    if not plan_context.resume_from_failure:
        return {}
    found: dict[str, list[dg.DagsterEvent]] = {}
    for entry in plan_context.instance.all_logs(plan_context.run_id, of_type=_TELLING):
        event = entry.dagster_event
        if event is None or event.step_key is None:
            continue
        if event.is_step_failure and event.step_failure_data.error_source == ErrorSource.INTERRUPT:
            continue  # canceled because the process was about to end, so not finished
        found.setdefault(event.step_key, []).append(event)
    return {key: events for key, events in found.items() if any(event.is_step_failure or event.is_step_success for event in events)}
