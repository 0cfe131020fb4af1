"""The installed package, and the commands of the README."""

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from markdown_blocks import parse_blocks

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], cwd=REPOSITORY, check=True, capture_output=True
    )
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_contains_only_the_package(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {t for t in tops if not t.endswith(".dist-info")} == {"starlake_dagster_components"}
    assert "starlake_dagster_components/py.typed" in names
    assert "starlake_dagster_components/engine/__main__.py" in names
    entry_points = next(n for n in names if n.endswith("entry_points.txt"))
    text = zipfile.ZipFile(wheel).read(entry_points).decode()
    assert "sl-dagster = starlake_dagster_components.cli:main" in text
    assert "[dagster_dg_cli.registry_modules]" in text


def test_the_source_distribution_contains_only_the_package(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    (built,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(built) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
    others = {name for name in names if not name.startswith("starlake_dagster_components/")}
    assert others == {".gitignore", "CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}


def test_the_wheel_imports_without_google_duckdb_and_java(wheel: Path, tmp_path: Path) -> None:
    """Import the wheel's files without google, duckdb, and dagster_shell, and with an empty PATH."""
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    blocked = "google.cloud", "duckdb", "dagster_shell", "grpc_status"
    code = (
        "import sys, importlib.abc\n"
        f"class Absent(importlib.abc.MetaPathFinder):\n"
        f"    def find_spec(self, name, path=None, target=None):\n"
        f"        if name in {blocked!r} or name.startswith({tuple(b + '.' for b in blocked)!r}):\n"
        f"            raise ModuleNotFoundError('absent: ' + name, name=name)\n"
        f"sys.meta_path.insert(0, Absent())\n"
        f"sys.path.insert(0, {str(tmp_path / 'site')!r})\n"
        "import starlake_dagster_components as package\n"
        f"assert package.__file__.startswith({str(tmp_path)!r}), package.__file__\n"
        "for name in package.__all__: getattr(package, name)\n"
        "from starlake_dagster_components.executors.registry import import_executors\nimport_executors()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"PATH": ""}, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr


def _list_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def _list_named_targets(document: str) -> set[str]:
    """Return the targets of ``make`` in the inline code and the code blocks of a Markdown document."""
    blocks = "".join(block.text for block in parse_blocks(document))
    return {*re.findall(r"`make ([a-z]+)", document), *re.findall(r"^ *make ([a-z]+)", blocks, re.MULTILINE)}


def test_every_make_target_that_the_documents_name_exists() -> None:
    documents = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *(REPOSITORY / "docs").rglob("*.md")]
    named = {target for document in documents for target in _list_named_targets(document.read_text(encoding="utf-8"))}
    named |= set(re.findall(r"^make ([a-z]+)", (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE))
    assert {"demo", "test", "docs"} <= named
    assert named - _list_targets() == set()


def test_prose_is_not_mistaken_for_a_make_target() -> None:
    document = "make failed checks block\n\n```shell\nmake demo\n```\n\nor `make test` to\nmake sure"
    assert _list_named_targets(document) == {"demo", "test"}


def test_every_link_of_the_documents_has_a_target() -> None:
    wrong = []
    for document in [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *(REPOSITORY / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8")):
            if "://" not in target and not (document.parent / target).exists():
                wrong.append(f"{document.name}: {target}")
    assert wrong == []


def test_the_table_of_contributing_names_at_most_three_files_that_exist() -> None:
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) > 40
    for row in rows:
        files = re.findall(r"`([a-z_0-9/]+\.py)`", row)
        assert len(files) <= 3, row
    for file in re.findall(r"`([a-z_0-9/]+\.py)`", text):
        assert (REPOSITORY / file).exists() or (REPOSITORY / "starlake_dagster_components" / file).exists(), file


def test_every_test_that_the_documents_name_exists() -> None:
    sources = {path.name: path.read_text(encoding="utf-8") for path in (REPOSITORY / "tests").rglob("test_*.py")}
    defined = {name for text in sources.values() for name in re.findall(r"def (test_\w+)", text)}
    documents = [REPOSITORY / "CONTRIBUTING.md", *(REPOSITORY / "docs").rglob("*.md"), *(REPOSITORY / "bench").glob("*.md")]
    named = {name for document in documents for name in re.findall(r"(?<!def )\btest_\w+(?:\.py)?", document.read_text(encoding="utf-8"))}
    assert named
    assert named - defined - sources.keys() == set()


def test_every_command_of_the_documents_is_understood(tmp_path: Path) -> None:
    pages = [REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md")]
    texts = [page.read_text(encoding="utf-8") for page in pages]
    verbs = {verb for text in texts for verb in re.findall(r"^(?:\$ )?sl-dagster ([a-z-]+)", text, re.MULTILINE)}
    assert verbs >= {"check", "list", "run", "explain"}
    for verb in verbs:
        done = subprocess.run(
            [sys.executable, "-m", "starlake_dagster_components.cli", verb, "--help"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "Usage" in done.stdout


def test_no_committed_file_names_a_registry_or_a_machine() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    pattern = re.compile(rb"pypi\.org|pythonhosted|registry\.npmjs|/work/main|/work/shared|/root/")
    wrong = [
        name
        for name in listed.stdout.splitlines()
        if Path(name).name != Path(__file__).name and (REPOSITORY / name).is_file() and pattern.search((REPOSITORY / name).read_bytes())
    ]
    assert wrong == []
