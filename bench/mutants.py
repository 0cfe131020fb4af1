"""Make the mutants of a Python module that mutation.py tests. Each has one change."""

import ast
import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_COMPARISONS: Mapping[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_OPERATORS: Mapping[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Add,
    ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """A module with one change.

    Attributes:
        line: the line of the change.
        change: the code before and after the change.
        tree: the changed module.
        in_function: whether the change is in the body of a function.
    """

    line: int
    change: str
    tree: ast.Module
    in_function: bool


def make_mutants(source: str) -> Iterator[Mutant]:
    """Yield all mutants of a module. Comparisons, operators, conditions, constants, returned values, and calls are changed."""
    tree = ast.parse(source)
    ignored = _find_ignored(tree)
    places = [node for node in ast.walk(tree) if id(node) not in ignored]
    in_functions = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        for statement in function.body
        for node in ast.walk(statement)
    }
    order = {id(node): number for number, node in enumerate(ast.walk(tree))}
    for node in places:
        for variant in range(8):
            changes = _change(copy.deepcopy(node), variant)
            if changes is None:
                break
            if not changes:
                continue
            changed = copy.deepcopy(tree)
            target = next(other for number, other in enumerate(ast.walk(changed)) if number == order[id(node)])
            before = _show(target)
            _change(target, variant)
            ast.fix_missing_locations(changed)
            line = getattr(node, "lineno", 0) or getattr(getattr(node, "target", None), "lineno", 0)
            yield Mutant(line, f"{before}  ->  {_show(target)}", changed, id(node) in in_functions)


def _show(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 110 else f"{text[:107]}..."


def _find_ignored(tree: ast.Module) -> set[int]:
    """Return the ids of nodes that do not affect behavior: annotations, docstrings, messages, and code for type checkers."""
    ignored: set[int] = set()

    def ignore(node: ast.AST | None) -> None:
        if node is not None:
            ignored.update(id(child) for child in ast.walk(node))

    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            ignore(node.returns)
            for argument in (*node.args.args, *node.args.kwonlyargs, *node.args.posonlyargs):
                ignore(argument.annotation)
            for decorator in node.decorator_list:
                ignore(decorator)
        elif isinstance(node, ast.ClassDef):
            for decorator in node.decorator_list:
                ignore(decorator)
        elif isinstance(node, ast.AnnAssign):
            ignore(node.annotation)
        elif _is_only_text(node):
            ignore(node)
    return ignored


def _is_only_text(node: ast.AST) -> bool:
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    if isinstance(node, ast.Call):
        return ast.unparse(node.func).rpartition(".")[2] in _SAY_NOTHING
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


_SAY_NOTHING = frozenset(("debug", "info", "cast", "TypeVar", "getLogger"))


def _change(node: ast.AST, variant: int) -> bool | None:
    """Change a node. Return whether it was changed; None if there are no more variants.

    Args:
        node: the node, which is changed in place.
        variant: the number of the change, from 0.
    """
    if isinstance(node, ast.Compare) and variant < len(node.ops):
        node.ops[variant] = _COMPARISONS[type(node.ops[variant])]()
        return True
    if isinstance(node, ast.BoolOp):
        if variant == 0:
            node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            return True
        if variant <= len(node.values) and len(node.values) > 1:
            del node.values[variant - 1]
            if len(node.values) == 1:
                node.values.append(copy.deepcopy(node.values[0]))
            return True
    if variant:
        return None
    if isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in _OPERATORS:
        node.op = _OPERATORS[type(node.op)]()
        return True
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        node.op = ast.Not() if isinstance(node.op, ast.USub) else ast.UAdd()
        if isinstance(node.op, ast.UAdd):
            node.op, node.operand = ast.Not(), ast.UnaryOp(ast.Not(), node.operand)
        return True
    if isinstance(node, (ast.If, ast.While, ast.IfExp)) and not isinstance(node.test, (ast.Compare, ast.BoolOp, ast.UnaryOp)):
        node.test = ast.UnaryOp(ast.Not(), node.test)
        return True
    if isinstance(node, ast.comprehension) and node.ifs:
        del node.ifs[0]
        return True
    if isinstance(node, ast.Constant):
        return _change_constant(node)
    if isinstance(node, ast.Return) and node.value is not None and not (isinstance(node.value, ast.Constant) and node.value.value is None):
        node.value = ast.Constant(None)
        return True
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        node.value = ast.Constant(None)
        return True
    if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, ast.Call) and variant == 0:
        return False
    return None


def _change_constant(node: ast.Constant) -> bool | None:
    if isinstance(node.value, bool):
        node.value = not node.value
    elif isinstance(node.value, (int, float)):
        node.value = node.value + 1
    elif isinstance(node.value, str) and node.value:
        node.value = f"{node.value}~"
    else:
        return None
    return True
