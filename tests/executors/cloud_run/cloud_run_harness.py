"""Helpers of the tests of the cloud_run executor: a server with a job, and an executor that uses it with short intervals."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cloud_run_server import CloudRunServer
from contract import Behavior, Limit, Seen, build_command
from program import Program

from starlake_dagster_components.commands import Command
from starlake_dagster_components.executors.cloud_run import CloudRunExecutor

QUICK = {"poll_interval": 0.05, "log_interval": 0.1, "log_settle": 0.05, "start_settle": 0.6, "cancel_timeout": 30.0}


def connect_executor(server: CloudRunServer, **fields: Any) -> CloudRunExecutor:
    """Return an executor whose calls go to a server on loopback."""
    values = {"job_name": "starlake", "project_id": "shop", "logs": "none", **QUICK, **fields}
    return CloudRunExecutor(api_endpoint=server.address, insecure=True, **values)


class CloudRunHarness:
    """Runs the contract's program as the entry point of a job."""

    limits: frozenset[Limit] = frozenset(("errors", "bytes"))

    def __init__(self, folder: Path, server: CloudRunServer, **fields: Any) -> None:
        self.program = Program(folder / "program")
        self.server = server
        self.fields = fields
        server.add_job(command=[str(self.program.path)])

    def behave(self, behavior: Behavior) -> None:
        self.program.behave(behavior)

    def make_executor(self, *, env: Mapping[str, str] | None = None, timeout: float | None = None) -> CloudRunExecutor:
        return connect_executor(self.server, env=dict(env or {}), timeout=timeout, **{"logs": "follow", **self.fields})

    def make_command(self, **changes: Any) -> Command:
        return build_command(**changes)

    def read_seen(self) -> list[Seen]:
        return self.program.read_seen()

    def is_running(self) -> bool:
        return self.program.is_running() or bool(self.server.running)


SHELL = ("/bin/sh", "-c")
EFFECT = (
    'echo "$STEP" >> "$EFFECTS"; sleep "${LASTS:-0}"; while [ -n "$UNTIL" ] && [ ! -e "$UNTIL" ]; do sleep 0.05; done; exit "${CODE:-0}"'
)
"""A command that leaves a line in a file: how often it ran is counted by effect. It runs for some time, or until a file exists."""


def list_effects(effects: Path) -> list[str]:
    """Return the lines that EFFECT left."""
    return effects.read_text().split() if effects.exists() else []


def build_effect(effects: Path, step: str = "orders", **environment: Any) -> Command:
    """Return a command for a job with EFFECT."""
    values = {"STEP": step, "EFFECTS": str(effects), **{k: str(v) for k, v in environment.items()}}
    return Command("load", ("--domains", "sales", "--tables", step), "/project", environment=values)


Faulty = Callable[[str, Any], Any]
