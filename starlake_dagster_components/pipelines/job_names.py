"""Name jobs as dag-generate and starlake-dagster do, using only characters that Dagster allows."""

import keyword
import re

from ..project.word_sets import split_words

_OUTSIDE = re.compile(r"[^A-Za-z0-9_]")
RESERVED = frozenset(keyword.kwlist) | split_words("""
    context conf config meta arg_dict dict input_arg_dict output_arg_dict int str float bool input output type
""")
"""Names that Dagster rejects. Dagster: ``DISALLOWED_NAMES``."""


def build_job_name(filename: str, schedule: str | None = None) -> str:
    """Return the name of a generated file's job. starlake-orchestration: AbstractPipeline (``pipeline_id``).

    It is the base name in lowercase, without ``.py``. ``_<schedule>``, the name of the schedule, is appended if the file has several.
    Characters that Dagster rejects become ``_``, and ``_job`` is appended to a reserved name. Empty if there is no base name.
    """
    base = filename.rpartition("/")[2].replace(".py", "").lower()
    if not base:
        return ""
    name = _OUTSIDE.sub("_", f"{base}_{schedule.replace('$', 'S')}" if schedule else base)
    return f"{name}_job" if name in RESERVED else name


def add_prefix(prefix: str, name: str) -> str:
    """Return the job name ``name`` with ``prefix``. ``_job`` is appended to a name that Dagster rejects. An empty name stays empty."""
    whole = f"{prefix}{name}" if name else ""
    return f"{whole}_job" if whole in RESERVED else whole


def build_schedule_name(schedule: str) -> str:
    """Return a schedule as a part of a job name: ``0 */2 * * *`` becomes ``0_x_2_x_x_x``.

    dag-generate uses the cron itself in the names of transform files, but job names do not allow spaces, ``*``, and ``/``.
    """
    return _OUTSIDE.sub("_", schedule.replace("*", "x"))
