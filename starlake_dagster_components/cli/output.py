"""Terminal output with masked secrets, and the permissions of files that commands write for all users."""

import stat
from contextlib import suppress
from pathlib import Path

import click

from ..masking import mask_text


def echo(text: str, *, fg: str | None = None, err: bool = False) -> None:
    """Print a line, with secrets masked, to standard output or (``err``) standard error."""
    click.secho(mask_text(text), fg=fg, err=err)


def add_rights(path: Path, mode: int) -> None:
    """Add permissions to a file or folder, if this user may do so."""
    now = stat.S_IMODE(path.stat().st_mode)
    if now | mode != now:
        with suppress(OSError):
            path.chmod(now | mode)
