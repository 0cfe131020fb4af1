"""Messages of ``dg check yaml``: the component's schema names the key or value that is wrong, and accepts templates."""

from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from starlake_dagster_components import StarlakeProjectComponent


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    model = StarlakeProjectComponent.get_model_cls()
    schema = model.model_json_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def list_faults(validator: Draft202012Validator, text: str) -> list[tuple[str, str]]:
    attributes: dict[str, Any] = {"project": "x", **yaml.safe_load(text)}
    return [(".".join(map(str, e.absolute_path)), e.message) for e in validator.iter_errors(attributes)]


KNOWN = "['cloud_run', 'dagster_shell', 'duckdb', 'shell']"


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("asset_keys: flatt", "asset_keys", "'flatt' is not one of ['flat', 'flat_lower', 'path']"),
        ("watch: directt", "watch", "'directt' is not one of ['transitive', 'direct']"),
        ("default_status: on_", "default_status", "'on_' is not one of ['RUNNING', 'STOPPED']"),
        ("max_concurrent: many", "max_concurrent", "'many' is not of type 'integer'"),
        ("batch: maybe", "batch", "'maybe' is not of type 'boolean'"),
        ("executor: shel", "executor", f"'shel' is not one of {KNOWN}"),
        ("executor: {type: shel}", "executor.type", f"'shel' is not one of {KNOWN}"),
        ("executor: {env: {A: b}}", "executor", "'type' is a required property"),
        ("executor: {type: shell, pth: x}", "executor", "Additional properties are not allowed ('pth' was unexpected)"),
        (
            "executor: {type: duckdb, starlake_path: x}",
            "executor",
            "Additional properties are not allowed ('starlake_path' was unexpected)",
        ),
        ("executor: {type: shell, timeout: soon}", "executor.timeout", "'soon' is not of type 'number'"),
        ("step_executor: {typ: threads}", "step_executor", "Additional properties are not allowed ('typ' was unexpected)"),
        ("op: {pol: x}", "op", "Additional properties are not allowed ('pol' was unexpected)"),
        ("op: [{pool: x}, {pol: x}]", "op.1", "Additional properties are not allowed ('pol' was unexpected)"),
        ("translation: {grp: x}", "translation", "Additional properties are not allowed ('grp' was unexpected)"),
        ("asset_key: flat", "", "Additional properties are not allowed ('asset_key' was unexpected)"),
    ],
)
def test_invalid_yaml_has_one_fault_that_names_the_cause(validator: Draft202012Validator, text: str, place: str, message: str) -> None:
    assert list_faults(validator, text) == [(place, message)]


@pytest.mark.parametrize(
    "text",
    [
        "{asset_keys: path, watch: direct, default_status: STOPPED, max_concurrent: 3, expectation_checks: false, batch: true}",
        "{env: PROD, dependencies: sql, timezone: UTC, name_prefix: a_, orchestrators: [dagster, airflow], variables: {a: 1}}",
        "{cache: off}",
        "{file_sensors: on, partitions: off}",
        "{cache: /var/plans, step_executor: multiprocess}",
        "executor: duckdb",
        "executor: {type: shell, env: {PORT: 8080, ON_: true, TEXT: x}, timeout: 60}",
        "executor: {type: cloud_run, job_name: x}",
        "step_executor: {type: threads, config: {max_concurrent: 3}}",
        "op: {pool: x, tags: {a: 1}}",
        "translation: {group_name: x}",
        *(f"{name}: '{{{{ env.X }}}}'" for name in StarlakeProjectComponent.model().model_fields),
        "executor: {type: '{{ env.X }}'}",
        "executor: {type: shell, timeout: '{{ env.X }}', env: '{{ env.X }}'}",
        "{executor: null, max_concurrent: null, asset_keys: null}",
    ],
)
def test_valid_input_has_no_problems(validator: Draft202012Validator, text: str) -> None:
    assert list_faults(validator, text) == []


def test_fields_keep_the_keys_that_documentation_uses() -> None:
    plain = StarlakeProjectComponent.model().model_json_schema()
    precise = StarlakeProjectComponent.get_model_cls().model_json_schema()
    for name, field in plain["properties"].items():
        for key in ("description", "examples", "default", "title"):
            assert precise["properties"][name].get(key) == field.get(key)
        assert [v for v in precise["properties"][name].get("anyOf", []) if v in field["anyOf"]] == field.get("anyOf", [])
