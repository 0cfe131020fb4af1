"""The allowed imports between modules, and the modules that an import loads."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "starlake_dagster_components"
NAME = PACKAGE.name

ALLOWED = {
    "errors": {"masking"},
    "cancellation_event": set(),
    "masking": set(),
    "full_disk": set(),
    "trusted_files": set(),
    "cache": {"errors", "trusted_files"},
    "lock_folders": {"errors"},
    "locks": {"errors", "lock_folders"},
    "project": {"errors", "masking"},
    "pipelines": {"errors", "project", "cache", "masking"},
    "warehouse": {"errors", "masking", "project"},
    "commands": {"errors", "masking", "project", "pipelines", "warehouse"},
    "engine": {"full_disk", "cancellation_event", "errors", "project", "locks", "masking"},
    "executors": {
        "trusted_files",
        "cancellation_event",
        "cache",
        "errors",
        "masking",
        "locks",
        "project",
        "pipelines",
        "commands",
        "engine",
        "warehouse",
    },
    "_dagster": set(),
    "_dagster_jobs": set(),
    "step_executor": {"full_disk", "cancellation_event", "_dagster", "errors"},
    "settings": {"errors", "masking", "cache", "pipelines", "executors", "step_executor"},
    "lineage": {"errors", "project", "pipelines"},
    "definitions": {
        "lineage",
        "full_disk",
        "cancellation_event",
        "settings",
        "errors",
        "project",
        "pipelines",
        "commands",
        "executors",
        "warehouse",
        "step_executor",
        "_dagster_jobs",
        "masking",
        "locks",
        "cache",
    },
}
"""Part of the package -> the parts that it may import; those not listed here are at the top and may import everything."""


LONGEST_FILE = 500


def _get_part(module: list[str]) -> str:
    return module[0] if module else "__init__"


def _list_imports(path: Path) -> set[str]:
    """Return the parts of the package that a file imports."""
    here = list(path.relative_to(PACKAGE).with_suffix("").parts)
    package = here if path.name == "__init__.py" else here[:-1]
    if path.name == "__init__.py":
        package = here[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            target = base + (node.module.split(".") if node.module else [])
            found.update([_get_part(target)] if target else [alias.name for alias in node.names])
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == NAME:
            found.add(_get_part(node.module.split(".")[1:]))
        elif isinstance(node, ast.Import):
            found.update(_get_part(a.name.split(".")[1:]) for a in node.names if a.name.split(".")[0] == NAME)
    return found - {"__init__"}


def test_nothing_imports_upward() -> None:
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE)
        part = relative.parts[0].removesuffix(".py")
        if part in ALLOWED:
            wrong += [
                f"{relative} imports {other}"
                for other in _list_imports(path) - ALLOWED[part] - {part}
                if other in ALLOWED or (PACKAGE / other).exists()
            ]
    assert wrong == []


def test_no_file_imports_a_name_from_the_package_itself() -> None:
    """The package's ``__init__`` imports everything, so that only users may import from it."""
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        depth = len(path.relative_to(PACKAGE).parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module is None and node.level == depth:
                modules = {child.stem for child in PACKAGE.iterdir()}
                wrong += [f"{path.relative_to(PACKAGE)}: {alias.name}" for alias in node.names if alias.name not in modules]
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module == NAME:
                wrong.append(f"{path.relative_to(PACKAGE)}: {NAME}")
    assert wrong == []


def _find_imported_files(path: Path) -> set[Path]:
    """Return the files of the package that a file imports, also within functions, but not for types alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(n)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for n in ast.walk(block)
    }
    found = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or not node.level or id(node) in for_types:
            continue
        folder = path.parents[node.level - 1].joinpath(*(node.module or "").split(".")) if node.module else path.parents[node.level - 1]
        for target in (folder.with_suffix(".py"), *(folder / f"{alias.name}.py" for alias in node.names)):
            if target.is_file() and target != path:
                found.add(target)
    return found


def test_files_do_not_import_each_other_in_a_cycle() -> None:
    order = TopologicalSorter({path: _find_imported_files(path) for path in PACKAGE.rglob("*.py")})
    try:
        order.prepare()
    except CycleError as error:
        raise AssertionError(" -> ".join(str(path.relative_to(PACKAGE)) for path in error.args[1])) from None


def test_no_file_is_longer_than_500_lines() -> None:
    files = [path for folder in (PACKAGE.name, "tests", "bench", "examples") for path in (PACKAGE.parent / folder).rglob("*.py")]
    lengths = {str(path.relative_to(PACKAGE.parent)): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {path: length for path, length in lengths.items() if length > LONGEST_FILE} == {}


def test_four_files_import_what_dagster_keeps_private() -> None:
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            modules += [a.name for a in node.names] if isinstance(node, ast.Import) else []
            private = [m for m in modules if m.split(".")[0].startswith("dagster") and any(p.startswith("_") for p in m.split("."))]
            if private and path.name not in ("_dagster.py", "_dagster_jobs.py", "_dagster_load.py", "_dagster_cli.py"):
                wrong.append(f"{path.relative_to(PACKAGE)}: {private}")
    assert wrong == []


def _list_modules_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {m.split(".")[0] for m in done.stdout.split()}


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import starlake_dagster_components", {"dagster", "duckdb", "google", "sqlglot"}),
        ("import starlake_dagster_components.project, starlake_dagster_components.pipelines", {"dagster", "duckdb", "google", "sqlglot"}),
        ("import starlake_dagster_components.engine", {"dagster", "google"}),
        (
            "from starlake_dagster_components import *\nimport starlake_dagster_components.component",
            {"duckdb", "sqlglot", "dagster_shell", "grpc", "google.cloud"},
        ),
    ],
)
def test_imports_stay_light(statement: str, absent: set[str]) -> None:
    assert _list_modules_after(statement) & absent == set()


def test_every_public_name_can_be_imported_and_they_are_sorted() -> None:
    import starlake_dagster_components as package

    assert list(package.__all__) == sorted(package.__all__)
    for name in package.__all__:
        assert getattr(package, name) is not None
        assert name in dir(package)
    with pytest.raises(AttributeError):
        package.no_such_name  # noqa: B018


VERBS = """
abandon accept acquire add adopt advise affects agree allow allows annotate announce append appends apply archive are ascend ask attach
attempt audit authenticate batch begin begins belongs blank build cache calculate call can cancel capture cast center charge check
choose close coerce collect combine comes compare compile complete compute concerns connect contains continues convert copy count covers
create cut decide declares decorate deliver depend descend describe deserialize detach digest divide drain drop echo emit encode end
ensure enter escape evaluate evolve examine execute expand expect explain extend fail feed fetch fill filter find finish fit fits flush
fold follow forbid forget form format get give glob group hand handle has hash have hide hold holds identify import indent index inherit
insert interrupt invoke is iterate join judge keep kill lacks leads leave leaves lend link list load localize locate lock log look lower
make map mark mask match matches materialize may measure merge migrate move name names narrow needs negate normalize note notify number
observe obtain open order overlaps override pack pair parse pass pause peek place plan poll prepare print probe propose put qualify
query quote raise reaches read reap rebuild receive record recover redirect register reject release reload relocate remember remove rename
render repeat replace report require requote reserve resolve restore restrict reverse revive rewrite round route run runs sanitize
scaffold scan select selects send serialize serve set settle share shorten show signal silence simplify slice sort split spoil spread
squeeze stage stages start starts stop strip substitute suggest summarize tag take test tokenize translate trim truncate try unescape
unite unquote unwrap update upload use visit wait walk warm warn was watch weaken wrap write
"""
"""First words of the names of functions. Take one of these for a new function; add a verb only if none of them says what it does."""

OTHER_NAMES = """
main on ran starlake_step_executor starlake_threads table_of with_arguments with_environment _at_fork_reinit getattr getitem info
model_json_schema readline shell_complete with_tags writelines
"""
"""Public names, executors that are named like Dagster's, and methods that libraries call."""


def _may_be_a_noun(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Return whether a function is a property, a command of the command line, a special method or an exception."""
    decorators = [ast.unparse(decorator) for decorator in function.decorator_list]
    return (
        function.name in OTHER_NAMES.split()
        or function.name.startswith("__")
        or any("property" in text or ".command" in text for text in decorators)
    )


def test_functions_are_named_with_verbs() -> None:
    verbs = set(VERBS.split())
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.name.endswith("_filters.py"):  # functions named like the filters that they implement
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or _may_be_a_noun(node):
                continue
            if node.name.lstrip("_").split("_")[0] not in verbs:
                wrong.append(f"{path.relative_to(PACKAGE)}:{node.lineno} {node.name}")
    assert wrong == [], "a name begins with a verb of VERBS"
