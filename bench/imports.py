"""Measure the import time of this package, compared with that of Dagster.

    python bench/imports.py [--repeat 15]

The figures are CPU seconds of a fresh process until the import is done. The imports alternate, and ratios are formed within a round.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.figures import Goal, Section, Table, form_ratios, spread
from bench.fresh import run_fresh

IMPORTS = {
    "Dagster": "import dagster",
    "the package": "import starlake_dagster_components",
    "the package, after Dagster": "import dagster, starlake_dagster_components",
    "its component": "from starlake_dagster_components import StarlakeProjectComponent",
    "its function": "from starlake_dagster_components import load_definitions_from_starlake_project",
    "`dagster.components`, which its component needs": "import dagster, dagster.components",
}
FLOOR = "Dagster"
JUDGED = ("the package", "the package, after Dagster", "its function", "its component")
# The modules that measure are the same in each process, and are not included.
CODE = "import time; t = time.process_time(); {code}; s = time.process_time() - t; from bench.fresh import answer; answer(seconds=s)"


def measure_imports(repeat: int) -> Section:
    """Measure the imports alternately.

    Args:
        repeat: number of rounds.
    """
    measured: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for code in IMPORTS.values():
        run_fresh("-c", code)  # compiles modules
    for round_ in range(repeat):
        for name in IMPORTS if round_ % 2 == 0 else reversed(IMPORTS):
            measured[name].append(run_fresh("-c", CODE.format(code=IMPORTS[name])).answer["seconds"])
    print(f"imports: {repeat} rounds", file=sys.stderr, flush=True)
    rows = [
        (name, f"`{IMPORTS[name]}`", spread(found).text(3), form_ratios(found, measured[FLOOR]).text() if name != FLOOR else "")
        for name, found in measured.items()
    ]
    goals = [Goal(f"import of {name}, relative to `import dagster`", 1.1, form_ratios(measured[name], measured[FLOOR])) for name in JUDGED]
    return Section(
        "Import", [Table(("import of", "code", "CPU s", f"of {FLOOR}'s"), rows)], goals, [f"{repeat} fresh processes each, alternating."]
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=15)
    print("\n".join(measure_imports(parser.parse_args(argv).repeat).lines()))


if __name__ == "__main__":
    main()
