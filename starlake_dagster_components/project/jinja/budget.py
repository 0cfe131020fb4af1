"""Limit the time, loop iterations, and output of a template, which is a program that anyone with access to the project can write."""

import time
from dataclasses import dataclass, field

_ITERATIONS_BETWEEN_CHECKS = 20


class BudgetExceeded(Exception):
    """A template exceeded a limit; the message names the limit."""


@dataclass(slots=True)
class ProjectBudget:
    """The remaining CPU time that all templates of a project share, in seconds."""

    seconds: float = 20.0


@dataclass(slots=True)
class TemplateBudget:
    """The limits of one template. The methods raise :class:`BudgetExceeded` if a limit is exceeded.

    Attributes:
        project: the budget of its project, which is charged after the template was rendered.
        seconds: maximum CPU time of the rendering thread.
        iterations: remaining loop iterations and calls.
        characters: remaining length of all text that is printed or captured.
    """

    project: ProjectBudget
    seconds: float = 1.5
    iterations: int = 1_000_000
    characters: int = 20_000_000
    _start: float = field(default_factory=time.thread_time)
    _until_check: int = _ITERATIONS_BETWEEN_CHECKS

    def count_iteration(self, characters: int = 0) -> None:
        """Count a loop iteration or a call, and the characters of the literal text in it."""
        self.iterations -= 1
        self.count_characters(characters)
        self._until_check -= 1
        if self.iterations < 0:
            raise BudgetExceeded("it loops too often: more than a million iterations")
        if self._until_check < 0:
            self._until_check = _ITERATIONS_BETWEEN_CHECKS
            self.check_time()

    def count_characters(self, count: int) -> None:
        """Count characters that are printed."""
        self.characters -= count
        if self.characters < 0:
            raise BudgetExceeded("it renders too much text: more than 20 million characters")

    def check_time(self) -> None:
        """Check the CPU time that the template and the project have used so far."""
        used = time.thread_time() - self._start
        if used > self.seconds:
            raise BudgetExceeded(f"it takes too long: more than {self.seconds:g} seconds")
        if used > self.project.seconds:
            raise BudgetExceeded("the templates of the project together take too long")

    def charge_project(self) -> None:
        """Subtract the time used from the project's budget."""
        self.project.seconds -= time.thread_time() - self._start
