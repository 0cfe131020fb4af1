"""Lines on a terminal, without secrets."""

import click

from ..masking import mask_text


def echo(text: str, *, fg: str | None = None, err: bool = False) -> None:
    """Print a string, in a color where the terminal has some.

    Args:
        text: what to print; secrets are hidden.
        fg: the color.
        err: whether it goes to stderr.
    """
    click.secho(mask_text(text), fg=fg, err=err)
