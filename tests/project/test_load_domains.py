"""Load domains and tables."""

from datetime import timedelta

from project_folder import ProjectFolder, list_messages, read

from starlake_dagster_components.project.model import Project, Table
from starlake_dagster_components.project.reader import read_project

TABLE = "version: 1\ntable: {name: %s, pattern: '%s.*', attributes: []}\n"


def get_only_table(project: Project) -> Table:
    (table,) = project.tables
    return table


def test_a_table_with_everything(folder: ProjectFolder) -> None:
    folder.write(
        "metadata/load/sales/orders.sl.yml",
        """
        version: 1
        table:
          name: orders
          rename: sales_orders
          pattern: "orders.*.csv"
          comment: The orders
          primaryKey: [id, 2]
          tags: [a, b]
          presql: ["select 1"]
          postsql: ["select 2"]
          filter: "id > 0"
          streams: [orders_stream]
          sample: "1,2"
          acl:
            - role: viewer
              grants: ["user:a,user:b", '"group:c"']
          rls:
            - name: mine
              predicate: "owner = 'me'"
              grants: [me]
          expectations:
            - expect: "is_unique('id')"
            - expect: "not_empty()"
              failOnError: false
          metadata:
            format: dsv
            encoding: ISO-8859-1
            multiline: true
            array: false
            withHeader: true
            separator: "|"
            quote: "'"
            escape: "/"
            nullValue: "-"
            emptyIsNull: false
            directory: "{{SL_ROOT}}/in"
            ack: ""
            loader: native
            extensions: [csv]
            options: {delimiter: 1, x: true}
            dagRef: loads
            schedule: "0 1 * * *"
            freshness: {warn: 3 hours, error: 1d}
            writeStrategy: {types: {APPEND: "group(1) == 'A'"}, key: [id], timestamp: updated, on: source_and_target, startTs: a,
                            endTs: b, queryFilter: q}
            sink: {connectionRef: duckdb, partition: [day], clustering: [c], materializedView: view, format: delta, days: 3}
          attributes:
            - name: id
              type: long
              required: true
              comment: The key
            - {name: ts, type: timestamp, rename: updated, privacy: HIDE, default: "2024", trim: both, script: "now()", ignore: true}
            - {name: pos, position: {first: 0, last: 9}, foreignKey: "a.b.c", accessPolicy: PII, metricType: discrete,
               tags: [x], array: true}
            - name: lines
              type: struct
              array: true
              attributes:
                - {name: sku}
                - {name: qty, type: int}
        """,
    )
    project = read(folder)
    # Starlake rejects words in lowercase, but this package accepts them.
    words = ("metadata.format", "metadata.writeStrategy.on", "materializedView", "trim", "metricType")
    assert [problem.message for problem in project.problems if not any(word in problem.message for word in words)] == []
    assert all(problem.rejected for problem in project.problems)
    table = get_only_table(project)
    assert (table.full_name, table.final_full_name, table.pattern) == ("sales.orders", "sales.sales_orders", "orders.*.csv")
    assert (table.comment, table.primary_key, table.tags, table.filter) == ("The orders", ("id", "2"), ("a", "b"), "id > 0")
    assert (table.presql, table.postsql, table.streams) == (("select 1",), ("select 2",), ("orders_stream",))
    assert table.acl == ({"role": "viewer", "grants": ("user:a", "user:b", "group:c")},)
    assert table.rls == ({"name": "mine", "predicate": "owner = 'me'", "grants": ("me",)},)
    assert [(item.expect, item.fail_on_error, item.origin.line) for item in table.expectations] == [
        ("is_unique('id')", True, 22),
        ("not_empty()", False, 23),
    ]
    metadata = table.metadata
    assert (metadata.format, metadata.encoding, metadata.multiline, metadata.array, metadata.with_header) == (
        "DSV",
        "ISO-8859-1",
        True,
        False,
        True,
    )
    assert (metadata.separator, metadata.quote, metadata.escape, metadata.null_value, metadata.empty_is_null) == ("|", "'", "/", "-", False)
    assert (metadata.directory, metadata.ack, metadata.loader) == (f"{folder.root}/in", "", "native")
    assert (metadata.options, metadata.dag_ref, metadata.schedule) == ({"delimiter": "1", "x": "true"}, "loads", "0 1 * * *")
    assert metadata.freshness
    assert (metadata.freshness.warn, metadata.freshness.error) == (timedelta(hours=3), timedelta(days=1))
    strategy = metadata.write_strategy
    assert strategy
    assert (strategy.type, strategy.types, strategy.key, strategy.timestamp) == (None, {"APPEND": "group(1) == 'A'"}, ("id",), "updated")
    assert (strategy.on, strategy.start_ts, strategy.end_ts, strategy.query_filter) == ("SOURCE_AND_TARGET", "a", "b", "q")
    sink = metadata.sink
    assert sink
    assert (sink.connection_ref, sink.partition, sink.clustering, sink.materialized_view) == ("duckdb", ("day",), ("c",), "VIEW")
    assert (sink.format, sink.options) == ("delta", {"days": 3})
    key, ts, position, lines = table.attributes
    assert (key.name, key.type, key.required, key.comment, key.final_name) == ("id", "long", True, "The key", "id")
    assert (ts.final_name, ts.privacy, ts.default, ts.trim, ts.script, ts.ignore) == ("updated", "HIDE", "2024", "BOTH", "now()", True)
    assert (position.type, position.position, position.foreign_key, position.access_policy) == ("string", (0, 9), "a.b.c", "PII")
    assert (position.metric_type, position.tags, position.array) == ("discrete", ("x",), True)
    assert [(item.name, item.type) for item in lines.attributes] == [("sku", "string"), ("qty", "int")]
    assert table.extra == {"metadata.extensions": ["csv"]}
    at = table.origin.locate
    assert (at().line, at("pattern").line, at("metadata.schedule").line, at("metadata.writeStrategy.key").line) == (2, 5, 42, 44)
    assert (at("attributes[1].type").line, at("attributes[3].attributes[1].type").line, at("attributes[9].type").line) == (52, 60, 47)


def test_metadata_comes_from_the_domain_field_by_field(folder: ProjectFolder) -> None:
    folder.write(
        "metadata/load/d/_config.sl.yml",
        """
        version: 1
        load:
          name: d
          rename: final_d
          comment: About d
          tags: [x]
          database: db
          metadata:
            schedule: daily
            dagRef: loads
            separator: ";"
            options: {a: 1}
            freshness: {warn: 1 h, error: 2 h}
            sink: {partition: [p], format: delta}
            writeStrategy: {type: UPSERT_BY_KEY, key: [id]}
        """,
    )
    folder.write("metadata/load/d/a.sl.yml", "version: 1\ntable: {name: a, pattern: a, attributes: [{name: ID}]}\n")
    folder.write(
        "metadata/load/d/b.sl.yml",
        """
        version: 1
        table:
          name: b
          pattern: b
          attributes: []
          metadata:
            separator: ","
            options: {b: 2}
            freshness: {error: 3 h}
            sink: {clustering: [c]}
            writeStrategy: {type: APPEND}
        """,
    )
    project = read(folder)
    assert list_messages(project) == []
    (domain,) = project.domains
    assert (domain.name, domain.final_name, domain.folder, domain.comment, domain.tags, domain.database) == (
        "d",
        "final_d",
        "d",
        "About d",
        ("x",),
        "db",
    )
    a, b = project.tables
    assert (a.metadata.schedule, a.metadata.dag_ref, a.metadata.separator, a.metadata.options) == ("daily", "loads", ";", {"a": "1"})
    assert a.metadata == domain.metadata
    assert (a.tags, a.comment, a.database, a.final_domain) == ((), None, "db", "final_d")
    assert (b.metadata.schedule, b.metadata.separator, b.metadata.options) == ("daily", ",", {"b": "2"})
    assert b.metadata.freshness
    assert b.metadata.freshness.warn is None
    assert b.metadata.sink
    assert (b.metadata.sink.partition, b.metadata.sink.format) == ((), None)
    assert str(a.origin.locate("metadata.schedule")) == "metadata/load/d/_config.sl.yml:9"
    assert str(a.origin.locate("metadata.writeStrategy.key")) == "metadata/load/d/_config.sl.yml:15"
    assert str(b.origin.locate("metadata.separator")) == "metadata/load/d/b.sl.yml:7"
    assert str(b.origin.locate("metadata.sink.partition")) == "metadata/load/d/b.sl.yml:10"
    assert str(b.origin.locate("metadata.schedule")) == "metadata/load/d/_config.sl.yml:9"


def test_domains_may_lack_a_config_or_have_another_name_than_their_folder(folder: ProjectFolder) -> None:
    folder.write("metadata/load/plain/t.sl.yml", TABLE % ("t", "t"))
    folder.write("metadata/load/folder/_config.sl.yml", "version: 1\nload: {name: other}\n")
    folder.write("metadata/load/folder/file.sl.yml", TABLE % ("inside", "t"))
    folder.write("metadata/load/nameless/_config.sl.yml", "version: 1\nload: {comment: x}\n")
    folder.write("metadata/load/nameless/_under.sl.yml", TABLE % ("_under", "t"))
    project = read(folder)
    assert [(domain.name, domain.folder, domain.comment) for domain in project.domains] == [
        ("other", "folder", None),
        ("nameless", "nameless", "x"),
        ("plain", "plain", "plain domain"),
    ]
    assert [table.full_name for table in project.tables] == ["other.inside", "nameless._under", "plain.t"]
    assert list_messages(project) == [
        "metadata/load/folder/_config.sl.yml:2: warning: the domain is called 'other', but its folder is called 'folder'; "
        "if they differ, load --domains finds no table",
        "metadata/load/folder/file.sl.yml:2: warning: the table is called 'inside', but its file is called 'file.sl.yml'; "
        "if they differ, load --tables finds no table",
    ]


def test_files_that_starlake_does_not_read(folder: ProjectFolder) -> None:
    folder.write("metadata/load/d/t.sl.yml", TABLE % ("t", "t"))
    folder.write("metadata/load/d/.hidden.sl.yml", "no: [")
    folder.write("metadata/load/.d/t.sl.yml", "no: [")
    folder.write("metadata/load/d/_config.bak.sl.yml", "no: [")
    folder.write("metadata/load/d/notes.yml", "no: [")
    folder.write("metadata/load/d/readme.md", "hello")
    folder.write("metadata/load/d/sub/u.sl.yml", TABLE % ("u", "u"))
    folder.write("metadata/load/loose.sl.yml", TABLE % ("u", "u"))
    folder.write("metadata/load/empty/_config.sl.yml", "version: 1\nload: {name: empty}\n")
    project = read(folder)
    assert [table.full_name for table in project.tables] == ["d.t"]
    assert list_messages(project) == [
        "metadata/load/d/notes.yml: warning: is not read: Starlake reads only files named *.sl.yml",
        "metadata/load/d/sub/u.sl.yml: a table's file must be directly in metadata/load/d; Starlake cannot read it here",
        "metadata/load/empty: warning: domain 'empty' has no tables and is left out",
        "metadata/load/loose.sl.yml: warning: is not read: a table's file belongs in the folder of its domain, metadata/load/<domain>",
    ]


def test_a_broken_table_is_an_error_and_a_broken_config_skips_the_domain(folder: ProjectFolder) -> None:
    folder.write("metadata/load/a/t.sl.yml", "version: 1\ntable: {name: [\n")
    folder.write("metadata/load/a/u.sl.yml", TABLE % ("u", "u"))
    folder.write("metadata/load/b/_config.sl.yml", "version: 1\nload:\n")
    folder.write("metadata/load/b/t.sl.yml", TABLE % ("t", "t"))
    folder.write("metadata/load/c/_config.sl.yml", "version: 1\nload: {name: c, metadata: [x]}\n")
    folder.write("metadata/load/c/t.sl.yml", TABLE % ("t", "t"))
    folder.write("metadata/load/e/t.sl.yml", "version: 1\ntask: {name: t}\n")
    folder.write("metadata/load/f/t.sl.yml", "")
    folder.write("metadata/load/g/t.sl.yml", "version: 2\ntable: {}\n")
    folder.write("metadata/load/h/t.sl.yml", "version: 1\ntabel: {}\n")
    project = read(folder)
    assert [table.full_name for table in project.tables] == ["a.u"]
    assert list_messages(project) == [
        "metadata/load/a/t.sl.yml:3: is not YAML: did not find expected node content, while parsing a flow node, column 1",
        "metadata/load/b/_config.sl.yml:2: warning: 'load' is empty; Starlake skips the whole domain",
        "metadata/load/c/_config.sl.yml:2: warning: metadata: expected a mapping, found a list; Starlake skips the whole domain",
        "metadata/load/e/t.sl.yml:2: the root key 'table' is missing; found 'task'",
        "metadata/load/f/t.sl.yml:1: is empty",
        "metadata/load/g/t.sl.yml:1: version must be 1, found 2",
        "metadata/load/h/t.sl.yml:2: the root key 'table' is missing; found 'tabel' (did you mean 'table'?)",
    ]


def test_bytes_that_are_not_utf_8_are_replaced_with_a_warning(folder: ProjectFolder) -> None:
    folder.write("metadata/load/d/t.sl.yml", "")
    content = b"\xef\xbb\xbfversion: 1\r\ntable:\r\n  name: t\r\n  comment: caf\xe9\r\n  pattern: t\r\n  attributes: []\r\n"
    (folder.root / "metadata/load/d/t.sl.yml").write_bytes(content)
    project = read(folder)
    assert get_only_table(project).comment == "caf\ufffd"
    assert list_messages(project) == [
        "metadata/load/d/t.sl.yml:4: warning: is not UTF-8 text: byte 0xe9 is replaced by a question mark; save the file as UTF-8"
    ]


def test_values_of_the_wrong_kind_and_unknown_values(folder: ProjectFolder) -> None:
    folder.write(
        "metadata/load/d/t.sl.yml",
        """
        version: 1
        table:
          name: t
          pattern: "*.csv"
          nmae: t
          tags: pii
          presql: [[1]]
          expectations: ["is_unique('id')"]
          metadata:
            format: TABLEAU
            withHeader: maybe
            sepparator: ";"
            options: {a: [1]}
            freshness: {warn: 1 week, erorr: 1 d}
            writeStrategy: {type: UPSRT_BY_KEY, on: BOTH, startTs: x}
            sink: {materializedView: VEIW}
          attributes:
            - {name: id, type: intt, trim: ALL, sepparator: x}
            - {type: string}
            - id
            - {name: p, position: {first: 5, last: 2}}
            - {name: q, position: {first: a}}
        """,
    )
    where = "metadata/load/d/t.sl.yml"
    assert list_messages(read(folder)) == [
        f"{where}:4: pattern '*.csv' is not a regular expression: nothing to repeat at position 1; to match all files, write .*",
        f"{where}:5: warning: unknown key 'nmae' in table (did you mean 'name'?); it is ignored here, and Starlake rejects the file",
        f"{where}:6: tags: expected a list, found 'pii'",
        f"{where}:7: presql[0]: expected a string, found a list",
        f"{where}:8: expectations[0]: expected a mapping ('expect: ...'), found \"is_unique('id')\"",
        f"{where}:10: unknown format 'TABLEAU' (known: DATAFRAME, DSV, GENERIC, JSON, JSON_ARRAY, JSON_FLAT, KAFKA, KAFKASTREAM, PARQUET, "
        "POSITION, TEXT_XML, XML)",
        f"{where}:11: metadata.withHeader: expected true or false, found 'maybe'",
        f"{where}:12: warning: unknown key 'sepparator' in metadata (did you mean 'separator'?); it is ignored here, "
        "and Starlake rejects the file",
        f"{where}:13: metadata.options.a: expected a string, found a list",
        f"{where}:14: freshness warn: '1 week' is not a duration: expected a number of days, hours, minutes, or seconds, "
        "such as '3 days', '2h', or '30 min'",
        f"{where}:14: warning: unknown key 'erorr' in freshness (did you mean 'error'?); it is ignored here, and Starlake rejects the file",
        f"{where}:15: startTs and endTs must be given together",
        f"{where}:15: unknown writeStrategy 'on' 'BOTH' (known: SOURCE_AND_TARGET, TARGET)",
        f"{where}:15: unknown writeStrategy type 'UPSRT_BY_KEY' (did you mean 'UPSERT_BY_KEY'?); "
        "the project has no template metadata/write-strategies/templates/duckdb/upsrt_by_key.j2",
        f"{where}:16: unknown materializedView 'VEIW' (did you mean 'VIEW'?)",
        f"{where}:18: attribute 'id': unknown type 'intt' (did you mean 'int'?)",
        f"{where}:18: unknown trim 'ALL' (known: BOTH, LEFT, NONE, RIGHT)",
        f"{where}:19: an attribute needs a 'name'",
        f"{where}:20: attributes[2]: expected a mapping, found 'id'",
        f"{where}:21: position 5 to 2 of 'p' is not a range: expected 0 <= first <= last",
        f"{where}:22: a position needs 'first' and 'last'",
        f"{where}:22: attributes[4].position.first: expected a whole number, found 'a'",
    ]


def test_missing_keys_of_a_table(folder: ProjectFolder) -> None:
    folder.write("metadata/load/d/t.sl.yml", "version: 1\ntable:\n  name: t\n  patern: x\n")
    assert list_messages(read(folder)) == [
        "metadata/load/d/t.sl.yml:2: a table needs 'attributes', which is missing",
        "metadata/load/d/t.sl.yml:2: a table needs 'pattern', which is missing; is it misspelled as 'patern'?",
        "metadata/load/d/t.sl.yml:4: warning: unknown key 'patern' in table (did you mean 'pattern'?); it is ignored here, "
        "and Starlake rejects the file",
    ]


def test_a_key_that_is_repeated_often_is_one_problem(folder: ProjectFolder) -> None:
    folder.write("metadata/load/d/_config.sl.yml", "version: 1\nload:\n  name: d\n" + "  name: d\n" * 20_000)
    assert [text for text in list_messages(read(folder)) if "twice" in text] == [
        "metadata/load/d/_config.sl.yml:4: key 'name' appears twice, first on line 3"
    ]


def test_duplicates_name_both_files(folder: ProjectFolder) -> None:
    folder.write("metadata/load/a/_config.sl.yml", "version: 1\nload: {name: d}\n")
    folder.write("metadata/load/d/_config.sl.yml", "version: 1\nload:\n  name: d\n  name: d\n")
    folder.write("metadata/load/a/t.sl.yml", TABLE % ("t", "t"))
    folder.write("metadata/load/d/t.sl.yml", TABLE % ("t", "t"))
    folder.write("metadata/load/d/u.sl.yml", TABLE % ("t", "t"))
    found = [text for text in list_messages(read(folder)) if "warning" not in text]
    assert found == [
        "metadata/load/d/_config.sl.yml:4: domain 'd' is defined twice, also in metadata/load/a/_config.sl.yml:2",
        "metadata/load/d/_config.sl.yml:4: key 'name' appears twice, first on line 3",
        "metadata/load/d/t.sl.yml:2: table 'd.t' is defined twice, also in metadata/load/a/t.sl.yml:2",
        "metadata/load/d/u.sl.yml:2: table 'd.t' is defined twice, also in metadata/load/a/t.sl.yml:2",
    ]


def test_unknown_keys_are_reported_once_per_file(folder: ProjectFolder) -> None:
    attributes = "".join(f"    - {{name: a{n}, requird: true}}\n" for n in range(30))
    folder.write("metadata/load/d/t.sl.yml", f"version: 1\ntable:\n  name: t\n  pattern: t\n  attributes:\n{attributes}")
    assert len(list_messages(read(folder))) == 1


def test_jinja_in_table_files_keeps_lines(folder: ProjectFolder) -> None:
    folder.write("metadata/attributes.j2", "- {name: id, type: long}\n    - {name: nr, type: lnog}")
    folder.write(
        "metadata/load/d/t.sl.yml",
        """
        {# the orders
           of the shop #}
        version: 1
        table:
          name: {{ "t" }}
          pattern: t
          metadata:
            {%- if DAILY %}
            schedule: daily
            {%- else %}
            schedule: ${WHEN}
            {%- endif %}
            format: TSV
          attributes:
            {% include 'attributes.j2' %}
        """,
    )
    project = read_project(folder.root, environ={"WHEN": "hourly"})
    table = get_only_table(project)
    assert (table.name, table.metadata.schedule) == ("t", "hourly")
    assert [str(problem.location) for problem in project.problems] == ["metadata/load/d/t.sl.yml:13", "metadata/load/d/t.sl.yml:15"]
    assert table.origin.locate("metadata.schedule").line == 11
    assert "metadata/attributes.j2" in project.files


def test_a_jinja_error_in_a_table_file(folder: ProjectFolder) -> None:
    folder.write("metadata/load/d/t.sl.yml", "version: 1\ntable:\n  name: {{ x\n")
    (message,) = list_messages(read(folder))
    assert message.startswith("metadata/load/d/t.sl.yml:3: is not a Jinja template:")


def test_external_tables_are_read_leniently(folder: ProjectFolder) -> None:
    folder.write("metadata/external/x/a.sl.yml", "version: 1\ntable: {name: a, pattern: '*', attributes: [{name: i, type: odd}]}\n")
    folder.write("metadata/external/x/b.sl.yml", "version: 1\ntable: [\n")
    folder.write("metadata/external/loose.sl.yml", "version: 1\nextract: {}\n")
    project = read(folder)
    assert [table.full_name for domain in project.external_domains for table in domain.tables] == ["x.a"]
    assert project.tables == ()
    assert {problem.severity for problem in project.problems} == {"warning"}
