"""How long a code location takes to load, against Dagster's own floor for as many assets.

    python bench/load.py [--sizes 100,1000,5000] [--repeat 3]

Floor: importing dagster, building as many asset definitions with ops, column schemas and dependencies, one job per 25 of them, the repository
and its snapshot. Ours: the same from a synthetic Starlake project on disk (see synthetic.py), by ``code_location``'s own function. Every figure is
CPU seconds of a fresh process, the two in turn; ratios are formed pair by pair.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.synthetic import TABLES_PER_DOMAIN, write_project

WAYS = ("floor", "ours")


def floor(objects: int) -> None:
    import dagster as dg

    columns = [dg.TableColumn(name=f"column_{i}", type="string", description=f"Column {i}") for i in range(12)]

    def make(number: int) -> dg.AssetsDefinition:
        key, half = f"asset_{number}", objects // 2
        reads = [f"asset_{(number * 7 + i * 13) % half}" for i in range(3)] if number >= half else []
        reads = list(dict.fromkeys(reads))
        metadata = {"dagster/column_schema": dg.TableSchema(columns=columns)} if number < half else {}

        def compute(context, inputs):  # type: ignore[no-untyped-def]
            yield dg.MaterializeResult()

        spec = dg.AssetSpec(key, deps=reads, metadata=metadata, group_name=f"group_{number // TABLES_PER_DOMAIN}", description="An asset")
        op = dg.OpDefinition(compute_fn=compute, name=key, ins={r: dg.In(dg.Nothing) for r in reads}, outs={"result": dg.Out(dg.Nothing)})
        return dg.AssetsDefinition(
            keys_by_input_name={r: dg.AssetKey(r) for r in reads},
            keys_by_output_name={"result": dg.AssetKey(key)},
            node_def=op,
            specs=[spec],
        )

    jobs = [
        dg.define_asset_job(
            f"job_{first}", dg.AssetSelection.assets(*(f"asset_{n}" for n in range(first, min(first + TABLES_PER_DOMAIN, objects))))
        )
        for first in range(0, objects, TABLES_PER_DOMAIN)
    ]
    _snapshot(dg.Definitions(assets=[make(n) for n in range(objects)], jobs=jobs))


def ours(root: str) -> None:
    from starlake_dagster_components.definitions.settings import Settings
    from starlake_dagster_components.load import load_code_location

    _snapshot(load_code_location(root, Settings()))


def _snapshot(definitions: object) -> None:
    """Do what a code server does before it answers: resolve every job and describe the repository."""
    from dagster._core.remote_representation.external_data import RepositorySnap

    repository = definitions.get_repository_def()  # type: ignore[attr-defined]
    repository.load_all_definitions()
    RepositorySnap.from_def(repository)


def measure(way: str, argument: str) -> tuple[float, float]:
    """Return CPU seconds and peak memory (MiB) of a fresh process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    code = (
        f"import resource, sys; sys.path.insert(0, {str(Path(__file__).resolve().parent.parent)!r}); from bench.load import {way}; {way}({argument}); "
        + ("print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)")
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True, env={**os.environ, "SL_ENV": ""}
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, int(done.stdout.split()[-1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="100,1000,5000")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    print("| objects | floor, CPU s | ours, CPU s | ratio (min-max) | floor, MiB | ours, MiB |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for objects in (int(s) for s in options.sizes.split(",")):
            root = write_project(Path(folder) / str(objects), objects)
            arguments = {"floor": str(objects), "ours": json.dumps(str(root))}
            found = {way: [] for way in WAYS}
            for _ in range(options.repeat):
                for way in WAYS:
                    found[way].append(measure(way, arguments[way]))
            ratios = [o[0] / f[0] for f, o in zip(found["floor"], found["ours"], strict=True)]
            cpu = {way: statistics.median(c for c, _ in found[way]) for way in WAYS}
            memory = {way: max(m for _, m in found[way]) for way in WAYS}
            print(
                f"| {objects} | {cpu['floor']:.1f} | {cpu['ours']:.1f} | {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}) "
                f"| {memory['floor']:.0f} | {memory['ours']:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
