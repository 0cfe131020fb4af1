"""Dagster homes for tests. Their databases are copied from a template, because creating them takes Dagster half a second."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

import dagster as dg

WITHOUT_TELEMETRY = "telemetry: {enabled: false}\n"


def make_home(folder: Path, config: str = WITHOUT_TELEMETRY) -> Path:
    """Make ``folder`` a home of Dagster with empty databases and with ``config`` as its ``dagster.yaml``; return it."""
    _add_databases(folder)
    (folder / "dagster.yaml").write_text(config, encoding="utf-8")
    return folder


def open_instance(folder: Path) -> dg.DagsterInstance:
    """An instance that keeps its runs and events in ``folder``, which may have those of an earlier one."""
    _add_databases(folder)
    return dg.DagsterInstance.local_temp(str(folder))


def _add_databases(folder: Path) -> None:
    if not (folder / "history").exists():
        shutil.copytree(_make_template(), folder, dirs_exist_ok=True)


@cache
def _make_template() -> Path:
    folder = tempfile.mkdtemp(prefix="dagster-home-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with dg.DagsterInstance.local_temp(folder):
        return Path(folder)
