"""The services of deploy/docker-compose.yaml as processes of this machine, with a real PostgreSQL."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import yaml
from free_port import find_free_port
from markdown_blocks import REPOSITORY

COMPOSE = REPOSITORY / "deploy/docker-compose.yaml"
PROGRAMS = [Path(found) for found in sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")))]
WAIT = 600


class Postgres:
    """A PostgreSQL server in a temporary folder. The test is skipped if its programs are not installed."""

    def __init__(self, user: str, password: str, database: str) -> None:
        if not PROGRAMS:
            pytest.skip("needs PostgreSQL's programs in /usr/lib/postgresql")
        self.port = find_free_port()
        self._programs = PROGRAMS[-1]
        # PostgreSQL refuses to run as root.
        self._prefix = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.getuid() == 0 else []
        if self._prefix and not shutil.which("setpriv"):
            pytest.skip("needs setpriv, or another user than root")
        # Beside the test's own folder, which other users cannot enter.
        folder = Path(tempfile.mkdtemp(prefix="starlake-dagster-postgres-"))
        self._folder, self._data = folder, folder / "data"
        secret = folder / "password"
        secret.write_text(password, encoding="utf-8")
        if self._prefix:
            for path in (folder, secret):
                shutil.chown(path, "postgres")
        self._run("initdb", "-D", self._data, "-U", user, f"--pwfile={secret}", "-A", "scram-sha-256", "--no-sync")
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off -c max_connections=200"
        self._run("pg_ctl", "-D", self._data, "-w", "-o", options, "-l", folder / "log", "start")
        environment = {**os.environ, "PGPASSWORD": password}
        command = [str(self._programs / "createdb"), "-h", "127.0.0.1", "-p", str(self.port), "-U", user, database]
        subprocess.run(command, env=environment, check=True, capture_output=True)

    def _run(self, program: str, *arguments: str | Path) -> None:
        command = [*self._prefix, str(self._programs / program), *map(str, arguments)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")

    def end(self) -> None:
        """Stop the server."""
        self._run("pg_ctl", "-D", self._data, "-m", "immediate", "stop")
        shutil.rmtree(self._folder, ignore_errors=True)


class Services:
    """The services of the compose file, on this machine.

    Attributes:
        home: the folder that stands for ``/opt/dagster``.
        url: the web server's address.
    """

    def __init__(self, folder: Path) -> None:
        pytest.importorskip("dagster_postgres", reason="needs dagster-postgres, see requirements/dev.in")
        self.home = folder / "dagster"
        self._log = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        variables = {"POSTGRES_PASSWORD": "a password", "SL_DAGSTER_CACHE": "off"}
        services = yaml.safe_load(_substitute(COMPOSE.read_text(encoding="utf-8"), variables))["services"]
        database = services["postgres"]["environment"]
        self._postgres = Postgres(database["POSTGRES_USER"], database["POSTGRES_PASSWORD"], database["POSTGRES_DB"])
        self._ports = {"5432": str(self._postgres.port), "4000": str(find_free_port()), "3000": str(find_free_port())}
        self.url = f"http://127.0.0.1:{self._ports['3000']}"
        self._services = services
        (self.home / "home").mkdir(parents=True)
        for name in ("dagster.yaml", "workspace.yaml"):
            text = (REPOSITORY / "deploy" / name).read_text(encoding="utf-8")
            text = text.replace("host: code", "host: 127.0.0.1").replace("port: 4000", f"port: {self._ports['4000']}")
            (self.home / "home" / name).write_text(text, encoding="utf-8")

    def start(self) -> None:
        """Start the code location, the web server and the daemon, in the order of their dependencies."""
        for name in ("code", "webserver", "daemon"):
            service = self._services[name]
            command = [self._locate(word) for word in service["command"]]
            environment = {key: self._locate(str(value)) for key, value in service["environment"].items() if value is not None}
            environment["DAGSTER_POSTGRES_HOST"] = "127.0.0.1"
            environment = {k: v for k, v in environment.items() if v}
            image = {
                "DAGSTER_HOME": str(self.home / "home"),
                "SL_ROOT": str(self.home / "project"),
                "SL_DAGSTER_CACHE": str(self.home / "plans"),
            }
            base = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY), "HOME": str(self._log)}
            with open(self._log / f"{name}.log", "wb") as log:
                process = subprocess.Popen(
                    command, env={**base, **image, **environment}, cwd=self.home, stdout=log, stderr=log, start_new_session=True
                )
            self._processes.append(process)
            if name == "code":
                health = [self._locate(word) for word in service["healthcheck"]["test"][1:]]
                self.wait(partial(_succeeds, health, base), "the code location is healthy")
        self.wait(
            lambda: "starlake" in str(self._try("{ workspaceOrError { ... on Workspace { locationEntries { name } } } }")), "the web server"
        )

    def _locate(self, word: str) -> str:
        word = word.replace("/opt/dagster/", f"{self.home}/").replace("0.0.0.0", "127.0.0.1")
        return self._ports.get(word, word)

    def query(self, text: str, **variables: Any) -> Any:
        """Send a query to the web server, and return its data."""
        body = json.dumps({"query": text, "variables": variables}).encode()
        try:
            with urlopen(Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"}), timeout=60) as answer:
                found = json.load(answer)
        except HTTPError as error:
            raise AssertionError(f"{text}: {error} {error.read().decode()[:2000]}") from error
        assert "errors" not in found, found
        return found["data"]

    def _try(self, text: str) -> Any:
        try:
            return self.query(text)
        except (OSError, AssertionError):
            return None

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a condition."""
        end = time.monotonic() + WAIT
        while not condition():
            for process in self._processes:
                assert process.poll() is None, f"{process.args!r}: exit code {process.returncode}\n{self.read_logs()}"
            assert time.monotonic() < end, f"waited {WAIT} s for: {what}\n{self.read_logs()}"
            time.sleep(1)

    def read_logs(self) -> str:
        """Return the ends of the logs of all services."""
        return "\n".join(f"{path.name}:\n{path.read_text(errors='replace')[-3000:]}" for path in sorted(self._log.glob("*.log")))

    def end(self) -> None:
        """End all processes that were started here."""
        for process in reversed(self._processes):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in reversed(self._processes):
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self._postgres.end()


def _succeeds(command: list[str], environment: dict[str, str]) -> bool:
    return subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0


def _substitute(text: str, variables: dict[str, str]) -> str:
    """Replace ``${NAME}``, ``${NAME:-default}`` and ``${NAME:?message}`` as Docker Compose does."""

    def replace(found: re.Match[str]) -> str:
        value = variables.get(found["name"], "")
        return value or (found["default"] or "")

    return re.sub(r"\$\{(?P<name>\w+)(?::-(?P<default>[^}]*)|:\?[^}]*)?\}", replace, text)
