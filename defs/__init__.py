"""This repository as a code location: the example project, or the one that ``SL_ROOT`` names."""

from pathlib import Path

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    """Load every component under this folder."""
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
