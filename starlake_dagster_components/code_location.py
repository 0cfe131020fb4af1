"""A code location without a file to write: ``SL_ROOT=/projects/shop dagster dev -m starlake_dagster_components.code_location``.

``SL_ROOT`` is the project (default: the current folder), ``SL_ENV`` Starlake's environment; every setting of the component can be given as
``SL_DAGSTER_<SETTING>``, for example ``SL_DAGSTER_EXECUTOR=duckdb``.
"""

import os

from .definitions.settings_text import settings_from_environment
from .load import load_code_location, project_root

defs = load_code_location(project_root(), settings_from_environment(os.environ))
