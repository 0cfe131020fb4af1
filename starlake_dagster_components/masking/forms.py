"""List the forms in which a secret may be written: verbatim, and as URLs, JSON, shells, SQL, and XML encode it."""

import json
import shlex
from base64 import b64encode
from collections.abc import Iterator
from html import escape
from urllib.parse import quote, quote_plus

_SHELL_SPECIAL = frozenset(" \t\"'`$\\!*?[]{}()<>|&;#~^=%,:@+")
_IN_DOUBLE_QUOTES = frozenset('"\\$`!')


def list_forms(secret: str) -> Iterator[str]:
    """Yield all forms of a secret. Some of them may be equal."""
    yield secret
    if secret.isalnum() and secret.isascii():
        yield from _encode(secret)
        return
    data = encode_secret(secret)
    for url in (quote(data, safe=""), quote(data), quote_plus(data), quote(data, safe="!'()*")):
        yield url
        yield _lower_escapes(url)
    for ascii_only in (True, False):
        as_json = json.dumps(secret, ensure_ascii=ascii_only)[1:-1]
        yield as_json
        yield as_json.replace("/", "\\/")
        # JSON within JSON, as in logs that are JSON themselves.
        yield json.dumps(as_json)[1:-1]
    yield shlex.quote(secret).removeprefix("'").removesuffix("'")
    yield secret.replace("'", "'\\''")
    yield "".join(f"\\{c}" if c in _SHELL_SPECIAL else c for c in secret)
    yield "".join(f"\\{c}" if c in _IN_DOUBLE_QUOTES else c for c in secret)
    yield secret.replace("'", "''")
    yield secret.replace('"', '""')
    yield repr(secret)[1:-1]
    yield secret.replace("'", "\\'")
    yield escape(secret)
    yield escape(secret, quote=False)
    yield from _encode(secret)


def _encode(secret: str) -> Iterator[str]:
    data = b64encode(encode_secret(secret)).decode()
    if len(data) >= 12:
        yield data
        yield data.rstrip("=")


def encode_secret(secret: str) -> bytes:
    """Return a secret in UTF-8, with the bytes of an environment variable as they are, even if they are not UTF-8."""
    try:
        return secret.encode(errors="surrogateescape")
    except UnicodeEncodeError:  # half a character, which JSON can contain
        return secret.encode(errors="surrogatepass")


def _lower_escapes(url: str) -> str:
    head, *parts = url.split("%")
    return head + "".join(f"%{part[:2].lower()}{part[2:]}" for part in parts)
