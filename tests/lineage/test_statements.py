"""Column lineage of single statements in seven dialects. Each case is a query, and the sources of each column."""

import pytest

from starlake_dagster_components.lineage.parsed_query import TableColumns, UnsupportedQuery
from starlake_dagster_components.lineage.statement import find_columns

TABLES: dict[str, TableColumns] = {
    "orders": {
        "id": "bigint",
        "Customer_Id": "bigint",
        "amount": "double",
        "day": "date",
        "address": "struct<city varchar, zip varchar>",
        "tags": "varchar[]",
    },
    "customers": {"id": "bigint", "name": "varchar", "country": "varchar", "since": "date"},
    "history": {"id": "bigint", "name": "varchar", "sl_start_ts": "timestamp", "sl_end_ts": "timestamp"},
}


def find_table(parts: tuple[str, ...]) -> tuple[str, TableColumns] | None:
    name = parts[-1].lower()
    known = TABLES.get(name)
    if known is None:
        return ".".join(parts), {}
    return (name[0], known) if len(parts) == 1 or parts[-2].lower() == "sales" else (".".join(parts), {})


CASES = [
    # projections
    ("duckdb", "select id from sales.orders", "id<o.id"),
    ("duckdb", "select amount * 2 as Twice from sales.orders", "Twice<o.amount"),
    ("duckdb", "select customer_id as buyer, id from orders", "buyer<o.Customer_Id id<o.id"),
    ("duckdb", "select sales.orders.id from sales.orders", "id<o.id"),
    ("duckdb", "select 1 as one, 'x' as k, current_date as today from sales.orders", "one< k< today<"),
    ("duckdb", "select count(*) as n from sales.orders", "n<"),
    ("duckdb", "select count(distinct customer_id) as n from sales.orders", "n<o.Customer_Id"),
    ("duckdb", "select case when amount > 10 then day else null end as d from sales.orders", "d<o.amount,o.day"),
    ("postgres", "select id::text as t, coalesce(name, country) as n from sales.customers", "t<c.id n<c.country,c.name"),
    ("bigquery", "select safe_cast(amount as int64) as a, if(amount > 1, id, 0) as b from sales.orders", "a<o.amount b<o.amount,o.id"),
    ("bigquery", "select id from `proj.sales.orders`", "id<o.id"),
    ("snowflake", "select ID, Amount as A, A + 1 as B from SALES.ORDERS", "id<o.id A<o.amount B<o.amount"),
    (
        "snowflake",
        "select iff(amount > 0, country, name) as x from sales.orders o join sales.customers c on o.customer_id = c.id",
        "x<c.country,c.name,o.amount",
    ),
    ("tsql", "select top 5 [id], [name] as [Full Name] from [sales].[customers]", "id<c.id Full Name<c.name"),
    ("redshift", "select nvl(name, 'x') as n, getdate() as g from sales.customers", "n<c.name g<"),
    ("spark", "select nvl(name, country) as n, date_add(since, 1) as s from sales.customers", "n<c.country,c.name s<c.since"),
    ("mysql", "select ifnull(name, country) as n from sales.customers", "n<c.country,c.name"),
    ("duckdb", "from sales.orders select id", "id<o.id"),
    ("duckdb", "select name, * exclude (name, id) from sales.customers", "name<c.name country<c.country since<c.since"),
    # stars
    ("duckdb", "select * from sales.customers", "id<c.id name<c.name country<c.country since<c.since"),
    ("duckdb", "select c.* from sales.customers c join sales.orders o on true", "id<c.id name<c.name country<c.country since<c.since"),
    ("duckdb", "select * exclude (since, country) from sales.customers", "id<c.id name<c.name"),
    ("duckdb", "select * replace (upper(name) as name) from sales.customers", "id<c.id name<c.name country<c.country since<c.since"),
    ("bigquery", "select * except (id, since), country as c2 from sales.customers", "name<c.name country<c.country c2<c.country"),
    ("snowflake", "select * exclude since from sales.customers", "id<c.id name<c.name country<c.country"),
    ("duckdb", "select * from sales.history", "id<h.id name<h.name sl_start_ts<h.sl_start_ts sl_end_ts<h.sl_end_ts"),
    ("duckdb", "with a as (select id, name from sales.customers) select * from a", "id<c.id name<c.name"),
    # joins and subqueries
    ("duckdb", "select o.id, c.name from sales.orders o join sales.customers c on o.customer_id = c.id", "id<o.id name<c.name"),
    ("duckdb", "select amount, name from orders join customers on customer_id = customers.id", "amount<o.amount name<c.name"),
    ("duckdb", "select id from sales.orders o join sales.customers c using (id)", "id<c.id,o.id"),
    ("duckdb", "select s.n from (select name as n from sales.customers) s", "n<c.name"),
    ("duckdb", "select t.a, t.b from (select id, name from sales.customers) as t(a, b)", "a<c.id b<c.name"),
    ("duckdb", "select (select max(name) from sales.customers c where c.id = o.customer_id) as n from sales.orders o", "n<c.name"),
    (
        "duckdb",
        "select c.name from sales.customers c where exists (select 1 from sales.orders o where o.customer_id = c.id)",
        "name<c.name",
    ),
    ("duckdb", "select id from sales.orders where customer_id in (select id from sales.customers)", "id<o.id"),
    (
        "postgres",
        "select c.name, l.amount from sales.customers c, lateral (select amount from sales.orders o where o.customer_id = c.id) l",
        "name<c.name amount<o.amount",
    ),
    ("duckdb", "select a.id, b.id as other from sales.orders a join sales.orders b on a.id = b.id + 1", "id<o.id other<o.id"),
    ("spark", "select c.id from sales.customers c left anti join sales.orders o on o.customer_id = c.id", "id<c.id"),
    ("postgres", "select name from sales.customers c(name, id)", "name<c.id"),
    ("duckdb", "select * from sales.customers as c(key, label)", "key<c.id label<c.name country<c.country since<c.since"),
    (
        "postgres",
        "select l.total, l.s from sales.customers c cross join lateral (select sum(amount), c.since from sales.orders o) l(total, s)",
        "total<o.amount s<c.since",
    ),
    # CTEs
    ("duckdb", "with x as (select customer_id, sum(amount) as total from sales.orders group by 1) select total from x", "total<o.amount"),
    ("duckdb", "with x as (select id as k from sales.orders), y as (select k + 1 as k2 from x) select k2 from y", "k2<o.id"),
    ("duckdb", "with customers as (select id as name from sales.orders) select name from customers", "name<o.id"),
    ("duckdb", "with x(a, b) as (select id, name from sales.customers) select b, a from x", "b<c.name a<c.id"),
    (
        "duckdb",
        "with recursive r as (select id, 1 as d from sales.customers union all select id, d + 1 from r where d < 3) select id, d from r",
        "id<c.id d<",
    ),
    ("bigquery", "with x as (select * except (tags) from sales.orders) select amount, day from x", "amount<o.amount day<o.day"),
    (
        "snowflake",
        "with x as (select id, row_number() over (partition by customer_id order by day) rn from sales.orders) "
        "select id from x where rn = 1",
        "id<o.id",
    ),
    # sets
    ("duckdb", "select id from sales.orders union all select id from sales.customers", "id<c.id,o.id"),
    ("duckdb", "select id as k, name from sales.customers union select amount, 'x' from sales.orders", "k<c.id,o.amount name<c.name"),
    ("duckdb", "select id from sales.orders except select id from sales.customers", "id<c.id,o.id"),
    (
        "duckdb",
        "select id, name from sales.customers union by name select amount as name, id from sales.orders",
        "id<c.id,o.id name<c.name,o.amount",
    ),
    ("postgres", "(select id from sales.orders) union all (select id from sales.customers) union all select 1", "id<c.id,o.id"),
    ("duckdb", "select u.k from (select id as k from sales.orders union all select id from sales.customers) u", "k<c.id,o.id"),
    # windows and aggregates
    (
        "duckdb",
        "select sum(amount) over (partition by customer_id order by day) as running from sales.orders",
        "running<o.Customer_Id,o.amount,o.day",
    ),
    ("duckdb", "select id, row_number() over (order by day) as rn from sales.orders qualify rn = 1", "id<o.id rn<o.day"),
    (
        "redshift",
        "select id, listagg(name, ',') within group (order by country) as l from sales.customers group by id",
        "id<c.id l<c.country,c.name",
    ),
    ("duckdb", "select max(amount) filter (where day > current_date) as m from sales.orders", "m<o.amount,o.day"),
    ("duckdb", "select arg_max(name, since) as newest from sales.customers", "newest<c.name,c.since"),
    (
        "spark",
        "select lag(amount) over (partition by customer_id order by day) as before from sales.orders",
        "before<o.Customer_Id,o.amount,o.day",
    ),
    ("duckdb", "select sum(amount) over w as s from sales.orders window w as (partition by day)", "s<o.amount,o.day"),
    (
        "postgres",
        "select sum(amount) over (w order by id) as s from sales.orders window w as (partition by day)",
        "s<o.amount,o.day,o.id",
    ),
    # structs and arrays
    ("duckdb", "select o.address.city as city from sales.orders o", "city<o.address.city"),
    ("duckdb", "select address.city, address.zip as z from sales.orders", "city<o.address.city z<o.address.zip"),
    ("bigquery", "select o.address.city from sales.orders o", "city<o.address.city"),
    ("bigquery", "select o.id, tag from sales.orders o, unnest(o.tags) as tag", "id<o.id tag<o.tags"),
    ("duckdb", "select o.id, u.tag from sales.orders o, unnest(o.tags) as u(tag)", "id<o.id tag<o.tags"),
    ("duckdb", "select id, unnest(tags) as tag from sales.orders", "id<o.id tag<o.tags"),
    ("snowflake", "select o.id, f.value as tag from sales.orders o, lateral flatten(input => o.tags) f", "id<o.id tag<o.tags"),
    ("spark", "select o.id, t from sales.orders o lateral view explode(tags) e as t", "id<o.id t<o.tags"),
    ("duckdb", "select list_transform(tags, x -> upper(x)) as up from sales.orders", "up<o.tags"),
    ("duckdb", "select a from (values (1), (2)) as v(a)", "a<"),
    (
        "bigquery",
        "with x as (select struct(id as k, name as n) as s from sales.customers) select s.k as a, s.n as b from x",
        "a<c.id b<c.name",
    ),
    ("spark", "select s.b as a from (select named_struct('b', id, 'n', name) as s from sales.customers)", "a<c.id"),
    ("spark", "select s.col1 as a from (select struct(id, upper(name)) as s from sales.customers)", "a<?"),
    ("duckdb", "select r.n from (select unnest(list({'n': name, 'k': id})) as r from sales.customers)", "n<c.name"),
    ("duckdb", "select s['n'] as a from (select {'n': name, 'k': id} as s from sales.customers)", "a<c.name"),
    ("snowflake", "select o:a::int as x from (select object_construct('a', id, 'b', name) as o from sales.customers)", "x<c.id"),
    ("bigquery", "select a.n from (select array_agg(struct(id, name as n)) as l from sales.customers), unnest(l) a", "n<c.name"),
    ("bigquery", "select (select as struct id, name).name as n from sales.customers", "n<c.name"),
    ("duckdb", "select name.lower().trim() as t, c.country.upper() as u from sales.customers c", "t<c.name u<c.country"),
    ("duckdb", "select list_transform(tags, day -> day.upper()) as t from sales.orders", "t<o.tags"),
    # whole rows
    (
        "postgres",
        "select row_to_json(c) as j, count(c) as n, (c).name as m from sales.customers c",
        "j<c.country,c.id,c.name,c.since n< m<c.name",
    ),
    ("bigquery", "select array_agg(c order by since)[offset(0)] as newest from sales.customers c", "newest<c.country,c.id,c.name,c.since"),
    (
        "bigquery",
        "with d as (select array_agg(o order by day desc limit 1)[offset(0)] as r from sales.orders o) "
        "select r.amount, r.address.zip from d",
        "amount<o.amount,o.day zip<o.address.zip,o.day",
    ),
    ("bigquery", "select to_json_string(x) as j from (select id, name from sales.customers) x", "j<c.id,c.name"),
    # t may be a column of ext.t.
    ("duckdb", "select hash(t) as h, t.t as u from ext.t", "h<? u<ext.t.t"),
    ("snowflake", "select hash(*) as h, object_construct(*) as o from sales.customers", "h<? o<?"),
    ("postgres", "select count(o.*) as n from sales.orders o", "n<"),
    ("bigquery", "select if(exists(select * from sales.orders), name, null) as n from sales.customers", "n<c.name"),
    # columns by position
    ("duckdb", "select #1 as f from sales.customers", "f<?"),
    ("snowflake", "select $2 as f from sales.customers c", "f<?"),
    # tables whose columns are not known
    ("duckdb", "select x.a from ext.t as x", "a<ext.t.a"),
    ("duckdb", "select a, b + c as d from ext.t", "a<ext.t.a d<ext.t.b,ext.t.c"),
    ("duckdb", "select name, a from ext.t join sales.customers on true", "name<c.name a<ext.t.a"),
    ("duckdb", "select a from ext.t join ext.u on true", "a<?"),
    ("duckdb", "select nope from sales.orders", "nope<?"),
    # names
    ("duckdb", "select id, id from sales.orders", "id<o.id"),
    ("duckdb", "select amount + 1, id from sales.orders", "id<o.id"),
    ("duckdb", 'select "Customer_Id" as "My Id" from sales.orders', "My Id<o.Customer_Id"),
    ("snowflake", 'select o.id as "ID", upper(c.name) as Name from sales.orders o, sales.customers c', "ID<o.id Name<c.name"),
]


def show(dialect: str, sql: str) -> str:
    def sources(column: object) -> str:
        found = column.sources  # type: ignore[attr-defined]
        return "?" if found is None else ",".join(f"{s.table}.{s.column}" for s in found)

    return " ".join(f"{c.name}<{sources(c)}" for c in find_columns(sql, dialect, find_table))


@pytest.mark.parametrize(("dialect", "sql", "expected"), CASES)
def test_columns_have_the_sources_that_the_query_names(dialect: str, sql: str, expected: str) -> None:
    assert show(dialect, sql) == expected


@pytest.mark.parametrize(
    "sql",
    [
        "select * from ext.t",
        "select * from ext.t join sales.orders on true",
        "insert into sales.orders select * from sales.customers",
        "select 1; select 2",
        "create table x as select 1",
        "select columns(*) from sales.orders",
        "pivot sales.orders on day using sum(amount)",
        "select * from sales.orders pivot (sum(amount) for day in ('a', 'b'))",
        "explain analyze select 1",
        "select * like 'n%' from sales.customers",
        # sqlglot raises a TypeError for this one.
        "-> id as amount, amount as id from sales.orders",
        "with gone as (delete from sales.orders returning id) select id from gone",
        "select a.x from ext.t as a(x)",
        "select from where",
        "",
        "select 'open",
        "select " + "(" * 3000 + "1" + ")" * 3000,
        "select 1 as x -- " + "x" * 300_000,
    ],
)
def test_unsupported_statements_have_no_lineage(sql: str) -> None:
    with pytest.raises(UnsupportedQuery):
        find_columns(sql, "duckdb", find_table)


def test_types_are_given_where_they_are_known() -> None:
    found = find_columns("select id, sum(amount) as s, count(*) as n from sales.orders group by 1", "duckdb", find_table)
    assert [(c.name, c.type) for c in found] == [("id", "bigint"), ("s", "double"), ("n", "bigint")]
    found = find_columns("select unnest(tags) as t from sales.orders", "duckdb", find_table)
    assert [c.type for c in found] == [""]


@pytest.mark.parametrize(
    ("dialect", "expression", "type_"),
    [
        ("duckdb", "name", "text"),
        ("bigquery", "name", "string"),
        ("duckdb", "sl_start_ts", "timestamp"),
        ("duckdb", "array_agg(id)", "bigint[]"),
        ("bigquery", "array_agg(id)", "array<int64>"),
        ("duckdb", "cast(sl_end_ts as date)", "date"),
        # sqlglot says date, timestamp, bigint, double, double, timestamp.
        ("duckdb", "cast(sl_end_ts as date) - cast(sl_start_ts as date)", ""),
        ("postgres", "max(sl_end_ts - sl_start_ts)", ""),
        ("duckdb", "sum(id)", ""),
        ("bigquery", "sum(id)", "int64"),
        ("duckdb", "id * 1.5", ""),
        ("bigquery", "id * 1.5", "float64"),
        ("duckdb", "round(id)", ""),
        ("duckdb", "current_timestamp", ""),
        ("duckdb", "sum(cast(sl_end_ts as date) - cast(sl_start_ts as date)) * 1.5", ""),
    ],
)
def test_inferred_types_match_the_database(dialect: str, expression: str, type_: str) -> None:
    query = f"with h as (select {expression} as x from sales.history) select x from h"
    assert [c.type for c in find_columns(query, dialect, find_table)] == [type_]
