"""Build sample file names that a pattern matches, so that patterns can be compared."""

import re
from functools import lru_cache

_PLAIN = re.compile(r"[\w /=@:,;!%&~'\"<>#-]", re.ASCII)
_COUNT = re.compile(r"\{(\d+)(,?)(\d*)\}")
_ESCAPED = {"d": "0", "w": "a", "s": " ", "D": "a", "W": "-", "S": "a", "t": "\t"}
_MAX_SAMPLES = 8
_MAX_LENGTH = 300


class _UnsupportedSyntax(Exception):
    """A pattern has syntax that this module does not support."""


def find_literal_prefix(pattern: str) -> str:
    """Return the literal prefix of every name that a pattern matches; an empty string if it has none."""
    if "|" in pattern:
        return ""
    out: list[str] = []
    index = 0
    while index < len(pattern):
        char = pattern[index]
        width = 1
        if char == "\\" and pattern[index + 1 : index + 2] and not pattern[index + 1].isalnum():
            char, width = pattern[index + 1], 2
        elif not _PLAIN.match(char):
            break
        if pattern[index + width : index + width + 1] in ("?", "*", "{"):
            break
        out.append(char)
        index += width
    return "".join(out)


@lru_cache(maxsize=4096)
def build_samples(pattern: str) -> tuple[str, ...]:
    """Return a few names that a Java pattern should match; nothing if its syntax is not supported."""
    try:
        samples, end = _Reader(pattern).read_alternatives(0)
    except (_UnsupportedSyntax, IndexError, RecursionError):
        return ()
    return tuple(samples) if end == len(pattern) else ()


class _Reader:
    def __init__(self, pattern: str) -> None:
        self._pattern = pattern

    def read_alternatives(self, index: int) -> tuple[list[str], int]:
        """Return samples of the pattern up to a closing parenthesis or the end, and the index where it stopped."""
        samples: list[str] = []
        while True:
            found, index = self._read_sequence(index)
            samples += found
            if index >= len(self._pattern) or self._pattern[index] != "|":
                return samples[:_MAX_SAMPLES], index
            index += 1

    def _read_sequence(self, index: int) -> tuple[list[str], int]:
        samples = [""]
        while index < len(self._pattern) and self._pattern[index] not in "|)":
            atoms, index = self._read_atom(index)
            counts, index = self._read_count(index)
            parts = list(dict.fromkeys(atom * count for count in counts for atom in atoms))
            samples = [sample + part for part in parts for sample in samples][:_MAX_SAMPLES]
            if any(len(sample) > _MAX_LENGTH for sample in samples):
                raise _UnsupportedSyntax
        return samples, index

    def _read_atom(self, index: int) -> tuple[list[str], int]:
        char = self._pattern[index]
        if char == "\\":
            following = self._pattern[index + 1]
            if following.isalnum() and following not in _ESCAPED:
                raise _UnsupportedSyntax
            return [_ESCAPED.get(following, following)], index + 2
        if char == "[":
            return self._read_class(index + 1)
        if char == "(":
            return self._read_group(index + 1)
        if char in "^$":
            return [""], index + 1
        if char == ".":
            return ["0", "a"], index + 1
        if char in "*+?{":
            raise _UnsupportedSyntax
        return [char], index + 1

    def _read_group(self, index: int) -> tuple[list[str], int]:
        if self._pattern[index] == "?":
            name = re.compile(r"\?(?::|<[A-Za-z]\w*>)").match(self._pattern, index)
            if name is None:
                raise _UnsupportedSyntax
            index = name.end()
        samples, index = self.read_alternatives(index)
        if self._pattern[index] != ")":
            raise _UnsupportedSyntax
        return samples, index + 1

    def _read_class(self, index: int) -> tuple[list[str], int]:
        end = self._pattern.index("]", index + 1) if "]" in self._pattern[index + 1 :] else -1
        body = self._pattern[index:end]
        if end < 0 or "[" in body or "&&" in body:
            raise _UnsupportedSyntax
        if body.startswith("^"):
            return [next(char for char in "0aA_-.9zZ" if not re.match(f"[{body[1:]}]", char))], end + 1
        return [_ESCAPED.get(body[1], body[1]) if body[0] == "\\" else body[0]], end + 1

    def _read_count(self, index: int) -> tuple[list[int], int]:
        char = self._pattern[index : index + 1]
        if char not in ("*", "+", "?", "{"):
            return [1], index
        counts, index = [1] if char == "+" else [0, 1], index + 1
        if char == "{":
            match = _COUNT.match(self._pattern, index - 1)
            if match is None or int(match.group(1)) > _MAX_LENGTH:
                raise _UnsupportedSyntax
            counts, index = [int(match.group(1))], match.end()
        return counts, index + (self._pattern[index : index + 1] in ("?", "+"))  # lazy or possessive
