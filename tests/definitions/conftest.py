"""Fixtures of the tests of definitions: a Dagster instance on disk, and an environment without Starlake's variables."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster_home import make_home, open_instance


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance whose files are beside those of the project."""
    with open_instance(tmp_path / "home") as made:
        yield made


@pytest.fixture
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment without Starlake's variables, and a Dagster home without telemetry."""
    for name in ("SL_ENV", "SL_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DAGSTER_HOME", str(make_home(tmp_path / "home")))
