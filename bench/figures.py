"""Define figures with their spread, goals, and tables."""

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """The results of several measurements of the same thing.

    Attributes:
        median: the median.
        lowest: the lowest value.
        highest: the highest value.
        times: the number of measurements.
    """

    median: float
    lowest: float
    highest: float
    times: int

    def text(self, digits: int = 2) -> str:
        """Return ``median (lowest-highest)``; only the median if there is one measurement."""
        if self.times == 1:
            return f"{self.median:.{digits}f}"
        return f"{self.median:.{digits}f} ({self.lowest:.{digits}f}-{self.highest:.{digits}f})"


def spread(values: Iterable[float]) -> Spread:
    """Return the median and range of measurements."""
    found = list(values)
    return Spread(statistics.median(found), min(found), max(found), len(found))


def form_ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Return the ratios of measurements that were taken alternately, pair by pair, so that other load affects both of a pair."""
    return spread(a / b for a, b in zip(ours, theirs, strict=True))


@dataclass(frozen=True, slots=True)
class Goal:
    """A goal and its measurement.

    Attributes:
        text: description of the figure.
        limit: its maximum.
        found: the measured figure; None if it could not be measured.
        digits: number of decimal places.
    """

    text: str
    limit: float
    found: Spread | None
    digits: int = 2

    @property
    def met(self) -> bool | None:
        """True if the median is within the limit; None if it could not be measured."""
        return None if self.found is None else self.found.median <= self.limit


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Attributes:
        header: names of the columns.
        rows: the cells of each row.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def lines(self) -> Iterator[str]:
        """Yield the lines of the table in Markdown."""
        yield f"| {' | '.join(self.header)} |"
        yield f"|{'---|' * len(self.header)}"
        for row in self.rows:
            yield f"| {' | '.join(row)} |"

    def list_aligned_lines(self) -> Iterator[str]:
        """Yield the lines of the table for a terminal: aligned columns, with figures aligned to the right."""
        cells = [self.header, *self.rows]
        widths = [max(len(row[i]) for row in cells) for i in range(len(self.header))]
        for row in cells:
            yield "  ".join(
                text.ljust(width) if i == 0 else text.rjust(width) for i, (text, width) in enumerate(zip(row, widths, strict=True))
            )


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the results.

    Attributes:
        title: the title.
        tables: the measurements.
        goals: the goals and whether they are met.
        notes: remarks on the method, and on what could not be measured.
        failure: the reason why the measurement failed; empty if it did not.
    """

    title: str
    tables: Sequence[Table] = ()
    goals: Sequence[Goal] = ()
    notes: Sequence[str] = ()
    failure: str = ""

    def lines(self) -> Iterator[str]:
        """Yield the lines of the section in Markdown, with the goals first."""
        yield f"## {self.title}"
        if self.failure:
            yield f"\n**Failed**: {self.failure}"
        if self.goals:
            rows = [
                (g.text, f"<= {g.limit:g}", g.found.text(g.digits) if g.found else "not measured", format_verdict(g.met))
                for g in self.goals
            ]
            yield ""
            yield from Table(("goal", "limit", "found: median (range)", "met"), rows).lines()
        for table in self.tables:
            yield ""
            yield from table.lines()
        for note in self.notes:
            yield ""
            yield note


def format_verdict(met: bool | None) -> str:
    """Return the word for whether a goal is met."""
    return "unknown" if met is None else "yes" if met else "**no**"
