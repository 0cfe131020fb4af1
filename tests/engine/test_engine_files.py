"""Files that are odd, damaged, incomplete, or in the way: each is loaded once or rejected with a reason, and the others are loaded."""

import contextlib
import gzip
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from engine_help import APPLICATION, Sandbox, make
from waiting import wait_until

from starlake_dagster_components.cancellation_event import Canceled
from starlake_dagster_components.engine import batch_select, formats, journal, run_command, writing
from starlake_dagster_components.engine.areas import Identity
from starlake_dagster_components.engine.scratch import Scratch, remove_abandoned
from starlake_dagster_components.errors import CommandCanceled

ID_NAME = """{ name: id, type: long }
{ name: name, type: string }"""
GOOD = "id;name\n1;Ann\n"


@pytest.fixture
def box(tmp_path: Path) -> Sandbox:
    return make(tmp_path).table("s", "orders", ID_NAME).table("s", "zones", ID_NAME)


# Files that change.


def test_a_file_that_is_still_being_written_is_loaded_once(box: Sandbox) -> None:
    path = box.root / "datasets/stage/s/orders.csv"
    path.parent.mkdir(parents=True)
    stop = threading.Event()
    written = 0

    def keep_writing() -> None:
        nonlocal written
        with path.open("w") as file:
            file.write("id;name\n")
            while not stop.is_set():
                file.write(f"{written};{'x' * 50}\n")
                written += 1
                if written % 100 == 0:
                    file.flush()
                    time.sleep(0.0005)

    writer = threading.Thread(target=keep_writing)
    writer.start()
    try:
        wait_until(lambda: written >= 1000, "some rows")
        results = [box.run("load", check=False) for _ in range(3)]
    finally:
        stop.set()
        writer.join()
    for result in results:
        assert result.exit_code == 1
        assert "the file changed while it was read: it is still being written" in (result.reason or "")
        assert "orders.csv" in (result.reason or "")
    assert box.files("archive") == []
    box.run("load")
    assert box.rows("select count(*), count(distinct id) from s.orders") == [(written, written)]
    assert box.files("archive") == ["s/orders.csv"]


def test_output_after_the_load_is_reported(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = journal.archive_file

    def write_and_archive(file: journal.LoadedFile) -> Path | None:
        with file.path.open("a") as more:
            more.write("2;Bob\n")
        return archive(file)

    monkeypatch.setattr(journal, "archive_file", write_and_archive)
    result = box.load("s", {"orders.csv": GOOD}, check=False)
    assert "the file was written to after it was loaded (+6 bytes); the change is not in s.orders" in (result.reason or "")
    assert box.rows("select id from s.orders") == [(1,)]
    assert box.files("archive") == ["s/orders.csv"]
    monkeypatch.undo()
    box.load("s")
    assert box.rows("select id from s.orders") == [(1,)]


def test_a_loaded_file_that_was_written_to_before_it_could_be_archived_is_set_aside(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def reject(file: object) -> None:
        raise PermissionError(13, "Permission denied", "archive")

    with monkeypatch.context() as patch:
        patch.setattr(journal, "archive_file", reject)
        result = box.load("s", {"orders.csv": GOOD, "zones.csv": GOOD}, check=False)
    assert (result.reason or "").count("the file is loaded, but cannot be moved to the archive: Permission denied") == 2
    assert result.counters["s.orders"].accepted == 1
    with (box.root / "datasets/ingesting/s/orders.csv").open("a") as file:
        file.write("2;Bob\n")
    again = box.load("s", check=False)
    assert "it is not loaded again" in (again.reason or "")
    assert box.files("unresolved") == ["s/orders.csv"]
    assert box.files("archive") == ["s/zones.csv"]
    assert box.rows("select count(*) from s.orders union all select count(*) from s.zones") == [(1,), (1,)]
    box.load("s")


def test_the_archive_keeps_a_file_that_has_taken_the_name_of_a_loaded_one(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def reject(file: object) -> None:
        raise PermissionError(13, "Permission denied", "archive")

    with monkeypatch.context() as patch:
        patch.setattr(journal, "archive_file", reject)
        box.load("s", {"orders.csv": GOOD}, check=False)
    box.write({"datasets/archive/s/orders.csv": "from another program"})
    box.load("s")
    assert box.files("archive") == ["s/orders.csv", "s/orders~2.csv"]
    assert (box.root / "datasets/archive/s/orders.csv").read_text() == "from another program"
    assert (box.root / "datasets/archive/s/orders~2.csv").read_text() == GOOD
    assert box.rows("select id from s.orders") == [(1,)]


NOT_ARCHIVED = APPLICATION.replace("application:\n", "application:\n  archive: false\n")


def refuse_to_archive(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let the archive refuse files with certain names."""
    archive = journal.archive_file

    def refuse(file: journal.LoadedFile) -> Path | None:
        if file.path.name in names:
            raise PermissionError(13, "Permission denied", "archive")
        return archive(file)

    monkeypatch.setattr(journal, "archive_file", refuse)


def test_only_files_that_wait_for_the_archive_stay_recorded(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {f"orders{number}.csv": GOOD for number in range(4)}
    with monkeypatch.context() as patch:
        refuse_to_archive(patch, "orders1.csv", "orders3.csv")
        box.load("s", files, check=False)
    recorded = [Path(path).name for (path,) in box.rows("select path from starlake_dagster_engine.loaded_files order by 1")]
    assert recorded == ["orders1.csv", "orders3.csv"]
    box.load("s")
    warnings = [line for level, line in box.log if level == "warning"]
    assert [line.split(" was loaded by")[0].rpartition("/")[2] for line in warnings] == ["orders1.csv", "orders3.csv"]
    assert all(line.endswith("could not archive it; it is archived now") for line in warnings)
    assert box.files("archive") == [f"s/{name}" for name in files]
    assert box.rows("select count(*) from duckdb_tables() where schema_name = 'starlake_dagster_engine'") == [(0,)]


class Unnoticed(Canceled):
    """A cancellation that interrupts no statement: what runs is finished."""

    @contextlib.contextmanager
    def notify(self, call: Callable[[], None]) -> Iterator[None]:
        yield


@pytest.mark.parametrize("refused", [(), ("orders.csv",)])
def test_a_canceled_load_forgets_the_files_that_were_archived(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch, refused: tuple[str, ...]
) -> None:
    canceled = Unnoticed()
    count = journal.count_added_bytes

    def cancel_and_count(file: journal.LoadedFile, now: Path | None) -> int | None:
        if file.path.name == "zones.csv":
            canceled.set()
        return count(file, now)

    box.stage("s", {"orders.csv": GOOD, "zones.csv": GOOD, "zones2.csv": GOOD})
    with monkeypatch.context() as patch:
        refuse_to_archive(patch, *refused)
        patch.setattr(journal, "count_added_bytes", cancel_and_count)
        with pytest.raises(CommandCanceled):
            run_command(["load"], environ={"SL_ROOT": str(box.root)}, out=box.out.append, log=lambda *_: None, canceled=canceled)
    tables = box.rows("select count(*) from duckdb_tables() where schema_name = 'starlake_dagster_engine'")
    assert tables == [(1,) if refused else (0,)]
    if refused:
        assert [Path(path).name for (path,) in box.rows("select path from starlake_dagster_engine.loaded_files")] == ["orders.csv"]
    assert "s/zones.csv" in box.files("archive")
    box.load("s")
    assert box.rows("select (select count(*) from s.orders), (select count(*) from s.zones)") == [(1, 2)]


def test_a_new_file_is_loaded_after_a_loaded_one_was_deleted(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        refuse_to_archive(patch, "orders.csv")
        box.load("s", {"orders.csv": GOOD}, check=False)
    (box.root / "datasets/ingesting/s/orders.csv").unlink()
    box.load("s", {"orders2.csv": "id;name\n2;Bob\n"})
    assert box.rows("select id from s.orders order by id") == [(1,), (2,)]
    assert box.files("archive") == ["s/orders2.csv"]


def test_a_loaded_file_that_could_not_be_deleted_is_deleted_by_the_next_load(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    box.write({"metadata/application.sl.yml": NOT_ARCHIVED})
    with monkeypatch.context() as patch:
        refuse_to_archive(patch, "orders.csv")
        box.load("s", {"orders.csv": GOOD}, check=False)
    assert box.files("ingesting") == ["s/orders.csv"]
    box.load("s")
    assert box.files("") == ["duckdb.db"]
    assert not Path("None").exists()
    assert box.rows("select id from s.orders") == [(1,)]


def test_a_file_that_is_not_archived_stays_when_it_was_written_to(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    box.write({"metadata/application.sl.yml": NOT_ARCHIVED})
    archive = journal.archive_file

    def write_and_archive(file: journal.LoadedFile) -> Path | None:
        with file.path.open("a") as more:
            more.write("2;Bob\n")
        return archive(file)

    with monkeypatch.context() as patch:
        patch.setattr(journal, "archive_file", write_and_archive)
        result = box.load("s", {"orders.csv": GOOD}, check=False)
    assert "the file was written to after it was loaded (+6 bytes); the change is not in s.orders" in (result.reason or "")
    assert box.files("ingesting") == ["s/orders.csv"]


def test_archiving_a_file_again_returns_its_place_in_the_archive(tmp_path: Path) -> None:
    identity = Identity(1, 2, 3, 4)
    loaded = journal.LoadedFile(tmp_path / "ingesting/a", tmp_path / "stage/a", tmp_path / "archive/a", identity)
    assert journal.archive_file(loaded) == tmp_path / "archive/a"


def test_a_file_that_is_replaced_while_it_is_read_is_not_loaded(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    select = batch_select.build_select

    def replace_file(*args: object) -> str:
        new = box.root / "new.csv"
        new.write_text("id;name\n2;Bob\n")
        new.replace(box.root / "datasets/ingesting/s/orders.csv")
        return select(*args)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(writing, "build_select", replace_file)
        result = box.load("s", {"orders.csv": GOOD}, check=False)
    assert "was replaced" in (result.reason or "")
    box.load("s")
    assert box.rows("select id from s.orders") == [(2,)]


# One bad file.


def cut(content: bytes, size: int) -> bytes:
    return content[:size]


BIG = gzip.compress(b"id;name\n" + b"".join(b"%d;%d\n" % (n, n * 7919 % 10007) for n in range(5000)))
DAMAGED = bytearray(BIG)
DAMAGED[-6] ^= 0x55


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("orders.csv.gz", b"id;name\n1;x\n", "the name ends with .gz, but the file is not compressed with gzip"),
        ("orders.csv.gz", cut(BIG, len(BIG) // 2), "the compressed file is truncated"),
        ("orders.csv.gz", cut(BIG, len(BIG) - 4), "the compressed file is truncated"),
        ("orders.csv.gz", bytes(DAMAGED), "the compressed file is damaged"),
        ("orders.csv.gz", BIG + b"more", "uncompressed bytes follow the compressed ones"),
        ("orders.csv.gz", BIG + bytes(512), "zeros follow the compressed bytes"),
        ("orders.csv", BIG, "the file is compressed with gzip: its name must end with .gz"),
        ("orders.csv", b"PK\x03\x04 and so on", "the file is compressed with zip: only gzip (.gz) is supported"),
        ("orders.csv", b"\x00\xff\xfe\x01" * 50, "bytes that are not utf-8"),
        (os.fsdecode(b"orders\xff.csv"), GOOD.encode(), r"s/orders\xff.csv: the name of the file is not UTF-8: rename it"),
    ],
)
def test_a_damaged_file_fails_alone(box: Sandbox, name: str, content: bytes, reason: str) -> None:
    box.write({"datasets/stage/s/zones.csv": GOOD, f"datasets/stage/s/{name}": content})
    result = box.run("load", check=False)
    assert result.exit_code == 1
    assert reason in (result.reason or "")
    assert set(result.failures) == {"s.orders"}
    assert box.rows("select id from s.zones") == [(1,)]
    assert box.rows("select success, schema, message like '%orders%' from audit.audit where not success") == [(False, "orders", True)]
    assert box.files("archive") == ["s/zones.csv"]
    (result.reason or "").encode()
    again = box.run("load", check=False)
    assert reason in (again.reason or "")
    if name.isascii():
        assert "An earlier load of this file also failed" in (again.reason or "")


def test_members_of_a_compressed_file_are_all_loaded(box: Sandbox) -> None:
    box.load("s", {"orders.csv.gz": gzip.compress(b"id;name\n1;a\n") + gzip.compress(b"2;b\n")})
    assert box.rows("select id from s.orders order by id") == [(1,), (2,)]


def test_a_full_temporary_folder_fails_the_files_that_need_it(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def reject(self: Scratch, name: str) -> Path:
        raise OSError(28, "No space left on device", "/tmp/somewhere")

    box.table("s", "orders", ID_NAME, "format: DSV, encoding: windows-1252")
    with monkeypatch.context() as patch:
        patch.setattr(Scratch, "make_file", reject)
        result = box.load("s", {"orders.csv": GOOD, "zones.csv": GOOD}, check=False)
    assert "orders.csv: the disk is full: /tmp/somewhere; free some space" in (result.reason or "")
    assert box.files("archive") == ["s/zones.csv"]
    box.load("s")
    assert box.rows("select id from s.orders") == [(1,)]


def test_an_unexpected_error_fails_its_file_alone(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    describe = formats.describe_source

    def fail(reading: formats.Reading) -> formats.Source:
        if reading.file.name == "orders.csv":
            raise ZeroDivisionError("a fault")
        return describe(reading)

    monkeypatch.setattr(writing, "describe_source", fail)
    result = box.load("s", {"orders.csv": GOOD, "zones.csv": GOOD}, check=False)
    assert "orders.csv: ZeroDivisionError: a fault" in (result.reason or "")
    assert box.files("archive") == ["s/zones.csv"]


# Names.

NAMES = [
    "f[1].csv",
    "f1.csv",
    "f*.csv",
    "f?.csv",
    "f[.csv",
    "f{1,2}.csv",
    "f a.csv",
    "f'q.csv",
    'f"q.csv',
    "f\\b.csv",
    "f#1.csv",
    "f%20.csv",
]
NAMES += ["f~2.csv", "fé.csv", "f$x.csv", "f=1.csv", "f,1.csv", "f;1.csv", "f\nn.csv", "f[!a].csv", "f].csv", "f**.csv", "f.CSV", "f"]


@pytest.mark.parametrize("grouped", ["false", "true"])
def test_names_of_files_are_not_patterns(box: Sandbox, grouped: str) -> None:
    box.write(
        {"metadata/load/s/orders.sl.yml": f'version: 1\ntable:\n  name: orders\n  pattern: "(?s)f.*"\n  attributes:\n    - {ID_NAME}'}
    )
    box.table("s", "orders", ID_NAME).write(
        {
            "metadata/load/s/orders.sl.yml": (box.root / "metadata/load/s/orders.sl.yml").read_text().replace('"orders.*"', '"(?s)f.*"'),
            **{f"datasets/stage/s/{name}": f"id;name\n{number};x\n" for number, name in enumerate(NAMES)},
        }
    )
    box.run("load", env={"SL_GROUPED": grouped})
    assert box.rows("select id from s.orders order by id") == [(number,) for number in range(len(NAMES))]
    assert box.files("archive") == sorted(f"s/{name}" for name in NAMES)


def test_names_of_folders_add_no_columns(tmp_path: Path) -> None:
    box = make(tmp_path / "name=other [x]").table("s", "orders", ID_NAME, "format: PARQUET").table("s", "zones", ID_NAME)
    import duckdb

    path = box.root / "datasets/stage/s/orders.parquet"
    path.parent.mkdir(parents=True)
    duckdb.sql("select 1 as id, 'own' as name").write_parquet(str(tmp_path / "p"))
    (tmp_path / "p").rename(path)
    box.load("s", {"zones.csv": GOOD})
    assert box.rows("select name from s.orders") == [("own",)]


def test_file_extensions_may_be_in_upper_case(box: Sandbox) -> None:
    box.load("s", {"orders.CSV.GZ": gzip.compress(GOOD.encode())})
    box.load("s", {"orders.CSV.GZ": gzip.compress(GOOD.encode())})
    assert box.rows("select id from s.orders") == [(1,), (1,)]
    assert box.files("archive") == ["s/orders.CSV.GZ", "s/orders~2.CSV.GZ"]


# Lines.


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            b"id;name\r\n1;a\r\n2;b\n",
            "line 3: the line ends with LF, those before it with CRLF: a file must have a single kind of line end",
        ),
        (b"id;name\n1;a\n2;b\r3;c\n", "line 3: the line ends with CR, those before it with LF"),
        (b'id;name\n1;"x\r\ny"\n2;b\r\n', "line 4: the line ends with CRLF, those before it with LF"),
    ],
)
def test_a_file_with_several_kinds_of_line_ends_is_rejected_with_the_line(box: Sandbox, content: bytes, reason: str) -> None:
    assert reason in (box.load("s", {"orders.csv": content}, check=False).reason or "")


def test_line_ends_within_quotes_are_part_of_the_value(box: Sandbox) -> None:
    box.load("s", {"orders.csv": b'id;name\n1;"x\r\ny"\n2;"u\rv"\n3;"s\nt"\n'})
    assert box.rows("select name from s.orders order by id") == [("x\r\ny",), ("u\rv",), ("s\nt",)]


def test_lines_may_end_with_a_carriage_return(box: Sandbox) -> None:
    box.load("s", {"orders.csv": b"id;name\r1;a\r2;b\r"})
    assert box.rows("select name from s.orders order by id") == [("a",), ("b",)]


@pytest.mark.parametrize("content", ["id;name;\n1;a;\n2;b;\n", "id;name\n1;a;\n2;b;\n"])
def test_a_separator_at_the_end_of_every_line_adds_no_column(box: Sandbox, content: str) -> None:
    box.load("s", {"orders.csv": content})
    assert box.rows("select id, name from s.orders order by id") == [(1, "a"), (2, "b")]


def test_a_separator_at_the_end_of_the_header_alone_is_rejected(box: Sandbox) -> None:
    result = box.load("s", {"orders.csv": "id;name;\n1;a\n2;b\n"}, check=False)
    assert "line 1: the header ends with a separator, but the other lines do not" in (result.reason or "")


SEPARATORS = ["<->", "||", "~~~~", "<~~~>", "#####", "|;|;|", "€€€", "a;b;c"]
FIELDS = ["plain", 'in"side', '"quoted"', '"with SEP inside"', '"esc \\" aped"', '"two\nlines"', "", '""', '"a\\\\"', "\x1f", '" x"']
VALUES = ["plain", 'in"side', "quoted", "with SEP inside", 'esc " aped', "two\nlines", None, None, "a\\", "\x1f", " x"]


@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize("last", [False, True])
def test_long_separators_give_the_same_values_as_short_ones(box: Sandbox, separator: str, last: bool) -> None:
    box.table("s", "orders", ID_NAME, f'format: DSV, separator: "{separator}"')
    order = ["id", "name"] if last else ["name", "id"]
    lines = [separator.join(order)]
    for number, field in enumerate(FIELDS):
        pair = {"id": str(number), "name": field.replace("SEP", separator)}
        lines.append(separator.join(pair[name] for name in order))
    box.load("s", {"orders.csv": "".join(f"{line}\n" for line in lines)})
    expected = [value.replace("SEP", separator) if value is not None else None for value in VALUES]
    assert [name for (name,) in box.rows("select name from s.orders order by id")] == expected


# Temporary copies.


def test_copies_of_a_killed_load_are_removed_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    child = os.fork()
    if child == 0:
        Scratch().make_file("copy").write_text("left")
        os._exit(0)
    os.waitpid(child, 0)
    (left,) = tmp_path.iterdir()
    with Scratch() as held:
        held.make_file("copy")
        assert not left.exists()
        remove_abandoned(tmp_path)
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


SPILL = """
import os
from starlake_dagster_components.engine.instances import lend_instance

with lend_instance() as lent:
    lent.connection.execute("SET memory_limit = '60MB'")
    lent.connection.execute("CREATE TEMP TABLE t AS SELECT i, repeat(md5(i::VARCHAR), 4) FROM range(1000000) x(i)")
    os.kill(os.getpid(), 9)
"""


def test_spilled_files_of_a_killed_command_are_removed_by_the_next(tmp_path: Path) -> None:
    def list_spilled() -> list[Path]:
        return [file for file in tmp_path.rglob("*") if file.name.startswith("duckdb_temp")]

    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    killed = subprocess.run([sys.executable, "-c", SPILL], env=environment, check=False)
    assert killed.returncode == -9
    assert list_spilled()
    following = SPILL.partition("    lent.")[0] + "    lent.connection.execute('SELECT 1')\n"
    subprocess.run([sys.executable, "-c", following], env=environment, check=True)
    assert list(tmp_path.iterdir()) == []


def test_the_identity_of_a_file_changes_with_its_content(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("a")
    before = Identity.read(path)
    path.write_text("bc")
    assert before is not None
    assert before.is_same_file(Identity.read(path))
    assert before != Identity.read(path)
