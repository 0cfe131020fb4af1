"""Files before a load of the real Starlake, and its launchers, played back through both executors that start processes."""

import json
import os
import shutil
from pathlib import Path

import pytest
from contract import Watched
from program import is_alive
from starlake_double import HANGING
from starlake_playback import Loader, Mode, Program
from test_recorded_starlake import EXECUTORS, Shop, deliver, load_recording

from starlake_dagster_components.commands import Command
from starlake_dagster_components.project.reader import read_project

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", EXECUTORS)
@pytest.mark.parametrize("name", ["preload.native", "preload.spark", "stage_ack.native"])
def test_recorded_preloads_have_the_expected_results(shared: Path, tmp_path: Path, name: str, kind: str) -> None:
    """A preload is not ready if Starlake creates the sentinel or, without support for sentinels, ends with exit code 1."""
    commands, _, case = load_recording(shared, name)
    steps = [s for s in json.loads((case / "steps.json").read_text())["steps"] if "command" in s]
    root = tmp_path / "project"
    shutil.copytree(case / "metadata", root / "metadata")
    program = Program(tmp_path / "bin", root, root / "datasets/duckdb.db")
    read_project(root)
    for recorded, step in zip(commands, steps, strict=True):
        deliver(step, case, root)
        arguments = recorded["arguments"]
        with_sentinel = "--notReadySentinel" in arguments
        # A version without sentinels rejects the option, and its exit code means that files are not ready.
        program.play(recorded, rejects="" if with_sentinel else "--notReadySentinel")
        own = [a for a in arguments[1:] if a != "--notReadySentinel" and not a.endswith("/not_ready")]
        command = Command(arguments[0], tuple(own), str(root), program=str(program.path))
        result = EXECUTORS[kind](starlake_path=str(program.path)).run(command, Watched().invocation())
        said = "\n".join(recorded["stderr"])
        if arguments[0] == "stage" or "--domain" not in arguments:
            assert (result.exit_code, result.not_ready) == (recorded["exit_code"], False) or "Usage: starlake" in said
        else:
            not_ready = "Wrote not-ready sentinel" in said or (recorded["exit_code"] == 1 and not with_sentinel)
            assert result.not_ready == not_ready, (arguments, result)
    if name.startswith("stage"):
        assert sorted(p.name for p in (root / "datasets/stage/sales").iterdir()) == ["orders-1.csv"]


@pytest.fixture(params=["native", "spark"])
def loader(request: pytest.FixtureRequest) -> Loader:
    return request.param  # type: ignore[no-any-return]


@pytest.mark.parametrize("audit", ["duckdb", "elsewhere"])
@pytest.mark.parametrize("mode", ["main", "submit"])
@pytest.mark.parametrize("kind", EXECUTORS)
def test_failures_are_the_same_through_every_launcher(tmp_path: Path, loader: Loader, audit: str, kind: str, mode: Mode) -> None:
    shop = Shop(tmp_path, loader, audit, kind, mode=mode)
    for name, words in (("a1.csv", "boom"), ("a2.csv", "first"), ("b1.csv", "fine"), ("b2.csv", "first"), ("c1.csv", "fine")):
        shop.put(name, words)
    result = shop.load("abc")
    assert {name: (t.outcome, t.retry) for name, t in result.tables.items()} == {
        "a": ("failed", False),
        "b": ("failed", True),
        "c": ("loaded", True),
    }
    assert "Conversion Error" in str(result.tables["b"].reason)
    assert "ShutdownHook" not in str(result.reason)
    assert shop.model.list_staged() == ["a2.csv", "b2.csv"]
    shop.model.check()


@pytest.mark.parametrize("moment", ["before-insert", "after-load"])
@pytest.mark.parametrize("audit", ["duckdb", "elsewhere"])
@pytest.mark.parametrize("mode", ["main", "submit"])
@pytest.mark.parametrize("kind", EXECUTORS)
def test_a_jvm_that_ignores_sigterm_is_killed(tmp_path: Path, loader: Loader, audit: str, kind: str, mode: Mode, moment: str) -> None:
    shop = Shop(tmp_path, loader, audit, kind, mode=mode)
    shop.executor = EXECUTORS[kind](starlake_path=str(shop.program.path), grace_period=0.3)
    for number, words in enumerate(["fine", f"hang-{moment}", "fine"]):
        shop.put(f"a{number}.csv", words)
    shop.watched.on_line = lambda line: shop.watched.canceled.set() if line == HANGING else None
    result = shop.load()
    assert "the run was canceled" in str(result.reason)
    assert any("after SIGTERM, so they get SIGKILL" in text for text in shop.watched.texts)
    assert [pid for pid in find_processes(shop.program) if is_alive(pid)] == []
    assert shop.model.list_staged() == (["a1.csv", "a2.csv"] if moment == "before-insert" else ["a2.csv"])
    shop.model.check()


def find_processes(program: Program) -> list[int]:
    """Return the processes of the programs that stand for the launcher and for Java."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(program.path.parent).encode() in entry.read_bytes():
                found.append(int(entry.parent.name))
        except OSError:
            continue
    return [pid for pid in found if pid != os.getpid()]
