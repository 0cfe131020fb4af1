"""This repository as a code location: everything under ``defs/``. What ``dg dev``, ``make dev`` and Dagster+ load.

It stands beside ``defs/``, not in it, because the folder is loaded whole.
"""

from pathlib import Path

import dagster as dg

from starlake_dagster_components import starlake_step_executor


@dg.definitions
def defs() -> dg.Definitions:
    """Load every component under ``defs/``, with the executor that the Materialize buttons use."""
    components = dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
    return dg.Definitions.merge(components, dg.Definitions(executor=starlake_step_executor()))
