"""The quick search for tables gives the parser's result, or none."""

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from starlake_dagster_components.project.sql.found_tables import Unparsable
from starlake_dagster_components.project.sql.quick import find_tables_quickly
from starlake_dagster_components.project.sql.references import find_references
from starlake_dagster_components.project.sql.sections import split_sections
from starlake_dagster_components.project.sql.tree import Statements

DIALECTS = ("duckdb", "bigquery", "snowflake", "postgres", "redshift", "spark", "databricks", "")


class QueryMaker:
    """Writes random queries: nested, with common table expressions that shadow tables, odd spacing and keywords as names."""

    def __init__(self, rng: random.Random, dialect: str) -> None:
        self.rng = rng
        self.quote = "`" if dialect in ("bigquery", "spark", "databricks") else '"'
        self.names = ["orders", "items", "t", "a", "b", "sales", "kpi", "x", "y", "customers"]
        self.schemas = rng.choice([self.names, ["raw", "mart", "hr"]])

    def maybe(self, text: str, chance: float = 0.5) -> str:
        return text if self.rng.random() < chance else ""

    def gap(self) -> str:
        return self.rng.choice([" ", " ", " ", "\n", "  ", "\t", " -- from nowhere.at_all\n", " /* join q.r */ "])

    def identifier(self) -> str:
        name = self.rng.choice(self.names)
        return f"{self.quote}{name}{self.quote}" if self.rng.random() < 0.2 else name

    def table(self) -> str:
        parts = [self.identifier()]
        for _ in range(self.rng.choice([0, 0, 1, 1, 1, 2])):
            parts.insert(0, self.rng.choice(self.schemas))
        return self.rng.choice([".", ".", ".", " . "]).join(parts)

    def alias(self) -> str:
        return self.rng.choice(["", " o", " as o", f" {self.quote}z{self.quote}", " as orders", " items"])

    def value(self, depth: int) -> str:
        column = self.rng.choice(
            ["o.id", "id", "amount", f"{self.quote}from{self.quote}", "t.a", "1", "'from x.y'", "null", "1.5", "o.order_date"]
        )
        kinds = [
            column,
            f"coalesce({column}, {column}, 0)",
            f"extract(year from {column})",
            f"trim(both ' ' from {column})",
            f"substring({column} from 2 for 3)",
            f"case when {column} = 1 then 'join' else {column} end",
            f"sum({column}) over (partition by {column}, id order by {column} desc)",
            f"cast({column} as varchar)",
            f"({column} + 1)",
            f"(({column}))",
            "count(*)",
            f"{column} in (1, 2, 3)",
            f"{column} is distinct from {column}",
            f"{column} is not distinct from 3",
            "'it''s -- from a.b'",
            f"[{column}, 2]",
            f"lag({column}, 1) over (order by id)",
        ]
        if depth > 0 and self.rng.random() < 0.25:
            before = self.rng.choice(["", "exists ", f"{column} in ", f"{column} > all ", "1 + "])
            return f"{before}({self.query(depth - 1)})"
        return self.rng.choice(kinds)

    def source(self, depth: int) -> str:
        kinds = [self.table() + self.alias()] * 4
        kinds += [f"(values (1, 2), (3, 4)){self.gap()}v(p, q)", f"generate_series(1, 10){self.alias()}"]
        if self.rng.random() < 0.005:
            return f"({self.table()} join {self.table()} on 1 = 1)"
        if depth > 0 and self.rng.random() < 0.3:
            before, after = self.rng.choice([("", "s"), ("", "as s"), ("", "orders"), ("lateral ", "l")])
            return f"{before}({self.query(depth - 1)}) {after}"
        return self.rng.choice(kinds)

    def select(self, depth: int) -> str:
        columns = ", ".join(
            self.value(depth) + self.rng.choice(["", " as c", " c", f" as {self.quote}select{self.quote}", " as total"])
            for _ in range(self.rng.randint(1, 3))
        )
        text = f"{self.rng.choice(['select', 'SELECT', 'Select distinct'])}{self.gap()}{columns}"
        if self.rng.random() < 0.1:
            return text
        text += f"{self.gap()}from{self.gap()}{self.source(depth)}"
        for _ in range(self.rng.randint(0, 3)):
            if self.rng.random() < 0.4:
                text += f",{self.gap()}{self.source(depth)}"
            else:
                join = self.rng.choice(["join", "left join", "inner join", "full outer join", "left outer join", "LEFT JOIN"])
                condition = self.rng.choice([f"on {self.value(0)} = {self.value(depth)}", "using (id, a)", "on o.a = t.b and o.c <> 'x'"])
                text += f"{self.gap()}{join}{self.gap()}{self.source(depth)}{self.gap()}{condition}"
        text += self.maybe(f"{self.gap()}cross join {self.table()} q", 0.1)
        text += self.maybe(f"{self.gap()}where{self.gap()}{self.value(depth)}", 0.5)
        text += self.maybe(f" group by{self.gap()}id, {self.value(0)}", 0.3)
        text += self.maybe(f" having count(*) > {self.value(0)}", 0.15)
        return text

    def query(self, depth: int) -> str:
        text = self.select(depth)
        for _ in range(self.rng.choice([0, 0, 0, 1, 2])):
            operator = self.rng.choice(["union all", "union distinct", "intersect distinct", "except distinct"])
            right = self.select(depth)
            text += f"{self.gap()}{operator}{self.gap()}{right if self.rng.random() < 0.8 else f'({right})'}"
        text += self.maybe(f"{self.gap()}order by 1, 2 desc", 0.2) + self.maybe(" limit 10", 0.2)
        if depth > 0 and self.rng.random() < 0.4:
            count = self.rng.randint(1, 3)
            tables = [f"{self.identifier()}{self.maybe('(a, b)', 0.1)} as{self.gap()}({self.query(depth - 1)})" for _ in range(count)]
            text = f"with {self.maybe('recursive ', 0.2)}{f',{self.gap()}'.join(tables)}{self.gap()}{text}"
        return text


def parse(sql: str, dialect: str) -> list[tuple[str, ...]]:
    statements = Statements(sql, dialect)
    assert not statements.failures
    return [found.parts for found in statements.found]


def compare_searches(sql: str, dialect: str) -> str:
    """Return how the results of both searches compare: ``unsure``, ``invalid``, or ``same``. Fail if they differ."""
    try:
        quick = find_tables_quickly(sql, dialect)
    except Unparsable:
        return "unsure"
    try:
        statements = Statements(sql, dialect)
    except Unparsable:
        return "invalid"
    if statements.failures:
        return "invalid"
    assert quick == statements.found, sql
    return "same"


@pytest.mark.parametrize("dialect", DIALECTS)
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_random_queries_have_the_same_tables_as_with_the_parser(dialect: str, seed: int) -> None:
    maker = QueryMaker(random.Random(seed), dialect)
    compare_searches(maker.query(maker.rng.randint(0, 2)), dialect)


@pytest.mark.parametrize("dialect", DIALECTS)
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_randomly_damaged_queries_have_the_same_tables_as_with_the_parser(dialect: str, seed: int) -> None:
    rng = random.Random(seed)
    words = re.findall(r"\s+|\w+|.", QueryMaker(rng, dialect).query(rng.randint(0, 2)))
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(words))
        change = rng.random()
        if change < 0.4:
            del words[place]
        elif change < 0.7:
            other = rng.randrange(len(words))
            words[place], words[other] = words[other], words[place]
        else:
            words.insert(
                place,
                rng.choice([" from ", " join ", ",", "(", ")", " lateral ", " pivot ", " for ", " t ", ".", " tablesample (1) ", " with "]),
            )
        if not words:
            return
    compare_searches("".join(words), dialect)


def test_most_random_queries_need_no_parser() -> None:
    rng = random.Random(7)
    answers = [compare_searches(QueryMaker(rng, "duckdb").query(1), "duckdb") for _ in range(80)]
    assert answers.count("same") > 60


def test_real_queries_have_the_same_tables_as_with_the_parser(shared) -> None:  # type: ignore[no-untyped-def]
    answers = []
    for file in sorted((shared / "corpus").rglob("*.sql")):
        part = split_sections(file.read_text()).sql
        if part is None or "{{" in part.text:
            continue
        answers += [compare_searches(part.text, dialect) for dialect in DIALECTS]
    assert answers.count("same") > 150


def test_tables_of_a_very_long_list_have_their_lines_without_quadratic_time() -> None:
    """Counting the lines before each table from the beginning would take minutes."""
    found, _ = find_references("select *\nfrom " + ",\n".join(f"a.t{number}" for number in range(100_000)), "", "t.sql")
    assert [reference.location.line for reference in found] == list(range(2, 100_002))


def test_lines_of_tables_that_are_found_out_of_order() -> None:
    found, _ = find_references("select (select 1\nfrom a.b),\n2 from a.c\nwhere x in (select 1\n\nfrom a.d)", "", "t.sql")
    assert {(reference.parts[-1], reference.location.line) for reference in found} == {("b", 2), ("c", 3), ("d", 6)}
