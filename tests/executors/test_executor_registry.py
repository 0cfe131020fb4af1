"""The executors by type, and ``executor:`` in YAML."""

import subprocess
import sys

import pytest
from dagster.components.resolved.errors import ResolutionException

from starlake_dagster_components import StarlakeProjectComponent
from starlake_dagster_components.executors.base import StarlakeExecutor
from starlake_dagster_components.executors.local.shell import ShellExecutor
from starlake_dagster_components.executors.registry import import_executors
from starlake_dagster_components.testing import RecordingExecutor

EXECUTORS = import_executors()


def resolve(yaml: str, **scope: object) -> StarlakeExecutor:
    executor = StarlakeProjectComponent.resolve_from_yaml(f"{yaml}\nproject: x\n", scope=scope).executor
    assert isinstance(executor, StarlakeExecutor)
    return executor


@pytest.mark.parametrize("kind", sorted(EXECUTORS))
def test_each_executor_type_creates_its_class(kind: str) -> None:
    executor = resolve(f"executor: {{type: {kind}}}")
    assert type(executor) is EXECUTORS[kind]
    assert executor.type == kind  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", sorted(EXECUTORS))
def test_an_executor_may_be_set_by_its_type_alone(kind: str) -> None:
    assert type(resolve(f"executor: {kind}")) is EXECUTORS[kind]
    assert type(resolve('executor: "{{ kind }}"', kind=kind)) is EXECUTORS[kind]


def test_fields_are_resolved_and_strings_stay_strings() -> None:
    yaml = """
executor:
  type: shell
  timeout: "{{ seconds }}"
  env: {PORT: "8080", VERSION: "1.10", OTHER: "{{ version }}", SWITCH: "True", ACTIVE: true, N: 5, WHO: "{{ who }}", NOT: "{{ nobody }}"}
"""
    executor = resolve(yaml, seconds=60, version="1.10", who="ann", nobody=None)
    assert executor == ShellExecutor(
        timeout=60, env={"PORT": "8080", "VERSION": "1.10", "OTHER": "1.10", "SWITCH": "True", "ACTIVE": "true", "N": "5", "WHO": "ann"}
    )


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("executor: {type: shel}", "unknown executor 'shel' (did you mean 'shell'?)"),
        ("executor: shel", "unknown executor 'shel' (did you mean 'shell'?)"),
        ("executor: {type: shell, starlake_pth: x}", "executor: shell: unknown field 'starlake_pth' (did you mean 'starlake_path'?)"),
        (
            "executor: {type: shell, xyz: x}",
            "executor: shell: unknown field 'xyz' (known: env, grace_period, jvm, starlake_path, timeout, type)",
        ),
        ("executor: {type: shell, timeout: soon}", "executor: shell: timeout: Input should be a valid number"),
        ("executor: {env: {A: b}}", "executor: the type is missing (known: shell, cloud_run, dagster_shell, duckdb)"),
        ("executor: '{{ [1] }}'", "executor: invalid value [1]"),
    ],
)
def test_problems_are_reported_with_their_location(yaml: str, message: str) -> None:
    with pytest.raises(ResolutionException) as error:
        resolve(yaml)
    assert ":1 - executor" in str(error.value)
    assert message in str(error.value)


def test_your_own_executor_comes_from_a_template_variable() -> None:
    own = RecordingExecutor()
    assert resolve('executor: "{{ own }}"', own=own) is own


@pytest.mark.parametrize("kind", sorted(EXECUTORS))
def test_every_field_of_the_schema_is_described(kind: str) -> None:
    properties = EXECUTORS[kind].model_json_schema()["properties"]
    assert [name for name, field in properties.items() if name != "type" and not field.get("description")] == []


def test_importing_the_executors_needs_no_optional_package() -> None:
    code = """
import sys
for name in ("google", "grpc", "duckdb", "dagster_shell", "sqlglot"):
    sys.modules[name] = None
from starlake_dagster_components.executors.registry import import_executors
for kind in import_executors().values():
    kind.model_json_schema()
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


def test_importing_locks_does_not_import_dagster() -> None:
    code = "import sys, starlake_dagster_components.locks; sys.exit('dagster' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_earlier_spelling_of_canceled_still_works() -> None:
    import starlake_dagster_components as package
    from starlake_dagster_components.cancellation_event import Canceled

    canceled = Canceled()
    assert package.Invocation(log=lambda level, text: None, canceled=canceled).cancelled is canceled
    assert package.CommandCancelled is package.CommandCanceled
