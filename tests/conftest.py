"""Fixtures that all tests share."""

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = REPOSITORY.parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with specifications, real projects and recorded behaviour, which lies beside a checkout; skips without it."""
    if not (SHARED / "corpus").is_dir():
        pytest.skip("needs the folder 'shared' (corpus and oracle) beside the checkout")
    return SHARED
