"""Fill the cache of plans and inferred columns ahead of time, for example when an image is built."""

import os
from collections.abc import Sequence
from pathlib import Path

from ..cache import OFF, VARIABLE, open_cache
from ..definitions.build import load_project_plan
from ..errors import InvalidSetting
from ..lineage.inferred import fill_columns
from ..pipelines.plan_loading import Loaded
from ..settings import Settings
from .output import add_rights


def fill_cache(root: str | Path, settings: Settings) -> tuple[Loaded, Sequence[Path]]:
    """Cache the plan of a project and the columns of its tasks, readable by every user, and verify that a later load finds them.

    Returns:
        The loaded plan, and its files in the cache. Without files, the plan was not stored, and its ``reason`` explains why.

    Raises:
        InvalidSetting: the cache is off, or its folder is a file.
        ProjectNotFound: the folder does not exist, or does not contain a Starlake project.
    """
    if open_cache(settings.cache, os.environ) is None:
        raise InvalidSetting(f"the cache is {OFF} (setting cache or {VARIABLE}); set a folder")
    loaded = load_project_plan(root, settings, readable=True)
    loaded.keep()
    fill_columns(loaded)
    files = loaded.list_files()
    if not files:
        return loaded, ()
    if settings.cache or os.environ.get(VARIABLE, "").strip():
        # Only the user's own cache folder stays private.
        add_rights(files[0].parent, 0o555)
    for file in files:
        add_rights(file, 0o444)
    if not loaded.from_cache:
        again = load_project_plan(root, settings, readable=True)
        if not again.from_cache:
            return again, ()
    return loaded, files
