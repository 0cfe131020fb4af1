"""Find circular dependencies between tasks."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence

from ..errors import Problem, join_names
from .pipeline import Dependency

_SHOWN = 20
_STARTS = 50
"""Maximum number of tasks at which a search for a cycle starts. With all tasks of a large group, it would take quadratic time."""


def find_cycles(direct: Mapping[str, Sequence[Dependency]]) -> list[Problem]:
    """Return an error for each group of tasks that depend on each other. It names the tasks in order, and the lines of their references.

    If a group has several cycles, a short one is shown. ``direct`` has the direct dependencies by full task name.
    """
    edges = {task: {d.name: d for d in reads if d.kind == "task" and d.name in direct and d.name != task} for task, reads in direct.items()}
    problems = []
    for group in _find_strongly_connected(edges):
        starts = sorted(group)[:_STARTS]
        cycle = min((_find_shortest_cycle(edges, task, group) for task in starts), key=len)
        steps = [edges[task][following] for task, following in zip(cycle, (*cycle[1:], cycle[0]), strict=True)]
        steps_text = ", ".join(f"{task} reads {step.name} ({step.location})" for task, step in zip(cycle[:_SHOWN], steps, strict=False))
        if len(cycle) > _SHOWN:
            steps_text += f" and so on over {len(cycle)} tasks back to {cycle[0]}"
        rest = sorted(set(group) - set(cycle))
        more = f"; also in this group: {join_names(rest, 5)}" if rest else ""
        problems.append(Problem(steps[0].location, "error", f"circular dependency: {steps_text}{more}"))
    return problems


def _find_strongly_connected(edges: Mapping[str, Mapping[str, Dependency]]) -> list[set[str]]:
    """Return the groups of two or more tasks that depend on each other. This is Tarjan's algorithm without recursion, for long chains."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    path: list[str] = []
    on_path: set[str] = set()
    groups = []
    walk: list[tuple[str, Iterator[str]]] = []

    def enter(task: str) -> None:
        number[task] = low[task] = len(number)
        path.append(task)
        on_path.add(task)
        walk.append((task, iter(edges[task])))

    for start in edges:
        if start not in number:
            enter(start)
        while walk:
            task, following = walk[-1]
            upstream = next(following, None)
            if upstream is None:
                walk.pop()
                if walk:
                    low[walk[-1][0]] = min(low[walk[-1][0]], low[task])
                if low[task] == number[task]:
                    at = path.index(task) if path[-1] != task else len(path) - 1
                    group = set(path[at:])
                    del path[at:]
                    on_path -= group
                    if len(group) > 1:
                        groups.append(group)
            elif upstream not in number:
                enter(upstream)
            elif upstream in on_path:
                low[task] = min(low[task], number[upstream])
    return groups


def _find_shortest_cycle(edges: Mapping[str, Mapping[str, Dependency]], start: str, group: set[str]) -> list[str]:
    """Return the shortest path from a task back to itself, without the task at the end."""
    before: dict[str, str] = {}
    queue = deque([start])
    while queue:
        task = queue.popleft()
        for upstream in edges[task]:
            if upstream == start:
                way = [task]
                while way[-1] != start:
                    way.append(before[way[-1]])
                return way[::-1]
            if upstream in group and upstream not in before:
                before[upstream] = task
                queue.append(upstream)
    return [start]
