"""Fixtures that all tests share."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from postgres_server import NotAvailable, PostgresServer, run_postgres
from project_folder import ProjectFolder

from starlake_dagster_components.masking import forget_secrets

# Each run tests the same examples, so that only a change can make a test fail. For other ones, run pytest --hypothesis-profile=explore.
hypothesis.settings.register_profile(
    "tests", derandomize=True, database=None, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.register_profile("explore", hypothesis.settings.get_profile("tests"), derandomize=False)
hypothesis.settings.load_profile("tests")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A background job of a shell ignores SIGINT. Dagster's servers would then ignore SIGTERM, and tests would wait for their end forever.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Recorded times, and those of models, are in UTC. Processes that tests start inherit it.
os.environ["TZ"] = "UTC"
if hasattr(time, "tzset"):
    time.tzset()

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = REPOSITORY.parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with specifications, real projects and recorded behavior, beside the repository. Without it, the test is skipped."""
    if not (SHARED / "corpus").is_dir():
        pytest.skip("needs the folder 'shared' (corpus and oracle) beside the checkout")
    return SHARED


@pytest.fixture(scope="session", autouse=True)
def cache_of_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep plans in a cache that only the tests of this session share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SL_DAGSTER_CACHE", str(tmp_path_factory.mktemp("plans")))
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for tests. If it is not installed, the test is skipped."""
    try:
        with run_postgres() as server:
            yield server
    except NotAvailable as error:
        pytest.skip(str(error))


@pytest.fixture(autouse=True)
def secrets_of_other_tests() -> None:
    """Forget the secrets of other tests, because one of their passwords may be a word in this test."""
    forget_secrets()


@pytest.fixture
def folder(tmp_path: Path) -> ProjectFolder:
    """An empty project folder with one DuckDB connection."""
    made = ProjectFolder(tmp_path / "project")
    return made.write(
        "metadata/application.sl.yml",
        """
        version: 1
        application:
          connectionRef: duckdb
          loader: native
          connections:
            duckdb:
              type: jdbc
              options:
                url: "jdbc:duckdb:{{SL_ROOT}}/datasets/duckdb.db"
                driver: org.duckdb.DuckDBDriver
        """,
    )


@pytest.fixture
def shop(folder: ProjectFolder) -> ProjectFolder:
    """A small project: tables ``shop.orders`` and ``shop.items`` (CSV), task ``kpi.daily`` downstream of them, and ``kpi.top`` after it."""
    application = folder.root / "metadata/application.sl.yml"
    application.write_text(
        application.read_text(encoding="utf-8") + "  dagRef:\n    load: loads\n    transform: transforms\n", encoding="utf-8"
    )
    folder.write(
        "metadata/dags/loads.sl.yml",
        """
        version: 1
        dag:
          comment: "loads {{domain}}"
          template: load/dagster__scheduled_table__shell.py.j2
          filename: "{{domain}}_tables.py"
          options:
            pre_load_strategy: imported
            tags: nightly
        """,
    )
    folder.write(
        "metadata/dags/transforms.sl.yml",
        """
        version: 1
        dag:
          comment: "makes {{domain}}"
          template: transform/dagster__scheduled_task__shell.py.j2
          filename: "{{domain}}_tasks.py"
        """,
    )
    folder.write(
        "metadata/load/shop/_config.sl.yml",
        """
        version: 1
        load:
          name: shop
          comment: What the shop sells
          metadata:
            directory: "{{SL_ROOT}}/datasets/incoming/shop"
            schedule: daily
            format: DSV
            withHeader: true
            separator: ";"
        """,
    )
    for table, columns in {"orders": ["id", "amount"], "items": ["id", "label"]}.items():
        folder.write(
            f"metadata/load/shop/{table}.sl.yml",
            f"""
            version: 1
            table:
              name: {table}
              pattern: "{table}.*.csv"
              comment: The {table}
              tags: [pii]
              metadata:
                writeStrategy:
                  type: APPEND
              attributes:
                - name: {columns[0]}
                  type: long
                  required: true
                  comment: The key
                - name: {columns[1]}
                  type: string
            """,
        )
    folder.write(
        "metadata/transform/kpi/daily.sl.yml",
        """
        version: 1
        task:
          comment: Orders with their items
          writeStrategy:
            type: OVERWRITE
        """,
    )
    folder.write(
        "metadata/transform/kpi/daily.sql", "select o.id, o.amount, i.label\nfrom shop.orders o\njoin shop.items i on i.id = o.id\n"
    )
    folder.write("metadata/transform/kpi/top.sql", "select * from kpi.daily, elsewhere.rates\n")
    return folder
