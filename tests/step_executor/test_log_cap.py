"""The limit of a step's output that is kept."""

from pathlib import Path

import pytest

from starlake_dagster_components.executors.starlake_output.process_output import Output
from starlake_dagster_components.masking import Mask
from starlake_dagster_components.step_executor import output
from starlake_dagster_components.step_executor.output import FileOutput, LogCap


def test_a_short_log_is_unchanged() -> None:
    parts: list[str] = []
    cap = LogCap(parts.append, 100)
    cap.write("a\n")
    cap.write("b" * 97)
    cap.close()
    assert "".join(parts) == "a\n" + "b" * 97


def test_beginning_and_end_of_a_long_log_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "KEPT_END", 20)
    parts: list[str] = []
    cap = LogCap(parts.append, 30)
    for number in range(100):
        cap.write(f"line {number:02}\n")
    cap.close()
    text = "".join(parts)
    assert text.startswith("line 00\nline 01\nline 02\nline 0\n... more than 30 characters: only the end of the rest is kept\n")
    assert text.endswith("characters omitted; the end is:\nline 97\nline 98\nline 99\n")
    assert "... 746 characters" in text


def test_one_long_string_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "KEPT_END", 5)
    parts: list[str] = []
    cap = LogCap(parts.append, 10)
    cap.write("0123456789" * 10)
    cap.close()
    assert "".join(parts).startswith("0123456789\n... more than 10 characters")
    assert "".join(parts).endswith("... 85 characters omitted; the end is:\n56789")


def test_the_file_of_a_step_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "MAX_LOG", 1000)
    monkeypatch.setattr(LogCap.__init__, "__defaults__", (1000,))
    monkeypatch.setattr(output, "KEPT_END", 100)
    made = FileOutput(lambda stream: open(tmp_path / stream, "a", encoding="utf-8"), lambda: None)  # noqa: SIM115
    for number in range(10_000):
        made.write("stdout", f"{number}\n")
    made.close()
    text = (tmp_path / "stdout").read_text()
    assert len(text) < 1400
    assert text.endswith("9998\n9999\n")


def test_lines_that_are_not_text_are_short() -> None:
    lines: list[str] = []
    made = Output(lambda level, line: lines.append(line), Mask())
    made.feed("out", bytes(range(128, 256)) * 20 + b"\n" + "größer\n".encode("latin-1") + b"plain\n")
    made.close()
    assert lines[0].endswith("(2560 bytes that are not text)")
    assert len(lines[0]) < 300
    assert lines[1:] == ["gr\\xf6\\xdfer", "plain"]
