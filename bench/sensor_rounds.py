"""Measure a round of many sensors of one code location in Dagster's daemon, one after the other and in threads.

    python bench/sensor_rounds.py [--sensors 200] [--watched 20] [--rounds 2] [--threads 8]

Our sensor is compared with that of Dagster's documentation. All but one of the assets that a sensor watches are new, so that it reads them
and starts nothing. CPU seconds are those of the daemon and the code server. Requires Linux.
"""

import argparse
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import dagster as dg

from bench.figures import Goal, Section, Table, spread
from bench.fresh import answer, run_fresh
from bench.sensors import OURS, THEIRS, build_marts, build_watching_sensor, list_keys, materialize, open_instance

REPOSITORY = Path(__file__).resolve().parent.parent
INTERVAL = 60.0
"""Seconds between two ticks of a sensor."""


def build_location() -> dg.Definitions:
    """Return the code location that ``BENCH_SENSORS`` describes: kind and number of sensors, and number of assets of each."""
    kind, sensors, watched = os.environ["BENCH_SENSORS"].split(",")
    each = int(watched)
    all_keys = list_keys(int(sensors) * each)
    name = {"ours": OURS, "theirs": THEIRS}[kind]
    return build_marts(
        [build_watching_sensor(name, all_keys[i * each : (i + 1) * each], f"sensor_{i}", seconds=1) for i in range(int(sensors))]
    )


def run_rounds(folder: str, kind: str, sensors: int, watched: int, rounds: int, threads: int) -> None:
    """Evaluate all sensors several times on the instance in a folder, and report the seconds of each round."""
    os.environ["BENCH_SENSORS"] = f"{kind},{sensors},{watched}"
    from dagster._core.test_utils import create_test_daemon_workspace_context
    from dagster._core.workspace.load_target import PythonFileTarget
    from dagster._daemon.sensor import execute_sensor_iteration

    target = PythonFileTarget(__file__, build_location.__name__, str(REPOSITORY), "location")
    pool = ThreadPoolExecutor(threads) if threads else None
    found: list[dict[str, float]] = []
    with open_instance(folder) as on, create_test_daemon_workspace_context(target, on) as workspace, pool or nullcontext():
        for _ in range(rounds):
            time.sleep(1.1)
            futures: dict[str, Future[Any]] = {}
            began, before = time.monotonic(), measure_tree_cpu()
            for error in execute_sensor_iteration(workspace, logging.getLogger("bench"), pool, None, futures):
                if error:
                    raise RuntimeError(str(error))
            for future in futures.values():
                future.result()
            found.append({"wall": time.monotonic() - began, "cpu": measure_tree_cpu() - before})
        problems = [str(e.load_error) for e in workspace.create_request_context().get_code_location_entries().values() if e.load_error]
        ticks = [tick for state in on.all_instigator_state() for tick in on.get_ticks(state.instigator_origin_id, state.selector_id)]
    if problems:
        raise RuntimeError(problems[0])
    answer(rounds=found, ticks=len(ticks), reasons=sorted({tick.skip_reason or str(tick.error) for tick in ticks})[:3])


def measure_tree_cpu() -> float:
    """Return the CPU seconds of this process and all its descendants, including ended ones."""
    ticks = 0
    waiting = [os.getpid()]
    while waiting:
        pid = waiting.pop()
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(int(part) for part in stat[11:15])
        waiting += [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]
    return ticks / os.sysconf("SC_CLK_TCK")


def _measure(prepared: str, kind: str, sensors: int, watched: int, rounds: int, threads: int) -> Mapping[str, Any]:
    with tempfile.TemporaryDirectory() as temporary:
        folder = shutil.copytree(prepared, Path(temporary, "instance"))
        found = run_fresh(
            "bench/sensor_rounds.py", "--run", str(folder), kind, str(sensors), str(watched), str(rounds + 1), str(threads)
        ).answer
    if found["ticks"] != sensors * (rounds + 1) or not all("aterializ" in reason for reason in found["reasons"]):
        raise RuntimeError(f"{kind}: {found['ticks']} ticks, expected {sensors * (rounds + 1)}: {found['reasons']}")
    # In the first round, Dagster creates its records of the sensors.
    return {name: [one[name] for one in found["rounds"][1:]] for name in ("cpu", "wall")}


def measure_rounds(sensors: int, watched: int, rounds: int, threads: int) -> Section:
    """Measure rounds.

    Args:
        sensors: number of sensors.
        watched: number of assets that each of them watches.
        rounds: number of rounds of each kind, after a warm-up round.
        threads: ``num_workers`` of the daemon; 0 to measure only without threads.
    """
    rows, walls = [], {}
    modes = [(0, "one after the other"), *([(threads, f"in {threads} threads")] if threads else [])]
    with tempfile.TemporaryDirectory() as prepared:
        with open_instance(prepared) as on:
            materialize(on, [key for i, key in enumerate(list_keys(sensors * watched)) if i % watched])
        for kind, name in (("ours", OURS), ("theirs", THEIRS)):
            # The other sensor takes minutes, and threads do not change what it reads.
            for workers, how in modes if kind == "ours" else modes[:1]:
                found = _measure(prepared, kind, sensors, watched, rounds, workers)
                print(f"{sensors} sensors, {name}, {how}: {found['wall']}", file=sys.stderr, flush=True)
                walls[kind, workers] = found["wall"]
                each = spread(1000 * cpu / sensors for cpu in found["cpu"])
                rows.append((name, how, spread(found["cpu"]).text(1), each.text(0), spread(found["wall"]).text(1)))
    header = ("sensors", "daemon", "CPU s per round", "CPU ms per tick", "s per round")
    goals = [
        Goal(
            f"seconds of a round of {sensors} sensors, {how}: no longer than the {INTERVAL:.0f} s between ticks",
            INTERVAL,
            spread(walls["ours", n]),
            1,
        )
        for n, how in modes
    ]
    note = f"{sensors} sensors of {watched} assets each in one code location, SQLite, {rounds} rounds; CPU of daemon and code server."
    return Section("Many sensors", [Table(header, rows)], goals, [note])


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sensors", type=int, default=200)
    parser.add_argument("--watched", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=8)
    options = parser.parse_args(argv)
    print("\n".join(measure_rounds(options.sensors, options.watched, options.rounds, options.threads).lines()))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        run_rounds(sys.argv[2], sys.argv[3], *(int(text) for text in sys.argv[4:]))
    else:
        main()
