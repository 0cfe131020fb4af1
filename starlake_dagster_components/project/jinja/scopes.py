"""Give the names of a template Jinjava's scopes. Jinjava: Context, ForTag, MacroFunction.

A loop has one scope for all of its iterations, so a name that one iteration sets is still set in the next. A macro sees the names of its
caller. A name that is set to null in a scope has the value that it has outside of it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from jinja2 import nodes

Call = Callable[..., nodes.Call]
"""A function that returns the call of a method of the environment: (node whose line it gets, name of the method, arguments)."""

_SPECIAL = frozenset({"caller", "kwargs", "loop", "self", "super", "varargs"})
_OWN_SCOPE = (nodes.For, nodes.Macro, nodes.CallBlock, nodes.Block)


def insert_scopes(tree: nodes.Template, call: Call) -> None:
    """Rewrite the loops and macros of a parsed template, so that the environment's stack of scopes has their names."""
    if next(tree.find_all((nodes.For, nodes.Macro)), None) is not None:
        _Inserter(call, has_macros=next(tree.find_all((nodes.Macro, nodes.Import, nodes.FromImport)), None) is not None).rewrite(tree)


class _Inserter:
    def __init__(self, call: Call, *, has_macros: bool) -> None:
        self._call = call
        self._has_macros = has_macros

    def rewrite(self, node: nodes.Node, *, in_scope: bool = False) -> None:
        """Rewrite what is below a node. ``in_scope`` means that it is in a loop or a macro."""
        for field, value in list(node.iter_fields()):
            if isinstance(value, list):
                setattr(node, field, [new for item in value for new in self._rewrite_item(item, in_scope)])
            elif isinstance(value, nodes.Node):
                self.rewrite(value, in_scope=in_scope)

    def _rewrite_item(self, item: Any, in_scope: bool) -> Iterator[Any]:
        if not isinstance(item, nodes.Node):
            yield item
            return
        loads = [*_list_loads(item.body)] if isinstance(item, nodes.Macro) else []
        targets = _list_targets([item])
        self.rewrite(item, in_scope=in_scope or isinstance(item, (nodes.For, nodes.Macro)))
        if isinstance(item, nodes.For):
            yield from self._rewrite_loop(item)
        elif isinstance(item, nodes.Macro):
            self._rewrite_macro(item, loads)
            yield item
        else:
            yield item
            if in_scope and isinstance(item, (nodes.Assign, nodes.AssignBlock)):
                yield from (self._put(item, name) for name in targets)

    def _rewrite_loop(self, loop: nodes.For) -> Iterator[nodes.Node]:
        items, assigned = list(_list_names(loop.target)), _list_targets(loop.body)
        if not assigned and not self._has_macros:
            yield loop
            return
        kept = (self._find(loop, name, nodes.Name(name, "load")) for name in assigned if name not in items)
        loop.body = [*(self._put(loop, name) for name in items), *kept, *loop.body]
        yield self._run(loop, "open_scope")
        yield loop
        yield self._run(loop, "close_scope")

    def _rewrite_macro(self, macro: nodes.Macro, loads: Iterable[str]) -> None:
        names = [parameter.name for parameter in macro.args]
        defaults = nodes.List([*(nodes.Name(name, "load") for name in names[: len(names) - len(macro.defaults)]), *macro.defaults])
        # A parameter without a value is a name of the caller. Defaults do not see the other parameters.
        _replace_names(defaults, lambda name: self._call(macro, "find_value", nodes.ContextReference(), name))
        macro.defaults = defaults.items
        free = [name for name in dict.fromkeys(loads) if name not in names]
        macro.body = [*(self._put(macro, name) for name in names), *(self._find(macro, name) for name in free), *macro.body]

    def _put(self, node: nodes.Node, name: str) -> nodes.Node:
        """Return the statement that puts the value of a name into the current scope."""
        return self._set_name(node, name, self._call(node, "put_value", nodes.ContextReference(), name, nodes.Name(name, "load")))

    def _find(self, node: nodes.Node, name: str, *otherwise: nodes.Expr) -> nodes.Node:
        """Return the statement that gives a name the value that it has in the scopes."""
        return self._set_name(node, name, self._call(node, "find_value", nodes.ContextReference(), name, *otherwise))

    def _set_name(self, node: nodes.Node, name: str, value: nodes.Expr) -> nodes.Node:
        return nodes.Assign(nodes.Name(name, "store"), value, lineno=node.lineno, environment=value.environment)

    def _run(self, node: nodes.Node, method: str) -> nodes.Node:
        call = self._call(node, method)
        return nodes.ExprStmt(call, lineno=node.lineno, environment=call.environment)


def _replace_names(node: nodes.Node, replace: Callable[[str], nodes.Expr]) -> None:
    """Replace the names that are read below a node."""
    for field, value in list(node.iter_fields()):
        if isinstance(value, list):
            setattr(node, field, [replace(item.name) if isinstance(item, nodes.Name) else item for item in value])
        elif isinstance(value, nodes.Name):
            setattr(node, field, replace(value.name))
    for child in node.iter_child_nodes(exclude=("context",)):
        if not isinstance(child, nodes.Call) or not isinstance(child.node, nodes.EnvironmentAttribute):
            _replace_names(child, replace)


def _list_names(target: nodes.Node) -> Iterator[str]:
    """Yield the names that a target assigns."""
    own = (target,) if isinstance(target, nodes.Name) else target.find_all(nodes.Name)
    yield from (name.name for name in own if name.ctx in ("store", "param"))


def _list_targets(body: Sequence[nodes.Node]) -> list[str]:
    """Return the names that statements assign in their own scope."""
    found: dict[str, None] = {}
    waiting = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (nodes.Assign, nodes.AssignBlock)):
            found |= dict.fromkeys(_list_names(node.target))
        if not isinstance(node, _OWN_SCOPE):
            waiting.extend(node.iter_child_nodes())
    return list(found)


def _list_loads(body: Sequence[nodes.Node]) -> Iterator[str]:
    """Yield the names that the body of a macro reads, except those that only a loop or a macro within it defines."""
    for node in body:
        if isinstance(node, nodes.Name):
            if node.ctx == "load" and node.name not in _SPECIAL:
                yield node.name
            continue
        inner = set(_list_names(node.target)) if isinstance(node, nodes.For) else set()
        inner |= {parameter.name for parameter in node.args} if isinstance(node, (nodes.Macro, nodes.CallBlock)) else set()
        yield from (name for name in _list_loads(list(node.iter_child_nodes())) if name not in inner)
