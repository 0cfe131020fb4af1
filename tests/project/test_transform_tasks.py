"""Transform tasks."""

from datetime import timedelta

from project_folder import ProjectFolder, list_messages, read

from starlake_dagster_components.project.model import Project, Task
from starlake_dagster_components.project.reader import read_project


def find_task(project: Project, name: str) -> Task:
    return next(task for task in project.tasks if task.full_name == name)


def test_a_task_with_everything(folder: ProjectFolder) -> None:
    folder.write(
        "metadata/transform/kpi/daily.sl.yml",
        """
        version: 1
        task:
          name: ignored
          table: daily_kpi
          database: db
          comment: Per day
          tags: [a]
          primaryKey: [day]
          streams: [day_stream]
          schedule: daily
          dagRef: transforms
          taskTimeoutMs: 90000
          parseSQL: true
          connectionRef: duckdb
          dataset_triggering_strategy: all
          syncStrategy: ADD
          freshness: {warn: 1 h}
          writeStrategy: {type: upsert_by_key, key: [day]}
          sink: {materializedView: TABLE, clustering: [day]}
          presql: ["create table x(i int)"]
          postsql: ["drop table x"]
          acl: [{role: r, grants: ["a,b"]}]
          rls: [{name: n, predicate: p, grants: [c]}]
          expectations: [{expect: "not_empty()"}]
          attributes: [{name: day, type: date, comment: The day}, {name: odd, type: oddd}]
        """,
    )
    folder.write("metadata/transform/kpi/daily.sql", "select day\nfrom sales.orders\n")
    project = read(folder)
    (found,) = project.tasks
    assert list_messages(project) == ["metadata/transform/kpi/daily.sl.yml:25: warning: attribute 'odd': unknown type 'oddd'"]
    assert (found.full_name, found.sink_name, found.folder, found.database) == ("kpi.daily", "kpi.daily_kpi", "kpi", "db")
    assert (found.comment, found.tags, found.primary_key, found.streams) == ("Per day", ("a",), ("day",), {"day_stream": "kpi.daily_kpi"})
    assert (found.schedule, found.dag_ref, found.timeout, found.connection_ref) == ("daily", "transforms", timedelta(seconds=90), "duckdb")
    assert (found.dataset_triggering_strategy, found.extra) == ("all", {"syncStrategy": "ADD"})
    assert found.freshness
    assert found.write_strategy
    assert (found.freshness.warn, found.write_strategy.type, found.write_strategy.key) == (timedelta(hours=1), "UPSERT_BY_KEY", ("day",))
    assert found.sink
    assert (found.sink.materialized_view, found.sink.clustering) == ("TABLE", ("day",))
    assert (found.presql, found.postsql) == (("create table x(i int)",), ("drop table x",))
    assert (found.acl[0]["grants"], found.rls[0]["name"]) == (("a", "b"), "n")
    assert [item.expect for item in found.expectations] == ["not_empty()"]
    assert [attribute.name for attribute in found.attributes] == ["day", "odd"]
    assert (found.sql_text, found.sql_file, found.sql_line) == ("select day\nfrom sales.orders\n", "metadata/transform/kpi/daily.sql", 1)
    assert [(ref.text, str(ref.location)) for ref in found.references] == [("sales.orders", "metadata/transform/kpi/daily.sql:2")]
    assert (found.origin.locate("schedule").line, found.origin.locate("attributes[1].type").line) == (10, 25)


def test_choice_of_the_command_file(folder: ProjectFolder) -> None:
    folder.write("metadata/transform/d/a.sl.yml", "version: 1\ntask: {sql: select 1}\n")
    folder.write("metadata/transform/d/a.sql", "select 2")
    folder.write("metadata/transform/d/a.sql.j2", "select 3")
    folder.write("metadata/transform/d/a.py", "print(4)")
    folder.write("metadata/transform/d/b.sl.yml", "version: 1\ntask: {}\n")
    folder.write("metadata/transform/d/b.sql.j2", "select 3")
    folder.write("metadata/transform/d/b.py", "print(4)")
    folder.write("metadata/transform/d/c.sl.yml", "version: 1\ntask: {sql: select 1}\n")
    folder.write("metadata/transform/d/c.py", "print(4)")
    folder.write("metadata/transform/d/e.py", "print(4)")
    folder.write("metadata/transform/d/f.sl.yml", "version: 1\ntask: {sql: select 1}\n")
    folder.write("metadata/transform/d/g.sl.yml", "version: 1\ntask: {schedule: daily}\n")
    folder.write("metadata/transform/d/G.sql", "select 1")
    project = read(folder)
    assert [(t.name, t.sql_text, t.sql_file and t.sql_file[21:], t.python_file and t.python_file[21:]) for t in project.tasks] == [
        ("a", "select 2", "a.sql", None),
        ("b", "select 3", "b.sql.j2", None),
        ("c", None, None, "c.py"),
        ("e", None, None, "e.py"),
        ("f", "select 1", "f.sl.yml", None),
        ("g", None, None, None),
    ]
    assert list_messages(project) == [
        "metadata/transform/d/a.py: warning: is not read: task 'd.a' uses a.sql",
        "metadata/transform/d/a.sql.j2: warning: is not read: task 'd.a' uses a.sql",
        "metadata/transform/d/b.py: warning: is not read: task 'd.b' uses b.sql.j2",
        "metadata/transform/d/g.sl.yml:2: warning: task 'd.g' has neither SQL nor Python; did you mean G.sql? Names are case-sensitive",
    ]


def test_domains_of_tasks_when_folder_and_name_differ(folder: ProjectFolder) -> None:
    folder.write(
        "metadata/transform/folder/_config.sl.yml",
        "version: 1\ntransform: {name: job, tasks: [{name: c, sql: select 1}, {table: d, domain: x, sql: select 1}]}\n",
    )
    folder.write("metadata/transform/folder/a.sql", "select 1")
    folder.write("metadata/transform/folder/b.sl.yml", "version: 1\ntask: {sql: select 1}\n")
    folder.write("metadata/transform/folder/e.sl.yml", "version: 1\ntask: {sql: select 1, domain: other, table: t}\n")
    project = read(folder)
    assert [(t.full_name, t.sink_name, t.folder) for t in project.tasks] == [
        ("folder.a", "folder.a", "folder"),
        ("folder.c", "folder.c", "folder"),
        ("job.b", "job.b", "folder"),
        ("other.e", "other.t", "folder"),
        ("x.d", "x.d", "folder"),
    ]
    assert len(list_messages(project)) == 1
    assert "the domain is called 'job', but its folder is called 'folder'" in list_messages(project)[0]


def test_inline_tasks(folder: ProjectFolder) -> None:
    folder.write(
        "metadata/transform/d/_config.sl.yml",
        """
        version: 1
        transform:
          tasks:
            - name: a
              table: t
            - sql: |
                select 1
                from x.y
              table: b
            - sql: select 2
        """,
    )
    folder.write("metadata/transform/d/A.sql", "select 3")
    folder.write("metadata/transform/d/a.sql", "select 4 from z.z")
    project = read(folder)
    assert [(t.full_name, t.table, t.sql_text) for t in project.tasks] == [
        ("d.a", "t", "select 4 from z.z"),
        ("d.b", "b", "select 1\nfrom x.y\n"),
    ]
    assert list_messages(project) == [
        "metadata/transform/d/A.sql: warning: is not read: task 'd.a' uses a.sql",
        "metadata/transform/d/_config.sl.yml:10: a task of transform.tasks needs a 'name' or a 'table'",
    ]
    inline = find_task(project, "d.b")
    assert (inline.sql_file, inline.sql_line, inline.origin.locate().line) == ("metadata/transform/d/_config.sl.yml", 7, 6)
    assert str(inline.references[0].location) == "metadata/transform/d/_config.sl.yml:8"


def test_defaults_of_a_folder(folder: ProjectFolder) -> None:
    folder.write(
        "metadata/transform/d/_config.sl.yml",
        """
        version: 1
        transform:
          default:
            schedule: daily
            dagRef: dag
            database: db
            connectionRef: duckdb
            taskTimeoutMs: 1000
            parseSQL: false
            dataset_triggering_strategy: any
            writeStrategy: {type: OVERWRITE}
            freshness: {error: 1 d}
            sink: {partition: [p], format: f, days: 1, path: x}
            presql: [pre]
            postsql: [post]
            expectations: [{expect: "e()"}]
            acl: [{role: r, grants: [g]}]
            tags: [x, y]
            comment: not inherited
            attributes: [{name: no}]
            primaryKey: [no]
        """,
    )
    folder.write("metadata/transform/d/a.sql", "select 1 from b.c")
    folder.write(
        "metadata/transform/d/b.sl.yml",
        """
        version: 1
        task:
          sql: select 1 from b.c
          schedule: hourly
          parseSQL: true
          writeStrategy: {type: APPEND}
          freshness: {error: 2 d}
          sink: {partition: [q], requirePartitionFilter: true}
          presql: [mine]
          tags: [y, z]
          comment: own
          primaryKey: [lost]
          streams: [lost]
          expectations: [{expect: "own()"}]
        """,
    )
    project = read(folder)
    assert list_messages(project) == []
    a, b = project.tasks
    assert (a.schedule, a.dag_ref, a.database, a.connection_ref, a.timeout) == ("daily", "dag", "db", "duckdb", timedelta(seconds=1))
    assert (a.parse_sql, a.references, a.dataset_triggering_strategy, a.comment, a.attributes) == (False, (), "any", None, ())
    assert (a.presql, a.postsql, a.tags, a.primary_key) == (("pre",), ("post",), ("x", "y"), ())
    assert a.write_strategy
    assert a.write_strategy.type == "OVERWRITE"
    assert str(a.origin.locate("schedule")) == "metadata/transform/d/_config.sl.yml:4"
    assert (b.schedule, b.parse_sql, b.comment, b.tags) == ("hourly", True, "own", ("x", "y", "z"))
    assert [ref.text for ref in b.references] == ["b.c"]
    assert b.write_strategy
    assert b.write_strategy.type == "APPEND"
    assert b.freshness
    assert b.freshness.error == timedelta(days=1)  # the default takes precedence, as in Starlake
    assert b.sink
    assert (b.sink.partition, b.sink.format, b.sink.options) == (("q",), "f", {"days": 1, "requirePartitionFilter": True})
    assert (b.presql, [item.expect for item in b.expectations], len(b.acl)) == (("pre", "mine"), ["e()", "own()"], 1)
    assert (b.primary_key, b.streams) == ((), {})  # lost with a default, as in Starlake
    assert str(b.origin.locate("schedule")) == "metadata/transform/d/b.sl.yml:4"
    assert str(b.origin.locate("dagRef")) == "metadata/transform/d/_config.sl.yml:5"


def test_files_that_starlake_skips_are_warnings(folder: ProjectFolder) -> None:
    folder.write("metadata/transform/a/bad.sl.yml", "version: 1\ntask: [\n")
    folder.write("metadata/transform/a/bad.sql", "select 1")
    folder.write("metadata/transform/a/empty.sl.yml", "version: 1\ntask:\n")
    folder.write("metadata/transform/a/wrong.sl.yml", "version: 1\ntask: {writeStrategy: OVERWRITE, sql: select 1}\n")
    folder.write("metadata/transform/a/good.sql", "select 1")
    folder.write("metadata/transform/b/_config.sl.yml", "version: 1\ntransform:\n")
    folder.write("metadata/transform/b/t.sql", "select 1")
    folder.write("metadata/transform/c/_config.sl.yml", "transform:\n")
    folder.write("metadata/transform/c/t.sql", "select 1")
    folder.write("metadata/transform/loose.sql", "select 1")
    folder.write("metadata/transform/c/sub/nested.sql", "select 1")
    folder.write("metadata/transform/c/other.yml", "x")
    project = read(folder)
    assert [t.full_name for t in project.tasks] == ["a.good", "c.t"]
    assert list_messages(project) == [
        "metadata/transform/a/bad.sl.yml:3: warning: is not YAML: did not find expected node content, while parsing a flow node, column 1; "
        "Starlake skips the task, including its SQL file",
        "metadata/transform/a/empty.sl.yml:2: warning: 'task' is empty; Starlake skips the task, including its SQL file",
        "metadata/transform/a/wrong.sl.yml:2: warning: writeStrategy: expected a mapping, found 'OVERWRITE'; "
        "Starlake skips the task, including its SQL file",
        "metadata/transform/b/_config.sl.yml:2: warning: 'transform' is empty; Starlake skips all tasks of the folder",
        "metadata/transform/c/other.yml: warning: is not read: Starlake reads only files named *.sl.yml",
        "metadata/transform/c/sub/nested.sql: warning: is not read: a task's file belongs directly in metadata/transform/c",
        "metadata/transform/loose.sql: warning: is not read: a task's file belongs in the folder of its domain, "
        "metadata/transform/<domain>",
    ]


def test_wrong_values_that_change_behavior_are_errors(folder: ProjectFolder) -> None:
    folder.write(
        "metadata/transform/d/t.sl.yml",
        """
        version: 1
        task:
          sql: select 1
          shedule: daily
          writeStrategy: {type: SCD2}
          freshness: {error: soon}
          taskTimeoutMs: -1
          schedule: a
          schedule: b
        """,
    )
    project = read(folder)
    assert [text for text in list_messages(project) if "warning" not in text] == [
        "metadata/transform/d/t.sl.yml:5: writeStrategy SCD2 needs a 'key': the columns that identify a row",
        "metadata/transform/d/t.sl.yml:6: freshness error: 'soon' is not a duration: expected a number of days, hours, minutes, "
        "or seconds, such as '3 days', '2h', or '30 min'",
        "metadata/transform/d/t.sl.yml:7: taskTimeoutMs -1 is out of range: expected milliseconds",
        "metadata/transform/d/t.sl.yml:9: key 'schedule' appears twice, first on line 8",
    ]
    assert project.tasks[0].schedule == "b"


def test_duplicate_tasks(folder: ProjectFolder) -> None:
    folder.write("metadata/transform/d/x.sql", "select 1")
    folder.write("metadata/transform/d/x.sql.j2", "select 2")
    folder.write("metadata/transform/e/y.sl.yml", "version: 1\ntask: {domain: f, sql: select 1}\n")
    folder.write("metadata/transform/f/Y.sql", "select 1")
    project = read(folder)
    assert [t.full_name for t in project.tasks] == ["d.x", "f.Y"]
    assert list_messages(project) == [
        "metadata/transform/d/x.sql:1: task 'd.x' is defined twice, also by metadata/transform/d/x.sql.j2",
        "metadata/transform/e/y.sl.yml:2: task 'f.y' is defined twice, also in metadata/transform/f/Y.sql:1",
    ]


def test_several_tasks_may_write_one_table(folder: ProjectFolder) -> None:
    for name in ("a", "b"):
        folder.write(f"metadata/transform/d/{name}.sl.yml", "version: 1\ntask: {table: t, sql: select 1}\n")
    project = read(folder)
    assert [t.sink_name for t in project.tasks] == ["d.t", "d.t"]
    assert list_messages(project) == []


def test_old_task_files(folder: ProjectFolder) -> None:
    folder.write(
        "metadata/transform/d/a.sl.yml",
        """
        dataset: t
        engine: SPARK
        sqlEngine: x
        write: OVERWRITE
        attributesDesc: [{name: a}]
        sql: select 1
        """,
    )
    folder.write(
        "metadata/transform/d/b.sl.yml", "task:\n  sql: select 1\n  merge: {key: [i], timestamp: t}\n  sink: {type: BQ, timestamp: day}\n"
    )
    folder.write("metadata/transform/d/_config.sl.yml", "tasks:\n  - {name: c, write: APPEND, sql: select 1}\n")
    project = read(folder)
    assert list_messages(project) == []
    a, b, c = project.tasks
    assert (a.table, a.attributes[0].name, a.write_strategy and a.write_strategy.type) == ("t", "a", "OVERWRITE")
    assert b.write_strategy
    assert b.sink
    assert (b.write_strategy.type, b.write_strategy.key, b.sink.partition) == ("UPSERT_BY_KEY_AND_TIMESTAMP", ("i",), ("day",))
    assert c.write_strategy
    assert c.write_strategy.type == "APPEND"
    assert a.origin.locate("attributes[0].name").line == 5


def test_refs_replace_names_of_tables(folder: ProjectFolder) -> None:
    folder.write(
        "metadata/refs.sl.yml",
        """
        version: 1
        refs:
          - input: {domain: "k.*", table: ".*_tmp"}
            output: {database: "", domain: scratch, table: SL_THIS_TABLE}
          - input: {database: "db", domain: ".*", table: ".*"}
            output: {database: SL_THIS_DATABASE_2, domain: SL_THIS_DOMAIN, table: "${PREFIX}SL_THIS_TABLE"}
          - input: {domain: "[", table: "x"}
            output: {database: "", domain: "", table: ""}
        """,
    )
    folder.write("metadata/transform/kpi/a_tmp.sql", "select 1")
    folder.write("metadata/transform/kpi/b.sl.yml", "version: 1\ntask: {sql: select 1, database: db}\n")
    folder.write("metadata/transform/kpi/c.sql", "select 1")
    project = read_project(folder.root, environ={"PREFIX": "p_"})
    assert [(t.full_name, t.sink_name, t.database) for t in project.tasks] == [
        ("kpi.b", "kpi.p_b", "db_2"),
        ("kpi.c", "kpi.c", None),
        ("scratch.a_tmp", "scratch.a_tmp", None),
    ]
    assert list_messages(project) == ["metadata/refs.sl.yml:7: domain '[' is not a regular expression: the [ at position 1 is not closed"]


def test_python_tasks_have_no_references(folder: ProjectFolder) -> None:
    folder.write("metadata/transform/d/t.py", "spark.sql('select 1 from a.b')")
    (found,) = read(folder).tasks
    assert (found.python_file, found.references) == ("metadata/transform/d/t.py", ())


def test_a_task_uses_the_dialect_of_its_connection(folder: ProjectFolder) -> None:
    application = folder.root / "metadata/application.sl.yml"
    application.write_text(application.read_text() + "    bq: {type: bigquery}\n")
    sql = "select * from `a.b.c` x, x.items"
    folder.write("metadata/transform/d/t.sl.yml", f"version: 1\ntask: {{connectionRef: bq, sql: '{sql}'}}\n")
    folder.write("metadata/transform/d/u.sl.yml", f"version: 1\ntask: {{sql: '{sql}'}}\n")
    project = read(folder)
    assert [ref.parts for ref in find_task(project, "d.t").references] == [("a", "b", "c")]
    assert [ref.kind for ref in find_task(project, "d.u").references] == ["scanned", "scanned"]
    (problem,) = project.problems
    assert str(problem).startswith("metadata/transform/d/u.sl.yml:2: warning: the statement cannot be parsed as duckdb SQL (")
    assert str(problem).endswith("); tables were found by a scan: a.b.c, x.items")
