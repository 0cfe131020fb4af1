"""The SQL that failed, from recorded output of Starlake."""

import json
from pathlib import Path

import pytest

from starlake_dagster_components.executors.starlake_output.process_output import Output
from starlake_dagster_components.masking import build_mask


def read_output(lines: list[str], secret: str = "") -> Output:
    output = Output(lambda level, line: None, build_mask({"password": secret}))
    output.feed("err", "\n".join(lines).encode())
    output.close()
    return output


def read_recorded(shared: Path, case: str, name: str) -> Output:
    commands = json.loads((shared / f"oracle/shell/{case}.json").read_text())["commands"]
    (command,) = [c for c in commands if name in c["arguments"] and c["exit_code"]]
    return read_output(command["stderr"])


@pytest.mark.parametrize(
    ("name", "reason", "marked"),
    [
        ("kpi.bad", 'Binder Error: Referenced column "nosuch" not found in FROM clause! Candidate bindings: "amount"', "nosuch"),
        ("kpi.several", 'Parser Error: syntax error at or near "into"', "into"),
        ("kpi.incr", 'Catalog Error: Table with name incr does not exist! Did you mean "jinja"?', "kpi.incr"),
        ("kpi.badpost", 'Catalog Error: Table with name "no.such" does not exist because schema "no" does not exist.', "no.such"),
    ],
)
def test_the_error_is_one_line_and_the_sql_has_a_caret(shared: Path, name: str, reason: str, marked: str) -> None:
    output = read_recorded(shared, "transform_features.native", name)
    assert output.reason == reason
    assert output.statement is not None
    (line, caret) = output.statement.split("\n")
    assert line[caret.index("^") :].startswith(marked)


def test_sql_without_a_place_is_shown_with_its_lines(shared: Path) -> None:
    output = read_recorded(shared, "transform_features.native", "kpi.vars")
    assert output.reason == "Binder Error: table vars has 4 columns but 5 values were supplied"
    assert output.statement is not None
    assert output.statement.split("\n")[1] == "    , 'is dev' as e"


@pytest.mark.parametrize("case", ["types_bad.native", "expectations_load.spark"])
def test_a_failure_of_a_load_shows_no_statement(shared: Path, case: str) -> None:
    commands = json.loads((shared / f"oracle/shell/{case}.json").read_text())["commands"]
    assert {read_output(c["stderr"]).statement for c in commands if c["exit_code"]} == {None}


RUNNING = "26/01/31 10:00:00 ERROR JdbcDbUtils$: Error running JDBC SQL ["
ID = "] with id b12914e7-80ec-41f8-bd9b-90fc7900f4d5: "
END = 'Exception in thread "main" org.postgresql.util.PSQLException: '


def test_lines_of_sql_are_kept_with_blank_ones_and_without_secrets() -> None:
    message = 'ERROR: column "nosuch" does not exist'
    lines = [f"{RUNNING}select 'pg-secret',", "", f"  nosuch from t{ID}{message}", "  Position: 24", f"{END}{message}"]
    output = read_output([*lines, "  Position: 24"], secret="pg-secret")
    assert output.reason is not None
    assert output.reason.startswith(message)
    assert (output.statement or "").split("\n") == ["    select '***',", "", "      nosuch from t", "      ^"]


def test_a_statement_that_is_not_the_reason_is_not_shown() -> None:
    output = read_output([f"{RUNNING}drop table t{ID}ERROR: table t does not exist", f"{END}Connection refused"])
    assert output.reason == "Connection refused"
    assert output.statement is None
