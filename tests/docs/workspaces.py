"""The folders in which the blocks of the documentation run, and running them."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from markdown_blocks import REPOSITORY, Block

_UNSTABLE = (
    (re.compile(r"\d+\.\d\d(?=\s|$)"), "N.NN"),
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?: [+-]\d{4})?"), "TIME"),
)
"""Pattern of output that differs from run to run -> the text that replaces it in comparisons."""


def _make_empty(folder: Path) -> None:
    folder.mkdir()


def _make_example(folder: Path) -> None:
    shutil.copytree(REPOSITORY / "examples", folder / "examples")
    shutil.copytree(REPOSITORY / "examples/tallow_lane/metadata", folder / "projects/shop/metadata")


def _make_repository(folder: Path) -> None:
    kept = ("Makefile", "pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "definitions.py", "dagster_cloud.yaml")
    folder.mkdir()
    for name in kept:
        shutil.copy(REPOSITORY / name, folder / name)
    for name in ("starlake_dagster_components", "examples", "defs", "deploy", "docs", "requirements"):
        if (REPOSITORY / name).is_dir():
            shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))


_MAKERS = {"empty": _make_empty, "example": _make_example, "repository": _make_repository}


@dataclass
class Workspace:
    """A temporary folder with a shell that keeps its working directory and variables from block to block.

    Attributes:
        base: the folder that the workspace is made in.
        kind: empty, example (with ``examples/`` and a project ``projects/shop``) or repository.
    """

    base: Path
    kind: str
    output: str = ""
    _environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.root = self.base / "work"
        _MAKERS[self.kind](self.root)
        self.folder = self.root
        home = self.base / "home"
        # As if Dagster had run before. Otherwise, it prints a note about telemetry.
        telemetry = home / ".dagster" / ".telemetry" / "id.yaml"
        telemetry.parent.mkdir(parents=True)
        telemetry.write_text("instance_id: 00000000-0000-0000-0000-000000000000\n", encoding="utf-8")
        self._environment = {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": str(REPOSITORY),
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "COLUMNS": "140",
            "SL_DAGSTER_CACHE": os.environ.get("SL_DAGSTER_CACHE", "off"),
            "DAGSTER_DISABLE_TELEMETRY": "yes",
            # `make` must use the tests' environment, not create one.
            "MAKEFLAGS": f"BIN={Path(sys.executable).parent} READY={sys.executable}",
        }

    def write(self, block: Block) -> None:
        """Write the file of a block."""
        path = self.folder / block.title
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")

    def run(self, block: Block) -> None:
        """Run the commands of a block. If one fails, the test fails."""
        self.run_script(_strip_prompts(block.text), str(block))

    def run_script(self, commands: str, name: str) -> None:
        """Run commands in the working directory and with the variables of the previous commands."""
        kept = self.base / "kept"
        script = f"set -aeu\ncd {self.folder}\n{commands}\npwd > {kept}.folder; env -0 > {kept}.environment\n"
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", script],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=600,
        )
        self.output = done.stdout
        assert done.returncode == 0, f"{name}: exit code {done.returncode}\n{done.stdout[-6000:]}"
        self.folder = Path(Path(f"{kept}.folder").read_text(encoding="utf-8").strip())
        for entry in Path(f"{kept}.environment").read_text(encoding="utf-8").split("\0"):
            name, _, value = entry.partition("=")
            if name and name not in ("_", "SHLVL", "PWD", "OLDPWD"):
                self._environment[name] = value

    def compare(self, block: Block) -> None:
        """Fail the test if the output of the last commands is not that of a block."""
        shown, printed = (_normalize(text, self.root) for text in (block.text, self.output))
        pattern = ".*?".join(re.escape(part) for part in shown.split("..."))
        assert re.fullmatch(pattern, printed, re.DOTALL), f"{block} shows\n{shown}\n\nprinted was\n{printed}"


def _strip_prompts(text: str) -> str:
    return re.sub(r"^\$ ", "", text, flags=re.MULTILINE)


def _normalize(text: str, root: Path) -> str:
    text = text.replace(str(root), "/work")
    for pattern, replacement in _UNSTABLE:
        text = pattern.sub(replacement, text)
    return "\n".join(re.sub(r" +", " ", line).rstrip() for line in text.strip().splitlines())
