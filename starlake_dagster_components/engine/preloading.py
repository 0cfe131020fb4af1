"""``preload``: check whether there is anything to load. Starlake: PreLoadCmd."""

from pathlib import Path

from ..errors import EngineError
from .areas import list_files, make_folders, matches_table
from .arguments import Arguments
from .result import EngineResult
from .session import Session
from .staging import list_incoming


def check_readiness(session: Session, arguments: Arguments) -> EngineResult:
    """Look for files according to the strategy of the command. With ``imported`` and ``pending``, count them per table.

    As in Starlake, ``pending`` without tables is always ready. A file (``--notReadySentinel``) may replace the exit code of "not ready".
    """
    strategy = (arguments.strategy or "").lower()
    counts: dict[str, int] = {}
    if strategy in ("imported", "pending"):
        counts = _count_incoming(session, arguments) if strategy == "imported" else _count_staged(session, arguments)
        ready = not counts or any(counts.values())
    elif strategy == "ack":
        ready = _take_ack_file(session, arguments)
    else:
        Path(session.project.areas.incoming).mkdir(parents=True, exist_ok=True)
        ready = True
    for table, count in counts.items():
        session.log("info", f"{arguments.domains[0]}.{table}: {count} file{'' if count == 1 else 's'}")
    if not ready and arguments.not_ready_sentinel:
        sentinel = Path(session.project.root, arguments.not_ready_sentinel.removeprefix("file://"))
        try:
            sentinel.parent.mkdir(parents=True, exist_ok=True)
            sentinel.touch()
        except OSError as error:
            session.log("warning", f"cannot write {sentinel}: {error.strerror}")
    code = 0 if ready or arguments.not_ready_sentinel else 1
    return EngineResult(code, not_ready=not ready, metadata={"starlake/waiting_files": counts})


def _count_incoming(session: Session, arguments: Arguments) -> dict[str, int]:
    name = arguments.domains[0]
    domain = next((d for d in session.project.domains if name in (d.folder, d.name)), None)
    make_folders(session.project.areas, [domain] if domain else ())
    tables = [t for t in domain.tables if not arguments.tables or t.name in arguments.tables] if domain else []
    if domain is None or not tables:
        return dict.fromkeys(arguments.tables, 0)
    found = list_incoming(session, domain, tables)
    return {t.name: sum(matches_table(file.name, t) for file in found) for t in tables}


def _count_staged(session: Session, arguments: Arguments) -> dict[str, int]:
    name = arguments.domains[0]
    chosen = [d for d in session.project.domains if name in (d.folder, d.name)]
    make_folders(session.project.areas, chosen if arguments.tables else ())
    files = list_files(Path(session.project.areas.stage, name))
    known = {t.name: t for d in chosen for t in d.tables}
    return {table: sum(matches_table(f.name, known[table]) for f in files) if table in known else 0 for table in arguments.tables}


def _take_ack_file(session: Session, arguments: Arguments) -> bool:
    Path(session.project.areas.incoming).mkdir(parents=True, exist_ok=True)
    if not arguments.global_ack_file_path:
        return False
    path = Path(session.project.root, arguments.global_ack_file_path.removeprefix("file://"))
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise EngineError(f"cannot remove the ack file {path}: {error.strerror}") from error
    return True
