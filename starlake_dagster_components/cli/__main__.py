"""Run ``python -m starlake_dagster_components.cli`` as ``sl-dagster``."""

from .main import main

main()
