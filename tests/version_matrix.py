"""Run a short suite with the lowest and the newest versions of the package's dependencies. ``make test-matrix`` runs this.

Each combination of an interpreter and a set of versions gets a virtual environment in a temporary folder, with all extras. The lowest
versions are the lower bounds in pyproject.toml, so these bounds are tested.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    import tomli as tomllib

REPOSITORY = Path(__file__).resolve().parent.parent
TOOLS = ("pytest", "pytest-xdist", "hypothesis", "jsonschema")
SUITE = {
    "the component, and definitions": ("tests/component/test_component.py", "tests/definitions/test_build.py"),
    "loads and transforms, through the engine and a process": ("tests/definitions/steps/test_execution.py",),
    "the executor shell": ("tests/executors/local/test_executor_shell.py",),
    "the cloud_run executor, with Google's clients": (
        "tests/executors/cloud_run/test_cloud_run_contract.py",
        "tests/executors/cloud_run/test_cloud_run_dagster.py",
    ),
    "schedules and sensors in a Dagster instance": ("tests/definitions/test_schedules.py", "tests/definitions/sensors/test_sensors.py"),
    "Dagster's non-public names": ("tests/test_private_dagster.py", "tests/step_executor/test_step_same_events.py"),
    "warehouses, through SQLAlchemy": ("tests/warehouse/test_audit.py", "tests/warehouse/test_drivers.py"),
    "SQL: references and lineage": (
        "tests/project/sql/test_references.py",
        "tests/lineage/test_statements.py",
        "tests/lineage/test_inferred.py",
    ),
    "Jinja": ("tests/project/test_jinja.py",),
    "DuckDB": ("tests/engine/test_engine_load_formats.py", "tests/engine/test_engine_transform.py"),
    "the cache, and reloads": ("tests/test_cache.py", "tests/definitions/test_recovery.py", "tests/cli/test_warm_start.py"),
    "the command line": ("tests/cli/test_cli.py", "tests/cli/test_run.py"),
}
"""Topic -> its tests. Together, they take 2 to 3 minutes on one core, without the installation."""

APART = ("snowflake",)
"""Extras whose bounds would keep others from their newest versions: installed after the suite, for ``DRIVERS`` alone."""

DRIVERS = "tests/warehouse/test_drivers.py"
VERSIONS = ("lowest", "newest")
_BOUND = re.compile(r"^([\w.-]+)(\[[\w,-]+\])?\s*>=\s*([\w.]+)")


@dataclass(frozen=True, slots=True)
class Combination:
    """An interpreter and a set of versions."""

    python: str
    versions: str

    def __str__(self) -> str:
        return f"{self.python}, {self.versions} versions"


def read_requirements(*, apart: bool = False) -> list[str]:
    """Return the requirements of the package with its extras, as in pyproject.toml. The extras in ``APART`` are optional."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [extra for name, extra in project["optional-dependencies"].items() if (name in APART) == apart]
    return list(dict.fromkeys([*([] if apart else project["dependencies"]), *(requirement for extra in extras for requirement in extra)]))


def pin_lowest(requirements: Sequence[str]) -> list[str]:
    """Return requirements pinned to their lower bounds.

    Raises:
        ValueError: a requirement has no lower bound.
    """
    pinned: dict[str, str] = {}
    for requirement in requirements:
        found = _BOUND.match(requirement)
        if found is None:
            raise ValueError(f"{requirement!r} has no lower bound")
        pinned[found[1]] = f"{found[1]}{found[2] or ''}=={found[3]}"
    return list(pinned.values())


def list_tests() -> list[str]:
    """Return the files and folders of the short suite."""
    return [path for paths in SUITE.values() for path in paths]


def run_combination(combination: Combination, folder: Path, jobs: str, suite: Sequence[str]) -> bool:
    """Install one combination, run the suite with it, and return whether it passed."""
    python = folder / "bin" / "python"
    requirements, apart = read_requirements(), read_requirements(apart=True)
    if combination.versions == "lowest":
        requirements, apart = pin_lowest(requirements), pin_lowest(apart)
    environment = [combination.python, "-m", "venv", str(folder)]
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if uv := shutil.which("uv"):
        environment = [uv, "venv", "--quiet", "--python", combination.python, str(folder)]
        install = [uv, "pip", "install", "--quiet", "--python", str(python)]
    test = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow and not measurement"]
    for command in (
        environment,
        [*install, *requirements, *TOOLS],
        [*install, "--no-deps", str(REPOSITORY)],
        [*test, "-n", jobs, *suite],
        [*install, *apart],
        [*test, DRIVERS],
    ):
        if subprocess.run(command, cwd=REPOSITORY, check=False).returncode:
            return False
    return True


def list_combinations(pythons: Sequence[str], versions_of_packages: Sequence[str] = VERSIONS) -> Iterator[Combination]:
    """Yield every combination to test."""
    for python in pythons:
        for versions in versions_of_packages:
            yield Combination(python, versions)


def main() -> int:
    """Test all combinations; return 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pythons", nargs="*", default=[sys.executable], metavar="PYTHON", help="interpreters; default: this one")
    parser.add_argument("--versions", choices=VERSIONS, nargs="*", default=VERSIONS, help="default: both")
    parser.add_argument("--tests", nargs="*", default=list_tests(), metavar="PATH", help="other tests than the short suite")
    parser.add_argument("--jobs", default="auto", help="processes of a suite")
    arguments = parser.parse_args()
    results: list[tuple[Combination, bool]] = []
    for combination in list_combinations(arguments.pythons, arguments.versions):
        print(f"\n== {combination}", flush=True)
        with tempfile.TemporaryDirectory(prefix="matrix-") as folder:
            results.append((combination, run_combination(combination, Path(folder), arguments.jobs, arguments.tests)))
    print()
    for combination, passed in results:
        print(f"{'passed' if passed else 'FAILED'}: {combination}")
    return 0 if all(passed for _, passed in results) else 1


if __name__ == "__main__":
    sys.exit(main())
