"""Runs of the command line on the pages of ``sl-dagster dev``."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from browser import Browser
from dev_process import Dev
from project_folder import ProjectFolder

pytestmark = pytest.mark.slow


def test_a_run_of_the_command_line_is_in_the_timeline(
    browser: Browser, dev_server: Callable[..., Dev], library: ProjectFolder, tmp_path: Path
) -> None:
    dev = dev_server(library)
    command = [sys.executable, "-m", "starlake_dagster_components.cli", "run", str(library.root), "--job", "load_lending"]
    environment = {**os.environ, "DAGSTER_HOME": str(tmp_path / "home0")}
    done = subprocess.run([*command, "--executor", "duckdb"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    browser.open(f"{dev.url}/overview/activity/timeline")
    browser.wait_for("load_lending")
    browser.open(f"{dev.url}/locations/tallow_lane/jobs/load_lending/runs")
    browser.wait_for("Success")
