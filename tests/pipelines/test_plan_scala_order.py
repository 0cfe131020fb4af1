"""The order of dag-generate's numbers. Expected orders were printed by scala-library 2.13.17."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from starlake_dagster_components.pipelines.scala_order import sort_as_scala


@pytest.mark.parametrize(
    "ordered",
    [
        ["0 1 * * *", "None", "0 0 * * *"],
        ["0 * * * *", "daily", "0 12 * * 1", "None", "*/5 * * * *", "0 0 * * *"],
        [
            *("0 1 * * *", "0 2 * * *", "30 2 * * *", "45 0 * * *", "15 1 * * *", "15 2 * * *"),
            *("30 0 * * *", "30 1 * * *", "15 0 * * *", "0 0 * * *", "45 1 * * *", "45 2 * * *"),
        ],
    ],
)
def test_strings_are_in_the_order_of_scalas_hash_map(ordered: list[str]) -> None:
    assert sort_as_scala(sorted(ordered)) == ordered
    assert sort_as_scala(sorted(ordered, reverse=True)) == ordered


def test_strings_with_the_same_hash_keep_their_order() -> None:
    assert sort_as_scala(["Aa 1", "BB 1", "None"]) == ["None", "Aa 1", "BB 1"]
    assert sort_as_scala(["BB 1", "None", "Aa 1"]) == ["None", "BB 1", "Aa 1"]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=8)))
def test_sorting_neither_loses_nor_duplicates_strings(texts: list[str]) -> None:
    assert sorted(sort_as_scala(texts)) == sorted(set(texts))
