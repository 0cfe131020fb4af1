"""The recorded variants of real projects: the same edits on a copy. See oracle/README.md in the shared folder."""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from starlake_dagster_components.pipelines.dag_templates import read_template
from starlake_dagster_components.pipelines.pipeline import Plan
from starlake_dagster_components.pipelines.plan import plan_project
from starlake_dagster_components.project.model import DagConfig
from starlake_dagster_components.project.reader import read_project

SHARED = Path(__file__).resolve().parents[3] / "shared"
DAGSTER = {"load": "load/dagster__scheduled_table__shell.py.j2", "transform": "transform/dagster__scheduled_task__shell.py.j2"}
DAG_REFS = {"load": "dagster_load_shell", "transform": "dagster_transform_shell"}
ENVIRONMENT = {
    "starlake-samples-ducklake": {"ACTIVE_CONNECTION": "ducklake_local"},
    "starlake-samples-postgres": {"SL_CONNECTION": "postgres"},
    "zedach-StarBake-orchestration2": {"HOME": "/root"},
}


@dataclass(frozen=True)
class Variant:
    """A variant of a project, and the recorded results of the real programs."""

    project: str
    name: str

    def __str__(self) -> str:
        return f"{self.project}:{self.name}"

    @property
    def recorded(self) -> dict[str, Any]:
        found: dict[str, Any] = _read_recorded(self.project)[self.name]
        return found

    @property
    def files(self) -> dict[str, Any]:
        found: dict[str, Any] = self.recorded.get("files", {})
        return found

    @property
    def edit(self) -> str:
        """The edit: ``as-is``, ``dagster-templates``, or ``dagster-dagref``. The deps variants are the same projects."""
        edit = self.name.removeprefix("patched.").split(".")[0].removesuffix("-no-env")
        return {"deps": "dagster-templates", "deps-dagref": "dagster-dagref"}.get(edit, edit)

    def plan(self, folder: Path) -> Plan:
        """Copy and edit the project, and plan the copy."""
        root = folder / self.project
        shutil.copytree(SHARED / "corpus" / self.project, root)
        for path in [root, *root.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
        if self.name.startswith("patched."):
            _patch(self.project, root)
        if self.edit == "dagster-templates":
            _use_dagster_templates(root)
        if self.edit == "dagster-dagref":
            _use_dagster_dag_refs(root)
        environ = {**ENVIRONMENT.get(self.project, {}), **dict(e.split("=") for e in self.recorded.get("environment", []))}
        return plan_project(read_project(root, environ=environ))


@cache
def _read_recorded(project: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((SHARED / "oracle" / "plan" / f"{project}.json").read_text(encoding="utf-8"))
    return loaded


def list_variants() -> Iterator[Variant]:
    """Return all variants of all projects; none without the shared folder."""
    for file in sorted((SHARED / "oracle" / "plan").glob("*.json")):
        for name in sorted(_read_recorded(file.stem)):
            yield Variant(file.stem, name)


def _patch(project: str, root: Path) -> None:
    """Make minimal edits that make invalid projects valid."""
    if project == "starlake-samples-postgres":
        _edit(root / "metadata/load/sales/orders.sl.yml", r"^\s*delete:.*\n", "")
    else:
        _edit(root / "metadata/load/starbake/Customers.sl.yml", r"^\s*expectations:\n\s*- \"is_col.*\n", "")


def _edit(path: Path, pattern: str, replacement: str) -> None:
    text, count = re.subn(pattern, replacement, path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert count, f"nothing to edit in {path}"
    path.write_text(text, encoding="utf-8")


def _use_dagster_templates(root: Path) -> None:
    for path in (root / "metadata/dags").glob("*.sl.yml"):
        text = path.read_text(encoding="utf-8")
        template = re.search(r"^\s*template:\s*[\"']?([^\"'\n]+)", text, re.MULTILINE)
        assert template
        kind = read_template(DagConfig("d", template[1], "")).kind or "load"
        _edit(path, r"^(\s*template:\s*).*$", rf'\g<1>"{DAGSTER[kind]}"')


def _use_dagster_dag_refs(root: Path) -> None:
    """Point the application at the Dagster configs; a project without any gets those of ``starlake bootstrap``."""
    dags = root / "metadata/dags"
    if not dags.is_dir():
        dags.mkdir()
        for path in (SHARED / "corpus/starlake-bootstrap-sample-project/metadata/dags").glob("dagster_*.sl.yml"):
            shutil.copyfile(path, dags / path.name)
    application = root / "metadata/application.sl.yml"
    text = re.sub(r"^  dagRef:\n(?:    .*\n?)*", "", application.read_text(encoding="utf-8"), flags=re.MULTILINE).rstrip()
    refs = [f'    {kind}: "{name}"' for kind, name in DAG_REFS.items() if (dags / f"{name}.sl.yml").is_file()]
    application.write_text("\n".join([text, "  dagRef:", *refs, ""]), encoding="utf-8")
