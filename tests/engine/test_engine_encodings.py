"""Copies of files in encodings that DuckDB cannot read."""

from pathlib import Path

from starlake_dagster_components.engine.formats.encodings import make_readable
from starlake_dagster_components.engine.scratch import Scratch


def test_a_file_in_another_encoding_is_converted_once(tmp_path: Path) -> None:
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    first.write_bytes("é".encode("cp1252"))
    second.write_bytes("è".encode("cp1252"))
    with Scratch() as scratch:
        copies = [make_readable(file, "cp1252", scratch) for file in (first, second, first)]
        assert copies[0] == copies[2]
        assert [copy.read_text(encoding="utf-8") for copy in copies[:2]] == ["é", "è"]
        assert make_readable(first, "iso8859-1", scratch) != copies[0]
        assert make_readable(first, "utf-8", scratch) == first
