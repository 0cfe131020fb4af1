"""The graph in an open browser follows the files of the project."""

from collections.abc import Callable

import pytest
from browser import Browser
from dev_process import Dev
from project_folder import ProjectFolder

TakePicture = Callable[[str], None]
pytestmark = pytest.mark.slow


def test_the_graph_follows_the_files_without_a_click(
    library: ProjectFolder, browser: Browser, dev_server: Callable[..., Dev], take_picture: TakePicture
) -> None:
    dev = dev_server(library)
    browser.open(f"{dev.url}/locations/tallow_lane/asset-groups/desk/lineage")
    shown = browser.wait_for("desk_visits")
    assert "desk_lockers" not in shown
    take_picture("live_editing_before")

    library.write(
        "metadata/load/desk/lockers.sl.yml",
        """
        version: 1
        table:
          name: lockers
          pattern: "lockers.*.csv"
          comment: Lockers for the visitors' coats
          attributes:
            - name: locker
              type: string
        """,
    )
    browser.wait_for("desk_lockers")
    take_picture("live_editing_after")

    visits = (library.root / "metadata/load/desk/visits.sl.yml").read_text(encoding="utf-8")
    library.write("metadata/load/desk/visits.sl.yml", "version: 1\ntable: [\n")
    message = dev.wait_for("metadata/load/desk/visits.sl.yml:3: error: ")
    shown = browser.read()
    assert {"desk_lockers", "desk_visits"} <= set(shown.split())
    browser.open(f"{dev.url}/assets/desk_visits")
    browser.wait_for("ERROR, using the last good plan")
    browser.wait_for(message.partition("error: ")[2])
    take_picture("live_editing_broken")

    library.write("metadata/load/desk/visits.sl.yml", visits)
    dev.wait_for("reloaded in ")
    browser.open(f"{dev.url}/assets/desk_visits")
    browser.wait_for("visits_.*")
    assert "ERROR, using the last good plan" not in browser.read()
