"""Measure a tick of a sensor: database queries and CPU, by the number of watched assets and the length of their history.

    python bench/sensors.py [--watched 2,50,500] [--history 0,1000,20000] [--ticks 9]

Our sensor is compared with that of Dagster's documentation for the same rule ("when all of them are new"), on a SQLite instance whose
events have the metadata of a table with 12 columns. As in a code server, each tick has its own context on an open instance.
"""

import argparse
import sqlite3
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import dagster as dg
from sqlalchemy import event
from sqlalchemy.engine import Engine

from bench.figures import Goal, Section, Spread, Table, form_ratios, spread
from starlake_dagster_components.definitions.sensors.definition import build_sensor
from starlake_dagster_components.pipelines.pipeline import TransformTrigger

HISTORY_WATCHED = 20
OURS, THEIRS = "this package", "Dagster's documentation"
SENSORS = (OURS, THEIRS)
COLUMNS = dg.TableSchema(columns=[dg.TableColumn(f"column_{i}", "string", f"Column {i}") for i in range(12)])


@dataclass(frozen=True, slots=True)
class Ticks:
    """The measurements of ticks of one kind.

    Attributes:
        queries: maximum number of SQL statements in a tick that read or write rows of Dagster's tables.
        cpu: CPU seconds of each tick.
    """

    queries: int
    cpu: Sequence[float]


def list_keys(watched: int) -> list[dg.AssetKey]:
    """Return the keys of the assets that a sensor watches."""
    return [dg.AssetKey(f"sales_table_{i}") for i in range(watched)]


def build_watching_sensor(
    kind: str, watched: Sequence[dg.AssetKey], name: str = "marts_sensor", seconds: int = 60
) -> dg.MultiAssetSensorDefinition:
    """Return a sensor that starts the ``marts`` job when all watched assets are new."""
    if kind == OURS:
        names = {f"sales.{key.path[-1]}": key for key in watched}
        return build_sensor(name=name, job_name="marts", watched=names, trigger=TransformTrigger(), minimum_interval_seconds=seconds)

    # Dagster warns that such sensors are superseded.
    warnings.simplefilter("ignore", dg.SupersessionWarning)

    @dg.multi_asset_sensor(
        monitored_assets=list(watched),
        job_name="marts",
        name=name,
        minimum_interval_seconds=seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def documented(context: dg.MultiAssetSensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        records = context.latest_materialization_records_by_key()
        if all(records.values()):
            context.advance_all_cursors()  # type: ignore[no-untyped-call]
            return dg.RunRequest()
        return dg.SkipReason(f"Not materialized: {[key.to_user_string() for key, record in records.items() if not record]}")

    return documented


def build_marts(sensors: Sequence[dg.SensorDefinition] = ()) -> dg.Definitions:
    """Return a code location with the ``marts`` job and some sensors."""

    @dg.asset
    def mart() -> None: ...

    return dg.Definitions(assets=[mart], jobs=[dg.define_asset_job("marts", selection="mart")], sensors=list(sensors))


@contextmanager
def open_instance(folder: str | None = None) -> Iterator[dg.DagsterInstance]:
    """Open a SQLite instance in a folder, or in a temporary one."""
    with (
        tempfile.TemporaryDirectory() as temporary,
        dg.DagsterInstance.local_temp(folder or temporary, overrides={"telemetry": {"enabled": False}}) as found,
    ):
        yield found


def materialize(on: dg.DagsterInstance, assets: Sequence[dg.AssetKey]) -> None:
    """Materialize each asset once, with columns."""
    for key in assets:
        metadata: dict[str, Any] = {"dagster/column_schema": COLUMNS, "dagster/row_count": 1000, "starlake/rejected": 0}
        on.report_runless_asset_event(dg.AssetMaterialization(key, metadata=metadata))


def lengthen_history(on: dg.DagsterInstance, events: int) -> None:
    """Copy the materializations until there are enough events. This is done in SQL, because through Dagster it takes minutes."""
    storage: Any = on.event_log_storage
    with closing(sqlite3.connect(storage.conn_string_for_shard("index").removeprefix("sqlite:///"))) as connection, connection:
        columns = ", ".join(row[1] for row in connection.execute("pragma table_info(event_logs)") if row[1] != "id")
        while (have := connection.execute("select count(*) from event_logs").fetchone()[0]) < events:
            copy = f"insert into event_logs ({columns}) select {columns} from event_logs order by id desc limit ?"
            connection.execute(copy, (min(have, events - have),))


@contextmanager
def record_queries() -> Iterator[list[str]]:
    """Record the SQL that reads or writes rows of Dagster's tables, without queries about the schema."""
    seen: list[str] = []

    def note(connection: object, cursor: object, statement: str, *_: object) -> None:
        if not statement.startswith("PRAGMA") and "FROM secondary_indexes" not in statement and "alembic_version" not in statement:
            seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


class Ticking:
    """A sensor of each kind on one instance. They tick alternately, and each has its own cursor."""

    def __init__(self, on: dg.DagsterInstance, watched: Sequence[dg.AssetKey]) -> None:
        self.instance = on
        self.watched = list(watched)
        self.sensors = {kind: build_watching_sensor(kind, watched) for kind in SENSORS}
        self.cursors: dict[str, str | None] = dict.fromkeys(SENSORS)
        self.repository = build_marts().get_repository_def()

    def tick(self, kind: str, *, starts: bool, keep: bool) -> tuple[int, float]:
        """Tick once. Return the number of queries and the CPU seconds.

        Raises:
            RuntimeError: the sensor did not decide as expected.
        """
        with record_queries() as seen:
            began = time.process_time()
            with dg.build_multi_asset_sensor_context(
                monitored_assets=self.watched, instance=self.instance, cursor=self.cursors[kind], repository_def=self.repository
            ) as context:
                decided = self.sensors[kind](context)
                cursor = context.cursor
            spent = time.process_time() - began
        if isinstance(decided, dg.RunRequest) != starts:
            raise RuntimeError(f"{kind}: {decided}")
        if keep:
            self.cursors[kind] = cursor
        return len(seen), spent

    def tick_often(self, repeat: int, *, starts: bool) -> dict[str, Ticks]:
        """Tick several times with the same cursor, then once more, and keep the cursor of the last tick."""
        found: dict[str, list[tuple[int, float]]] = {kind: [] for kind in SENSORS}
        for round_ in range(repeat):
            for kind in SENSORS if round_ % 2 == 0 else SENSORS[::-1]:
                found[kind].append(self.tick(kind, starts=starts, keep=False))
        for kind in SENSORS:
            self.tick(kind, starts=starts, keep=True)
        return {kind: Ticks(max(n for n, _ in each), [s for _, s in each]) for kind, each in found.items()}


def measure_by_watched(counts: Sequence[int], repeat: int) -> Iterator[tuple[int, str, dict[str, Ticks]]]:
    """Yield (number of assets, situation, ticks of both sensors)."""
    for count in counts:
        with open_instance() as on:
            watched = list_keys(count)
            ticking = Ticking(on, watched)
            materialize(on, watched)
            yield count, "first tick, starts", ticking.tick_often(repeat, starts=True)
            yield count, "nothing new", ticking.tick_often(repeat, starts=False)
            materialize(on, watched)
            yield count, "all new, starts", ticking.tick_often(repeat, starts=True)


def measure_by_history(lengths: Sequence[int], repeat: int) -> Iterator[tuple[int, dict[str, Ticks]]]:
    """Yield (length of the history, first ticks of both sensors)."""
    for length in lengths:
        with open_instance() as on:
            watched = list_keys(HISTORY_WATCHED)
            if length:
                materialize(on, watched)
                lengthen_history(on, length)
            yield length, Ticking(on, watched).tick_often(repeat, starts=length > 0)


def _convert_to_milliseconds(ticks: Ticks) -> Spread:
    return spread(1000 * s for s in ticks.cpu)


def _format_cells(found: dict[str, Ticks]) -> list[str]:
    cells = [text for kind in SENSORS for text in (str(found[kind].queries), _convert_to_milliseconds(found[kind]).text(1))]
    return [*cells, form_ratios(found[OURS].cpu, found[THEIRS].cpu).text()]


def measure_ticks(watched: Sequence[int], history: Sequence[int], repeat: int) -> Section:
    """Measure ticks.

    Args:
        watched: numbers of watched assets.
        history: numbers of materializations of 20 assets before the first tick; 0 if they were never materialized.
        repeat: number of ticks of each kind.
    """
    header = [f"{what}, {kind}" for kind in SENSORS for what in ("queries", "CPU ms")] + ["ratio of CPU"]
    rows, most = [], 0
    for count, what, found in measure_by_watched(watched, repeat):
        rows.append([f"{count} watched: {what}", *_format_cells(found)])
        most = found[OURS].queries if count != max(watched) else max(most, found[OURS].queries)
    first = {length: found for length, found in measure_by_history(history, repeat)}
    goals = [Goal(f"queries of a tick with {max(watched)} watched assets", 3, spread([float(most)]), digits=0)]
    starting = [length for length in history if length]
    if len(starting) > 1:
        short, long = min(starting), max(starting)
        growth = form_ratios(first[long][OURS].cpu, first[short][OURS].cpu)
        # A ratio of 1 is independent of the history; the rest is measurement noise.
        goals.append(Goal(f"CPU of the first tick after {long:,} materializations, of that after {short:,}", 1.25, growth))
        more = first[long][OURS].queries - first[short][OURS].queries
        goals.append(
            Goal(f"more queries of the first tick after {long:,} materializations than after {short:,}", 0, spread([float(more)]), digits=0)
        )
    print("sensors: measured", file=sys.stderr, flush=True)
    tables = [
        Table(["tick", *header], rows),
        Table(
            [f"first tick of a sensor of {HISTORY_WATCHED} assets after", *header],
            [[f"{n:,} materializations", *_format_cells(f)] for n, f in first.items()],
        ),
    ]
    notes = [
        f"SQLite, {repeat} ticks of each kind, both sensors in turn. Opening the instance, the same for every sensor, "
        "is not in these figures."
    ]
    return Section("Sensors", tables, goals, notes)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this measurement."""
    numbers = lambda text: [int(part) for part in text.split(",")]  # noqa: E731
    parser.add_argument("--watched", type=numbers, default=[2, 50, 500])
    parser.add_argument("--history", type=numbers, default=[0, 1000, 20000])
    parser.add_argument("--ticks", type=int, default=9, help="ticks of each kind")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    options = parser.parse_args(argv)
    print("\n".join(measure_ticks(options.watched, options.history, options.ticks).lines()))


if __name__ == "__main__":
    main()
