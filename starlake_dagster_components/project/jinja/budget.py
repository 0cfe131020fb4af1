"""How much a template may do: time, rounds of loops and output. A template is a program of whoever wrote the project."""

import time
from dataclasses import dataclass, field

_ROUNDS_BETWEEN_LOOKS = 200


class BudgetExceeded(Exception):
    """A template that does too much; the message says what."""


@dataclass(slots=True)
class ProjectBudget:
    """What all templates of a project may use together.

    Attributes:
        seconds: CPU time left.
    """

    seconds: float = 20.0


@dataclass(slots=True)
class TemplateBudget:
    """What one template may use.

    Attributes:
        project: the budget of its project, which is charged when the template is done.
        seconds: CPU time of the thread that renders.
        rounds: rounds of loops, and calls.
        characters: length of all text that is printed or captured.
    """

    project: ProjectBudget
    seconds: float = 1.5
    rounds: int = 1_000_000
    characters: int = 20_000_000
    _start: float = field(default_factory=time.thread_time)
    _until_look: int = _ROUNDS_BETWEEN_LOOKS

    def use_round(self, characters: int = 0) -> None:
        """Count a round of a loop, or a call, with the literal text in it.

        Raises:
            BudgetExceeded: it was one too many.
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
        """Count text that is printed.

        Raises:
            BudgetExceeded: it was too much.
        """
        self.characters -= count
        if self.characters < 0:
            raise BudgetExceeded("it renders too much text: more than 20 million characters")

    def check_time(self) -> None:
        """Look at the clock.

        Raises:
            BudgetExceeded: the template, or the project, has used up its time.
        """
        used = time.thread_time() - self._start
        if used > self.seconds:
            raise BudgetExceeded(f"it takes too long: more than {self.seconds:g} seconds")
        if used > self.project.seconds:
            raise BudgetExceeded("the templates of the project take too long together")

    def charge_project(self) -> None:
        """Subtract the time that was used from the budget of the project."""
        self.project.seconds -= time.thread_time() - self._start
