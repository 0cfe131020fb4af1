"""``writeStrategy.types``: a strategy chosen by the file. Starlake: AdaptiveWriteStrategy."""

from pathlib import Path

from ..project.model import Table


def choose(table: Table, file: Path) -> str:
    """Return the write strategy for a file."""
    raise NotImplementedError
