"""A ready-made code location: ``SL_ROOT=/projects/shop dagster dev -m starlake_dagster_components.code_location``.

``SL_ROOT`` is the project's folder (default: the current folder), and ``SL_ENV`` is Starlake's environment. All settings can be set with
``SL_DAGSTER_<SETTING>``, for example ``SL_DAGSTER_EXECUTOR=duckdb``.
"""

import os

from .load import load_code_location
from .settings.text import find_project, read_settings

defs = load_code_location(find_project(os.environ), read_settings(os.environ))
