"""A code location without a file to write: ``SL_ROOT=/projects/shop dagster dev -m starlake_dagster_components.code_location``.

``SL_ROOT`` is the project (default: the current folder), ``SL_ENV`` Starlake's environment; every setting of the component can be given as
``SL_DAGSTER_<SETTING>``, for example ``SL_DAGSTER_EXECUTOR=duckdb``.
"""

import os

from .load import load_code_location
from .settings_text import find_project, read_settings

defs = load_code_location(find_project(os.environ), read_settings(os.environ))
