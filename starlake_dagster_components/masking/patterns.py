"""Find secrets by their context, whether or not they are known: ``user:secret@host``, ``password=...``, ``--token ...``, private keys."""

import re
from collections.abc import Iterator

HIDDEN = "***"

_KEY = (
    r"[\w.\-]{0,100}(?:passw(?:or)?d|passphrase|passcode|pwd|secret|token|credentials?|(?:api|access|account|private|encryption|shared|sas)[_\-.]?key|"
    r"signature|connection[_\-.]?string)"
)
_VALUE = r"(\"(?:[^\"\\\n]|\\.){0,5000}\"|'(?:[^'\\\n]|\\.|''){0,5000}'|\{[^{}\n]{1,5000}\}|[^\s&;,'\"()<>]{1,5000})"
_NOT_HIDDEN = r"(?!\*\*\*|\$\{|\{\{|\$\(|%\(|\?)"

_WORDS = ("pass", "pwd", "secret", "token", "credential", "key", "signature", "sig=", "authorization", "identified", "onnection")

_PATTERNS: tuple[re.Pattern[str], ...] = (
    # scheme://user:secret@host with any scheme. A port followed by a path is not a secret.
    re.compile(r"://[^\s:/@'\"<>]{0,300}:(?!\d+(?:[/?#]|$))([^\s'\"<>]{1,1000})(?=@[^\s@'\"])"),
    re.compile(r"jdbc:oracle:\w+:[^\s/@'\"]{1,300}/([^\s@'\"]{1,1000})@", re.IGNORECASE),
)
_NAMED: tuple[re.Pattern[str], ...] = (
    # --password x, --password=x
    re.compile(rf"(?<![\w-])--{_KEY}[\w.\-]{{0,100}}(?:\s+|=){_NOT_HIDDEN}(?!--){_VALUE}", re.IGNORECASE),
    # password=x in query strings, JDBC options, and command lines; sig=x in signed URLs
    re.compile(rf"(?<![\w.\-])(?:{_KEY}[\w.\-]{{0,100}}|sig)\s*=\s*{_NOT_HIDDEN}{_VALUE}", re.IGNORECASE),
    # "password": "x", 'password': 'x', and in JSON within JSON
    re.compile(rf"[\"']{_KEY}\w{{0,100}}[\"']\s*:\s*(\"(?:[^\"\\]|\\.){{1,5000}}\"|'(?:[^'\\]|\\.){{1,5000}}')", re.IGNORECASE),
    re.compile(rf"\\\"{_KEY}\w{{0,100}}\\\"\s*:\s*\\\"(.{{1,5000}}?)\\\"", re.IGNORECASE),
    # password: x
    re.compile(rf"(?<![\w.\-])[\w.\-]{{0,100}}(?:passw(?:or)?d|passphrase|secret)\s*:\s*{_NOT_HIDDEN}{_VALUE}", re.IGNORECASE),
    # <password>x</password> in XML
    re.compile(rf"<{_KEY}\w{{0,100}}(?:\s[^<>]{{0,300}})?>\s*{_NOT_HIDDEN}([^<>\s][^<>]{{0,5000}}?)\s*</", re.IGNORECASE),
    # PASSWORD 'x' in SQL
    re.compile(r"\b(?:password|secret|(?<!expected )token|key_id|session_token|identified\s+by)\s+'((?:[^']|'')+)'", re.IGNORECASE),
    re.compile(r"\bauthorization\b['\"]?\s*[:=]\s*['\"]?(?:basic|bearer|token)\s+([^\s'\",]+)", re.IGNORECASE),
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----(.+?)(?:-----END|$)", re.DOTALL),
)


def hide_patterns(text: str) -> str:
    """Return a string with everything masked that looks like a secret."""
    for pattern in _choose_patterns(text):
        text = pattern.sub(_hide_group, text)
    return text


def find_in_patterns(text: str) -> Iterator[str]:
    """Yield the parts of a string that look like secrets."""
    for pattern in _choose_patterns(text):
        for match in pattern.finditer(text):
            yield match[1].strip("'\"{}")


def _choose_patterns(text: str) -> Iterator[re.Pattern[str]]:
    if "@" in text:
        yield from _PATTERNS
    lower = text.lower()
    if any(word in lower for word in _WORDS):
        yield from _NAMED


def _hide_group(match: re.Match[str]) -> str:
    start, end = match.start(1) - match.start(), match.end(1) - match.start()
    whole = match.group()
    value = whole[start:end]
    if len(value) > 1 and value[0] + value[-1] in ("''", '""', "{}"):
        start, end = start + 1, end - 1
    return f"{whole[:start]}{HIDDEN}{whole[end:]}" if end > start else whole
