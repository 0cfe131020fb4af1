"""Problems with the files, folders, names, attributes, and patterns of a project."""

import os
import socket
from pathlib import Path

import pytest
from project_folder import ProjectFolder

from starlake_dagster_components.project.file_patterns import compile_pattern
from starlake_dagster_components.project.pattern_samples import build_samples, find_literal_prefix
from starlake_dagster_components.project.reader import read_project

TABLE = "version: 1\ntable:\n  name: %s\n  pattern: %s.csv\n  attributes: [{name: id}]\n"


def _read(folder: ProjectFolder) -> list[str]:
    return [str(problem) for problem in read_project(folder.root, environ={}).problems]


@pytest.fixture
def shop(folder: ProjectFolder) -> ProjectFolder:
    for name in ("orders", "customers"):
        folder.write(f"metadata/load/sales/{name}.sl.yml", TABLE % (name, name))
    folder.write("metadata/transform/kpi/totals.sql", "select 1 from sales.orders")
    return folder


def _link(folder: ProjectFolder, name: str, target: str | Path) -> Path:
    path = Path(folder.root, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
    return path


def test_an_unreadable_file_does_not_affect_other_files(shop: ProjectFolder) -> None:
    _link(shop, "metadata/load/loop", "loop")
    _link(shop, "metadata/load/sales/gone.sl.yml", "nowhere")
    project = read_project(shop.root, environ={})
    assert [table.full_name for table in project.tables] == ["sales.customers", "sales.orders"]
    assert [str(problem) for problem in project.problems] == [
        f"metadata/load/loop: cannot be read: {os.strerror(40)}",
        "metadata/load/sales/gone.sl.yml: is a link to nowhere, which does not exist",
    ]


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/proc/self/status").exists(), reason="needs a way to be rejected")
def test_a_folder_that_cannot_be_read_is_an_error(shop: ProjectFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    rejected = str(Path(shop.root, "metadata/load"))
    scan = os.scandir

    def reject(path: str) -> object:
        if str(path) == rejected:
            raise PermissionError(13, os.strerror(13), path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", reject)
    assert _read(shop) == [f"metadata/load: the folder cannot be read: {os.strerror(13)}"]


def test_a_file_in_place_of_a_folder_is_an_error(folder: ProjectFolder) -> None:
    folder.write("metadata/load", "a file")
    assert _read(folder) == [f"metadata/load: the folder cannot be read: {os.strerror(20)}"]


def test_a_folder_in_place_of_a_file_is_an_error(shop: ProjectFolder) -> None:
    names = ("metadata/env.sl.yml", "metadata/load/sales/returns.sl.yml", "metadata/transform/kpi/returns.sql")
    for name in names:
        Path(shop.root, name).mkdir()
    project = read_project(shop.root, environ={})
    assert [str(problem) for problem in project.problems] == [f"{name}: is a folder; it must be a file" for name in names]
    assert {problem.severity for problem in project.problems} == {"error"}


@pytest.mark.parametrize(
    ("name", "effect"),
    [
        ("metadata/load/sales/_config.sl.yml", "Starlake skips the whole domain"),
        ("metadata/transform/kpi/_config.sl.yml", "Starlake skips all tasks of the folder"),
        ("metadata/transform/kpi/totals.sl.yml", "Starlake skips the task, including its SQL file"),
    ],
)
def test_a_file_that_cannot_be_read_is_an_error_even_if_starlake_skips_it(shop: ProjectFolder, name: str, effect: str) -> None:
    """A file that Starlake skips because of its content is only a warning."""
    shop.write(name, "# " + "x" * 2_000_000)
    (problem,) = read_project(shop.root, environ={}).problems
    assert (problem.severity, str(problem)) == ("error", f"{name}: cannot be read: it is larger than 2 MB; {effect}")


def test_only_regular_files_are_read(shop: ProjectFolder) -> None:
    for name in ("metadata/load/sales/pipe.sl.yml", "metadata/transform/kpi/pipe.sql", "metadata/env.sl.yml", "metadata/dags/pipe.sl.yml"):
        path = Path(shop.root, name)
        path.parent.mkdir(exist_ok=True)
        os.mkfifo(path)
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(Path(shop.root, "metadata"))
        try:
            listener.bind("stray.sock")
        finally:
            os.chdir(here)
        problems = _read(shop)
    assert problems == [
        f"{name}: is not a regular file and is not read"
        for name in (
            "metadata/dags/pipe.sl.yml",
            "metadata/env.sl.yml",
            "metadata/load/sales/pipe.sl.yml",
            "metadata/transform/kpi/pipe.sql",
        )
    ]
    Path(shop.root, "metadata/application.sl.yml").unlink(missing_ok=True)
    os.mkfifo(Path(shop.root, "metadata/application.sl.yml"))
    assert "metadata/application.sl.yml: cannot be read: it is not a regular file" in _read(shop)


def test_links_to_files_outside_the_project_are_not_followed(shop: ProjectFolder, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("password")
    _link(shop, "metadata/load/everything", "/")
    _link(shop, "metadata/load/sales/secret.sl.yml", outside / "secret.txt")
    _link(shop, "metadata/load/sales/again.sl.yml", "orders.sl.yml")
    _link(shop, "metadata/refs.sl.yml", outside / "secret.txt")
    problems = _read(shop)
    secret = os.path.realpath(outside / "secret.txt")
    assert problems == [
        "metadata/load/everything: is a link to /, which is outside the project, so it is not read; "
        "copy it, or set SL_METADATA to the folder",
        "metadata/load/sales/again.sl.yml:3: warning: the table is called 'orders', but its file is called 'again.sl.yml'; "
        "if they differ, load --tables finds no table",
        "metadata/load/sales/orders.sl.yml:3: table 'sales.orders' is defined twice, also in metadata/load/sales/again.sl.yml:3",
        f"metadata/load/sales/secret.sl.yml: is a link to {secret}, which is outside the project, so it is not read; "
        "copy it, or set SL_METADATA to the folder",
        f"metadata/refs.sl.yml: is a link to {secret}, which is outside the project, so it is not read; "
        "copy it, or set SL_METADATA to the folder",
    ]
    assert not any("password" in problem for problem in problems)


@pytest.mark.parametrize("name", ["load", "transform", "dags", "types", "expectations"])
def test_a_link_out_of_the_project_in_place_of_a_folder_of_metadata(folder: ProjectFolder, tmp_path: Path, name: str) -> None:
    for sub_folder in ("one/two", "three"):
        (tmp_path / "outside" / sub_folder).mkdir(parents=True)
        (tmp_path / "outside" / sub_folder / "one.j2").symlink_to("nowhere")
    _link(folder, f"metadata/{name}", tmp_path / "outside")
    outside = os.path.realpath(tmp_path / "outside")
    message = f"metadata/{name}: is a link to {outside}, which is outside the project, so it is not read"
    assert _read(folder) == [f"{message}; copy it, or set SL_METADATA to the folder"]


def test_unreadable_types_are_reported_and_not_treated_as_absent(folder: ProjectFolder) -> None:
    _link(folder, "metadata/types", "types")
    reason = f"cannot be read: {os.strerror(40)}"
    found = _read(folder)
    assert f"metadata/types/types.sl.yml: {reason}" in found
    assert all(reason in problem for problem in found)


def test_folders_outside_that_settings_name_are_parts_of_the_project(folder: ProjectFolder, tmp_path: Path) -> None:
    folder.write("metadata/load/sales/orders.sl.yml", TABLE % ("orders", "orders"))
    elsewhere = tmp_path / "elsewhere"
    Path(folder.root, "metadata").rename(elsewhere)
    _link(folder, "metadata", elsewhere)
    project = read_project(folder.root, environ={})
    assert (len(project.tables), project.problems) == (1, ())


def test_large_files_are_not_read(shop: ProjectFolder) -> None:
    shop.write("metadata/load/sales/large.sl.yml", "# " + "x" * 2_000_001)
    shop.write("metadata/transform/kpi/large.sql", "select 1 --" + "x" * 2_000_001)
    assert [problem for problem in _read(shop) if "larger" in problem] == [
        "metadata/load/sales/large.sl.yml: cannot be read: it is larger than 2 MB",
        "metadata/transform/kpi/large.sql: cannot be read: it is larger than 2 MB",
    ]


def test_variables_that_expand_exponentially_are_reported(shop: ProjectFolder) -> None:
    references = [f"${{a{number}}}" * 30 for number in range(7)]
    lines = ["  a0: '" + "x" * 1000 + "'", *(f"  a{number}: '{text}'" for number, text in enumerate(references, 1))]
    shop.write("metadata/env.sl.yml", "\n".join(["version: 1", "env:", *lines]))
    shop.write("metadata/load/sales/orders.sl.yml", TABLE % ("orders", "orders") + '  comment: "${a7}"\n')
    shop.write("metadata/transform/kpi/totals.sql", "select '{{ a7 }}'")
    found = _read(shop)
    assert len(found) == 2
    assert all("variables expand to more than 2,000,000 characters" in problem and len(problem) < 300 for problem in found)


def test_a_missing_application_is_reported_once(folder: ProjectFolder) -> None:
    Path(folder.root, "metadata/application.sl.yml").unlink()
    for name in ("orders", "items"):
        folder.write(
            f"metadata/load/sales/{name}.sl.yml",
            f"version: 1\ntable: {{name: {name}, pattern: {name}, attributes: [], metadata: {{sink: {{connectionRef: warehouse}}}}}}\n",
        )
    assert _read(folder) == [
        "metadata/application.sl.yml: does not exist, but the project uses connections that only this file can define: 'warehouse'",
    ]
    folder.write("metadata/application.sl.yml", "version: 1\napplication: [\n")
    (problem,) = _read(folder)
    assert problem.startswith("metadata/application.sl.yml:")
    assert "is not YAML" in problem


def test_sql_that_is_empty_or_not_read(shop: ProjectFolder) -> None:
    shop.write("metadata/transform/kpi/blank.sql", " \n")
    shop.write("metadata/transform/kpi/comments.sql", "-- nothing /*\n\n/* not\nyet */")
    shop.write("metadata/transform/kpi/totals.sl.yml", "version: 1\ntask: {schedule: daily}\n")
    shop.write("metadata/transform/kpi/Totals.sql", "select 2")
    shop.write("metadata/transform/kpi/totals.sql.j2", "select 3")
    assert _read(shop) == [
        "metadata/transform/kpi/Totals.sql: warning: is not read: task 'kpi.totals' uses totals.sql",
        "metadata/transform/kpi/blank.sql:1: warning: the SQL of task 'kpi.blank' is empty",
        "metadata/transform/kpi/comments.sql:1: warning: the SQL of task 'kpi.comments' has only comments",
        "metadata/transform/kpi/totals.sql.j2: warning: is not read: task 'kpi.totals' uses totals.sql",
    ]


@pytest.mark.parametrize(
    ("name", "severity"),
    [
        ("orders", ""),
        ("Orders_2$", ""),
        ("x", ""),
        ("2024", "warning"),
        ("orders-new", "warning"),
        ("bücher", "warning"),
        ("a b", "error"),
        ("a\tb", "error"),
        ("--help", "error"),
        ("a,b", "error"),
        ("a*", "error"),
        ("$(id)", "error"),
        ("a;b", "error"),
        ("x" * 300, "error"),
    ],
)
def test_names_that_starlakes_rule_forbids_are_reported(folder: ProjectFolder, name: str, severity: str) -> None:
    import json

    folder.write("metadata/load/sales/t.sl.yml", f"version: 1\ntable: {{name: {json.dumps(name)}, pattern: t, attributes: []}}\n")
    found = [problem for problem in read_project(folder.root, environ={}).problems if "Starlake's rule is" in problem.message]
    assert [problem.severity for problem in found] == ([severity] if severity else [])
    assert [str(problem.location) for problem in found] == (["metadata/load/sales/t.sl.yml:2"] if severity else [])


def test_names_that_are_equal_in_many_databases_are_warnings(folder: ProjectFolder) -> None:
    folder.write("metadata/load/desk/members.sl.yml", TABLE % ("members", "m1"))
    folder.write("metadata/load/desk/Members.sl.yml", TABLE % ("Members", "m2"))
    folder.write("metadata/transform/desk/membérs.sql", "select 1")
    found = [problem for problem in _read(folder) if "treat them as one table" in problem]
    assert found == [
        "metadata/load/desk/members.sl.yml:3: warning: table 'desk.members' and table 'desk.Members' in "
        "metadata/load/desk/Members.sl.yml:3 "
        "differ only in case: many databases treat them as one table",
        "metadata/transform/desk/membérs.sql:1: warning: table 'desk.membérs' and table 'desk.Members' in "
        "metadata/load/desk/Members.sl.yml:3 "
        "differ only in accents: many databases treat them as one table",
    ]


@pytest.mark.parametrize(
    ("attributes", "messages"),
    [
        ("[{name: id}, {name: x}, {name: id}]", ["attribute 'id' is defined twice"]),
        ("[{name: id}, {name: ID}]", ["attribute 'ID' is defined twice, also as 'id': column names are not case-sensitive"]),
        ("[{name: a, rename: b}, {name: b}]", ["attributes 'a' and 'b' are both called 'b' in the table"]),
        ("[{name: a, rename: b}, {name: b, ignore: true}]", []),
        ("[{name: s, type: struct, attributes: [{name: a}, {name: a}]}]", ["attribute 'a' is defined twice"]),
        ("[{name: s, type: struct}]", ["attribute 's': a struct needs 'attributes', its fields"]),
        ("[{name: a, privacy: md6}]", ["attribute 'a': unknown privacy 'md6' (did you mean 'MD5'?)"]),
        (
            "[{name: a, privacy: own}, {name: b, privacy: 'HIDE(\"X\", 3)'}, {name: c, privacy: 'sql: left(c, 1)'}, {name: d, privacy: "
            "None}]",
            [],
        ),
    ],
)
def test_invalid_attributes_are_reported(folder: ProjectFolder, attributes: str, messages: list[str]) -> None:
    folder.write("metadata/application.sl.yml", "version: 1\napplication: {privacy: {options: {own: com.acme.Own}}}\n")
    folder.write("metadata/load/d/t.sl.yml", f"version: 1\ntable:\n  name: t\n  pattern: t\n  attributes: {attributes}\n")
    assert _read(folder) == [f"metadata/load/d/t.sl.yml:5: {message}" for message in messages]


@pytest.mark.parametrize(
    ("freshness", "message"),
    [
        ("{error: -1 hour}", "freshness error: '-1 hour' is too short: expected a minute or more"),
        ("{warn: 30 seconds}", "freshness warn: '30 seconds' is too short: expected a minute or more"),
        ("{warn: 2 days, error: 1 day}", "freshness warn: 2 days is longer than error, 1 day"),
        ("{warn: 1 day, error: 24 hours}", ""),
    ],
)
def test_invalid_freshness_is_reported(folder: ProjectFolder, freshness: str, message: str) -> None:
    folder.write("metadata/transform/d/t.sql", "select 1")
    folder.write("metadata/transform/d/t.sl.yml", f"version: 1\ntask:\n  freshness: {freshness}\n")
    assert _read(folder) == ([f"metadata/transform/d/t.sl.yml:3: {message}"] if message else [])


def test_the_primary_key_is_the_key_of_a_strategy_that_has_none(folder: ProjectFolder) -> None:
    folder.write(
        "metadata/load/d/t.sl.yml",
        "version: 1\ntable: {name: t, pattern: t, primaryKey: [id], attributes: [{name: id}], metadata: {writeStrategy: {type: "
        "UPSERT_BY_KEY}}}\n",
    )
    assert _read(folder) == []


def test_patterns_that_match_the_same_file(folder: ProjectFolder) -> None:
    text = "version: 1\ntable:\n  name: %s\n  pattern: %s\n  metadata: {directory: %s}\n  attributes: []\n"
    folder.write("metadata/load/eu/clients.sl.yml", text % ("clients", "clients-.*.csv", "/in/crm"))
    folder.write("metadata/load/us/clients.sl.yml", text % ("clients", "clients-.*.csv", "/in/crm/"))
    folder.write("metadata/load/us/everything.sl.yml", text % ("everything", '"[a-z]+-[0-9]{2}\\\\.csv"', "/in/crm"))
    folder.write("metadata/load/asia/clients.sl.yml", text % ("clients", "clients-.*.csv", "/in/asia"))
    assert _read(folder) == [
        "metadata/load/us/clients.sl.yml:4: table 'us.clients' has the same pattern as 'eu.clients' in metadata/load/eu/clients.sl.yml:4, "
        "and their "
        "domains share a folder; Starlake rejects this",
    ]
    folder.write("metadata/load/us/everything.sl.yml", text % ("everything", '"clients-[0-9]{2}\\\\.csv"', "/in/crm"))
    assert [problem for problem in _read(folder) if "warning" in problem] == [
        f"metadata/load/us/everything.sl.yml:4: warning: the patterns of 'us.everything' and of '{other}.clients' in "
        f"metadata/load/{other}/clients.sl.yml:4 match the same file, such as 'clients-00.csv'; only one of the two tables gets it"
        for other in ("eu", "us")
    ]


@pytest.mark.parametrize(
    "pattern",
    [
        "orders.*.csv",
        "orders-[0-9]{8}\\.csv(\\.gz)?",
        "(?:a|b)+_\\d+\\.(json|csv)",
        "[^_]+_x",
        "a{2,3}b?",
        "(?<name>x)\\.csv",
        ".*",
        "x++y",
    ],
)
def test_samples_of_a_pattern_match_it(pattern: str) -> None:
    samples = build_samples(pattern)
    assert any(compile_pattern(pattern).fullmatch(sample) for sample in samples)
    prefix = find_literal_prefix(pattern)
    assert all(sample.startswith(prefix) for sample in samples)


@pytest.mark.parametrize("pattern", ["(?i)x", "\\Qx\\E", "[a&&b]", "x{", "(", "[", "\\", "*", "(?=x)", "a" * 400, "(" * 3000])
def test_unsupported_patterns_have_no_samples(pattern: str) -> None:
    assert build_samples(pattern) == ()


def test_patterns_that_take_exponential_time_are_not_compared(folder: ProjectFolder) -> None:
    for name, pattern in (("a", "(a+)+x"), ("b", "(a|a)*x"), ("c", "a{50}y"), ("d", "a*a*a*a*a*a*x"), ("e", "a{55}")):
        folder.write(f"metadata/load/d/{name}.sl.yml", f'version: 1\ntable: {{name: {name}, pattern: "{pattern}", attributes: []}}\n')
    assert _read(folder) == []


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("name: a{0}, type: t{0}", "attribute 'a0': unknown type 't0'"),
        ("name: a{0}, k{0}: 1", "warning: unknown key 'k0' in an attribute; it is ignored here, and Starlake rejects the file"),
        ("name: a{0}, privacy: p{0}", "attribute 'a0': unknown privacy 'p0' (known: NONE"),
    ],
)
def test_only_the_first_mistakes_of_a_file_are_reported(shop: ProjectFolder, item: str, message: str) -> None:
    attributes = "".join(f"    - {{{item.format(number)}}}\n" for number in range(1000))
    shop.write("metadata/load/sales/orders.sl.yml", f"version: 1\ntable:\n  name: orders\n  pattern: a\n  attributes:\n{attributes}")
    found = _read(shop)
    assert len(found) == 201
    assert message in found[0]
    assert "metadata/load/sales/orders.sl.yml:206:" in found[-1]
    assert "the file has more than 200" in found[-1]


@pytest.mark.parametrize(
    ("macro", "line", "message"),
    [
        ("{% macro a(x) %}\nselect {{ x }\n{% endmacro %}", 5, "is not a Jinja template: unexpected '}'"),
        ("{% macro a(x) %}\nselect {{ x }}", 5, "is not a Jinja template: Unexpected end of template"),
        ("{% include 'nowhere.j2' %}", 4, "includes 'nowhere.j2', which is not a file in the metadata folder"),
    ],
)
@pytest.mark.parametrize("place", ["expectations", "macros/deep"])
def test_broken_macros_are_one_problem_at_their_line(shop: ProjectFolder, place: str, macro: str, line: int, message: str) -> None:
    shop.write(f"metadata/{place}/good.j2", "{% macro b(x) %}select {{ x }}{% endmacro %}")
    shop.write(f"metadata/{place}/own.j2", f"-- {{% if %}}\n/* {{{{ */\n\n{macro}\n")
    (found,) = _read(shop)
    assert found.startswith(f"metadata/{place}/own.j2:{line}: warning: ")
    assert message in found
    assert found.endswith("; every expectation of the project fails")


def test_macros_may_call_each_other(shop: ProjectFolder) -> None:
    shop.write("metadata/expectations/a.j2", "{% macro a(x) %}{{ b(x) }}{% endmacro %}")
    shop.write("metadata/expectations/b.j2", "{% macro b(x) %}select count(*) from {{ x }}{% endmacro %}")
    assert _read(shop) == []
