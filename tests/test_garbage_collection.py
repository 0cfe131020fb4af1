"""The pauses of the garbage collector end, and imports have one."""

import gc
import subprocess
import sys

import pytest

from starlake_dagster_components.garbage_collection import pause_garbage_collection


def test_the_garbage_collector_pauses_only_for_the_block() -> None:
    with pause_garbage_collection():
        assert not gc.isenabled()
        with pause_garbage_collection():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ValueError, match="x"), pause_garbage_collection():
        raise ValueError("x")
    assert gc.isenabled()


COUNT_COLLECTIONS = """
import gc
from starlake_dagster_components import {name}
assert gc.isenabled()
print(gc.get_stats()[2]["collections"])
"""


@pytest.mark.parametrize("name", ["StarlakeProjectComponent", "load_definitions_from_starlake_project"])
def test_importing_a_name_does_not_collect_garbage(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", COUNT_COLLECTIONS.format(name=name)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "0"
