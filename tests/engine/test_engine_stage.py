"""Staging and preloading: the files that wait for each table."""

import errno
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from engine_help import Sandbox, make

from starlake_dagster_components.project.reader import read_project

ATTRIBUTES = "{ name: id, type: long }"


@pytest.fixture
def box(tmp_path: Path) -> Sandbox:
    box = make(tmp_path).table("sales", "orders", ATTRIBUTES).table("sales", "clients", ATTRIBUTES)
    (tmp_path / "datasets/incoming/sales").mkdir(parents=True)
    return box


def bring(box: Sandbox, *names: str, content: str = "id\n1\n") -> None:
    for name in names:
        box.root.joinpath("datasets/incoming/sales", name).write_text(content)


def test_files_of_the_tables_are_moved(box: Sandbox) -> None:
    bring(box, "orders-1.csv", "clients-1.csv", "other.csv", "ORDERS-2.csv", ".orders-3.csv")
    (box.root / "datasets/incoming/sales/sub").mkdir()
    bring(box, "sub/orders-9.csv")
    assert box.run("stage", "--domains", "sales", "--tables", "orders").metadata == {"starlake/staged_files": 1}
    assert box.files("stage") == ["sales/orders-1.csv"]
    box.run("stage")
    assert box.files("stage") == ["sales/clients-1.csv", "sales/orders-1.csv"]
    assert box.files("incoming") == ["sales/.orders-3.csv", "sales/ORDERS-2.csv", "sales/other.csv", "sales/sub/orders-9.csv"]
    assert box.out[0] == f"Moving 1 file(s) from {box.root}/datasets/incoming/sales to file:{box.root}/datasets/stage/sales"


def test_a_waiting_file_is_not_replaced_by_another_with_its_name(box: Sandbox) -> None:
    bring(box, "orders-1.csv", content="id\n1\n")
    box.run("stage")
    bring(box, "orders-1.csv", content="id\n2\n")
    box.run("stage")
    assert box.files("incoming") == ["sales/orders-1.csv"]
    assert any("is not loaded yet" in line for level, line in box.log if level == "warning")
    box.run("load")
    box.run("stage")
    box.run("load")
    assert box.rows("select id from sales.orders order by id") == [(1,), (2,)]


def test_staging_the_same_file_again_keeps_one_copy(box: Sandbox) -> None:
    bring(box, "orders-1.csv")
    box.run("stage")
    bring(box, "orders-1.csv")
    box.run("stage")
    assert box.files("incoming") == []
    assert box.files("stage") == ["sales/orders-1.csv"]


def test_commands_that_stage_at_the_same_time_share_the_files(box: Sandbox) -> None:
    bring(box, *(f"orders-{number}.csv" for number in range(300)))
    boxes = [Sandbox(box.root, project=read_project(box.root, environ=os.environ)) for _ in range(4)]
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(lambda one: one.run("stage"), boxes))
    assert sum(result.metadata.get("starlake/staged_files", 0) for result in results) == 300
    assert len(box.files("stage")) == 300
    assert box.files("incoming") == []


def test_files_with_an_ack_wait_for_it(box: Sandbox) -> None:
    box.table("sales", "orders", ATTRIBUTES, "format: DSV, ack: done")
    bring(box, "orders-1.csv", "orders-2.csv")
    assert box.run("preload", "--domain", "sales", "--tables", "orders", "--strategy", "imported", check=False).exit_code == 1
    bring(box, "orders-2.done", content="")
    assert box.run("preload", "--domain", "sales", "--tables", "orders", "--strategy", "imported").exit_code == 0
    box.run("stage")
    assert box.files("stage") == ["sales/orders-2.csv"]
    assert box.files("incoming") == ["sales/orders-1.csv"]


def test_stage_rejects_a_domain_without_a_directory(box: Sandbox) -> None:
    box.write({"metadata/load/sales/_config.sl.yml": "version: 1\nload:\n  name: sales\n"})
    result = box.run("stage", "--domains", "sales", check=False)
    assert "metadata/load/sales/_config.sl.yml" in (result.reason or "")
    assert "no metadata.directory" in (result.reason or "")


@pytest.mark.parametrize(
    ("strategy", "tables", "code"),
    [
        (None, "orders", 0),
        ("none", "orders", 0),
        ("imported", "orders", 0),
        ("IMPORTED", "clients,orders", 0),
        ("imported", "clients", 1),
        ("imported", None, 0),
        ("imported", "nosuch", 1),
        ("pending", "orders", 1),
        ("pending", "clients", 0),
        ("pending", None, 0),
        ("ack", "orders", 1),
    ],
)
@pytest.mark.parametrize("told", [False, True])
def test_preload_reports_whether_files_are_waiting(box: Sandbox, strategy: str | None, tables: str | None, code: int, told: bool) -> None:
    bring(box, "orders-1.csv")
    box.stage("sales", {"clients-1.csv": "id\n1\n"})
    sentinel = box.root / "not_ready"
    argv = ["preload", "--domain", "sales"]
    argv += ["--tables", tables] if tables else []
    argv += ["--strategy", strategy] if strategy else []
    argv += ["--notReadySentinel", str(sentinel)] if told else []
    result = box.run(*argv, check=False)
    assert result.exit_code == (0 if told else code)
    assert result.not_ready == bool(code)
    assert sentinel.exists() == (told and bool(code))
    assert box.files("incoming") == ["sales/orders-1.csv"]


def test_preload_removes_the_ack_file(box: Sandbox) -> None:
    ack = box.root / "go.ack"
    ack.touch()
    argv = ("preload", "--domain", "sales", "--tables", "orders", "--strategy", "ack", "--globalAckFilePath", str(ack))
    assert box.run(*argv).not_ready is False
    assert not ack.exists()
    assert box.run(*argv, check=False).not_ready is True


# Moves between file systems.


@pytest.fixture
def other_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the files of the incoming folder appear to be on another device."""
    replace = os.replace

    def reject(source: Path, target: Path) -> None:
        if "incoming" in str(source) and "incoming" not in str(target):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        replace(source, target)

    monkeypatch.setattr(os, "replace", reject)


@pytest.mark.usefixtures("other_device")
def test_files_on_another_device_are_copied_and_removed(box: Sandbox) -> None:
    bring(box, "orders-1.csv")
    box.run("stage")
    assert box.files("incoming") == []
    assert box.files("stage") == ["sales/orders-1.csv"]
    box.run("load")
    assert box.rows("select id from sales.orders") == [(1,)]


@pytest.mark.usefixtures("other_device")
def test_a_file_that_cannot_be_taken_away_is_not_loaded(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def reject(source: Path, target: Path) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    bring(box, "orders-1.csv")
    monkeypatch.setattr(os, "rename", reject)
    for _ in range(2):
        result = box.run("stage", check=False)
        assert "orders-1.csv cannot be moved to" in (result.reason or "")
        assert "stays where it is: Read-only file system" in (result.reason or "")
        box.run("load")
        assert box.files("stage") == box.files("archive") == []
    assert box.files("incoming") == ["sales/orders-1.csv"]


@pytest.mark.usefixtures("other_device")
@pytest.mark.parametrize("killed", ["touch", "rename", "copy2", "replace", "unlink"])
def test_a_move_that_was_killed_is_finished_by_the_next(box: Sandbox, monkeypatch: pytest.MonkeyPatch, killed: str) -> None:
    class Killed(BaseException):
        pass

    owner = {"touch": Path, "unlink": Path, "copy2": shutil, "rename": os, "replace": os}[killed]
    before = getattr(owner, killed)

    def kill(*args: object, **more: object) -> None:
        if killed == "replace" and ".part" not in str(args[0]):
            return before(*args, **more)  # type: ignore[no-any-return]
        before(*args, **more)
        raise Killed

    bring(box, "orders-1.csv")
    with monkeypatch.context() as patch:
        patch.setattr(owner, killed, kill)
        with pytest.raises(Killed):
            box.run("stage")
    box.run("load")
    box.run("stage")
    box.run("load")
    assert box.rows("select id from sales.orders") == [(1,)]
    assert box.files("incoming") == []
    assert box.files("archive") == ["sales/orders-1.csv"]


def test_zip_and_tar_files_are_reported_and_not_staged(box: Sandbox) -> None:
    bring(box, "all.zip", "more.TGZ")
    box.run("stage")
    named = [line for level, line in box.log if level == "warning" and "is an archive" in line]
    assert len(named) == 2
    assert box.files("incoming") == ["sales/all.zip", "sales/more.TGZ"]
