"""Resume a run in a new process after its first one was lost (run monitoring with ``max_resume_run_attempts``)."""

from collections.abc import Mapping, Sequence

import dagster as dg

from .._dagster import ErrorSource, PlanOrchestrationContext

_TELLING = {dg.DagsterEventType.STEP_OUTPUT, dg.DagsterEventType.STEP_SUCCESS, dg.DagsterEventType.STEP_FAILURE}


class ResumedRun:
    """The steps that the lost process finished, which do not run again.

    Args:
        events: their events, by step key.
    """

    def __init__(self, events: Mapping[str, Sequence[dg.DagsterEvent]]) -> None:
        self._events = events

    @classmethod
    def read(cls, plan_context: PlanOrchestrationContext) -> "ResumedRun":
        """Return the steps that a run finished before this process; none if the run begins here."""
        if not plan_context.resume_from_failure:
            return cls({})
        found: dict[str, list[dg.DagsterEvent]] = {}
        done: set[str] = set()
        for entry in plan_context.instance.all_logs(plan_context.run_id, of_type=_TELLING):
            event = entry.dagster_event
            if event is None or event.step_key is None:
                continue
            if event.is_step_failure and event.step_failure_data.error_source == ErrorSource.INTERRUPT:
                continue  # canceled because the process was about to end, so not finished
            found.setdefault(event.step_key, []).append(event)
            if event.is_step_failure or event.is_step_success:
                done.add(event.step_key)
        return cls({key: events for key, events in found.items() if key in done})

    def get_events(self, step_key: str) -> Sequence[dg.DagsterEvent]:
        """Return the events that show how a step ended before, oldest first; none if it has not ended."""
        return self._events.get(step_key, ())
