"""Start a PostgreSQL server for tests, with Debian's binaries, a temporary folder, and a free port on loopback."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from free_port import find_free_port

PASSWORD = "pg-secret-9f2"


class NotAvailable(Exception):
    """PostgreSQL cannot be started here; the message gives the reason."""


class PostgresServer:
    """A running server with an empty database ``shop``.

    Attributes:
        port: on 127.0.0.1.
    """

    def __init__(self, port: int) -> None:
        self.port = port

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement; return its rows."""
        import psycopg

        with self.connect() as connection:
            cursor = connection.execute(statement, parameters or None)
            try:
                found: list[tuple[Any, ...]] = cursor.fetchall()
            except psycopg.ProgrammingError:
                return []
            return found

    def connect(self) -> Any:
        """Return a connection that commits by itself."""
        import psycopg

        return psycopg.connect(self.dsn, autocommit=True)

    @property
    def dsn(self) -> str:
        """The connection string for libpq."""
        return f"host=127.0.0.1 port={self.port} dbname=shop user=starlake password={PASSWORD}"

    @property
    def options(self) -> Mapping[str, str]:
        """Options of a Starlake connection."""
        return {
            "url": f"jdbc:postgresql://127.0.0.1:{self.port}/shop",
            "driver": "org.postgresql.Driver",
            "user": "starlake",
            "password": PASSWORD,
            "quoteIdentifiers": "false",
        }


def find_binaries() -> Path:
    """Return the folder of ``initdb`` and ``postgres``.

    Raises:
        NotAvailable: there are none.
    """
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / "initdb").exists():
            return folder
    found = shutil.which("postgres")
    if found is None:
        raise NotAvailable("needs PostgreSQL (package postgresql of Debian and Ubuntu)")
    return Path(found).resolve().parent


def _find_user() -> list[str]:
    """Return a command prefix that runs a program as a user other than root, which PostgreSQL rejects."""
    if os.getuid() != 0:
        return []
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        if shutil.which("setpriv"):
            return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    raise NotAvailable("PostgreSQL does not run as root, and there is no other user to run it as")


@contextmanager
def run_postgres() -> Iterator[PostgresServer]:
    """Start a server, and end it and remove its data afterward.

    Raises:
        NotAvailable: no server can be started here.
    """
    try:
        import psycopg
    except ImportError as error:
        raise NotAvailable("needs the package psycopg") from error
    binaries, prefix = find_binaries(), _find_user()
    port = find_free_port()
    folder = Path(tempfile.mkdtemp(prefix="starlake-postgres-", dir="/tmp"))
    try:
        folder.chmod(0o777)
        (folder / "password").write_text(PASSWORD)
        (folder / "password").chmod(0o644)
        data, environment = folder / "data", {**os.environ, "LC_ALL": "C", "HOME": str(folder)}
        _run(
            [
                *prefix,
                str(binaries / "initdb"),
                "-D",
                str(data),
                "-U",
                "starlake",
                "-A",
                "scram-sha-256",
                f"--pwfile={folder / 'password'}",
            ],
            folder,
            environment,
        )
        options = [
            f"-p {port}",
            "-c listen_addresses=127.0.0.1",
            f"-c unix_socket_directories={folder}",
            "-c fsync=off",
            "-c max_connections=40",
        ]
        control = [*prefix, str(binaries / "pg_ctl"), "-D", str(data), "-w", "-t", "300"]
        _run([*control, "-l", str(folder / "log"), "-o", " ".join(options), "start"], folder, environment)
        try:
            with psycopg.connect(
                f"host=127.0.0.1 port={port} dbname=postgres user=starlake password={PASSWORD}", autocommit=True
            ) as connection:
                connection.execute("create database shop")
            yield PostgresServer(port)
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], capture_output=True, check=False, cwd=folder, env=environment)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(command: list[str], folder: Path, environment: Mapping[str, str]) -> None:
    # The server inherits the streams: a pipe would stay open until it ends.
    with (folder / "output").open("w+", encoding="utf-8") as output:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False, cwd=folder, env=environment)
        if done.returncode:
            output.seek(0)
            raise NotAvailable(f"PostgreSQL cannot be started here: {output.read()[-500:]}")
