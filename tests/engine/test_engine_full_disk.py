"""A full disk: no row is lost or loaded twice, the message names the place, and the next command succeeds."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_help import APPLICATION, Sandbox, make

ATTRIBUTES = """{ name: id, type: long }
{ name: name, type: string }"""
ROWS = 150_000
CONTENT = "id;name\n" + "".join(f"{n};{n * 2654435761:x}{n * 40503:x}\n" for n in range(ROWS))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


@pytest.fixture
def box(tmp_path: Path) -> Sandbox:
    return make(tmp_path / "project").table("s", "orders", ATTRIBUTES)


def make_room(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)


def check_loaded(box: Sandbox, rows: list[tuple[int, ...]]) -> None:
    assert rows == [(ROWS, ROWS)]
    assert box.files("stage") == box.files("ingesting") == []
    assert [path.name for path in (box.root / "datasets/archive/s").iterdir()] == ["orders.csv"]


COUNT = "select count(*), count(distinct id) from s.orders"


def test_a_load_that_fills_the_database_disk_can_be_repeated(box: Sandbox, disk: Path) -> None:
    box.write({"metadata/application.sl.yml": APPLICATION.replace("{{SL_ROOT}}/datasets", str(disk / "data"))})
    (disk / "filled").write_bytes(bytes(1_000_000))
    assert f"the disk is full: {disk}/data" in (box.load("s", {"orders.csv": CONTENT}, check=False).reason or "")
    (disk / "filled").unlink()
    result = box.load("s", check=False)
    assert f"orders.csv: the disk is full: {disk}/data/duckdb.db" in (result.reason or "")
    assert result.retry
    assert box.files("archive") == []
    make_room(disk)
    box.load("s")
    shutil.copy(disk / "data/duckdb.db", box.root / "datasets/duckdb.db")
    check_loaded(box, box.rows(COUNT))


@pytest.mark.parametrize("metadata", ["separator: '<--->'", "encoding: windows-1252"])
def test_a_full_disk_for_temporary_files_is_reported(box: Sandbox, disk: Path, monkeypatch: pytest.MonkeyPatch, metadata: str) -> None:
    box.table("s", "orders", ATTRIBUTES, f"format: DSV, {metadata}").table("s", "zones", ATTRIBUTES)
    content = CONTENT.replace(";", "<--->") if "separator" in metadata else CONTENT
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(disk))
        result = box.load("s", {"orders.csv": content, "zones.csv": "id;name\n1;a\n"}, check=False)
    assert f"orders.csv: the disk is full: {disk}/starlake-dagster-load-" in (result.reason or "")
    assert result.retry
    assert box.files("archive") == ["s/zones.csv"]
    assert list(disk.glob("starlake-dagster-load-*")) == []
    box.run("load")
    assert box.rows(COUNT) == [(ROWS, ROWS)]


def test_a_full_archive_disk_is_reported(box: Sandbox, disk: Path) -> None:
    (disk / "s").mkdir()
    (box.root / "datasets").mkdir()
    (box.root / "datasets/archive").symlink_to(disk)
    for _ in range(2):
        result = box.load("s", {} if box.files("ingesting") else {"orders.csv": CONTENT}, check=False)
        place = f"the disk is full: {box.root}/datasets/archive/s/orders.csv"
        assert f"the file is loaded, but cannot be moved to the archive: {place}" in (result.reason or "")
        assert list((disk / "s").iterdir()) == []
        assert box.rows(COUNT) == [(ROWS, ROWS)]
    make_room(disk)
    box.load("s")
    check_loaded(box, box.rows(COUNT))


def test_a_full_stage_disk_is_reported(box: Sandbox, disk: Path) -> None:
    box.write({"datasets/incoming/s/orders.csv": CONTENT})
    (box.root / "datasets/stage").symlink_to(disk)
    reason = box.run("stage", check=False).reason or ""
    stays = f"{box.root}/datasets/incoming/s/orders.csv cannot be moved to {box.root}/datasets/stage/s, and stays where it is"
    assert f"{stays}: the disk is full: {box.root}/datasets/stage/s/orders.csv; free some space" in reason
    assert len(reason.splitlines()) == 1
    assert box.files("incoming") == ["s/orders.csv"]
    assert list((disk / "s").iterdir()) == []
    make_room(disk)
    box.run("stage")
    box.load("s")
    check_loaded(box, box.rows(COUNT))
    assert box.files("incoming") == []


def test_a_query_that_fills_the_temporary_disk_fails(box: Sandbox, disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = 'second.db", memory_limit: "60MB", threads: "1"'
    application = APPLICATION.replace('second.db"', options).replace("connectionRef: duckdb", "connectionRef: second")
    box.write({"metadata/application.sl.yml": application})
    box.task("k.big", "select i, md5(i::varchar) as m from range(3000000) t(i) order by m")
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(disk))
        patch.setattr("starlake_dagster_components.engine.instances._free", [])
        result = box.run("transform", "--name", "k.big", check=False)
    assert f"the disk is full: {disk}; free some space" in (result.reason or "")
    assert result.retry
