"""The folders of a load: which files wait, and where files are moved."""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from starlake_dagster_components.cancellation_event import Canceled
from starlake_dagster_components.commands import LoadFiles
from starlake_dagster_components.errors import CommandError
from starlake_dagster_components.executors.local.load_files import FilesOfLoad, find_waiting_files, hold_files

SET_ASIDE = (".orders-5.csv", "orders-6.csv.sl-loaded", "orders-7.csv.sl-unclear", "orders-8.csv.sl-unclear3")


@pytest.fixture
def files(tmp_path: Path) -> LoadFiles:
    """The folders of a table whose pattern also accepts the names of files that are set aside; none of the folders exists."""
    return LoadFiles(str(tmp_path / "stage"), str(tmp_path / "ingesting"), (r"\.?orders-.*",), str(tmp_path / "archive"))


@pytest.fixture
def load(files: LoadFiles) -> Iterator[FilesOfLoad]:
    with hold_files(files, log=lambda level, line: None, canceled=Canceled()) as held:
        yield held


def put(folder: str, *names: str) -> None:
    for name in names:
        path = Path(folder, name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{folder} {name}")


def list_names(folder: str) -> list[str]:
    return sorted(p.name for p in Path(folder).iterdir())


def test_waiting_files_are_found(files: LoadFiles) -> None:
    assert find_waiting_files(files, staged=True) == []
    put(files.stage, "orders-2.csv", "orders-1.csv", "items-1.csv", ".orders-5.csv")
    put(files.ingesting, "orders-4.csv", "orders-3.csv", "orders-1.csv", "items-1.csv", *SET_ASIDE)
    Path(files.ingesting, "orders-folder").mkdir()
    assert find_waiting_files(files, staged=False) == ["orders-1.csv", "orders-3.csv", "orders-4.csv"]
    assert find_waiting_files(files, staged=True) == [f"orders-{number}.csv" for number in range(1, 5)]


def test_only_files_of_the_table_are_listed(files: LoadFiles, load: FilesOfLoad) -> None:
    assert (load.list_left(), load.list_staged()) == ([], [])
    put(files.stage, "orders-2.csv", "orders-1.csv", "items-1.csv", *SET_ASIDE)
    put(files.ingesting, "orders-4.csv", "orders-3.csv", "items-1.csv", *SET_ASIDE)
    assert load.list_left() == ["orders-3.csv", "orders-4.csv"]
    assert load.list_staged() == ["orders-1.csv", "orders-2.csv"]


def test_files_are_taken_from_the_archive(files: LoadFiles, load: FilesOfLoad) -> None:
    put(files.archive, "orders-2.csv", "orders-1.csv", "orders-3.csv")
    assert load.take_from_archive(["orders-4.csv", "orders-2.csv", "orders-1.csv"]) == (["orders-1.csv", "orders-2.csv"], ["orders-4.csv"])
    assert list_names(files.stage) == ["orders-1.csv", "orders-2.csv"]
    assert list_names(files.archive) == ["orders-3.csv"]


def test_files_are_reported_missing_if_there_is_no_archive(files: LoadFiles, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    put(str(tmp_path), "orders-1.csv")
    monkeypatch.chdir(tmp_path)
    load = FilesOfLoad(replace(files, archive=""), lambda level, line: None)
    assert load.take_from_archive(["orders-1.csv"]) == ([], ["orders-1.csv"])
    assert (tmp_path / "orders-1.csv").exists()


def test_loaded_files_go_to_the_archive(files: LoadFiles, load: FilesOfLoad) -> None:
    put(files.ingesting, "orders-1.csv", "orders-2.csv")
    put(files.archive, "orders-1.csv")
    assert load.archive(["orders-2.csv", "orders-1.csv"]) == [f"{files.archive}/orders-1.csv", f"{files.archive}/orders-2.csv"]
    assert list_names(files.archive) == ["orders-1.csv", "orders-2.csv"]
    assert Path(files.archive, "orders-1.csv").read_text() == f"{files.ingesting} orders-1.csv"
    assert load.list_left() == []


def test_without_an_archive_loaded_files_stay_and_are_not_loaded_again(files: LoadFiles) -> None:
    load = FilesOfLoad(replace(files, archive=""), lambda level, line: None)
    put(files.ingesting, "orders-1.csv")
    assert load.archive(["orders-1.csv"]) == [f"{files.ingesting}/orders-1.csv.sl-loaded"]
    assert list_names(files.ingesting) == ["orders-1.csv.sl-loaded"]
    assert (load.list_left(), find_waiting_files(files, staged=True)) == ([], [])


def test_each_file_that_is_set_aside_keeps_its_content(files: LoadFiles, load: FilesOfLoad) -> None:
    suffixes = (".sl-unclear", ".sl-unclear1", ".sl-unclear2")
    for number, suffix in enumerate(suffixes):
        put(files.ingesting, "orders-1.csv")
        Path(files.ingesting, "orders-1.csv").write_text(str(number))
        assert load.set_aside(["orders-1.csv"]) == [f"{files.ingesting}/orders-1.csv{suffix}"]
    assert [Path(files.ingesting, f"orders-1.csv{suffix}").read_text() for suffix in suffixes] == ["0", "1", "2"]
    assert load.list_left() == []


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        (r"o\.1.*\.csv|o\.csv", "o.1.csv"),
        (r"o-?\d*\.csv", "o-1.csv"),
        (r"o_?\d*\.csv", "o_1.csv"),
        (r"o\d*\.csv", "o1.csv"),
        (r"(\d+-)?o\.csv", "1-o.csv"),
        (r"o\.csv(\.\d+)?", "o.csv.1"),
        (r"o(99)?\.csv", "o99.csv"),
    ],
)
def test_a_file_whose_name_is_taken_gets_one_that_the_pattern_accepts(files: LoadFiles, pattern: str, name: str) -> None:
    put(files.stage, "o.csv")
    put(files.ingesting, "o.csv")
    load = FilesOfLoad(replace(files, patterns=(pattern,)), lambda level, line: None)
    assert load.put_back(["o.csv"]) == [name]
    assert list_names(files.stage) == sorted(["o.csv", name])
    assert Path(files.stage, name).read_text() == f"{files.ingesting} o.csv"
    assert list_names(files.ingesting) == []


def test_a_name_beyond_the_proposed_ones_is_not_invented(files: LoadFiles) -> None:
    put(files.stage, "o.csv")
    put(files.ingesting, "o.csv")
    load = FilesOfLoad(replace(files, patterns=(r"o(100)?\.csv",)), lambda level, line: None)
    with pytest.raises(CommandError, match="another file of the same name"):
        load.put_back(["o.csv"])
    assert list_names(files.ingesting) == ["o.csv"]


def test_a_file_that_cannot_be_moved_is_named(load: FilesOfLoad) -> None:
    with pytest.raises(CommandError, match=r"orders-1\.csv was not loaded and cannot be moved to .*: No such file or directory"):
        load.set_aside(["orders-1.csv"])


def test_a_file_in_both_folders_is_kept_once(files: LoadFiles, load: FilesOfLoad) -> None:
    for folder in (files.stage, files.ingesting):
        put(folder, "orders-1.csv")
        Path(folder, "orders-1.csv").write_text("the same")
    assert load.put_back(["orders-1.csv"]) == ["orders-1.csv"]
    assert (list_names(files.stage), list_names(files.ingesting)) == (["orders-1.csv"], [])


def test_files_of_the_same_size_and_time_are_compared_by_content(files: LoadFiles, load: FilesOfLoad) -> None:
    for folder, content in ((files.stage, "1"), (files.ingesting, "2")):
        put(folder, "orders-1.csv")
        Path(folder, "orders-1.csv").write_text(content)
        os.utime(Path(folder, "orders-1.csv"), (1_000_000_000, 1_000_000_000))
    assert load.put_back(["orders-1.csv"]) == ["orders-1.1.csv"]
    assert Path(files.stage, "orders-1.1.csv").read_text() == "2"


def test_links_are_not_files_of_a_load(files: LoadFiles, load: FilesOfLoad, tmp_path: Path) -> None:
    put(str(tmp_path), "elsewhere")
    for folder in (files.stage, files.ingesting):
        put(folder, "orders-1.csv")
        Path(folder, "orders-2.csv").symlink_to(tmp_path / "elsewhere")
    assert (load.list_staged(), load.list_left()) == (["orders-1.csv"], ["orders-1.csv"])


def test_the_folders_above_are_created(files: LoadFiles, tmp_path: Path) -> None:
    deep = replace(files, stage=str(tmp_path / "a/b/stage"), archive=str(tmp_path / "c/d/archive"))
    load = FilesOfLoad(deep, lambda level, line: None)
    put(files.ingesting, "orders-1.csv", "orders-2.csv")
    assert load.put_back(["orders-1.csv"]) == ["orders-1.csv"]
    assert load.archive(["orders-2.csv"]) == [f"{deep.archive}/orders-2.csv"]
    assert (list_names(deep.stage), list_names(deep.archive)) == (["orders-1.csv"], ["orders-2.csv"])


def test_a_file_that_no_pattern_accepts_keeps_its_name(files: LoadFiles, load: FilesOfLoad) -> None:
    put(files.ingesting, "items-1.csv")
    assert load.put_back(["items-1.csv"]) == ["items-1.csv"]
    assert list_names(files.stage) == ["items-1.csv"]


def test_a_folder_in_the_archive_is_not_a_file(files: LoadFiles, load: FilesOfLoad) -> None:
    Path(files.archive, "orders-1.csv").mkdir(parents=True)
    assert load.take_from_archive(["orders-1.csv"]) == ([], ["orders-1.csv"])


@pytest.mark.parametrize("links", ["none", "within a folder"])
@pytest.mark.parametrize("taken", [False, True])
def test_files_are_moved_on_file_systems_without_hard_links(
    files: LoadFiles, load: FilesOfLoad, monkeypatch: pytest.MonkeyPatch, links: str, taken: bool
) -> None:
    link = os.link

    def link_within(source: Any, target: Any) -> None:
        if links == "none" or Path(source).parent != Path(target).parent:
            raise OSError(18, "Invalid cross-device link")
        link(source, target)

    monkeypatch.setattr(os, "link", link_within)
    put(files.ingesting, "orders-1.csv")
    os.utime(Path(files.ingesting, "orders-1.csv"), (1_000_000_000, 1_000_000_000))
    if taken:
        put(files.stage, "orders-1.csv")
    (name,) = load.put_back(["orders-1.csv"])
    assert name == ("orders-1.1.csv" if taken else "orders-1.csv")
    assert Path(files.stage, name).read_text() == f"{files.ingesting} orders-1.csv"
    assert Path(files.stage, name).stat().st_mtime == 1_000_000_000
    assert Path(files.stage, "orders-1.csv").read_text() == f"{files.stage if taken else files.ingesting} orders-1.csv"
    assert (list_names(files.stage), list_names(files.ingesting)) == (sorted({"orders-1.csv", name}), [])


def test_files_of_another_load_that_is_running_are_not_left_files(files: LoadFiles) -> None:
    put(files.ingesting, "orders-1.csv", "orders-2.csv")
    held, done = threading.Event(), threading.Event()

    def hold_other() -> None:
        with hold_files(replace(files, patterns=(r"orders-1\..*",)), log=lambda level, line: None, canceled=Canceled()):
            held.set()
            done.wait()

    thread = threading.Thread(target=hold_other)
    thread.start()
    held.wait()
    with hold_files(files, log=lambda level, line: None, canceled=Canceled()) as load:
        assert load.list_left() == ["orders-2.csv"]
        done.set()
        thread.join()
        assert load.list_left() == ["orders-1.csv", "orders-2.csv"]


def test_files_of_a_load_can_be_listed_from_another_thread(files: LoadFiles, load: FilesOfLoad) -> None:
    put(files.ingesting, "orders-1.csv")
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(load.list_left).result() == ["orders-1.csv"]
