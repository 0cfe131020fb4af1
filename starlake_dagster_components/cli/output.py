"""Terminal output with masked secrets."""

import click

from ..masking import mask_text


def echo(text: str, *, fg: str | None = None, err: bool = False) -> None:
    """Print a line, with secrets masked, to standard output or (``err``) standard error."""
    click.secho(mask_text(text), fg=fg, err=err)
