"""Run the stages of a Dockerfile in a folder instead of an image, without a daemon, root rights and network."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ONLY_IN_AN_IMAGE = ("apt-get", "useradd", "chown")
"""First words of RUN steps that change the system's users and packages, or need its rights."""


@dataclass(frozen=True, slots=True)
class Step:
    """An instruction of a Dockerfile: its name, such as ``RUN``, and its arguments."""

    name: str
    text: str


def read_steps(path: Path) -> list[Step]:
    """Return the instructions of a Dockerfile, with continued lines joined and comments left out."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [Step(*line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


@dataclass
class Image:
    """A stage of a Dockerfile, made in a folder that stands for its root.

    Attributes:
        context: the build context.
        root: the folder.
        arguments: the given build arguments.
        environment: the variables of ENV and ARG so far, and those that the test adds.
        command: the command of CMD.
        skipped: RUN steps that only work in an image.
    """

    context: Path
    root: Path
    arguments: Mapping[str, str]
    environment: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    command: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def take(self, steps: list[Step], stages: Mapping[str, "Image"]) -> None:
        """Run the steps of a stage, after its FROM."""
        for step in steps:
            getattr(self, f"_take_{step.name.lower()}")(step.text, stages)

    def locate(self, text: str) -> str:
        """Return a string in which absolute paths of the image are below the folder that replaces its root."""
        return re.sub(r"(?<![\w./}])/(?=(?:opt|build|tmp/image)\b)", f"{self.root}/", text)

    def expand(self, text: str) -> str:
        """Return a string with its variables replaced."""
        return re.sub(r"\$\{?(\w+)\}?", lambda found: self.environment.get(found[1], ""), text)

    def _take_arg(self, text: str, _: object) -> None:
        name, sign, default = text.partition("=")
        if sign or name in self.arguments:
            self.environment[name] = self.arguments.get(name, default)

    def _take_env(self, text: str, _: object) -> None:
        for name, value in re.findall(r"(\w+)=(\S+)", text):
            self.environment[name] = self.locate(value.replace("$PATH", self.environment.get("PATH", "")))

    def _take_workdir(self, text: str, _: object) -> None:
        self.folder = text
        self._find_path(text).mkdir(parents=True, exist_ok=True)

    def _take_copy(self, text: str, stages: Mapping[str, "Image"]) -> None:
        (*options,) = re.findall(r"--from=(\S+)", text)
        *sources, target = re.sub(r"--\S+\s+", "", self.expand(text)).split()
        destination = self._find_path(target)
        for source in sources:
            found = stages[options[0]].root / source.lstrip("/") if options else self.context / source
            place = destination / found.name if target.endswith("/") else destination
            place.parent.mkdir(parents=True, exist_ok=True)
            if found.is_dir():
                shutil.copytree(found, place, symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(found, place)

    def _take_run(self, text: str, _: object) -> None:
        if text.split()[0] in ONLY_IN_AN_IMAGE:
            self.skipped.append(text)
            return
        done = subprocess.run(
            ["bash", "-euc", self.locate(text)],
            cwd=self._find_path(self.folder),
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=900,
        )
        assert done.returncode == 0, f"RUN {text}\n{done.stdout}"

    def _take_cmd(self, text: str, _: object) -> None:
        self.command = [self.locate(word) for word in json.loads(text)]

    def _take_user(self, text: str, _: object) -> None:
        assert text

    _take_expose = _take_user

    def _find_path(self, text: str) -> Path:
        return self.root / (text if text.startswith("/") else f"{self.folder}/{text}").lstrip("/")


def build(path: Path, context: Path, folder: Path, arguments: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, Image]:
    """Build every stage of a Dockerfile below a folder.

    Args:
        path: the Dockerfile.
        context: the build context.
        folder: where the stages go.
        arguments: build arguments.
        environment: variables that RUN steps get in addition.

    Returns:
        The stages by name, the last one as ``""``.
    """
    stages: dict[str, Image] = {}
    for number, (head, steps) in enumerate(_split_stages(read_steps(path))):
        base, _, name = head.partition(" AS ")
        image = Image(context, folder / (name or str(number)), arguments, dict(environment))
        if base in stages:
            known = stages[base]
            shutil.copytree(known.root, image.root, symlinks=True)
            image.environment = {k: v.replace(str(known.root), str(image.root)) for k, v in known.environment.items()}
            image.folder, image.command, image.skipped = known.folder, list(known.command), list(known.skipped)
        image.root.mkdir(parents=True, exist_ok=True)
        image.take(steps, stages)
        stages[name] = image
    return stages


def _split_stages(steps: list[Step]) -> Iterator[tuple[str, list[Step]]]:
    head, taken = "", list[Step]()
    for step in steps:
        if step.name == "FROM":
            if head:
                yield head, taken
            head, taken = step.text, []
        elif head:
            taken.append(step)
    yield head, taken


def make_offline_environment(python: Path) -> dict[str, str]:
    """Return variables with which ``pip install`` uses the packages of the running environment instead of the network."""
    return {
        "PATH": os.pathsep.join([str(python.parent), "/usr/bin", "/bin"]),
        "HOME": os.environ.get("HOME", "/"),
        "LANG": "C.UTF-8",
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "no",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
