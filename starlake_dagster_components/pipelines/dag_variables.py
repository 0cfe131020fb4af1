"""Render the ``filename``, ``comment``, and options of DAG configs with a DAG's variables."""

import json
import re
from collections import ChainMap
from collections.abc import Mapping

from ..errors import Problem
from ..project.model import DagConfig, Project
from ..project.templating import TemplateError, render

_FILENAME_VARIABLE = re.compile(r"\{\{\s*([a-zA-Z_0-9]+)\s*}}")
NO_PROJECT_ID = "-1"
"""Value of ``sl_project_id`` if dag-generate runs on the command line. Starlake: DagGenerateJob."""


def find_filename_variables(filename: str) -> frozenset[str]:
    """Return the variables in a file name, by which dag-generate groups. One with a filter does not count. Starlake: ``extractVars``."""
    return frozenset(_FILENAME_VARIABLE.findall(filename))


class DagRenderer:
    """Renders the DAG configs of one project. Starlake: ``Utils.parseJinja``, DagGenerateJob."""

    def __init__(self, project: Project, problems: list[Problem]) -> None:
        self._project = project
        self._problems = problems
        self._variables = dict(project.variables)
        self._metadata_folder = project.metadata_folder
        self._roots: dict[str, str] = {}

    def render(self, config: DagConfig, key: str, text: str, variables: Mapping[str, str]) -> str:
        """Return a value of a DAG config, rendered and trimmed. If it cannot be rendered, add an error and return the value as written.

        The variables are those of the DAG, such as ``domain``, ``table``, and ``schedule``. ``sl_env_var`` may change ``SL_ROOT``.
        """
        if "{" not in text:
            return text.strip()
        everything = ChainMap({**variables, "sl_project_id": NO_PROJECT_ID}, {"SL_ROOT": self.find_root(config)}, self._variables)
        try:
            return render(text, everything, metadata_folder=self._metadata_folder)
        except TemplateError as error:
            self._problems.append(Problem(config.origin.locate(key), "error", f"{key} cannot be rendered: {error}"))
            return text

    def render_filename(self, config: DagConfig, variables: Mapping[str, str]) -> str:
        """Return the file name that dag-generate would write."""
        return self.render(config, "filename", config.filename, variables).replace("_-1", "")

    def find_root(self, config: DagConfig) -> str:
        """Return the ``SL_ROOT`` of a DAG: that of ``sl_env_var``, else the project's folder. Starlake: ``DagInfo.getSlRoot``."""
        if config.name not in self._roots:
            root = str(self._project.root)
            try:
                own = json.loads(config.options.get("sl_env_var") or "{}").get("SL_ROOT")
            except (ValueError, AttributeError):
                own = None
            self._roots[config.name] = re.sub(r"\{\{\s*SL_ROOT\s*\}\}|\$\{\s*SL_ROOT\s*\}", lambda _: root, str(own)) if own else root
        return self._roots[config.name]
