"""Parse the ``dataset_triggering_strategy`` option: ``any``, ``all``, or an expression of dataset names."""

import re
from collections.abc import Callable
from dataclasses import dataclass

_TOKEN = re.compile(r"\s*(?:(?P<open>\()|(?P<close>\))|(?P<operator>&&?|\|\|?)|(?P<name>[^\s()&|]+))")
_OPERATORS = {"and": "and", "&": "and", "&&": "and", "or": "or", "|": "or", "||": "or"}


class InvalidTrigger(ValueError):
    """A malformed expression; the message says where it is wrong."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """A parsed strategy: an expression in postfix order, as (``name`` or ``operator``, text), or nothing for ``all`` and ``any``.

    ``every`` is False for ``any``.
    """

    postfix: tuple[tuple[str, str], ...] = ()
    every: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """The dataset names of the expression, each once, in order of appearance."""
        return tuple(dict.fromkeys(text for kind, text in self.postfix if kind == "name"))

    def holds(self, updated: Callable[[str], bool], watched: tuple[str, ...]) -> bool:
        """Return whether the strategy is satisfied.

        ``updated`` returns whether a dataset was updated. ``any`` and ``all`` apply to the ``watched`` datasets.
        """
        if not self.postfix:
            return bool(watched) and (all if self.every else any)(updated(name) for name in watched)
        stack: list[bool] = []
        for kind, text in self.postfix:
            if kind == "name":
                stack.append(updated(text))
            else:
                right, left = stack.pop(), stack.pop()
                stack.append(left and right if text == "and" else left or right)
        return stack[-1]


def parse_trigger(text: str) -> Trigger:
    """Parse ``any``, ``all``, or names with ``and``, ``or`` (also ``&``, ``|``), and parentheses, or raise InvalidTrigger.

    ``and`` takes precedence over ``or``.
    """
    lower = text.strip().lower()
    if lower in ("all", "any"):
        return Trigger(every=lower == "all")
    return Trigger(postfix=tuple(_order_postfix(text.strip())))


def _order_postfix(text: str) -> list[tuple[str, str]]:
    """Return an expression in postfix order (shunting-yard)."""
    output: list[tuple[str, str]] = []
    waiting: list[str] = []
    operand_expected = True
    for kind, token in _tokenize(text):
        if operand_expected != (kind in ("name", "open")):
            raise InvalidTrigger(f"'{token}' in '{text}': expected {'a dataset name' if operand_expected else 'and, or'}")
        if kind == "name":
            output.append(("name", token))
        elif kind == "open":
            waiting.append("(")
        elif kind == "close":
            _flush(waiting, output, lambda _: True)
            if not waiting:
                raise InvalidTrigger(f"'{text}': unmatched closing parenthesis")
            waiting.pop()
        else:
            _flush(waiting, output, lambda before, now=token: not (now == "and" and before == "or"))  # type: ignore[misc]
            waiting.append(token)
        operand_expected = kind in ("open", "operator")
    if operand_expected:
        raise InvalidTrigger(f"'{text}': expected any, all, or an expression of dataset names with and, or, and parentheses")
    _flush(waiting, output, lambda _: True)
    if waiting:
        raise InvalidTrigger(f"'{text}': unmatched opening parenthesis")
    return output


def _flush(waiting: list[str], output: list[tuple[str, str]], wanted: Callable[[str], bool]) -> None:
    """Move operators to the output until an open parenthesis, or until ``wanted`` returns False."""
    while waiting and waiting[-1] != "(" and wanted(waiting[-1]):
        output.append(("operator", waiting.pop()))


def _tokenize(text: str) -> list[tuple[str, str]]:
    tokens = []
    for match in _TOKEN.finditer(text):
        kind, token = match.lastgroup or "", match[match.lastgroup or 0]
        if kind == "operator" or (kind == "name" and token.lower() in _OPERATORS):
            kind, token = "operator", _OPERATORS[token.lower()]
        tokens.append((kind, token))
    return tokens
