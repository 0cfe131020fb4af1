"""Every command and every piece of code in the documentation works as a reader finds it."""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg
import pytest
import yaml
from markdown_blocks import OUTPUT, REPOSITORY, Block, list_pages, read_blocks, read_workspace
from workspaces import Workspace

from starlake_dagster_components import StarlakeProjectComponent

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SHELLS = ("console", "bash", "sh")
PLAIN = ("text", "csv", "mermaid", "diff", "")
PAGES = [page for page in list_pages() if any(True for _ in read_blocks(page))]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_block_of_a_page_works(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace(tmp_path, read_workspace(page))
    for block in read_blocks(page):
        monkeypatch.chdir(workspace.folder)
        if block.reason:
            continue
        if block.title == OUTPUT:
            workspace.compare(block)
        elif block.language in SHELLS:
            workspace.run(block)
        else:
            if block.title:
                workspace.write(block)
            check_text(block, workspace)


def check_text(block: Block, workspace: Workspace) -> None:
    """Fail the test if the content of a block is not valid in the language of its fence."""
    if block.language == "python":
        run_python(block, workspace)
    elif block.language in ("yaml", "yml"):
        for document in yaml.safe_load_all(block.text):
            check_yaml(block, document)
    elif block.language == "json":
        json.loads(block.text)
    elif block.language == "toml":
        tomllib.loads(block.text)
    elif block.language == "sql":
        assert block.title, f"{block}: SQL that is not a file cannot be tested; give it a title"
    elif block.language == "dockerfile":
        assert all(line.split()[0].isupper() for line in block.text.splitlines() if line[:1].isalpha()), block
    else:
        assert block.language in PLAIN, f"{block}: unknown language '{block.language}'"


def run_python(block: Block, workspace: Workspace) -> None:
    """Run a module as Dagster or pytest would: load its definitions, and run its tests."""
    name = f"docs_block_{block.line}"
    if block.title.startswith(("defs/", "src/")):
        compile(block.text, block.title, "exec")  # a file of a project that later commands load
        return
    module: dict[str, Any] = {"__name__": name, "__file__": str(workspace.folder / (block.title or f"{name}.py"))}
    exec(compile(block.text, str(block), "exec"), module)
    for key, value in list(module.items()):
        if key.startswith("test_") and callable(value):
            value()
    found = module.get("defs")
    if found is not None:
        dg.Definitions.validate_loadable(found if isinstance(found, dg.Definitions) else found())


def check_yaml(block: Block, document: Any) -> None:
    """Validate a component by its schema, and ``dagster.yaml`` by that of the instance. Other files must only be valid YAML."""
    assert isinstance(document, (dict, list)), f"{block}: not a mapping"
    if not isinstance(document, dict):
        return
    attributes = document.get("attributes")
    if attributes is not None and document.get("type", "starlake_dagster_components.").startswith("starlake_dagster_components."):
        model = StarlakeProjectComponent.get_model_cls()
        assert model is not None
        # A fragment without `type` does not have to name a project.
        model.model_validate(attributes if "type" in document else {"project": "shop", **attributes})
    elif block.title.endswith("dagster.yaml"):
        with TemporaryDirectory() as home:
            (Path(home) / "dagster.yaml").write_text(block.text, encoding="utf-8")
            dg.DagsterInstance.from_config(home).dispose()


def test_few_blocks_are_marked_as_not_run() -> None:
    """Each has its reason above it. A new one is a decision: find a way to run it, or raise the number."""
    reasons = [block.reason for page in PAGES for block in read_blocks(page) if block.reason]
    assert len(reasons) <= 13, reasons
