"""Figures with their spread, goals, and tables of them."""

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """The results of several measurements of the same thing.

    Attributes:
        median: the one in the middle.
        lowest: least of them.
        highest: most of them.
        times: how many.
    """

    median: float
    lowest: float
    highest: float
    times: int

    def text(self, digits: int = 2) -> str:
        """Write it as ``median (lowest-highest)``; one measurement has no spread."""
        if self.times == 1:
            return f"{self.median:.{digits}f}"
        return f"{self.median:.{digits}f} ({self.lowest:.{digits}f}-{self.highest:.{digits}f})"


def spread(values: Iterable[float]) -> Spread:
    """Return median and range of some measurements."""
    found = list(values)
    return Spread(statistics.median(found), min(found), max(found), len(found))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Return the ratio of measurements that were taken in turn, pair by pair: a busy minute hits both of a pair."""
    return spread(a / b for a, b in zip(ours, theirs, strict=True))


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal and what was found.

    Attributes:
        text: what is asked for.
        limit: the most that it may be.
        found: what it is; None = it could not be measured.
        digits: behind the point.
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
    """Rows under a header.

    Attributes:
        header: names of the columns.
        rows: cells.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def lines(self) -> Iterator[str]:
        """Write it in Markdown."""
        yield f"| {' | '.join(self.header)} |"
        yield f"|{'---|' * len(self.header)}"
        for row in self.rows:
            yield f"| {' | '.join(row)} |"

    def aligned(self) -> Iterator[str]:
        """Write it for a terminal: columns one below the other, figures to the right."""
        cells = [self.header, *self.rows]
        widths = [max(len(row[i]) for row in cells) for i in range(len(self.header))]
        for row in cells:
            yield "  ".join(
                text.ljust(width) if i == 0 else text.rjust(width) for i, (text, width) in enumerate(zip(row, widths, strict=True))
            )


@dataclass(frozen=True, slots=True)
class Section:
    """One topic of the results.

    Attributes:
        title: of what.
        tables: what was measured.
        goals: what of it was asked for.
        notes: how it was measured, and what could not be.
        failure: why it could not be measured; empty = it was.
    """

    title: str
    tables: Sequence[Table] = ()
    goals: Sequence[Goal] = ()
    notes: Sequence[str] = ()
    failure: str = ""

    def lines(self) -> Iterator[str]:
        """Write it in Markdown: goals first."""
        yield f"## {self.title}"
        if self.failure:
            yield f"\n**Failed**: {self.failure}"
        if self.goals:
            rows = [(g.text, f"<= {g.limit:g}", g.found.text(g.digits) if g.found else "not measured", verdict(g.met)) for g in self.goals]
            yield ""
            yield from Table(("goal", "limit", "found: median (range)", "met"), rows).lines()
        for table in self.tables:
            yield ""
            yield from table.lines()
        for note in self.notes:
            yield ""
            yield note


def verdict(met: bool | None) -> str:
    """Return how it stands with a goal."""
    return "unknown" if met is None else "yes" if met else "**no**"
