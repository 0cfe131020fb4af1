"""Files in folders that other users can access. More tests are in ``test_cache.py``."""

import os
import stat
from pathlib import Path

import pytest

from starlake_dagster_components.trusted_files import mark_used, read_trusted, write_whole


def test_a_link_is_only_followed_on_request(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "file")
    write_whole(tmp_path / "file", b"content")
    assert read_trusted(tmp_path / "link") is None
    assert read_trusted(tmp_path / "link", follow_links=True) == b"content"
    assert read_trusted(tmp_path / "file") == b"content"


def test_a_file_is_read_up_to_a_limit(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", bytes(4 * 1024 * 1024 + 1))
    assert len(read_trusted(tmp_path / "file") or b"") == 4 * 1024 * 1024
    assert len(read_trusted(tmp_path / "file", longest=3) or b"") == 3
    assert len(read_trusted(tmp_path / "file", longest=-1) or b"") == 4 * 1024 * 1024 + 1


def test_a_file_can_be_read_by_all_users_unless_it_is_private(tmp_path: Path) -> None:
    write_whole(tmp_path / "open/file", b"")
    write_whole(tmp_path / "private/file", b"", readable=False)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "open", tmp_path / "private")}
    assert modes == {"open": 0o755, "private": 0o700}
    assert stat.S_IMODE((tmp_path / "open/file").stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "private/file").stat().st_mode) == 0o600


def test_a_file_is_read_whole_while_it_is_replaced(tmp_path: Path) -> None:
    """The temporary file is in the same folder, which makes the replacement atomic, and it is gone afterward."""
    write_whole(tmp_path / "file", b"first")
    with open(tmp_path / "file", "rb") as opened:
        write_whole(tmp_path / "file", b"second")
        assert opened.read() == b"first"
    assert read_trusted(tmp_path / "file") == b"second"
    assert os.listdir(tmp_path) == ["file"]


def test_a_temporary_file_has_the_ending_by_which_the_cache_removes_old_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "unlink", lambda path: None)  # As in a process that is killed.
    (tmp_path / "new/folder/file").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        write_whole(tmp_path / "new/folder/file", b"content")
    assert [path.suffix for path in (tmp_path / "new/folder").iterdir() if path.is_file()] == [".tmp"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert read_trusted(tmp_path / "pipe") is None


def test_missing_folders_are_created(tmp_path: Path) -> None:
    write_whole(tmp_path / "new/folder/file", b"content")
    assert read_trusted(tmp_path / "new/folder/file") == b"content"


def test_a_file_that_is_gone_is_not_marked_as_used(tmp_path: Path) -> None:
    mark_used(tmp_path / "file")
    assert os.listdir(tmp_path) == []
    assert read_trusted(tmp_path / "file") is None
