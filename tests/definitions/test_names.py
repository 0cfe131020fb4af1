import re

import dagster as dg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from starlake_dagster_components.definitions.names import (
    build_asset_key,
    build_group_name,
    build_op_name,
    build_tag_value,
    build_tags,
    sanitize_id,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sales.orders", "sales_orders"),
        ("Customers.HighValueCustomers", "Customers_HighValueCustomers"),
        ("hr.emp$2024", "hr_empS2024"),
        ("a-b.c_d", "a-b_c_d"),
        ("été.naïve", "_t__na_ve"),
    ],
)
def test_sanitize_id_keeps_what_starlake_dagster_keeps(text: str, expected: str) -> None:
    assert sanitize_id(text) == expected


def test_asset_keys_are_built_in_every_style() -> None:
    assert build_asset_key("Sales.Orders") == dg.AssetKey("Sales_Orders")
    assert build_asset_key("Sales.Orders", "flat_lower") == dg.AssetKey("sales_orders")
    assert build_asset_key("Sales.Orders", "path") == dg.AssetKey(["Sales", "Orders"])


@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=3))
def test_op_names_are_valid_for_every_key(path: list[str]) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_]+", build_op_name(dg.AssetKey(path)))


@given(st.lists(st.lists(st.text("ab_-.é", min_size=1, max_size=5), min_size=1, max_size=3), min_size=2, max_size=2, unique_by=tuple))
@example([["a", "b"], ["a__b"]])
def test_different_keys_have_different_op_names(paths: list[list[str]]) -> None:
    one, other = (build_op_name(dg.AssetKey(p)) for p in paths)
    assert one != other


@pytest.mark.parametrize("word", ["input", "class", "type"])
def test_reserved_words_are_not_op_names(word: str) -> None:
    dg.OpDefinition(compute_fn=lambda context, inputs: None, name=build_op_name(dg.AssetKey(word)))


def test_op_names_differ_from_job_names() -> None:
    assert build_op_name(dg.AssetKey("sales"), {"other"}) == "sales"
    assert build_op_name(dg.AssetKey("sales"), {"sales"}) not in ("sales", build_op_name(dg.AssetKey("sale"), {"sale"}))


@given(st.lists(st.text(max_size=80)))
def test_tags_are_always_accepted_by_dagster(labels: list[str]) -> None:
    dg.AssetSpec("a", tags=build_tags(labels))


def test_tags_may_be_labels_or_key_value_pairs() -> None:
    assert build_tags(["pii", "team=sales", "two words"]) == {"pii": "", "team": "sales", "two_words": ""}


@given(st.text(max_size=100))
def test_group_names_and_tag_values_are_accepted_by_dagster(text: str) -> None:
    dg.AssetSpec("a", group_name=build_group_name(text), tags={"k": build_tag_value(text)})
