"""Limit a template's time, loop iterations, and output. A template is a program that anyone with access to the project can write."""

import time
from dataclasses import dataclass, field

_ROUNDS_BETWEEN_LOOKS = 200


class BudgetExceeded(Exception):
    """A template that exceeds a limit; the message says which."""


@dataclass(slots=True)
class ProjectBudget:
    """The limits that all templates of a project share.

    Attributes:
        seconds: CPU time left.
    """

    seconds: float = 20.0


@dataclass(slots=True)
class TemplateBudget:
    """The limits of one template.

    Attributes:
        project: the budget of its project, which is charged when the template is rendered.
        seconds: CPU time of the rendering thread.
        rounds: loop iterations and calls.
        characters: length of all text that is printed or captured.
    """

    project: ProjectBudget
    seconds: float = 1.5
    rounds: int = 1_000_000
    characters: int = 20_000_000
    _start: float = field(default_factory=time.thread_time)
    _until_look: int = _ROUNDS_BETWEEN_LOOKS

    def use_round(self, characters: int = 0) -> None:
        """Count a loop iteration or a call, with the literal text in it.

        Raises:
            BudgetExceeded: the limit is exceeded.
        """
        self.rounds -= 1
        self.use_characters(characters)
        self._until_look -= 1
        if self.rounds < 0:
            raise BudgetExceeded("it loops too often: more than a million rounds")
        if self._until_look < 0:
            self._until_look = _ROUNDS_BETWEEN_LOOKS
            self.check_time()

    def use_characters(self, count: int) -> None:
        """Count characters that are printed.

        Raises:
            BudgetExceeded: the limit is exceeded.
        """
        self.characters -= count
        if self.characters < 0:
            raise BudgetExceeded("it renders too much text: more than 20 million characters")

    def check_time(self) -> None:
        """Check the time that was used.

        Raises:
            BudgetExceeded: the template or the project has used up its time.
        """
        used = time.thread_time() - self._start
        if used > self.seconds:
            raise BudgetExceeded(f"it takes too long: more than {self.seconds:g} seconds")
        if used > self.project.seconds:
            raise BudgetExceeded("the templates of the project take too long together")

    def charge_project(self) -> None:
        """Subtract the time used from the project's budget."""
        self.project.seconds -= time.thread_time() - self._start
