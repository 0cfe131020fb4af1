"""A small Starlake project that is loaded to make an archive of classes.

It does not touch the user's data, and needs no database.
"""

from collections.abc import Mapping
from pathlib import Path

from .archives import Loader

ARGUMENTS = ("load", "--domains", "warm", "--tables", "up")
"""The command that runs on it."""

_KEPT = frozenset(("SL_RUN_MODE", "SL_LOG_LEVEL", "SL_SKIP_CONSISTENCY_CHECK", "SL_VERSION"))
"""Variables of Starlake that control its start. All others are about the user's project."""

_APPLICATION = """version: 1
application:
  connectionRef: warm
  loader: {loader}
  audit:
    active: true
    sink:
      connectionRef: warm
  connections:
    warm:
      type: jdbc
      options:
        url: "jdbc:duckdb:{root}/datasets/warm.db"
        driver: org.duckdb.DuckDBDriver
"""
_DOMAIN = """version: 1
load:
  name: warm
  metadata:
    directory: "{root}/datasets/incoming/warm"
"""
_TABLE = """version: 1
table:
  name: up
  pattern: "up-.*.csv"
  primaryKey: [id]
  metadata:
    format: DSV
    withHeader: true
    separator: ";"
    writeStrategy:
      type: UPSERT_BY_KEY
      key: [id]
  attributes:
    - {{ name: id, type: long, required: true }}
    - {{ name: name, type: string }}
    - {{ name: amount, type: double }}
    - {{ name: day, type: date }}
    - {{ name: moment, type: timestamp }}
    - {{ name: good, type: boolean }}
"""
_ROWS = "id;name;amount;day;moment;good\n1;Ann;10.5;2026-01-01;2026-01-01T10:00:00Z;true\n2;Bob;20;2026-01-02;2026-01-02T10:00:00Z;false\n"


def write_sample_project(root: Path, loader: Loader) -> None:
    """Write the project, with one file to load."""
    files = {
        "metadata/application.sl.yml": _APPLICATION,
        "metadata/load/warm/_config.sl.yml": _DOMAIN,
        "metadata/load/warm/up.sl.yml": _TABLE,
        "datasets/stage/warm/up-1.csv": _ROWS,
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.format(root=root, loader=loader), encoding="utf-8")


def build_sample_environment(environment: Mapping[str, str], root: Path, loader: Loader) -> dict[str, str]:
    """Return the environment for the sample project: it starts the same Java as the user's command, without access to the user's data."""
    kept = {name: value for name, value in environment.items() if not name.startswith("SL_") or name in _KEPT}
    return {**kept, "SL_ROOT": str(root), "SL_LOADER": loader}
