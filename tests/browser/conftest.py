"""Fixtures of tests that open Dagster's pages in a browser.

The environment variable ``PICTURES`` names the folder in which the tests save pictures. ``make pictures`` sets it to docs/images.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from browser import Browser
from dev_process import Dev
from project_folder import ProjectFolder

from examples.workspace import EXAMPLE


@pytest.fixture
def browser() -> Iterator[Browser]:
    """A browser with an empty page."""
    with Browser() as made:
        yield made


@pytest.fixture
def dev_server(tmp_path: Path) -> Iterator[Callable[..., Dev]]:
    """Return a function that starts ``sl-dagster dev`` on projects and waits until Dagster can be opened."""
    started: list[Dev] = []

    def start(*projects: Path | ProjectFolder, arguments: tuple[str, ...] = ()) -> Dev:
        folders = [str(project.root if isinstance(project, ProjectFolder) else project) for project in projects]
        dev = Dev(tmp_path / f"home{len(started)}", *folders, *arguments)
        started.append(dev)
        dev.wait_for("Dagster is at http://")
        return dev

    pytest.importorskip("dagster_webserver")
    yield start
    for dev in started:
        dev.end()


@pytest.fixture
def library() -> Iterator[ProjectFolder]:
    """A copy of the example project, ``tallow_lane``, with the files of its first batch. Pages show its path, so it is short.

    Tests request it before ``dev_server``, so that it is removed when nothing watches it anymore.
    """
    with tempfile.TemporaryDirectory(prefix="", ignore_cleanup_errors=True) as folder:
        project = ProjectFolder(Path(folder) / EXAMPLE.name)
        shutil.copytree(EXAMPLE / "metadata", project.root / "metadata")
        shutil.copytree(EXAMPLE / "batches" / "1", project.root / "datasets")
        yield project


@pytest.fixture
def take_picture(browser: Browser) -> Callable[[str], None]:
    """Return a function that saves the content of the browser as a PNG, if ``PICTURES`` is set."""
    folder = os.environ.get("PICTURES")

    def take(name: str) -> None:
        if folder:
            browser.save(Path(folder) / f"{name}.png")

    return take
