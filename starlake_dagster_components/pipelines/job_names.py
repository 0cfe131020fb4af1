"""Names of jobs: what dag-generate and starlake-dagster make of a file name, as Dagster allows it."""

import keyword
import re

_OUTSIDE = re.compile(r"[^A-Za-z0-9_]")
RESERVED = frozenset(keyword.kwlist) | {
    "context",
    "conf",
    "config",
    "meta",
    "arg_dict",
    "dict",
    "input_arg_dict",
    "output_arg_dict",
    "int",
    "str",
    "float",
    "bool",
    "input",
    "output",
    "type",
}
"""Names that Dagster refuses. Dagster: ``DISALLOWED_NAMES``."""


def job_name(filename: str, schedule: str | None = None) -> str:
    """Return the name of the job behind a generated file.

    Args:
        filename: the rendered file name, folders allowed.
        schedule: name of the schedule where the file has several.

    Returns:
        The base name without ``.py``, lower case, and ``_<schedule>``; every character that Dagster refuses is ``_``, and a name that it
        reserves gets ``_job`` behind. Empty when the file name has no name.

    starlake-orchestration: AbstractPipeline (``pipeline_id``).
    """
    base = filename.rpartition("/")[2].replace(".py", "").lower()
    if not base:
        return ""
    name = _OUTSIDE.sub("_", f"{base}_{schedule.replace('$', 'S')}" if schedule else base)
    return f"{name}_job" if name in RESERVED else name


def prefixed(prefix: str, name: str) -> str:
    """Return the name of a job with a text before it; a name that Dagster reserves gets ``_job`` behind. No name stays none."""
    whole = f"{prefix}{name}" if name else ""
    return f"{whole}_job" if whole in RESERVED else whole


def name_of_schedule_text(schedule: str) -> str:
    """Return a schedule as part of a name: ``0 */2 * * *`` becomes ``0_x_2_x_x_x``.

    dag-generate puts the text itself into the names of transform files, where blanks, ``*`` and ``/`` make no job name.
    """
    return _OUTSIDE.sub("_", schedule.replace("*", "x"))
