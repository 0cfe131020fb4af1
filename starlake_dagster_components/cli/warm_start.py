"""Start code servers as forks of a process that has already imported everything.

Dagster's code server starts a new process for each reload, and would spend most of that time importing modules. ``sl-dagster dev``
therefore runs :func:`serve`, and gives code servers a launcher to use as their Python (:func:`write_launcher`). The launcher requests a
fork from :func:`serve`. If it does not get one, it executes the real Python.
"""

import contextlib
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

_LAUNCHER = """#!{python} -IS
import json, os, signal, socket, sys

PYTHON, SOCKET = {python!r}, {socket!r}


def request_fork():
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(SOCKET)
        body = json.dumps([sys.argv, dict(os.environ), os.getcwd()]).encode()
        socket.send_fds(server, [len(body).to_bytes(8, "big")], [0, 1, 2])
        server.sendall(body)
        pid = int.from_bytes(server.recv(8), "big")
        if not pid:
            return None
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda number, _: os.kill(pid, number))
        return int.from_bytes(server.recv(8) or b"\\1", "big")


code = None
if sys.argv[1:5] == ["-m", "dagster", "api", "grpc"]:
    try:
        code = request_fork()
    except OSError:
        pass
if code is None:
    os.execv(PYTHON, [PYTHON, *sys.argv[1:]])
sys.exit(code)
"""

_MODULES = (
    "dagster._cli.api",
    "dagster._grpc.server",
    "dagster._core.workspace.autodiscovery",
    "dagster._utils.test",
    "dagster._core.assets",
)
"""The modules that Dagster's code servers import when they load a code location."""

_PROJECT = {
    "application.sl.yml": "version: 1\napplication:\n  connectionRef: d\n"
    "  connections: {d: {type: jdbc, options: {url: 'jdbc:duckdb:d.db'}}}\n",
    "dags/d.sl.yml": "version: 1\ndag: {template: load/dagster__scheduled_table__shell.py.j2, filename: d.py}\n",
    "dags/e.sl.yml": "version: 1\ndag: {template: transform/dagster__scheduled_task__shell.py.j2, filename: e.py}\n",
    "load/d/_config.sl.yml": "version: 1\nload: {name: d, metadata: {dagRef: d, schedule: daily}}\n",
    "load/d/t.sl.yml": "version: 1\ntable: {name: t, pattern: t.*.csv, attributes: [{name: a, type: string}]}\n",
    "transform/d/u.sl.yml": "version: 1\ntask: {dagRef: e}\n",
    "transform/d/u.sql": "select t.a from d.t t join d.t s on t.a = s.a\n",
}
"""The files of a small project. Loading it imports the modules that other projects need as well."""


def can_serve() -> bool:
    """Return whether this system can fork processes, pass files to them, and run the launcher (its ``#!`` line has a maximum length)."""
    return sys.platform == "linux" and hasattr(socket, "send_fds") and len(sys.executable) < 100


def write_launcher(folder: Path, path: Path) -> Path:
    """Write the launcher that code servers use as their Python, and that connects to the socket of :func:`serve`. Return its path."""
    launcher = folder / "python"
    launcher.write_text(_LAUNCHER.format(python=sys.executable, socket=str(path)), encoding="utf-8")
    launcher.chmod(0o700)
    return launcher


def serve(path: str) -> None:
    """Listen on a Unix socket and fork a process for each request, until a signal ends this process.

    Forks whose requester has exited are killed.
    """
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(64)
        _import_all()
        _Forks(listener).run()


def _import_all() -> None:
    """Import the modules that code servers need. None of them starts threads or reads the project's environment."""
    for name in _MODULES:
        # Dagster's internal modules differ by version. The fork imports the missing ones.
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    import dagster as dg

    from .. import _dagster_cli
    from ..definitions import recovery  # noqa: F401
    from ..definitions.build import build_definitions
    from ..settings import Settings

    with tempfile.TemporaryDirectory(prefix="sl-dagster-") as folder:
        for name, text in _PROJECT.items():
            file = Path(folder, "metadata", name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        # Without the user's cache and environment.
        built = build_definitions(folder, Settings(executor="duckdb", cache="off"))
        built.definitions.get_repository_def().load_all_definitions()
        _dagster_cli.describe_once()
        _dagster_cli.read_migrations_once()
        Path(folder, "dagster.yaml").touch()
        with dg.DagsterInstance.local_temp(folder):
            pass
    gc.collect()
    # Memory that the garbage collector does not touch stays shared between the forks.
    gc.freeze()


class _Forks:
    """The forks of this process, and the connection to the requester of each."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._connections: dict[int, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._wakeup, self._wakeup_writer = os.pipe()
        os.set_blocking(self._wakeup_writer, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wakeup_writer, warn_on_full_buffer=False)
        self._selector.register(listener, selectors.EVENT_READ)
        self._selector.register(self._wakeup, selectors.EVENT_READ)

    def run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    with contextlib.suppress(OSError):
                        self._accept()
                elif key.fileobj == self._wakeup:
                    os.read(self._wakeup, 1024)
                    self._reap()
                else:
                    self._kill_abandoned(key.data)

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        try:
            head, files, _, _ = socket.recv_fds(connection, 8, 3)
            body = b""
            while len(body) < int.from_bytes(head, "big") and (part := connection.recv(1 << 20)):
                body += part
            argv, environ, folder = json.loads(body)
        except (OSError, ValueError):
            connection.close()
            return
        pid = os.fork()
        if pid == 0:
            self._run_fork(connection, files, argv, environ, folder)
        for file in files:
            os.close(file)
        self._connections[pid] = connection
        self._selector.register(connection, selectors.EVENT_READ, pid)
        connection.sendall(pid.to_bytes(8, "big"))

    def _run_fork(self, connection: socket.socket, files: Sequence[int], argv: list[str], environ: dict[str, str], folder: str) -> NoReturn:
        """Run Dagster in the fork with the requester's standard streams, environment, folder, and arguments, and exit."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for other in (*self._connections.values(), connection, self._listener):
                other.close()
            self._selector.close()
            os.close(self._wakeup)
            os.close(self._wakeup_writer)
            for number, file in enumerate(files):
                os.dup2(file, number)
                os.close(file)
            os.environ.clear()
            os.environ.update(environ)
            os.chdir(folder)
            code = _run_dagster(argv[3:])
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _reap(self) -> None:
        while self._connections:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            connection = self._connections.pop(pid)
            with contextlib.suppress(KeyError):
                self._selector.unregister(connection)
            code = os.waitstatus_to_exitcode(status)
            with contextlib.suppress(OSError):
                connection.sendall((code if code >= 0 else 128 - code).to_bytes(8, "big"))
            connection.close()

    def _kill_abandoned(self, pid: int) -> None:
        """Kill a fork whose requester has exited. Requesters send nothing after the request, so a readable connection was closed."""
        self._selector.unregister(self._connections[pid])
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _run_dagster(arguments: Sequence[str]) -> int:
    """Run Dagster's command line, and return its exit code."""
    sys.argv = ["dagster", *arguments]
    try:
        runpy.run_module("dagster", run_name="__main__")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 -- handled as Python itself handles it
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        # Run a code server. sys.executable is the launcher, so its child processes start through it.
        sys.executable = sys.argv[2]
        sys.exit(_run_dagster(sys.argv[3:]))
