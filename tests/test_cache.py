"""The cache: whatever happens to its folder, entries are never wrong, and no exception is raised."""

import os
import pickle
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

import starlake_dagster_components.cache as module
from starlake_dagster_components.cache import Cache, build_entry_name, deserialize, open_cache, serialize
from starlake_dagster_components.errors import InvalidSetting, Location


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "plans")


@pytest.fixture
def new_versions() -> Iterator[None]:
    """Forget the versions before and after the test."""
    module._describe_versions.cache_clear()
    yield
    module._describe_versions.cache_clear()


class TestEntries:
    def test_kept_entries_are_found(self, cache: Cache) -> None:
        assert cache.get("a") is None
        cache.put("a", b"first")
        cache.put("a", b"second")
        assert bytes(cache.get("a") or b"") == b"second"
        assert cache.get("b") is None

    def test_only_its_owner_can_read_an_entry(self, cache: Cache) -> None:
        path = cache.put("a", b"x")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700

    def test_everyone_can_read_entries_of_a_readable_cache(self, tmp_path: Path) -> None:
        path = Cache(tmp_path / "image", readable=True).put("a", b"x")
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755

    @pytest.mark.parametrize("at", [0, 20, 40, 60, 80, -1])
    def test_a_changed_byte_invalidates_an_entry(self, cache: Cache, at: int) -> None:
        path = cache.put("a", b"y" * 40)
        content = bytearray(path.read_bytes())
        content[at] ^= 1
        path.write_bytes(content)
        assert cache.get("a") is None

    @pytest.mark.parametrize("length", [0, 1, 36, 50, 100])
    def test_a_truncated_entry_is_invalid(self, cache: Cache, length: int) -> None:
        path = cache.put("a", b"y" * 100)
        path.write_bytes(path.read_bytes()[:length])
        assert cache.get("a") is None
        cache.put("a", b"again")
        assert bytes(cache.get("a") or b"") == b"again"

    @pytest.mark.parametrize("mode", [0o602, 0o620, 0o622, 0o666])
    def test_a_file_that_others_may_write_is_not_trusted(self, cache: Cache, mode: int) -> None:
        path = cache.put("a", b"x")
        path.chmod(mode)
        assert cache.get("a") is None

    @pytest.mark.parametrize("mode", [0o600, 0o400, 0o644, 0o755])
    def test_a_file_that_others_may_only_read_is_trusted(self, cache: Cache, mode: int) -> None:
        cache.put("a", b"x").chmod(mode)
        assert bytes(cache.get("a") or b"") == b"x"

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only the administrator can give a file away")
    def test_a_file_of_another_user_is_not_trusted(self, cache: Cache) -> None:
        path = cache.put("a", b"x")
        os.chown(path, 12345, 12345)
        assert cache.get("a") is None

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
    def test_a_named_pipe_in_place_of_an_entry_does_not_block(self, cache: Cache) -> None:
        cache.folder.mkdir()
        os.mkfifo(cache.get_path("a"), 0o600)
        assert cache.get("a") is None
        cache.put("a", b"x")
        assert bytes(cache.get("a") or b"") == b"x"

    def test_a_folder_in_place_of_an_entry_is_treated_as_absent(self, cache: Cache) -> None:
        cache.get_path("a").mkdir(parents=True)
        assert cache.get("a") is None
        with pytest.raises(IsADirectoryError):
            cache.put("a", b"x")
        assert [p.name for p in cache.folder.iterdir()] == [cache.get_path("a").name]

    def test_concurrent_writers_never_expose_a_partial_file(self, cache: Cache) -> None:
        bodies = {bytes([65 + i]) * 200_000 for i in range(4)}
        seen: list[bytes] = []
        stop = threading.Event()

        def write(body: bytes) -> None:
            while not stop.is_set():
                cache.put("a", body)

        def read() -> None:
            for _ in range(300):
                found = cache.get("a")
                if found is not None:
                    seen.append(bytes(found))
            stop.set()

        # The reader may be the first to run.
        cache.put("a", min(bodies))
        threads = [threading.Thread(target=write, args=(body,)) for body in bodies] + [threading.Thread(target=read)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen
        assert set(seen) <= bodies
        assert [p.name for p in cache.folder.iterdir()] == [cache.get_path("a").name]

    def test_entries_that_were_unused_for_a_month_are_removed(self, cache: Cache) -> None:
        old, used = cache.put("old", b"x"), cache.put("used", b"x")
        long_ago = time.time() - 40 * 86_400
        os.utime(old, (long_ago, long_ago))
        os.utime(used, (long_ago, long_ago))
        cache.get("used")
        cache.put("new", b"x")
        assert sorted(p.name for p in cache.folder.iterdir()) == ["new.plan", "used.plan"]

    def test_a_link_to_an_entry_is_followed(self, cache: Cache, tmp_path: Path) -> None:
        path = cache.put("a", b"x")
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
        assert bytes(cache.get("a") or b"") == b"x"

    @pytest.mark.parametrize(("hours", "kept"), [(30 * 24 - 1, True), (30 * 24 + 1, False)])
    def test_an_entry_is_unused_after_30_days(self, cache: Cache, hours: int, kept: bool) -> None:
        then = time.time() - hours * 3600
        for path in (cache.put("old", b"x"), cache.folder / "old.tmp"):
            path.touch()
            os.utime(path, (then, then))
        foreign = cache.folder / "notes.txt"
        foreign.touch()
        os.utime(foreign, (0, 0))
        (cache.folder / "old2.plan").symlink_to("nowhere")
        cache.put("new", b"x")
        assert (cache.folder / "old.plan").exists() == (cache.folder / "old.tmp").exists() == kept
        assert foreign.exists()
        assert (cache.folder / "old2.plan").is_symlink()

    def test_a_folder_named_like_an_old_entry_does_not_keep_others(self, cache: Cache) -> None:
        cache.put("new", b"x")
        for name in ("a.plan", "z.plan"):
            (cache.folder / name).mkdir()
            os.utime(cache.folder / name, (0, 0))
        (cache.folder / "m.plan").touch()
        os.utime(cache.folder / "m.plan", (0, 0))
        cache.put("newer", b"x")
        assert sorted(p.name for p in cache.folder.iterdir()) == ["a.plan", "new.plan", "newer.plan", "z.plan"]

    @pytest.mark.parametrize(("hours", "marked"), [(23, False), (25, True)])
    def test_use_of_an_entry_is_recorded_once_a_day(self, cache: Cache, hours: int, marked: bool) -> None:
        path = cache.put("a", b"x")
        then = int(time.time()) - hours * 3600
        os.utime(path, (then, then))
        cache.get("a")
        assert (path.stat().st_mtime > then) == marked

    def test_a_truncated_entry_is_not_marked_as_used(self, cache: Cache) -> None:
        path = cache.put("a", b"x")
        path.write_bytes(b"")
        os.utime(path, (1000, 1000))
        assert cache.get("a") is None
        assert path.stat().st_mtime == 1000


def _call(module: str, name: str, argument: str) -> bytes:
    """Return a pickle that calls a function."""
    texts = b"".join(b"\x8c" + bytes([len(text)]) + text.encode() for text in (module, name))
    return b"\x80\x04" + texts + b"\x93\x8c" + bytes([len(argument)]) + argument.encode() + b"\x85R."


ALLOWED = {("starlake_dagster_components.errors", "Location"): Location}


class TestData:
    def test_data_is_read_back_unchanged(self) -> None:
        value = ({"x": Location("f", 3)}, [1.5, None], frozenset({"q"}), b"z")
        assert deserialize(serialize(value), ALLOWED) == value
        big = {f"key {i}": "text" * 50_000 for i in range(20)}
        assert deserialize(memoryview(serialize(big)), {}) == big

    @pytest.mark.parametrize(
        "evil",
        [
            pickle.dumps(os.system),
            _call("os", "system", "true"),
            _call("builtins", "eval", "1"),
            _call("starlake_dagster_components.errors", "did_you_mean", "x"),
            _call("starlake_dagster_components.errors", "__builtins__", "x"),
            _call("starlake_dagster_components.errors", "Location.__init__.__globals__", "x"),
            _call("starlake_dagster_components.errors", "difflib", "x"),
            _call("starlake_dagster_components.engine", "run_command", "x"),
        ],
    )
    def test_only_allowed_classes_are_deserialized(self, evil: bytes) -> None:
        with pytest.raises(pickle.UnpicklingError, match="is not expected here"):
            deserialize(evil, ALLOWED)

    def test_entry_names_depend_on_all_values(self) -> None:
        names = {
            build_entry_name("a"),
            build_entry_name("b"),
            build_entry_name("a", None),
            build_entry_name("a", ""),
            build_entry_name("a", "x", "y"),
            build_entry_name("a", "x\0y"),
            build_entry_name("a", "\udcff"),
        }
        assert len(names) == 7
        assert build_entry_name("a", ("x", 1)) == build_entry_name("a", ("x", 1))

    def test_entry_names_are_the_same_in_every_process(self) -> None:
        code = "from starlake_dagster_components.cache import build_entry_name; print(build_entry_name('a'))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == build_entry_name("a")

    @pytest.mark.parametrize(
        ("file", "changes"),
        [
            ("errors.py", True),
            ("cache.py", True),
            ("project/reader.py", True),
            ("project/sql/references.py", True),
            ("pipelines/plan.py", True),
            ("pipelines/folder/module.py", True),
            ("lineage/statement.py", True),
            ("cli/main.py", False),
        ],
    )
    def test_entry_names_depend_on_the_code_that_computes_entries(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_versions: None, file: str, changes: bool
    ) -> None:
        monkeypatch.setattr(module, "__file__", str(tmp_path / "cache.py"))
        before = build_entry_name("a")
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("pass")
        assert build_entry_name("a") == before  # The code is read once in a process.
        module._describe_versions.cache_clear()
        assert (build_entry_name("a") != before) == changes

    @pytest.mark.parametrize("library", ["sqlglot", "jinja2", "PyYAML"])
    def test_entry_names_depend_on_the_versions_of_libraries(
        self, monkeypatch: pytest.MonkeyPatch, new_versions: None, library: str
    ) -> None:
        before = build_entry_name("a")
        monkeypatch.setattr(module, "version", lambda name: "0" if name == library else version(name))
        module._describe_versions.cache_clear()
        assert build_entry_name("a") != before


class TestChoice:
    def test_the_setting_overrides_the_variable_which_overrides_the_folder_of_the_user(self, tmp_path: Path) -> None:
        environ = {"SL_DAGSTER_CACHE": str(tmp_path / "variable"), "XDG_CACHE_HOME": str(tmp_path / "user")}
        by_setting, by_variable = open_cache(str(tmp_path / "setting"), environ), open_cache(None, environ)
        by_user = open_cache(None, {"XDG_CACHE_HOME": str(tmp_path / "user")})
        folders = [found.folder.relative_to(tmp_path).as_posix() for found in (by_setting, by_variable, by_user) if found]
        assert folders == ["setting", "variable", "user/starlake-dagster-components"]

    @pytest.mark.parametrize("off", ["off", "OFF", "Off"])
    def test_the_cache_can_be_turned_off(self, off: str) -> None:
        assert open_cache(off, {}) is None
        assert open_cache(None, {"SL_DAGSTER_CACHE": off}) is None

    def test_a_file_as_cache_folder_is_rejected(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.touch()
        with pytest.raises(InvalidSetting, match="is a file"):
            open_cache(str(path), {})

    def test_the_cache_folder_may_be_relative_to_the_home_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        default = tmp_path / ".cache/starlake-dagster-components"
        for environ in ({}, {"XDG_CACHE_HOME": "relative", "SL_DAGSTER_CACHE": " "}, {"LOCALAPPDATA": str(tmp_path / "on_windows_only")}):
            found = open_cache(None, environ)
            assert found is not None
            assert (found.folder, found.readable) == (default, False)
        chosen = open_cache(None, {"SL_DAGSTER_CACHE": " ~/plans "}, readable=True)
        assert chosen is not None
        assert (chosen.folder, chosen.readable) == (tmp_path / "plans", True)
        (tmp_path / "file").touch()
        with pytest.raises(InvalidSetting, match=r"cache: ~/file is a file \(expected a folder, or off\)"):
            open_cache("~/file", {})
