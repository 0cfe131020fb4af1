"""Keep the columns that were inferred from the SQL of tasks in the cache."""

from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

from ..cache import Cache, deserialize, serialize
from ..masking import holds_secrets
from ..project.model import EMPTY, Task
from .pipeline import InferredColumns, Plan


class StoredColumns:
    """The inferred columns of one project's tasks, in one entry of the cache.

    The columns of each task are stored with a checksum of its SQL. After an edit, those of the other tasks are shown until all columns
    have been inferred again.

    Attributes:
        made_for: the inputs of the entry that was last read or written.
    """

    def __init__(self, cache: Cache, plans: str) -> None:
        self._cache = cache
        self._name = f"{plans}-columns"
        self.made_for = ""

    def find(self, plan: Plan) -> InferredColumns:
        """Return the columns of each task whose SQL has not changed since they were inferred."""
        body = self._cache.get(self._name)
        if body is None:
            return EMPTY
        try:
            self.made_for, checksums, columns = deserialize(body, {})
            return {
                task.full_name: columns[task.full_name]
                for task in iterate_undeclared(plan)
                if task.full_name in columns and checksums[task.full_name] == _compute_checksum(task)
            }
        except Exception:  # noqa: BLE001 - if an entry cannot be read for any reason, the columns are inferred again
            return EMPTY

    def keep(self, plan: Plan, inputs: str, columns: InferredColumns) -> bool:
        """Store the columns of a plan's tasks. Return whether they could be stored.

        ``inputs`` identifies the plan and the variables of its SQL. The columns are by full name of the task.
        """
        checksums = {task.full_name: _compute_checksum(task) for task in iterate_undeclared(plan)}
        body = serialize((inputs, checksums, dict(columns)))
        if holds_secrets(body):
            return False
        try:
            self._cache.put(self._name, body)
        except OSError:
            return False
        self.made_for = inputs
        return True

    @property
    def file(self) -> Path:
        """The file of the entry."""
        return self._cache.get_path(self._name)


def iterate_undeclared(plan: Plan) -> Iterator[Task]:
    """Yield the tasks whose columns can be inferred: their YAML does not declare columns, and their SQL is parsed."""
    return (task for task in plan.project.tasks if task.sql_text is not None and task.parse_sql and not task.attributes)


def _compute_checksum(task: Task) -> bytes:
    return blake2b((task.sql_text or "").encode("utf-8", "surrogateescape"), digest_size=8).digest()
