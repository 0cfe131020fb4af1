"""``sl-dagster``: the command line."""

from .main import main as main
