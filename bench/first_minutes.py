"""Act as a new user: take projects as they are, with only the package installed, and do only what its messages propose.

    python bench/first_minutes.py PROJECT... [--python /venv/bin/python] [--only dev,dg]

For each project: ``sl-dagster check``, ``sl-dagster run``, ``sl-dagster dev`` (the location is loaded through GraphQL) and a
``dg`` project. The package is that of ``--python``. A proposal is a pattern of the output and an action. Proposals are followed one after
the other, until a run makes no new ones. The result is a table in Markdown: project, first message, actions, tables with rows.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LIMIT = 600
ASSETS = "{ repositoriesOrError { __typename ... on RepositoryConnection { nodes { assetNodes { id } jobs { name } } } } }"


@dataclass(slots=True)
class Attempt:
    """A project, and the actions that were taken.

    Attributes:
        project: a copy of the project.
        options: options for ``sl-dagster``.
        run_options: options for ``sl-dagster run`` only.
        environment: variables that were set.
        done: descriptions of the actions.
    """

    project: Path
    options: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    run_options: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)

    def edit(self, file: str, change: Callable[[str], str]) -> None:
        path = self.project / file
        path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")


Act = Callable[[Attempt, "re.Match[str]"], str]


def set_option(option: str) -> Act:
    def act(attempt: Attempt, found: "re.Match[str]") -> str:
        value = option.format(*found.groups())
        attempt.options += value.split()
        return value

    return act


def set_dag_ref(attempt: Attempt, found: "re.Match[str]") -> str:
    """Set ``dagRef`` to the proposed DAG configs, wherever it names one for Airflow."""
    names = {"load": None, "transform": None}
    for name in re.findall(r"set (?:it|dagRef) to (?:one of )?'?(\w+)'?", found.string):
        names["transform" if "transform" in name else "load"] = name
    changed = []
    for path in sorted((attempt.project / "metadata").rglob("*.sl.yml")):
        if "dags" in path.parts:
            continue
        before = path.read_text(encoding="utf-8")
        after = before
        for kind, name in names.items():
            if name:
                after = re.sub(rf"^(\s+{kind}: *)[\"']?[\w{{}} ]*(airflow|dag_ref)\w*[}} ]*[\"']?", rf"\g<1>{name}", after, flags=re.M)
                after = re.sub(rf"^(\s+dagRef: *)[\"']?airflow_{kind}\w*[\"']?", rf"\g<1>{name}", after, flags=re.M)
        if any(names.values()) and after == before and path.name == "application.sl.yml" and "dagRef" not in before:
            lines = "".join(f"    {kind}: {name}\n" for kind, name in names.items() if name)
            after = before.rstrip("\n").replace("application:", f"application:\n  dagRef:\n{lines}".rstrip("\n"), 1) + "\n"
        if after != before:
            path.write_text(after, encoding="utf-8")
            changed.append(path.relative_to(attempt.project).as_posix())
    return f"dagRef: {', '.join(name for name in names.values() if name)} ({', '.join(changed)})" if changed else ""


def write_dag_configs(attempt: Attempt, found: "re.Match[str]") -> str:
    """Write a DAG config for each proposed template, and set ``dagRef`` to it."""
    templates = {kind: template for template, kind in re.findall(r"with the template '((load|transform)/[\w.]+)'", found.string)}
    for kind, template in templates.items():
        path = attempt.project / "metadata/dags" / f"{kind}_with_dagster.sl.yml"
        path.parent.mkdir(exist_ok=True)
        dag = f'  comment: {kind}s\n  template: {template}\n  filename: "{kind}_{{{{domain}}}}.py"\n'
        path.write_text(f"version: 1\ndag:\n{dag}", encoding="utf-8")

    def change(text: str) -> str:
        lines = "".join(f"    {kind}: {kind}_with_dagster\n" for kind in templates)
        return re.sub(r"^application:.*\n", lambda found: f"{found[0]}  dagRef:\n{lines}", text, count=1, flags=re.M)

    if not templates:
        return ""
    attempt.edit("metadata/application.sl.yml", change)
    return f"metadata/dags: {', '.join(templates.values())}; dagRef (metadata/application.sl.yml)"


def set_variable(attempt: Attempt, found: "re.Match[str]") -> str:
    """Set a missing variable to a DAG config, or to the first connection."""
    name = found[2]
    connections = re.search(r"^  connections:\n((?:    .*\n|\n)+)", (attempt.project / "metadata/application.sl.yml").read_text(), re.M)
    names = re.findall(r"^    ([\w-]+):", connections[1], re.M) if connections else ["duckdb"]
    value = "dagster_load_shell" if "DAG" in name else names[0] if "CONNECTION" in name else "value"
    attempt.environment[name] = value
    return f"{name}={value}"


def set_pre_load(attempt: Attempt, found: "re.Match[str]") -> str:
    changed = []
    for path in sorted((attempt.project / "metadata" / "dags").glob("dagster*load*.sl.yml")):
        before = path.read_text(encoding="utf-8")
        after = re.sub(r"pre_load_strategy: *[\"']?\w+[\"']?", "pre_load_strategy: imported", before)
        if after == before and "pre_load_strategy" not in before:
            after = re.sub(r"^(\s+)options:.*\n", r"\g<0>\g<1>  pre_load_strategy: imported\n", before, count=1, flags=re.M)
        if after != before:
            path.write_text(after, encoding="utf-8")
            changed.append(path.name)
    return f"pre_load_strategy: imported ({', '.join(changed)})" if changed else ""


def add_connection(attempt: Attempt, found: "re.Match[str]") -> str:
    """Add a DuckDB connection, and make it the default."""

    def change(text: str) -> str:
        text = re.sub(r"^  connectionRef:.*\n", "", text, flags=re.M)
        connection = '    local:\n      type: jdbc\n      options:\n        url: "jdbc:duckdb:{{SL_ROOT}}/local.db"\n'
        return re.sub(r"^  connections:.*\n", lambda found: f"  connectionRef: local\n{found[0]}{connection}", text, count=1, flags=re.M)

    attempt.edit("metadata/application.sl.yml", change)
    return "connectionRef: local, a DuckDB file (metadata/application.sl.yml)"


def set_sink_connection(attempt: Attempt, found: "re.Match[str]") -> str:
    """Give every sink with a connection that cannot be used the proposed one."""
    other, proposed = found[1], found[2]
    for path in (attempt.project / "metadata").rglob("*.sl.yml"):
        before = path.read_text(encoding="utf-8")
        after = re.sub(rf"""(connectionRef: *)["']?{re.escape(other)}["']?""", rf"\g<1>{proposed}", before)
        if after != before:
            path.write_text(after, encoding="utf-8")
    return f"connectionRef: {proposed} in every sink with '{other}'"


def write_expectations(attempt: Attempt, found: "re.Match[str]") -> str:
    for path in (attempt.project / "metadata").rglob("*.sl.yml"):
        before = path.read_text(encoding="utf-8")
        after = re.sub(r"^( +)- ([\"']is_\w+\(.*)$", r"\1- expect: \2", before, flags=re.M)
        if after != before:
            path.write_text(after, encoding="utf-8")
    return "expect: before each expectation"


def select_all(attempt: Attempt, found: "re.Match[str]") -> str:
    attempt.run_options += ["--select", "*"]
    return "run --select '*'"


PROPOSALS: Mapping[str, Act] = {
    r"variable '(\w+)' is '\{\{(\w+)\}\}', and \w+ is not set; set it": set_variable,
    r"connectionRef '(\{\{)(\w+)\}\}': the variable \w+ is not set": set_variable,
    r"expected a mapping \('expect: ...'\)": write_expectations,
    r"assets? ha(?:s|ve) no job: .*set (?:it|dagRef) to (?:one of )?'?(?!its )\w+": set_dag_ref,
    r"write a DAG config with the template '": write_dag_configs,
    r"connection '(\w+)' uses \w+, and .* is written to it; .*: set connectionRef of this sink to (\w+)": set_sink_connection,
    r"\(--executor duckdb\)": set_option("--executor duckdb"),
    r"add a DuckDB connection to application.connections": add_connection,
    r"select assets instead \(--select '\*'": select_all,
    r"set env to (\w+)": set_option("--env {0}"),
    r"set pre_load_strategy: imported": set_pre_load,
}


def run_command(python: str, attempt: Attempt, *arguments: str) -> "subprocess.CompletedProcess[str]":
    own = {name: value for name, value in os.environ.items() if not name.startswith(("SL_", "DAGSTER_", "PYTHON"))}
    environment = {**own, **attempt.environment, "SL_DAGSTER_CACHE": str(attempt.project.parent / "cache"), "COLUMNS": "250"}
    command = [python, "-m", "starlake_dagster_components.cli", *arguments]
    return subprocess.run(
        command, cwd=attempt.project, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False, stdin=subprocess.DEVNULL
    )


def follow_proposals(python: str, attempt: Attempt) -> tuple[str, dict[str, Any]]:
    """Check and run until there are no new proposals. Return the first message, and the results of the last run."""
    first, results = "", {}
    for _ in range(8):
        checked = run_command(python, attempt, "check", *attempt.options)
        ran = run_command(python, attempt, "run", "--format", "json", *attempt.options, *attempt.run_options)
        said = f"{checked.stdout}\n{checked.stderr}\n{ran.stderr}\n{ran.stdout}"
        with_results = ran.stdout.find("{")
        try:
            results = json.loads(ran.stdout[with_results:]) if with_results >= 0 else {}
        except ValueError:
            results = {}
        for pattern, act in PROPOSALS.items():
            found = re.search(pattern, said)
            if not found:
                continue
            line = next((line for line in said.splitlines() if found[0] in line), found[0])
            done = act(attempt, re.search(pattern, line) or found)
            if done and done not in attempt.done:
                first = first or line
                attempt.done.append(done)
                break
        else:
            if not results or not all(job.get("success") for job in results.get("jobs", ())):
                first = first or next((line for line in said.splitlines() if line.strip()), "")
                errors = [line for line in said.splitlines() if "error" in line or " failed" in line]
                results["last"] = "; ".join(errors[:3])[:400]
            return first, results
    return first, results


def count_rows(results: Mapping[str, Any]) -> str:
    assets = [asset for job in results.get("jobs", ()) for asset in job.get("assets", ())]
    made = {a["key"] if "key" in a else a["asset"]: a.get("rows") for a in assets}
    filled = {key: rows for key, rows in made.items() if rows}
    failed = sum(1 for a in assets if a.get("status") == "failed")
    return f"{len(filled)} of {len(made)} assets have rows" + (f", {failed} failed" if failed else "")


def load_with_dev(python: str, attempt: Attempt) -> str:
    """Start ``sl-dagster dev``, and press Ctrl-C. Return the number of assets and jobs, and the processes that are left."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {name: value for name, value in os.environ.items() if not name.startswith(("SL_", "DAGSTER_", "PYTHON"))}
    environment = {**own, **attempt.environment, "SL_DAGSTER_CACHE": str(attempt.project.parent / "cache")}
    command = [python, "-m", "starlake_dagster_components.cli", "dev", "--port", str(port), *attempt.options]
    log = attempt.project.parent / "dev.log"
    with open(log, "wb") as output, subprocess.Popen(command, cwd=attempt.project, env=environment, stdout=output, stderr=output) as dev:
        try:
            end = time.monotonic() + LIMIT
            while time.monotonic() < end and dev.poll() is None:
                try:
                    request = urllib.request.Request(
                        f"http://127.0.0.1:{port}/graphql", json.dumps({"query": ASSETS}).encode(), {"Content-Type": "application/json"}
                    )
                    with urllib.request.urlopen(request, timeout=LIMIT) as answer:
                        nodes = json.load(answer)["data"]["repositoriesOrError"].get("nodes") or []
                    counts = [
                        f"{len(n['assetNodes'])} assets, {sum(not j['name'].startswith('__') for j in n['jobs'])} jobs" for n in nodes
                    ]
                    return f"{', '.join(counts) or 'location has an error'}; Ctrl-C: {_press_ctrl_c(dev)}"
                except OSError:
                    time.sleep(0.3)
            return f"ended: {log.read_text()[-200:]}"
        finally:
            dev.terminate()


def _press_ctrl_c(process: "subprocess.Popen[bytes]") -> str:
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    started = [process.pid]
    for pid in started:
        started += [child for child, parent in parents.items() if parent == pid]
    process.send_signal(signal.SIGINT)
    code = process.wait(LIMIT)
    left = sum(Path(f"/proc/{pid}").exists() for pid in started[1:])
    return f"exit {code}, {left} of {len(started) - 1} processes left"


def load_with_dg(python: str, attempt: Attempt) -> str:
    """Create a ``dg`` project with the component, and list and check its definitions. Return the number of assets."""
    folder = attempt.project.parent / "dg"
    (folder / "shop" / "defs").mkdir(parents=True)
    (folder / "shop" / "__init__.py").touch()
    (folder / "shop" / "defs" / "__init__.py").touch()
    (folder / "shop" / "definitions.py").write_text(
        "from pathlib import Path\n\nimport dagster as dg\n\n\n@dg.definitions\ndef defs():\n"
        "    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)\n"
    )
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "shop"\nversion = "0"\n\n[tool.dg]\ndirectory_type = "project"\n\n[tool.dg.project]\nroot_module = "shop"\n'
    )
    options = dict(zip(attempt.options[::2], attempt.options[1::2], strict=True))
    own = {name: value for name, value in os.environ.items() if not name.startswith(("SL_", "DAGSTER_", "PYTHON"))}
    environment = {**own, **attempt.environment, "PYTHONPATH": str(folder), "SL_DAGSTER_CACHE": str(attempt.project.parent / "cache")}

    def run_dg(*arguments: str) -> "subprocess.CompletedProcess[str]":
        program = "import sys; from dagster_dg_cli.cli import main; sys.argv[0] = 'dg'; main()"
        command = [python, "-c", program, *arguments]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False)

    executor = ["--executor", options["--executor"]] if "--executor" in options else []
    project = os.path.relpath(attempt.project, folder)
    made = run_dg("scaffold", "defs", "starlake_dagster_components.StarlakeProjectComponent", "starlake", "--project", project, *executor)
    if made.returncode:
        return f"scaffold failed: {(made.stderr or made.stdout)[-300:]}"
    if "--env" in options:
        file = folder / "shop" / "defs" / "starlake" / "defs.yaml"
        file.write_text(file.read_text() + f"  env: {options['--env']}\n")
    listed = run_dg("list", "defs", "--json")
    if listed.returncode:
        return f"list failed: {(listed.stderr or listed.stdout)[-300:]}"
    checked = run_dg("check", "defs")
    if checked.returncode:
        return f"check failed: {(checked.stderr or checked.stdout)[-300:]}"
    found = json.loads(listed.stdout[listed.stdout.find("{") if listed.stdout.lstrip().startswith("{") else listed.stdout.find("[") :])
    return (
        f"{len(found.get('assets', ()))} assets, {len(found.get('jobs', ()))} jobs"
        if isinstance(found, dict)
        else f"{len(found)} definitions"
    )


def examine(python: str, project: Path, folder: Path, only: set[str]) -> Iterator[str]:
    """Yield the cells of a project's row."""
    attempt = Attempt(folder / project.name)
    shutil.copytree(project, attempt.project)
    first, results = follow_proposals(python, attempt)
    yield project.name
    yield re.sub(r"^.*(WARNING|ERROR) - ", "", first).replace(str(attempt.project), "").replace("|", "\\|").strip()[:220]
    yield "<br>".join(f"`{done}`" for done in attempt.done) or "nothing"
    yield count_rows(results) + (f": {results['last']}" if results.get("last") else "")
    yield load_with_dev(python, attempt) if "dev" in only else ""
    yield load_with_dg(python, attempt) if "dg" in only else ""


def main() -> None:
    """Examine all projects and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("projects", nargs="+", type=Path)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--only", default="dev,dg")
    options = parser.parse_args()
    print("| project | first message | what was done | tables with rows | dev | dg |\n|---|---|---|---|---|---|", flush=True)
    for project in options.projects:
        with tempfile.TemporaryDirectory(prefix="first-") as folder:
            print(f"| {' | '.join(examine(options.python, project.resolve(), Path(folder), set(options.only.split(','))))} |", flush=True)


if __name__ == "__main__":
    main()
