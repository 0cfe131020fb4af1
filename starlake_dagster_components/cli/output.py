"""Terminal output with masked secrets."""

import click

from ..masking import mask_text


def echo(text: str, *, fg: str | None = None, err: bool = False) -> None:
    """Print a line, with secrets masked.

    Args:
        text: the line.
        fg: its color, on terminals that support colors.
        err: whether it goes to stderr.
    """
    click.secho(mask_text(text), fg=fg, err=err)
