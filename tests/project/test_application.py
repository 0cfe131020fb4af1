"""``application.sl.yml``."""

from project_folder import ProjectFolder

from starlake_dagster_components.project.model import Table, Task
from starlake_dagster_components.project.reader import read_project


def test_settings_in_the_file_override_the_environment(folder: ProjectFolder) -> None:
    folder.write(
        "metadata/application.sl.yml",
        """
        version: 1
        application:
          connectionRef: duckdb
          loader: native
          timezone: Europe/Paris
          jobIdEnvName: MY_ID
          audit: {active: false, domain: trail, sink: {connectionRef: fs}}
          expectations: {failOnError: true}
          schedulePresets: {weekly: "0 0 * * 0", shifts: "0 */8 * * *"}
          dagRef: {load: loads}
          connections:
            duckdb: {type: JDBC, options: {url: "jdbc:duckdb:/x.db?access_mode=read_only", quoteIdentifiers: false}}
            fs: {type: fs}
            bq: {type: bigquery, sparkFormat: bigquery}
        """,
    )
    environ = {
        "SL_LOADER": "spark",
        "SL_TIMEZONE": "UTC",
        "SL_DAG_REF_LOAD": "no",
        "SL_DAG_REF_TRANSFORM": "yes",
        "SL_AUDIT_ACTIVE": "true",
    }
    project = read_project(folder.root, environ=environ)
    application = project.application
    assert not project.problems
    assert (application.connection_ref, application.loader, application.timezone, application.job_id_env_name) == (
        "duckdb",
        "native",
        "Europe/Paris",
        "MY_ID",
    )
    assert (application.audit_active, application.audit_domain, application.audit_connection_ref) == (False, "trail", "fs")
    assert (application.expectations_active, application.expectations_fail_on_error) == (True, True)
    assert (application.dag_ref_load, application.dag_ref_transform) == ("loads", "yes")
    assert application.schedule_presets["weekly"] == "0 0 * * 0"
    assert application.schedule_presets["daily"] == "0 0 * * *"
    assert application.schedule_presets["shifts"] == "0 */8 * * *"
    duckdb = application.connections["duckdb"]
    assert (duckdb.type, duckdb.engine, duckdb.duckdb_path) == ("jdbc", "duckdb", "/x.db")
    assert duckdb.options["quoteIdentifiers"] == "false"
    assert str(duckdb.origin.locate("options.url")) == "metadata/application.sl.yml:12"
    assert application.connections["bq"].engine == "bigquery"
    assert str(application.origin.locate("dagRef.load")) == "metadata/application.sl.yml:10"
    assert application.raw["audit"]["domain"] == "trail"


def test_the_environment_applies_if_the_file_omits_a_setting(folder: ProjectFolder) -> None:
    (folder.root / "metadata/application.sl.yml").unlink()
    environ = {"SL_CONNECTION_REF": "x", "SL_EXPECTATIONS_ACTIVE": "false", "SL_AUDIT_DOMAIN": "a", "SL_LOADER": "native"}
    application = read_project(folder.root, environ=environ).application
    assert (application.connection_ref, application.loader, application.audit_domain) == ("x", "native", "a")
    assert (application.expectations_active, application.audit_active) == (False, True)
    assert application.schedule_presets["weekly"] == "0 0 * * 1"


def test_unknown_connections_are_problems_with_the_closest_known_name(folder: ProjectFolder) -> None:
    folder.write(
        "metadata/application.sl.yml",
        """
        version: 1
        application:
          connectionRef: duckbd
          audit: {sink: {connectionRef: other}}
          conections: {}
          connections:
            duckdb: {type: jdbc}
            pg: {sparkFormat: jdbc}
        """,
    )
    folder.write(
        "metadata/load/d/t.sl.yml", "version: 1\ntable: {name: t, pattern: t, attributes: [], metadata: {sink: {connectionRef: duk}}}\n"
    )
    folder.write(
        "metadata/transform/d/t.sl.yml", "version: 1\ntask:\n  sql: select 1\n  connectionRef: nope\n  sink: {connectionRef: pgg}\n"
    )
    assert [str(problem) for problem in read_project(folder.root, environ={}).problems] == [
        "metadata/application.sl.yml:3: unknown connection 'duckbd' (did you mean 'duckdb'?)",
        "metadata/application.sl.yml:4: unknown connection 'other' (known: duckdb, pg)",
        "metadata/application.sl.yml:5: warning: unknown key 'conections' in application (did you mean 'connections'?); "
        "it is ignored here, and Starlake rejects the file",
        "metadata/application.sl.yml:8: connection 'pg' needs a 'type', such as jdbc, bigquery, or fs",
        "metadata/load/d/t.sl.yml:2: warning: unknown connection 'duk' (did you mean 'duckdb'?); loading into it fails",
        "metadata/transform/d/t.sl.yml:4: warning: unknown connection 'nope' (known: duckdb, pg); running the task fails",
        "metadata/transform/d/t.sl.yml:5: warning: unknown connection 'pgg' (did you mean 'pg'?); running the task fails",
    ]


def test_metadata_and_its_folders_may_have_other_paths(folder: ProjectFolder) -> None:
    (folder.root / "metadata").rename(folder.root / "meta")
    folder.write("meta/load/d/t.sl.yml", "version: 1\ntable: {name: t, pattern: t, attributes: []}\n")
    folder.write("dags/x.sl.yml", "version: 1\ndag: {template: t.py.j2, filename: f.py}\n")
    project = read_project(folder.root, environ={"SL_METADATA": "meta", "SL_DAGS": str(folder.root / "dags")})
    assert [table.full_name for table in project.tables] == ["d.t"]
    assert list(project.dag_configs) == ["x"]
    assert project.metadata_folder == folder.root / "meta"
    assert project.application.origin.file == "meta/application.sl.yml"


def test_a_broken_application_file_is_one_error_and_the_rest_is_read(folder: ProjectFolder) -> None:
    folder.write("metadata/application.sl.yml", "version: 1\napplication:\n  connections: [\n")
    folder.write("metadata/load/d/t.sl.yml", "version: 1\ntable: {name: t, pattern: '*', attributes: []}\n")
    assert [str(problem).split(":")[0] for problem in read_project(folder.root, environ={}).problems] == [
        "metadata/application.sl.yml",
        "metadata/load/d/t.sl.yml",
    ]


def test_the_old_hocon_file_is_mentioned(folder: ProjectFolder) -> None:
    (folder.root / "metadata/application.sl.yml").rename(folder.root / "metadata/application.conf")
    (problem,) = read_project(folder.root, environ={}).problems
    assert str(problem).startswith("metadata/application.conf: warning: is not read")


def test_connections_of_tables_and_tasks(folder: ProjectFolder) -> None:
    folder.write(
        "metadata/application.sl.yml",
        """
        version: 1
        application:
          connectionRef: a
          loadConnectionRef: b
          transformConnectionRef: c
          connections: {a: {type: fs}, b: {type: fs}, c: {type: fs}, d: {type: fs}, e: {type: fs}}
        """,
    )
    folder.write("metadata/load/d/_config.sl.yml", "version: 1\nload: {name: d, metadata: {sink: {connectionRef: d}}}\n")
    folder.write("metadata/load/d/t.sl.yml", "version: 1\ntable: {name: t, pattern: t, attributes: []}\n")
    folder.write("metadata/load/e/t.sl.yml", "version: 1\ntable: {name: t, pattern: t, attributes: []}\n")
    folder.write("metadata/transform/k/a.sl.yml", "version: 1\ntask: {sql: select 1, connectionRef: d, sink: {connectionRef: e}}\n")
    folder.write("metadata/transform/k/b.sl.yml", "version: 1\ntask: {sql: select 1, connectionRef: d}\n")
    folder.write("metadata/transform/k/c.sql", "select 1\n")
    project = read_project(folder.root, environ={})
    assert not project.problems
    nodes: list[Table | Task] = [*project.tables, *project.tasks]
    names = [getattr(project.find_connection(node), "name", None) for node in nodes]
    assert names == ["d", "b", "e", "d", "c"]
