"""A code location that needs no file of its own: ``SL_ROOT=/projects/shop dagster dev -m starlake_dagster_components.code_location``.

``SL_ROOT`` is the project (default: the current folder), and ``SL_ENV`` is Starlake's environment. Set any setting of the component with
``SL_DAGSTER_<SETTING>``, for example ``SL_DAGSTER_EXECUTOR=duckdb``.
"""

import os

from .load import load_code_location
from .settings.text import find_project, read_settings

defs = load_code_location(find_project(os.environ), read_settings(os.environ))
