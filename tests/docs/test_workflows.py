"""The files of .github/ and the pre-commit hooks are valid, and run commands that exist."""

import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml
from markdown_blocks import REPOSITORY

GITHUB = REPOSITORY / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")


def read_jobs(workflow: Any) -> dict[str, Any]:
    jobs: dict[str, Any] = workflow["jobs"]
    return jobs


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_make_target_of_a_workflow_exists(path: Any) -> None:
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    steps = [step for job in read_jobs(workflow).values() for step in job["steps"]]
    named = {target for step in steps for target in re.findall(r"\bmake ([a-z-]+)", step.get("run", ""))}
    assert named
    assert named <= targets


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_jobs_have_minimal_permissions_and_a_timeout(path: Any) -> None:
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    jobs = read_jobs(workflow)
    assert all(job["timeout-minutes"] <= 90 and job["runs-on"] for job in jobs.values())
    assert all(set(job.get("needs", "").split()) <= set(jobs) for job in jobs.values())
    for job in jobs.values():
        assert all(("uses" in step) != ("run" in step) for step in job["steps"])


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_to_a_version_or_a_commit(path: Any) -> None:
    """GitHub's own actions to a major version. A branch of others could run any code with the rights of the job."""
    for name in re.findall(r"uses: (\S+)", path.read_text(encoding="utf-8")):
        assert re.fullmatch(r"actions/[\w-]+@v\d+|[\w-]+/[\w-]+@[0-9a-f]{40}", name), name


def test_ci_runs_everything_that_a_change_must_pass() -> None:
    text = (GITHUB / "workflows/ci.yml").read_text(encoding="utf-8")
    for target in ("lint", "types", "tests", "test-matrix", "docs", "dist"):
        assert f"make {target}\n" in text
    pyproject = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    (matrix,) = re.findall(r"python: (\[.*\])", text)
    assert yaml.safe_load(matrix) == re.findall(r"Python :: (3\.\d+)", pyproject)


def test_a_release_uses_trusted_publishing_with_attestations() -> None:
    jobs = read_jobs(yaml.safe_load((GITHUB / "workflows/release.yml").read_text(encoding="utf-8")))
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert "secrets." not in (GITHUB / "workflows/release.yml").read_text(encoding="utf-8")
    assert jobs["build"]["permissions"]["attestations"] == "write"


def test_the_check_of_the_tag_knows_where_the_version_is() -> None:
    jobs = read_jobs(yaml.safe_load((GITHUB / "workflows/release.yml").read_text(encoding="utf-8")))
    (check,) = [step["run"] for step in jobs["build"]["steps"] if "__version__" in step.get("run", "")]
    import starlake_dagster_components

    for tag, code in ((f"v{starlake_dagster_components.__version__}", 0), ("v99.0.0", 1)):
        environment = {"GITHUB_REF_NAME": tag, "PATH": "/usr/bin:/bin"}
        assert subprocess.run(["bash", "-ec", check], cwd=REPOSITORY, env=environment, check=False).returncode == code


def test_issue_templates_are_forms() -> None:
    for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml"):
        form = yaml.safe_load(path.read_text(encoding="utf-8"))
        if path.name == "config.yml":
            assert form["contact_links"]
            continue
        assert {"name", "description", "body"} <= set(form)
        identifiers = [field["id"] for field in form["body"]]
        assert len(identifiers) == len(set(identifiers))
        assert all(field["type"] in ("textarea", "input", "dropdown", "checkboxes", "markdown") for field in form["body"])


def test_workflows_pass_actionlint() -> None:
    program = shutil.which("actionlint")
    if program is None:
        pytest.skip("needs the program actionlint")
    done = subprocess.run([program, *map(str, WORKFLOWS)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_hooks_run_programs_of_the_project() -> None:
    config = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repo["repo"] for repo in config["repos"]] == ["local"]
    for hook in config["repos"][0]["hooks"]:
        words = hook["entry"].split()
        assert words[0].startswith(".venv/bin/")
        assert all((REPOSITORY / word).is_file() for word in words[1:] if word.endswith(".py"))
