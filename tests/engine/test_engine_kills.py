"""A command that is killed leaves tables and files as they were before it or as they are after it."""

from pathlib import Path

from kills import kill_often


def test_killed_commands_lose_nothing_and_do_nothing_twice(tmp_path: Path) -> None:
    found = kill_often(tmp_path, kills=20, seed=20240229)
    assert found.problems == []
    assert found.kills == 20
    assert found.files > 5
    assert sum(found.inside.values()) > 5
