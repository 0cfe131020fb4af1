"""Variables of a project: precedence, profiles, unset variables."""

from project_folder import ProjectFolder

from starlake_dagster_components.project.model import Project
from starlake_dagster_components.project.reader import read_project
from starlake_dagster_components.project.sql.sections import render_task


def list_errors(project: Project) -> list[str]:
    return [str(problem) for problem in project.problems if problem.severity == "error"]


def test_the_env_file_overrides_the_environment(folder: ProjectFolder) -> None:
    folder.write("metadata/env.sl.yml", "version: 1\nenv:\n  A: file\n  B: '{{B}}'\n  C: ${C}/x\n  N: 12\n  E:\n  T: true\n")
    project = read_project(folder.root, environ={"A": "process", "B": "process", "C": "process", "D": "process"})
    shown = {name: project.variables[name] for name in "ABCDNET"}
    assert shown == {"A": "file", "B": "process", "C": "process/x", "D": "process", "N": "12", "E": "", "T": "true"}
    assert not project.problems


def test_the_program_that_a_shell_started_is_not_a_variable(folder: ProjectFolder) -> None:
    assert "_" not in read_project(folder.root, environ={"_": "/bin/python"}).variables
    folder.write("metadata/env.sl.yml", "version: 1\nenv:\n  _: ours\n")
    assert read_project(folder.root, environ={"_": "/bin/python"}).variables["_"] == "ours"


def test_variables_in_env_sl_yml_are_resolved_when_they_are_used(folder: ProjectFolder) -> None:
    folder.write("metadata/env.sl.yml", "version: 1\nenv:\n  A: a\n  B: '{{A}}/b'\n")
    folder.write("metadata/transform/d/t.sql", "select '{{B}}'")
    project = read_project(folder.root, environ={})
    assert project.variables["B"] == "{{A}}/b"
    sql = render_task(project, project.tasks[0]).sql
    assert sql
    assert sql.text == "select 'a/b'"


def test_profile_variables_can_use_each_other_the_environment_and_env_sl_yml(folder: ProjectFolder) -> None:
    folder.write("metadata/env.sl.yml", "version: 1\nenv:\n  A: common\n  B: common\n")
    folder.write("metadata/env.dev.sl.yml", "version: 1\nenv:\n  B: dev\n  C: '{{B}}-{{A}}-{{P}}-{{SL_ROOT}}'\n")
    folder.write("metadata/env.prod.sl.yml", "version: 1\nenv:\n  Z: prod\n")
    project = read_project(folder.root, environ={"P": "p"}, profile="dev")
    assert project.profile == "dev"
    assert project.variables["A"] == "common"
    assert project.variables["B"] == "dev"
    assert project.variables["C"] == f"dev-common-p-{folder.root}"
    assert project.variables["Z"] == ""
    assert project.variables["SL_ENV"] == "dev"


def test_the_profile_comes_from_the_argument_the_application_or_the_environment(folder: ProjectFolder) -> None:
    for name in ("a", "b", "c", "d"):
        folder.write(f"metadata/env.{name}.sl.yml", f"version: 1\nenv:\n  WHO: {name}\n")
    assert read_project(folder.root, environ={}).profile is None
    folder.write("metadata/env.sl.yml", "version: 1\nenv:\n  SL_ENV: a\n")
    assert read_project(folder.root, environ={}).variables["WHO"] == "a"
    assert read_project(folder.root, environ={"SL_ENV": "b"}).variables["WHO"] == "b"
    assert read_project(folder.root, environ={"SL_ENV": "None"}).profile == "a"
    application = folder.root / "metadata/application.sl.yml"
    application.write_text(application.read_text() + "  env: c\n")
    assert read_project(folder.root, environ={"SL_ENV": "b"}).variables["WHO"] == "c"
    assert read_project(folder.root, environ={"SL_ENV": "b"}, profile="d").variables["WHO"] == "d"
    assert read_project(folder.root, environ={"SL_ENV": "b"}, profile="").profile is None


def test_an_empty_profile_is_not_a_profile(folder: ProjectFolder) -> None:
    folder.write("metadata/env.sl.yml", "version: 1\nenv:\n  SL_ENV: '{{SL_ENV}}'\n")
    project = read_project(folder.root, environ={})
    assert (project.profile, project.problems) == (None, ())


def test_a_profile_without_a_file_is_a_warning_that_lists_known_profiles(folder: ProjectFolder) -> None:
    folder.write("metadata/env.dev.sl.yml", "version: 1\nenv:\n  A: a\n")
    project = read_project(folder.root, environ={}, profile="dve")
    assert [str(problem) for problem in project.problems] == [
        "warning: the environment 'dve' has no file env.dve.sl.yml (known: dev); only the values of env.sl.yml are used"
    ]


def test_options_override_all_variables_except_areas(folder: ProjectFolder) -> None:
    folder.write("metadata/env.sl.yml", "version: 1\nenv:\n  A: file\n  SL_DATASETS: nowhere\n")
    project = read_project(folder.root, environ={"A": "process"}, options={"A": "option"})
    assert project.variables["A"] == "option"
    assert project.variables["SL_DATASETS"] == str(folder.root / "datasets")


def test_area_variables_and_folders(folder: ProjectFolder) -> None:
    project = read_project(folder.root, environ={"SL_DATASETS": "/data", "SL_AREA_STAGE": "pending"})
    assert project.areas.stage == "/data/pending"
    assert project.areas.incoming == "/data/incoming"
    assert project.variables["SL_AREA_STAGE"] == "pending"
    assert project.variables["SL_ROOT"] == str(folder.root)
    folder.write("metadata/application.sl.yml", "application:\n  datasets: '{{SL_ROOT}}/d'\n  area: {stage: s, archive: /arc}\n")
    project = read_project(folder.root, environ={"SL_DATASETS": "/data", "SL_AREA_STAGE": "pending"})
    assert project.areas.stage == str(folder.root / "d/s")
    assert project.areas.archive == "/arc"
    assert project.areas.unresolved == str(folder.root / "d/unresolved")
    assert project.variables["SL_DATASETS"] == str(folder.root / "d")


def test_rendering_a_task_sets_current_date_variables(folder: ProjectFolder) -> None:
    folder.write("metadata/env.sl.yml", "version: 1\nenv:\n  sl_hour: mine\n")
    folder.write("metadata/transform/d/t.sql", "select '{{sl_date}}', '{{sl_epoch_milli}}', '{{sl_hour}}', '{{sl_minute}}'")
    project = read_project(folder.root, environ={})
    assert len(project.variables["sl_date"]) == 8
    rendered = render_task(project, project.tasks[0], {"sl_minute": "given"}).sql
    assert rendered
    first, milliseconds, hour, minute = rendered.text.removeprefix("select ").split(", ")
    assert int(milliseconds.strip("'")) >= int(project.variables["sl_epoch_milli"])
    assert (hour, minute) == ("'mine'", "'given'")
    assert len(first) == 10


def test_a_variable_that_was_never_set_is_named_with_the_line_of_the_env_file(folder: ProjectFolder) -> None:
    folder.write("metadata/env.sl.yml", "version: 1\nenv:\n  LOAD_DAG: '{{LOAD_DAG_REF}}'\n  OTHER: '{{OTHER}}'\n")
    application = folder.root / "metadata/application.sl.yml"
    application.write_text(application.read_text() + "  dagRef:\n    load: '{{LOAD_DAG}}'\n    transform: '{{LOAD_DAG}}'\n")
    project = read_project(folder.root, environ={})
    assert list_errors(project) == [
        "metadata/env.sl.yml:3: variable 'LOAD_DAG' is '{{LOAD_DAG_REF}}', and LOAD_DAG_REF is not set; set it in the environment, "
        "or give 'LOAD_DAG' a value (used for dagRef.load in metadata/application.sl.yml:12)"
    ]
    assert project.application.dag_ref_load is None
    assert project.variables["LOAD_DAG"] == "{{LOAD_DAG_REF}}"
    project = read_project(folder.root, environ={"LOAD_DAG_REF": "loads"})
    assert project.application.dag_ref_load == "loads"
    assert not project.problems


def test_a_variable_that_was_never_set_does_no_harm_in_connections_and_comments(folder: ProjectFolder) -> None:
    folder.write("metadata/env.sl.yml", "version: 1\nenv:\n  PASSWORD: '{{PASSWORD}}'\n")
    application = folder.root / "metadata/application.sl.yml"
    application.write_text(application.read_text() + "    pg: {type: jdbc, options: {url: 'jdbc:postgresql://h/{{PASSWORD}}'}}\n")
    folder.write("metadata/load/d/_config.sl.yml", "version: 1\nload: {name: d, comment: 'the {{PASSWORD}}'}\n")
    folder.write("metadata/load/d/t.sl.yml", "version: 1\ntable: {name: t, pattern: t.*, attributes: []}\n")
    project = read_project(folder.root, environ={})
    assert not project.problems
    assert project.domains[0].comment == "the {{PASSWORD}}"


def test_a_variable_that_was_never_set_where_yaml_needs_quotes(folder: ProjectFolder) -> None:
    folder.write("metadata/env.sl.yml", "env:\n  connection: '{{SL_CONNECTION}}'\n")
    folder.write("metadata/application.sl.yml", "application:\n  connectionRef: {{connection}}\n  connections:\n    c: {type: fs}\n")
    project = read_project(folder.root, environ={})
    assert [error.split(" is ")[0] for error in list_errors(project)] == ["metadata/env.sl.yml:2: variable 'connection'"]
    assert read_project(folder.root, environ={"SL_CONNECTION": "c"}).application.connection_ref == "c"


def test_jinja_in_an_env_file_is_a_problem_with_advice(folder: ProjectFolder) -> None:
    folder.write("metadata/env.sl.yml", "version: 1\nenv:\n  A: \"{{ X | default('y') }}\"\n")
    folder.write("metadata/load/d/_config.sl.yml", "version: 1\nload: {name: d, metadata: {directory: '{{A}}'}}\n")
    folder.write("metadata/load/d/t.sl.yml", "version: 1\ntable: {name: t, pattern: t.*, attributes: []}\n")
    assert "an env file supports only {{NAME}} and ${NAME}, no other Jinja" in list_errors(read_project(folder.root, environ={}))[0]


def test_broken_env_files_of_other_profiles_are_errors_too(folder: ProjectFolder) -> None:
    folder.write("metadata/env.sl.yml", "version: 1\nA: 1\n")
    folder.write("metadata/env.a.sl.yml", "env:\n  A: [1]\n  B: 1\n  B: 2\n")
    folder.write("metadata/env.b.sl.yml", "env: {")
    folder.write("metadata/env.c.sl.yml", "")
    folder.write("metadata/env.d.sl.yml", "version: 1\nenv:\n")
    assert list_errors(read_project(folder.root, environ={})) == [
        "metadata/env.a.sl.yml:2: variable 'A' must be a string, found a list",
        "metadata/env.a.sl.yml:4: 'B' appears twice, first on line 3",
        "metadata/env.b.sl.yml:2: is not YAML: did not find expected node content, while parsing a flow node, column 1",
        "metadata/env.d.sl.yml:2: 'env' is empty",
        "metadata/env.sl.yml:1: the root key 'env' is missing",
    ]


def test_an_env_file_without_version_may_be_bare(folder: ProjectFolder) -> None:
    folder.write("metadata/env.sl.yml", "A: 1\nB: two\n")
    assert read_project(folder.root, environ={}).variables["B"] == "two"


def test_root_keys_beside_env_are_marked_as_rejected(folder: ProjectFolder) -> None:
    folder.write("metadata/env.sl.yml", "version: 2\nenv:\n  A: file\nvars:\n  B: x\n")
    folder.write("metadata/env.dev.sl.yml", "version: 1\nenv:\n  A: dev\nload: {}\n")
    project = read_project(folder.root, environ={})
    assert project.variables["A"] == "file"
    assert sorted((str(problem.location), problem.severity, problem.rejected, problem.message) for problem in project.problems) == [
        ("metadata/env.dev.sl.yml:4", "warning", True, "'load' beside 'env' is ignored here, and Starlake rejects the file"),
        ("metadata/env.sl.yml:1", "warning", True, "version must be 1, found 2; Starlake rejects the file"),
        ("metadata/env.sl.yml:4", "warning", True, "'vars' beside 'env' is ignored here, and Starlake rejects the file"),
    ]
