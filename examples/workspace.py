"""Prepare the folder of the demo: a copy of the example, its data, and a Dagster instance."""

import shutil
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
EXAMPLE = REPOSITORY / "examples" / "tallow_lane"


@dataclass(frozen=True)
class Workspace:
    """The folder of the demo.

    Attributes:
        folder: its path; by default ``.demo/`` in the repository.
    """

    folder: Path = REPOSITORY / ".demo"

    @property
    def project(self) -> Path:
        """The copy of the example project."""
        return self.folder / "project"

    @property
    def dagster_home(self) -> Path:
        """The folder of the Dagster instance."""
        return self.folder / "dagster_home"

    @property
    def batches(self) -> list[Path]:
        """The batches of files that the example's sources deliver, in order."""
        return sorted(p for p in (EXAMPLE / "batches").iterdir() if p.is_dir())

    def create(self) -> None:
        """Copy the example without data. The files of an earlier demo are removed."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(EXAMPLE / "metadata", self.project / "metadata")
        self.dagster_home.mkdir(parents=True)
        (self.dagster_home / "dagster.yaml").write_text("telemetry:\n  enabled: false\nnux:\n  enabled: false\n", encoding="utf-8")

    def deliver(self, batch: Path) -> int:
        """Copy the files of a batch to where the sources would deliver them. Return their number."""
        shutil.copytree(batch, self.project / "datasets", dirs_exist_ok=True)
        return sum(1 for p in batch.rglob("*") if p.is_file())
