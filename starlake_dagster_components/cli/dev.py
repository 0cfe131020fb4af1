"""``sl-dagster dev``: serve projects in Dagster's UI, and reload them when files change or the columns of tasks have been inferred.

Like ``dg dev``, it runs Dagster's own services: a code server for each project, the web server, and the daemon. A workspace file lists the
code servers. After an edit, a GraphQL mutation makes the web server reload the code location, and open browsers update.
"""

import contextlib
import importlib.util
import itertools
import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import MissingDependency, StarlakeError, join_names
from ..lineage.inferred import NOTICE
from . import warm_start

DEFAULT_PORT = 3000
_PORTS = 100
"""Number of ports to try, beginning with the default one."""

_GRACE = 20.0
"""Seconds in which services, and the runs that they started, must exit before they are killed."""

_FORK_SERVER = "fork server"
_POLL_SECONDS = 0.5
_STARTUP_POLL_SECONDS = 0.1
_RELOAD = """mutation($location: String!) {
  reloadRepositoryLocation(repositoryLocationName: $location) {
    __typename
    ... on WorkspaceLocationEntry { locationOrLoadError { __typename ... on PythonError { message } } }
    ... on RepositoryLocationNotFound { message }
    ... on ReloadNotSupported { message }
    ... on UnauthorizedError { message }
    ... on PythonError { message }
  }
}"""


@dataclass(frozen=True, slots=True)
class Location:
    """A code location: its name in Dagster, and the absolute path of the project's folder."""

    name: str
    root: Path


def name_locations(projects: Sequence[Path]) -> list[Location]:
    """Return a code location for each project, named after its folder. If that is not unique, the parent folder's name precedes it."""
    roots = list(dict.fromkeys(Path(os.path.abspath(project)) for project in projects))
    names = [root.name for root in roots]
    found: dict[str, Path] = {}
    for root in roots:
        name = root.name if names.count(root.name) == 1 else f"{root.parent.name}_{root.name}"
        name = base = re.sub(r"[^A-Za-z0-9_.-]", "_", name) or "starlake"
        numbers = itertools.count(2)
        while name in found:
            name = f"{base}_{next(numbers)}"
        found[name] = root
    return [Location(name, root) for name, root in found.items()]


def choose_port(host: str, port: int | None) -> int:
    """Return the port to listen on: the given one, else the first free port from 3000.

    Raises:
        StarlakeError: the given port, or each of the 100 candidates, is taken.
    """
    for candidate in [port] if port is not None else range(DEFAULT_PORT, DEFAULT_PORT + _PORTS):
        with socket.socket() as attempt:
            # As servers do, so that a port whose last connections are still closing counts as free.
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                attempt.bind((host, candidate))
                return candidate
    if port is not None:
        raise StarlakeError(f"--port: {host}:{port} is taken; omit --port to use a free port")
    raise StarlakeError(f"--port: all ports from {DEFAULT_PORT} to {DEFAULT_PORT + _PORTS - 1} of {host} are taken")


class Services:
    """Dagster's services for code locations, as a context manager that stops them at the end.

    ``environment`` is that of all services; code servers also get ``SL_ROOT``. The web server listens on ``host`` and ``port``.
    """

    def __init__(self, locations: Sequence[Location], environment: Mapping[str, str], *, host: str, port: int, log_level: str) -> None:
        self.locations = locations
        self.url = f"http://{host}:{port}"
        self._environment = {**environment, "DAGSTER_IS_DEV_CLI": "1"}
        self._host, self._port, self._log_level = host, port, log_level
        self._stack = contextlib.ExitStack()
        self._folder = Path()
        self._launcher: Path | None = None
        """Launcher that code servers use as their Python."""
        self._servers: list[dict[str, object]] = []
        self._notices: dict[Location, Path] = {}
        """The files that code servers create to request a reload."""
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._commands: dict[str, Callable[[], subprocess.Popen[bytes]]] = {}

    def __enter__(self) -> "Services":
        """Start the code servers."""
        import dagster as dg

        with self._stack:
            self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="sl-dagster-", ignore_cleanup_errors=True)))
            if not self._environment.get("DAGSTER_HOME"):
                home = self._folder / "home"
                home.mkdir()
                (home / "dagster.yaml").write_text("telemetry: {enabled: false}\nnux: {enabled: false}\n", encoding="utf-8")
                self._environment["DAGSTER_HOME"] = str(home)
            # Create the databases, because services interfere with each other if they create them at the same time.
            with dg.DagsterInstance.from_config(self._environment["DAGSTER_HOME"]):
                pass
            self._stack.callback(self._stop)
            if warm_start.can_serve():
                path = self._folder / "warm.sock"
                self._launcher = warm_start.write_launcher(self._folder, path)
                self._start(_FORK_SERVER, [warm_start.__name__, "serve", str(path)], self._environment)
            self._servers = [
                self._start_code_server(location, self._folder / f"{number}.sock") for number, location in enumerate(self.locations)
            ]
            self._stack = self._stack.pop_all()
        return self

    def start_web_server(self, stop: threading.Event) -> None:
        """Wait for the code servers, start the web server and the daemon, and wait until the web server responds or ``stop`` is set.

        Raises:
            StarlakeError: the web server or the daemon exited.
        """
        for server in self._servers:
            while not _is_listening(server) and not stop.wait(_STARTUP_POLL_SECONDS):
                self.revive()
        workspace = self._folder / "workspace.yaml"
        workspace.write_text(json.dumps({"load_from": [{"grpc_server": server} for server in self._servers]}), encoding="utf-8")
        common, level = ("--workspace", str(workspace)), self._log_level
        web = ("--host", self._host, "--port", str(self._port), "--dagster-log-level", level)
        self._start("web server", ["dagster_webserver", *web, *common], self._environment)
        self._start("daemon", ["dagster._daemon", "run", "--log-level", level, *common], self._environment)
        while not stop.wait(_STARTUP_POLL_SECONDS):
            self.revive()
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/server_info", timeout=5):
                return

    def __exit__(self, *_: object) -> None:
        """Stop all services, and the runs that they started."""
        self._stack.close()

    def _start_code_server(self, location: Location, path: Path) -> dict[str, object]:
        """Start the code server of a location, and return its entry in the workspace file."""
        address: dict[str, object] = {"socket": str(path)}
        arguments = ["--socket", str(path)]
        if not hasattr(socket, "AF_UNIX"):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                address = {"host": "127.0.0.1", "port": free.getsockname()[1]}
            arguments = ["--host", "127.0.0.1", "--port", str(address["port"])]
        module = f"{__package__.rpartition('.')[0]}.code_location"
        command = ["code-server", "start", "-m", module, *arguments, "--location-name", location.name]
        command += ["--use-python-environment-entry-point", "--inject-env-vars-from-instance", "--log-level", "warning"]
        command = [warm_start.__name__, "code-server", str(self._launcher), *command] if self._launcher else ["dagster", *command]
        self._notices[location] = path.with_suffix(".columns")
        own = {"SL_ROOT": str(location.root), NOTICE: str(self._notices[location])}
        self._start(f"code server of {location.name}", command, {**self._environment, **own})
        return {**address, "location_name": location.name}

    def _start(self, name: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        def start() -> subprocess.Popen[bytes]:
            # In its own session, so that Ctrl-C does not reach it: this process stops the services, in order.
            return subprocess.Popen([sys.executable, "-m", *arguments], env=environment, start_new_session=True, stdin=subprocess.DEVNULL)

        self._commands[name] = start
        self._processes[name] = start()

    def revive(self) -> list[str]:
        """Restart code servers that exited, and return a message about each.

        Raises:
            StarlakeError: the web server or the daemon exited.
        """
        messages = []
        for name, process in self._processes.items():
            code = process.poll()
            if code is None:
                continue
            if not name.startswith(("code server", _FORK_SERVER)):
                raise StarlakeError(f"Dagster's {name} exited with code {code}")
            messages.append(f"restarting the {name}, which exited with code {code}")
            self._processes[name] = self._commands[name]()
        return messages

    def collect_reload_requests(self) -> list[Location]:
        """Return the locations whose code servers have found columns of tasks since the last call: a reload shows them."""
        found = []
        for location, file in self._notices.items():
            with contextlib.suppress(FileNotFoundError):
                file.unlink()
                found.append(location)
        return found

    def reload(self, location: Location) -> str | None:
        """Reload a location. Return an error message if that fails, or else None."""
        try:
            response = self.query(_RELOAD, {"location": location.name})
        except (OSError, ValueError) as error:
            return f"the web server does not respond: {error}"
        result = (response.get("data") or {}).get("reloadRepositoryLocation") or {}
        if result.get("__typename") != "WorkspaceLocationEntry":
            return str(result.get("message") or response.get("errors") or "not reloaded")
        loaded = result.get("locationOrLoadError") or {}
        return str(loaded.get("message")).strip() if loaded.get("__typename") == "PythonError" else None

    def query(self, query: str, variables: Mapping[str, str]) -> dict[str, Any]:
        """Send a GraphQL query to the web server, and return its JSON response.

        Raises:
            OSError: it does not respond.
            ValueError: the response is not JSON.
        """
        body = json.dumps({"query": query, "variables": dict(variables)}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=300) as response:
            found: dict[str, Any] = json.load(response)
        return found

    def _stop(self) -> None:
        for process in reversed(list(self._processes.values())):
            _send_signal(process, signal.SIGTERM)
        end = time.monotonic() + _GRACE
        for process in self._processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, end - time.monotonic()))
        for process in self._processes.values():
            # Also reaches processes that a service left behind, because they are in its session.
            _send_signal(process, getattr(signal, "SIGKILL", signal.SIGTERM))
            process.wait()


def _is_listening(server: Mapping[str, object]) -> bool:
    """Return whether the code server of an entry in the workspace file accepts connections."""
    family, address = (socket.AF_UNIX, server["socket"]) if "socket" in server else (socket.AF_INET, (server["host"], server["port"]))
    with socket.socket(family) as attempt:
        return attempt.connect_ex(address) == 0  # type: ignore[arg-type]


def _send_signal(process: "subprocess.Popen[bytes]", number: int) -> None:
    """Send a signal to a service and to the other processes in its session."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)


Changes = Mapping[Location, Sequence[str]]
"""Code location -> its changed files, relative to the project."""


class Watcher(threading.Thread):
    """A thread that watches the metadata of projects for changes until ``stop`` is set. It starts when it is created."""

    def __init__(self, locations: Sequence[Location], stop: threading.Event) -> None:
        super().__init__(name="starlake-watcher", daemon=True)
        self._roots = {os.path.realpath(location.root): location for location in locations}
        self._stop_event = stop
        self._found: queue.SimpleQueue[set[tuple[Any, str]]] = queue.SimpleQueue()
        self.start()

    def run(self) -> None:
        """Watch until ``stop`` is set."""
        from watchfiles import DefaultFilter, watch

        folders = [folder for root in self._roots if os.path.isdir(folder := os.path.join(root, "metadata"))]
        # Ignore the temporary files of editors: Emacs's lock files (.#name) and Vim's probe (4913).
        patterns = (*DefaultFilter.ignore_entity_patterns, r"^\.#", r"^4913$")
        chosen = DefaultFilter(ignore_entity_patterns=patterns)
        for found in watch(*folders, watch_filter=chosen, debounce=300, step=50, stop_event=self._stop_event, raise_interrupt=False):
            self._found.put(found)

    def take_changes(self, seconds: float) -> Changes:
        """Return the changes since the last call. If there are none, wait up to ``seconds`` for the next one."""
        files: set[str] = set()
        with contextlib.suppress(queue.Empty):
            files.update(file for _, file in self._found.get(timeout=seconds))
            while True:
                files.update(file for _, file in self._found.get_nowait())
        changes: dict[Location, list[str]] = {}
        for file in sorted(files):
            root = max((r for r in self._roots if file.startswith(r + os.sep)), key=len, default=None)
            if root is not None:
                changes.setdefault(self._roots[root], []).append(os.path.relpath(file, root))
        return changes


def serve_projects(
    projects: Sequence[Path],
    environment: Mapping[str, str],
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    reload: bool = True,
    log_level: str = "warning",
    report: Callable[[str], None],
    examine: Callable[[Path], None],
    stop: threading.Event | None = None,
) -> None:
    """Serve projects until Ctrl-C, SIGTERM, or ``stop``.

    Args:
        projects: the folders of the projects.
        environment: environment of Dagster's services, with the settings as ``SL_DAGSTER_...``.
        host: address on which the web server listens.
        port: its port; None = the first free port from 3000.
        reload: whether to reload a project when one of its files changes.
        log_level: minimum level of the log messages of Dagster's services.
        report: receives progress messages.
        examine: receives a project's folder after each load, to print the project's problems.
        stop: ends serving when it is set.

    Raises:
        MissingDependency: the web server or watchfiles is not installed.
        StarlakeError: the port is taken, or a service exited.
    """
    for package in ("dagster_webserver", *(["watchfiles"] if reload else [])):
        if importlib.util.find_spec(package) is None:
            raise MissingDependency(package=package.replace("_", "-"), extra="dev", purpose="sl-dagster dev")
    ended = stop or threading.Event()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: ended.set())
    locations = name_locations(projects)
    # Created first, so that changes made while Dagster starts are not missed.
    watcher = Watcher(locations, ended) if reload else None
    with Services(locations, environment, host=host, port=choose_port(host, port), log_level=log_level) as services:
        report(f"starting Dagster for {', '.join(location.name for location in locations)}")
        if not environment.get("DAGSTER_HOME"):
            report("the history of runs is deleted when this command ends; set DAGSTER_HOME to keep it")
        services.start_web_server(ended)
        if not ended.is_set():
            report(f"Dagster is at {services.url} (press Ctrl-C to stop)")
            for location in locations:
                examine(location.root)
        while not ended.is_set():
            for message in services.revive():
                report(message)
            if watcher is None:
                ended.wait(_POLL_SECONDS)
            else:
                _follow_changes(services, watcher, report, examine)
        report("stopping Dagster's services")


def _follow_changes(services: Services, watcher: Watcher, report: Callable[[str], None], examine: Callable[[Path], None]) -> None:
    """Wait a moment for edits and newly inferred columns, and reload the affected locations."""
    changes = watcher.take_changes(_POLL_SECONDS)
    requests = [location for location in services.collect_reload_requests() if location not in changes]
    reasons = {location: f"{join_names(files, 3)} changed" for location, files in changes.items()}
    for location, reason in {**dict.fromkeys(requests, "the columns of its tasks were found"), **reasons}.items():
        began = time.monotonic()
        failure = services.reload(location)
        report(f"{location.name}: {reason}; {failure or f'reloaded in {time.monotonic() - began:.1f} s'}")
        if location in changes:
            examine(location.root)
