"""How the steps of a run are executed: in threads of its process (see docs/running.md)."""

from .cancellation import cancellation_of as cancellation_of
from .cancellation import printer_of as printer_of
from .cancellation import run_cancellable as run_cancellable
from .definition import starlake_step_executor as starlake_step_executor
from .resolved import ResolvedStepExecutor as ResolvedStepExecutor
