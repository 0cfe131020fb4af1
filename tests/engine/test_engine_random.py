"""Random projects compared with a model: rows are accepted or rejected, values are equal, keys are unique, archived files are loaded."""

import os
from pathlib import Path

import pytest
from random_cases import make_case
from random_projects import describe, run_seed

FIRST, _, LAST = os.environ.get("SL_ENGINE_SEEDS", "0-24").partition("-")
FOUND = (2, 4, 13, 20, 25, 72, 88, 1348, 1448, 2524, 2560, 2689, 2790, 2865, 2956)
"""Seeds that differed once: line ends within quotes of the first record, a null value with the escape character, required values of
replaced rows, empty strings beside an ignored column, compressed files with nothing in them."""


@pytest.mark.parametrize("seed", sorted({*FOUND, *range(int(FIRST), int(LAST) + 1)}))
def test_random_projects_give_the_rows_of_a_model(seed: int, tmp_path: Path) -> None:
    assert run_seed(seed, tmp_path) == [], describe(make_case(seed))
