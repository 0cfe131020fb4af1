"""Translate file name patterns from Java's regular expressions to Python's."""

import re
import sys
from collections.abc import Iterable, Sequence
from functools import lru_cache

# POSIX and java.lang.Character classes -> their equivalents inside brackets.
_CLASSES = {
    "Lower": "a-z",
    "Upper": "A-Z",
    "ASCII": r"\x00-\x7F",
    "Alpha": "a-zA-Z",
    "Digit": "0-9",
    "Alnum": "a-zA-Z0-9",
    "Punct": r"!-/:-@\[-`{-~",
    "Graph": "!-~",
    "Print": " -~",
    "Blank": r" \t",
    "Cntrl": r"\x00-\x1F\x7F",
    "XDigit": "0-9a-fA-F",
    "Space": r" \t\n\x0B\f\r",
    "javaLowerCase": "a-z",
    "javaUpperCase": "A-Z",
    "javaWhitespace": r" \t\n\x0B\f\r",
}
_LETTERS = {"h": r" \t\xA0\u1680\u180e\u2000-\u200a\u202f\u205f\u3000", "e": r"\x1B", "R": r"(?:\r\n|[\n\x0B\f\r\x85\u2028\u2029])"}
_FLAGS = re.compile(r"\(\?([a-zA-Z-]+)\)")
_COUNT = re.compile(r"\{\d+(?:,\d*)?\}\Z")
_KNOWS_POSSESSIVE = sys.version_info >= (3, 11)


@lru_cache(maxsize=4096)
def compile_pattern(java_regex: str) -> re.Pattern[str]:
    """Return a Python pattern whose ``fullmatch`` matches the same file names as Java's ``matches``.

    Raises:
        ValueError: it is not a regular expression, or it uses features that Python lacks (class intersections, Unicode properties).
    """
    try:
        return re.compile(_translate_pattern(java_regex), re.ASCII)
    except re.error as error:
        place = f" at position {error.pos + 1}" if error.pos is not None else ""
        raise ValueError(f"'{java_regex}' is not a regular expression: {error.msg}{place}") from error
    except (RecursionError, OverflowError) as error:
        raise ValueError(f"the regular expression '{java_regex}' is too complicated") from error


def compile_file_pattern(pattern: str) -> re.Pattern[str]:
    """Return the compiled pattern of a table's files.

    An invalid pattern becomes one that matches nothing. It is reported when the project is read.
    """
    try:
        return compile_pattern(pattern)
    except ValueError:
        return re.compile(r"(?!)")


def match_patterns(names: Iterable[str], patterns: Sequence[str]) -> dict[str, int]:
    """Return, for each file name, the index of the first pattern that matches it. Starlake: DomainInfo.findSchema.

    The patterns are Java regular expressions. Names that match none of them are not in the result.
    """
    compiled = list(enumerate(map(compile_file_pattern, patterns)))
    found = ((name, next((index for index, pattern in compiled if pattern.fullmatch(name)), None)) for name in names)
    return {name: index for name, index in found if index is not None}


def _translate_pattern(regex: str) -> str:
    out: list[str] = []
    to_close = [0]  # for each open group, the number of extra groups opened in it for inline flags
    index = 0
    while index < len(regex):
        char = regex[index]
        if char == "\\":
            text, index = _translate_escape(regex, index, in_class=False)
        elif char == "[":
            text, index = _translate_class(regex, index)
        elif char == "(":
            text, index = _translate_group(regex, index, to_close)
        elif char == ")":
            text, index = ")" * (to_close.pop() + 1) if len(to_close) > 1 else ")", index + 1
        elif char == "+" and not _KNOWS_POSSESSIVE and out and (out[-1] in ("*", "+", "?") or _COUNT.search("".join(out))):
            text, index = "", index + 1  # the greedy quantifier gives the same matches for usual file names
        else:
            text, index = char, index + 1
        out.append(text)
    return "".join(out) + ")" * to_close[0]


def _translate_group(regex: str, index: int, to_close: list[int]) -> tuple[str, int]:
    """Translate the start of a group. In Java, named groups have no P, and flags can be set anywhere."""
    flags = _FLAGS.match(regex, index)
    if flags:
        known = "".join(letter for letter in flags.group(1) if letter in "imsx-").rstrip("-")
        if not known:
            return "", flags.end()
        to_close[-1] += 1
        return f"(?{known}:", flags.end()
    to_close.append(0)
    if regex.startswith("(?<", index) and regex[index + 3 : index + 4] not in ("=", "!"):
        return "(?P<", index + 3
    return "(", index + 1


def _translate_class(regex: str, start: int) -> tuple[str, int]:
    out = ["["]
    index = start + 1
    if regex.startswith("^", index):
        out.append("^")
        index += 1
    first = index
    while index < len(regex):
        char = regex[index]
        if char == "]" and index > first:
            return "".join(out) + "]", index + 1
        if char == "\\":
            text, index = _translate_escape(regex, index, in_class=True)
            out.append(text)
            continue
        if char == "[":
            raise ValueError(f"'{regex}' has a nested character class at position {index + 1}; write it as one class, or escape the [")
        if regex.startswith("&&", index):
            raise ValueError(f"'{regex}' has an intersection of character classes (&&) at position {index + 1}, which is not supported")
        out.append("\\" + char if char in "|~&]" else char)
        index += 1
    raise ValueError(f"'{regex}' is not a regular expression: the [ at position {start + 1} is not closed")


def _translate_escape(regex: str, index: int, in_class: bool) -> tuple[str, int]:
    following = regex[index + 1 : index + 2]
    if following == "Q":
        end = regex.find("\\E", index + 2)
        literal = regex[index + 2 : end if end >= 0 else len(regex)]
        return re.escape(literal), end + 2 if end >= 0 else len(regex)
    if following == "E":
        return "", index + 2
    if following in ("p", "P"):
        match = re.compile(r"[pP](?:\{(?:Is)?(\w+)\}|(\w))").match(regex, index + 1)
        name = (match.group(1) or match.group(2)) if match else ""
        members = {"L": "a-zA-Z", "Alphabetic": "a-zA-Z", "Lu": "A-Z", "Ll": "a-z", "N": "0-9", "Nd": "0-9"}.get(name) or _CLASSES.get(name)
        if match is None or members is None or (in_class and following == "P"):
            written = match.group() if match else following
            raise ValueError(f"'{regex}' uses the character class {written} at position {index + 1}, which is not supported")
        return (members if in_class else f"[{'^' if following == 'P' else ''}{members}]"), match.end()
    if following in _LETTERS:
        text = _LETTERS[following]
        return (text if in_class or following != "h" else f"[{text}]"), index + 2
    if following in ("z", "Z", "G"):
        return (r"\Z" if following != "G" else ""), index + 2
    if following == "k" and regex.startswith("<", index + 2):
        end = regex.find(">", index)
        if end < 0:
            raise ValueError(f"'{regex}' is not a regular expression: the name of a group at position {index + 1} is not closed")
        return f"(?P={regex[index + 3 : end]})", end + 1
    if following.isascii() and following.isalpha() and following not in "abBdDsSwWnrtfvxuA0":
        raise ValueError(f"'{regex}' has an unknown escape \\{following} at position {index + 1}; a backslash itself is written \\\\")
    return "\\" + following, index + 1 + len(following)
