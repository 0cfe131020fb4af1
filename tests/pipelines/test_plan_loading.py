"""Plans from the cache: they are the same as without it, whatever changes, and come from it if nothing changes."""

import os
import pickle
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from project_folder import ProjectFolder

from starlake_dagster_components.cache import Cache
from starlake_dagster_components.errors import ProjectNotFound
from starlake_dagster_components.pipelines.pipeline import Plan
from starlake_dagster_components.pipelines.plan import plan_project
from starlake_dagster_components.pipelines.plan_loading import Loaded, load_plan
from starlake_dagster_components.project import disk
from starlake_dagster_components.project.model import EMPTY, Project
from starlake_dagster_components.project.reader import read_project

Load = Callable[..., Loaded]


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "plans")


def drop_clock(plan: Plan) -> Plan:
    """Return a plan without the variables of the current time."""

    def strip(project: Project) -> Project:
        return replace(project, variables={name: value for name, value in project.variables.items() if not name.startswith("sl_")})

    environments = {name: replace(e, project=strip(e.project)) for name, e in plan.environments.items()}
    return replace(plan, project=strip(plan.project), environments=environments)


def load_kept(shop: ProjectFolder, cache: Cache, **arguments: Any) -> Loaded:
    found = load_plan(shop.root, cache=cache, **arguments)
    found.keep()
    return found


@pytest.fixture
def load(shop: ProjectFolder, cache: Cache) -> Load:
    """Load the shop through the cache, and compare with reading it."""

    def loaded(environ: Mapping[str, str] = EMPTY, **arguments: Any) -> Loaded:
        found = load_kept(shop, cache, environ=environ, **arguments)
        reading = {key: arguments.pop(key) for key in ("profile", "options", "dependencies") if key in arguments}
        fresh = plan_project(read_project(shop.root, environ=environ, **reading), **arguments)
        assert drop_clock(found.plan) == drop_clock(fresh)
        assert found.plan.problems == fresh.problems
        assert [p.tasks for p in found.plan.pipelines] == [p.tasks for p in fresh.pipelines]
        return found

    return loaded


def test_the_second_load_uses_the_cache(load: Load) -> None:
    first, second = load(), load()
    assert (first.from_cache, first.reason) == (False, "nothing is cached")
    assert (second.from_cache, second.reason, second.identity) == (True, "", first.identity)


def test_each_combination_of_arguments_has_its_own_entry(load: Load, cache: Cache) -> None:
    ways: list[dict[str, Any]] = [
        {},
        {"profile": "PROD"},
        {"options": {"a": "1"}},
        {"orchestrators": ("dagster", "airflow")},
        {"dependencies": "sql"},
        {"timezone": "Europe/Paris"},
        {"name_prefix": "north_"},
        {"environ": {"SL_ENV": "X"}},
    ]
    assert [load(**way).from_cache for way in ways] == [False] * len(ways)
    assert [load(**way).from_cache for way in ways] == [True] * len(ways)
    # Plans that differ only in their variables have the same content.
    assert len(ways) < len(list(cache.folder.iterdir())) <= 2 * len(ways)


EDITS: dict[str, Callable[[Path], object]] = {
    "a letter": lambda root: _replace(root / "metadata/load/shop/orders.sl.yml", "The key", "The kex"),
    "a letter of SQL": lambda root: _replace(root / "metadata/transform/kpi/daily.sql", "shop.items", "shop.itemz"),
    "a new table": lambda root: shutil.copy(root / "metadata/load/shop/orders.sl.yml", root / "metadata/load/shop/returns.sl.yml"),
    "a table less": lambda root: (root / "metadata/load/shop/items.sl.yml").unlink(),
    "a new domain": lambda root: shutil.copytree(root / "metadata/load/shop", root / "metadata/load/shop2"),
    "a task as Python": lambda root: (root / "metadata/transform/kpi/more.py").write_text(""),
    "a task less": lambda root: (root / "metadata/transform/kpi/top.sql").unlink(),
    "a table renamed": lambda root: (root / "metadata/load/shop/items.sl.yml").rename(root / "metadata/load/shop/item.sl.yml"),
    "the application": lambda root: _replace(root / "metadata/application.sl.yml", "connectionRef: duckdb", "connectionRef: duckdc"),
    "an env file": lambda root: (root / "metadata/env.sl.yml").write_text("version: 1\nenv:\n  domain: x\n"),
    "types": lambda root: _write(root / "metadata/types/types.sl.yml", "version: 1\ntypes:\n  - name: long\n    pattern: x\n"),
    "references": lambda root: _write(root / "metadata/refs.sl.yml", "version: 1\nrefs: []\n"),
    "a DAG config": lambda root: _replace(root / "metadata/dags/loads.sl.yml", "nightly", "daily"),
    "dependencies": lambda root: _write(root / "metadata/dependencies.json", "[]"),
    "an external table": lambda root: _write(root / "metadata/external/ext/t.sl.yml", "version: 1\ntable:\n  name: t\n  pattern: t\n"),
    "a macro": lambda root: _write(root / "metadata/expectations/a.j2", "{% macro a() %}{% endmacro %}"),
    "a strategy": lambda root: _write(root / "metadata/write-strategies/templates/duckdb/own.j2", ""),
    "a file of YAML by another name": lambda root: _write(root / "metadata/load/shop/x.yml", ""),
    "a file that cannot be read": lambda root: _make_unreadable(root / "metadata/load/shop/items.sl.yml"),
    "broken YAML": lambda root: _replace(root / "metadata/load/shop/items.sl.yml", "version: 1", "version: [1"),
}


def _replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    times = path.stat().st_mtime_ns
    path.write_text(text.replace(old, new), encoding="utf-8")
    # As if it happened within one tick of the clock of the file system.
    os.utime(path, ns=(times, times))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _make_unreadable(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("nothing.sl.yml"))


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_an_edit_is_seen_even_if_time_and_size_are_unchanged(shop: ProjectFolder, load: Load, edit: Callable[[Path], None]) -> None:
    before = load().plan
    edit(shop.root)
    edited = load()
    assert not edited.from_cache
    if any(problem.severity == "error" for problem in edited.plan.problems):
        assert edited.reason == "the project has errors"
        assert not load().from_cache
        return
    assert "has changed" in edited.reason or edited.reason == "variables have changed"
    assert load().from_cache
    assert (edited.plan.project.files, edited.plan) != (before.project.files, before) or edited.plan.problems == before.problems


def test_after_any_sequence_of_edits_the_plan_is_current(shop: ProjectFolder, load: Load) -> None:
    chance = random.Random(7)
    original = shop.snapshot()
    for _ in range(25):
        if chance.random() < 0.3:
            shutil.rmtree(shop.root)
            for name, content in original.items():
                (shop.root / name).parent.mkdir(parents=True, exist_ok=True)
                (shop.root / name).write_bytes(content)
        try:
            chance.choice(list(EDITS.values()))(shop.root)
        except (AssertionError, OSError):
            continue  # an edit that was already made
        load()
    last = load()
    assert last.from_cache != any(problem.severity == "error" for problem in last.plan.problems)


def test_only_variables_that_files_use_invalidate_the_cache(shop: ProjectFolder, load: Load) -> None:
    shop.write("metadata/transform/kpi/top.sql", "select * from {{ SOURCE }}\n")
    shop.write("metadata/env.sl.yml", "version: 1\nenv:\n  SOURCE: ${OUTER}_x\n")
    load(environ={"OUTER": "a.b"})
    assert load(environ={"OUTER": "a.b", "UNRELATED": "1", "SL_DAGSTER_POOL": "p"}).from_cache
    for environ in (
        {"OUTER": "a.c"},
        {"OUTER": "${DEEPER}", "DEEPER": "q.r"},
        {"OUTER": "${DEEPER}", "DEEPER": "q.s"},
        {},
        {"SL_ANY": "1"},
    ):
        assert (load(environ=environ).from_cache, load(environ=environ).from_cache) == (False, True)


def test_a_cached_plan_has_current_variables(shop: ProjectFolder, cache: Cache) -> None:
    load_kept(shop, cache, environ={"WHO": "me"})
    found = load_kept(shop, cache, environ={"WHO": "you"})
    assert found.from_cache
    assert found.plan.project.variables["WHO"] == "you"


def test_edits_of_templates_and_their_includes_invalidate_the_cache(shop: ProjectFolder, load: Load) -> None:
    shop.write("metadata/dags/templates/own.py.j2", "{% include 'dags/templates/part.j2' %}\n")
    shop.write("metadata/dags/templates/part.j2", "{% include 'templates/dags/__starlake_dagster_shell_job.py.j2' %}\n")
    _replace(shop.root / "metadata/dags/transforms.sl.yml", "transform/dagster__scheduled_task__shell.py.j2", "own.py.j2")
    shop.write("metadata/transform/kpi/top.sql", "{% include 'part.sql' %}")
    load()
    assert load().from_cache
    shop.write("metadata/part.sql", "select * from shop.orders")
    assert not load().from_cache
    shop.write("metadata/dags/templates/part.j2", "changed")
    assert not load().from_cache
    assert load().from_cache


def test_new_dependency_files_invalidate_the_cache(shop: ProjectFolder, load: Load) -> None:
    shop.write("deps/a.json", '[{"data": {"name": "kpi.daily", "typ": "task"}, "children": []}]')
    assert [load(dependencies="deps/*.json").from_cache for _ in range(2)] == [False, True]
    shop.write("deps/b.json", "[]")
    assert [load(dependencies="deps/*.json").from_cache for _ in range(2)] == [False, True]


def test_a_project_that_names_the_time_of_day_is_read_each_time_and_one_that_names_the_date_once_a_day(
    shop: ProjectFolder, load: Load
) -> None:
    shop.write("metadata/transform/kpi/top.sql", "select '{{sl_date}}' from shop.orders\n")
    assert [load().from_cache for _ in range(2)] == [False, True]
    shop.write("metadata/transform/kpi/top.sql", "select '{{sl_datetime}}' from shop.orders\n")
    assert [load().from_cache for _ in range(2)] == [False, False]
    assert load().reason == "the project uses the current time (sl_datetime)"


def test_secrets_are_not_written(shop: ProjectFolder, cache: Cache) -> None:
    application = shop.root / "metadata/application.sl.yml"
    application.write_text(application.read_text().replace("driver:", "password: '{{DB_PASSWORD}}'\n        driver:"))
    environ = {"DB_PASSWORD": "hunter2hunter2", "OTHER": "quite harmless text"}
    first = load_kept(shop, cache, environ=environ)
    second = load_kept(shop, cache, environ=environ)
    assert second.from_cache
    assert second.plan.project.application.connections["duckdb"].options["password"] == "hunter2hunter2"
    content = b"".join(path.read_bytes() for path in first.list_files())
    assert content
    assert b"hunter2" not in content
    assert b"quite harmless" not in content
    shop.write("metadata/transform/kpi/x.sl.yml", 'version: 1\ntask:\n  comment: "{{DB_PASSWORD}}"\n')
    shop.write("metadata/transform/kpi/x.sql", "select 1\n")
    rejected = load_kept(shop, cache, environ=environ)
    assert rejected.reason.startswith("the plan contains a secret")
    assert all(b"hunter2" not in path.read_bytes() for path in cache.folder.iterdir())


def test_a_cached_plan_has_the_current_value_of_a_secret(shop: ProjectFolder, cache: Cache) -> None:
    application = shop.root / "metadata/application.sl.yml"
    application.write_text(application.read_text().replace("driver:", "password: '{{DB_PASSWORD}}'\n        driver:"))
    for secret in ("one-secret", "another-secret"):
        for _ in range(2):
            found = load_kept(shop, cache, environ={"DB_PASSWORD": secret})
            assert found.plan.project.application.connections["duckdb"].options["password"] == secret


BODIES = (b"", b"12345678", b"no pickle at all", pickle.dumps(("x",)), pickle.dumps(("x", 0, "", {}, frozenset(), b"")))


@pytest.mark.parametrize("number", [0, 1])
def test_damaged_entries_are_ignored_and_replaced(cache: Cache, load: Load, number: int) -> None:
    file = load().list_files()[number]
    for body in BODIES:
        cache.put(file.stem, body)
        damaged = load()
        assert not damaged.from_cache
        assert "cannot be used" in damaged.reason or "variables have changed" in damaged.reason
        assert load().from_cache
    file.unlink()
    assert (load().from_cache, load().from_cache) == (False, True)


def test_only_classes_of_a_plan_are_unpickled(cache: Cache, load: Load) -> None:
    files = load().list_files()
    for module, name in (
        ("starlake_dagster_components.project.model", "__builtins__"),
        ("starlake_dagster_components.pipelines.pipeline", "field"),
        ("starlake_dagster_components.errors", "InvalidProject"),
        ("os", "system"),
    ):
        texts = b"".join(b"\x8c" + bytes([len(text)]) + text.encode() for text in (module, name))
        cache.put(files[1].stem, b"\x80\x04" + texts + b"\x93.")
        damaged = load()
        assert damaged.reason == f"the cached plan cannot be used (UnpicklingError: {module}.{name} is not expected here)"


def test_a_plan_is_loaded_even_if_the_cache_cannot_be_written(shop: ProjectFolder, tmp_path: Path, load: Load) -> None:
    (tmp_path / "plans").write_text("a file where the folder should be")
    for _ in range(2):
        found = load()
        assert not found.from_cache
        assert "the plan cannot be written" in found.reason
        assert found.list_files() == ()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs two users")
def test_an_administrators_entry_in_a_read_only_folder_is_used_by_everyone(shop: ProjectFolder, tmp_path: Path) -> None:
    image = Cache(tmp_path / "image", readable=True)
    assert load_kept(shop, image, environ={}).identity
    for folder in (tmp_path, *tmp_path.parents):
        if folder != folder.parent and folder.stat().st_uid == 0:
            folder.chmod(folder.stat().st_mode | 0o055)
    code = (
        "import os, sys; from starlake_dagster_components.pipelines.plan_loading import load_plan;"
        "from starlake_dagster_components.cache import Cache, build_entry_name; build_entry_name(); os.setgid(65534); os.setuid(65534);"
        "found = load_plan(sys.argv[1], environ={}, cache=Cache(sys.argv[2])); print(found.from_cache, found.reason)"
    )
    done = subprocess.run([sys.executable, "-c", code, shop.root, image.folder], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("True \n", "")


def test_a_plan_is_not_cached_if_a_file_changes_during_the_load(shop: ProjectFolder, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shop.root / "metadata/application.sl.yml"
    read, count = disk.read_bytes, 0

    def content(name: Any, limit: int = disk.MAX_FILE_SIZE) -> bytes:
        nonlocal count
        found = read(name, limit)
        if str(name).endswith("orders.sl.yml"):
            count += 1
            path.write_text(path.read_text() + f"# {count}\n")
            read(path)
        return found

    monkeypatch.setattr(disk, "read_bytes", content)
    load()
    assert load().reason == "files changed while they were read"


def test_threads_that_load_at_the_same_time_get_equal_plans(shop: ProjectFolder, cache: Cache) -> None:
    found: list[Plan] = []
    threads = [threading.Thread(target=lambda: found.extend(load_kept(shop, cache, environ={}).plan for _ in range(10))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 60
    assert all(drop_clock(plan) == drop_clock(found[0]) for plan in found)


def test_a_missing_project_is_an_error_with_and_without_a_cached_plan(shop: ProjectFolder, load: Load) -> None:
    load()
    shutil.rmtree(shop.root / "metadata")
    with pytest.raises(ProjectNotFound):
        load()


def test_neither_yaml_of_tables_nor_sql_is_parsed_again(shop: ProjectFolder, load: Load, cache: Cache) -> None:
    load()
    code = (
        "import sys; from starlake_dagster_components.pipelines.plan_loading import load_plan;"
        "from starlake_dagster_components.cache import Cache;"
        "assert load_plan(sys.argv[1], environ={}, cache=Cache(sys.argv[2])).from_cache;"
        "own = 'starlake_dagster_components.'; print(*sorted(m[len(own):] for m in sys.modules if m.startswith(own)))"
    )
    done = subprocess.run([sys.executable, "-c", code, shop.root, cache.folder], capture_output=True, text=True, check=True)
    parts = {"project.load_domains", "project.transform_tasks", "project.sql.quick", "pipelines.plan", "pipelines.dag_options"}
    assert parts & set(done.stdout.split()) == set()


def test_real_projects_are_the_same_from_the_cache(shared: Path, tmp_path: Path, cache: Cache) -> None:
    for corpus in sorted(p for p in (shared / "corpus").iterdir() if p.is_dir()):
        for metadata in sorted(corpus.rglob("metadata")):
            if not metadata.is_dir() or not (metadata / "application.sl.yml").exists():
                continue
            root = metadata.parent
            first = load_plan(root, environ={}, cache=cache)
            first.keep()
            second = load_plan(root, environ={}, cache=cache)
            if any(problem.severity == "error" for problem in first.plan.problems):
                assert not second.from_cache
                continue
            assert (second.from_cache, second.reason) == (True, ""), root
            assert drop_clock(first.plan) == drop_clock(second.plan)
            assert first.plan.problems == second.plan.problems


def test_the_last_good_plan_outlives_errors(shop: ProjectFolder, cache: Cache, load: Load) -> None:
    good = load()
    shop.write("metadata/load/shop/items.sl.yml", "version: [1")
    broken = load()
    assert (broken.identity, broken.reason) == ("", "the project has errors")
    last = broken.find_last_good()
    assert last
    assert (last.identity, drop_clock(last.plan)) == (good.identity, drop_clock(good.plan))
    shop.write("metadata/application.sl.yml", "version: [1")
    assert load().find_last_good() is None or load().find_last_good() != last


def test_a_pinned_plan_is_used_even_if_files_have_changed(shop: ProjectFolder, cache: Cache, load: Load) -> None:
    first = load()
    shop.write("metadata/transform/kpi/more.sql", "select 1 as one\n")
    second = load()
    assert second.identity != first.identity
    assert first.stored
    asked: list[str] = []

    def find_pinned(name: str) -> str:
        asked.append(name)
        return first.identity

    pinned = load_plan(shop.root, environ={}, cache=cache, find_pinned=find_pinned)
    assert asked == [first.stored.name]
    assert (pinned.from_cache, pinned.identity) == (True, first.identity)
    assert drop_clock(pinned.plan) == drop_clock(first.plan)
    for file in first.list_files()[1:]:
        file.unlink()
    again = load_plan(shop.root, environ={}, cache=cache, find_pinned=find_pinned)
    assert again.identity == second.identity
