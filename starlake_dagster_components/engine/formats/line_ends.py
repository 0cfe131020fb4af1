"""Find the line of a text file whose line end differs from those before it."""

from ..engine_errors import BadValue
from . import encodings
from .records import Layout, LineEnds, read_records
from .source import Reading

_SHOWN = {"\n": "LF", "\r\n": "CRLF", "\r": "CR"}


def find_other_line_end(reading: Reading, layout: Layout) -> BadValue | None:
    """Return the first line whose line end differs from those before it; None if there is none.

    DuckDB reads only files with a single kind of line end.
    """
    if not encodings.has_mixed_line_ends(reading.file, reading.codec):
        return None
    usual = ""
    with encodings.open_text(reading.file, reading.codec) as text:
        lines = LineEnds(text)
        for line, _ in read_records(lines, layout):
            end = lines.last
            if end and usual and end != usual:
                reason = (
                    f"the line ends with {_SHOWN[end]}, those before it with {_SHOWN[usual]}: a file must have a single kind of line end"
                )
                return BadValue(line, reason)
            usual = usual or end
    return None
