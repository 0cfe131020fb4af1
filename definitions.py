"""Define the code location of this repository, which ``dg dev``, ``make dev`` and Dagster+ load: all components under ``defs/``.

This file is not in ``defs/`` because all files there are loaded.
"""

from pathlib import Path

import dagster as dg

from starlake_dagster_components import starlake_step_executor


@dg.definitions
def defs() -> dg.Definitions:
    """Load all components under ``defs/``, and set the executor of runs that a Materialize button starts."""
    components = dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
    return dg.Definitions.merge(components, dg.Definitions(executor=starlake_step_executor()))
