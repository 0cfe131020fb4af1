"""Make Jinja2 follow Jinjava's rules, by rewriting the expressions, conditions, and loops of parsed templates.

Jinja2 parses and compiles the templates, and runs them in its sandbox, with a budget. The other modules of this folder implement
Jinjava's operators, filters, tests, and ``{{ }}``.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import local
from typing import Any, cast

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.lexer import Token, TokenStream
from jinja2.runtime import Context, Macro, Undefined
from jinja2.sandbox import SandboxedEnvironment
from jinja2.utils import Namespace, missing

from . import values
from .budget import ProjectBudget, TemplateBudget
from .expression_tests import TESTS
from .filters import FILTER_NAMES, UNSUPPORTED_FILTERS, build_filters, build_range
from .parser import JinjavaParser
from .scopes import insert_scopes
from .strings import find_method
from .values import Entry, ExpressionError

# Dashes at the edges of expressions and comments. Jinjava 2.7 drops them, and strips whitespace only at {%- tags -%}.
_EDGE_DASH = re.compile(r"(?<=\{\{)(\s*)-|-(?=\s*\}\})|(?<=\{#)-|-(?=#\})")


class Absent(jinja2.ChainableUndefined):
    """An undefined name, which is treated as null. Starlake configures Jinjava with failOnUnknownTokens=false."""

    __slots__ = ()


@dataclass(slots=True, eq=False)
class _Operand:
    """A value whose truth follows Jinjava's rules, for Python's ``or``."""

    value: Any

    def __bool__(self) -> bool:
        return values.is_true(self.value)


@dataclass(slots=True, eq=False)
class _LoopItems(Sequence[Any]):
    """The items of a loop. Each iteration counts against the budget, with the length of the literal text in it."""

    items: Sequence[Any]
    budget: TemplateBudget
    text: int

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: Any) -> Any:
        return self.items[index]

    def __iter__(self) -> Iterator[Any]:
        for item in self.items:
            self.budget.count_iteration(self.text)
            yield item


def _convert_to_null(value: Any) -> Any:
    return None if isinstance(value, Undefined) else value


def _accept_null(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter or test that receives None for undefined values."""

    def call(*arguments: Any, **named: Any) -> Any:
        return function(*map(_convert_to_null, arguments), **{name: _convert_to_null(value) for name, value in named.items()})

    return call


_LONG = 1000
"""Length of a string or list that filters and tests take noticeable time for."""


class _CountTokens(Extension):
    """Counts the tokens of a template against its budget while it is parsed, because a generated template may be huge."""

    def filter_stream(self, stream: TokenStream) -> Iterator[Token]:
        budget = cast(JinjavaEnvironment, self.environment).budget
        for token in stream:
            budget.count_iteration()
            yield token


class JinjavaEnvironment(SandboxedEnvironment):
    """Jinja2's environment with Jinjava's rules. Call :meth:`start` before a template is parsed and rendered."""

    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "%", "**"))
    intercepted_unops = frozenset(("+", "-"))

    def __init__(self, load: Callable[[str], str | None]) -> None:
        super().__init__(
            undefined=Absent,
            loader=jinja2.FunctionLoader(load),
            extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols", _CountTokens],
            cache_size=50,
            auto_reload=False,
            optimized=False,
            finalize=self.print_value,
        )
        self._state = local()
        found = build_filters(lambda value, name: _convert_to_null(self.getattr(value, name)))
        self.filters = {name: self._wrap_function(_accept_null(filter_)) for name, filter_ in found.items()}
        self.tests = {name: self._wrap_function(_accept_null(test)) for name, test in TESTS.items()}
        self.globals = {"range": _accept_null(build_range), "namespace": Namespace, "truncate": self.filters["truncate"]}

    def _wrap_function(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a filter or test that checks the time if its value is long, because it may take as long as many iterations of a loop."""

        def call(*arguments: Any, **named: Any) -> Any:
            result = function(*arguments, **named)
            if any(isinstance(value, (str, list, tuple)) and len(value) > _LONG for value in arguments):
                self.budget.check_time()
            return result

        return call

    def start(self, project: ProjectBudget) -> TemplateBudget:
        """Start and return a budget for the template that this thread renders next."""
        budget = TemplateBudget(project)
        self._state.budget = budget
        self._state.warnings = []
        self._state.macros = []
        self._state.scopes = []
        return budget

    @property
    def budget(self) -> TemplateBudget:
        """The budget of the template that this thread renders."""
        found: TemplateBudget = self._state.budget
        return found

    @property
    def warnings(self) -> list[tuple[int, str]]:
        """(line, message) for the parts of the template that Starlake silently ignores."""
        found: list[tuple[int, str]] = self._state.warnings
        return found

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        if "-" in source:
            source = self._drop_edge_dashes(source)
        parser = JinjavaParser(self, source, name, filename)
        tree = parser.parse()
        reason = "Starlake applies 'not' only to the first value after it: put the comparison in parentheses"
        self.warnings.extend((line, reason) for line in parser.surprises)
        _Rewriter(self).rewrite(tree)
        return tree

    def _drop_edge_dashes(self, source: str) -> str:
        def drop_dash(match: re.Match[str]) -> str:
            if match.group(1):
                line = source.count("\n", 0, match.start()) + 1
                self.warnings.append((line, "Starlake drops a minus sign at the beginning of {{ }}: put the expression in parentheses"))
            return f"{match.group(1) or ''} "

        return _EDGE_DASH.sub(drop_dash, source)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Return the value of an arithmetic operation."""
        return values.calculate(operator, _convert_to_null(left), _convert_to_null(right))

    def call_unop(self, context: Context, operator: str, arg: Any) -> Any:
        """Return ``-value`` or ``+value``."""
        return values.negate(_convert_to_null(arg)) if operator == "-" else values.drop_sign(_convert_to_null(arg))

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Return ``obj[argument]``; None if there is no such item."""
        obj, argument = _convert_to_null(obj), _convert_to_null(argument)
        if isinstance(obj, Mapping):
            if argument not in obj and obj:
                try:
                    argument = values.convert_like(argument, next(iter(obj)))
                except ExpressionError:
                    return None
            return obj.get(argument)
        if isinstance(argument, slice) or (isinstance(obj, (list, tuple)) and not isinstance(obj, Entry) and isinstance(argument, int)):
            try:
                return obj[argument]
            except (LookupError, TypeError):
                return None
        return super().getitem(obj, argument) if isinstance(argument, str) else None

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return ``obj.attribute``: a key of a map, a method, or an attribute of Jinja's own objects."""
        obj = _convert_to_null(obj)
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        method = find_method(obj, attribute)
        if method is not None:
            return _accept_null(method)
        if isinstance(obj, Entry) and attribute in ("key", "value"):
            return obj.key if attribute == "key" else obj.value
        if obj is None or isinstance(obj, (str, int, float, list, tuple, Mapping)):
            if isinstance(obj, str) and attribute[:1] != "_" and hasattr(obj, attribute):
                raise ExpressionError(f"strings have no method '{attribute}' in Starlake's Jinja, whose strings are Java's; use a filter")
            return self.undefined(obj=obj, name=attribute)
        return super().getattr(obj, attribute)

    def call(self, context: Context, function: Any, *arguments: Any, **named: Any) -> Any:
        """Call a function of this class that :class:`_Rewriter` inserted, or a function that the template calls."""
        if getattr(function, "__self__", None) is self:
            return function(*arguments)
        if isinstance(function, Undefined):
            if function._undefined_obj is missing and function._undefined_name:
                raise ExpressionError(f"could not resolve function '{function._undefined_name}'")
            return None
        if function is None:
            return None
        self.budget.count_iteration()
        if isinstance(function, Macro):
            return self._call_macro(context, function, arguments, named)
        result = super().call(context, function, *arguments, **named)
        return values.check_length(result) if isinstance(result, (str, list)) else result

    def _call_macro(self, context: Context, macro: Macro, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        # Jinjava does not support recursive macros: the inner call returns nothing.
        if macro.name != "caller" and macro.name in self._state.macros:
            return ""
        self._state.macros.append(macro.name)
        self._state.scopes.append({})
        try:
            return super().call(context, macro, *arguments, **named)
        finally:
            self._state.scopes.pop()
            self._state.macros.pop()

    def print_value(self, value: Any) -> str:
        """Return the output of ``{{ value }}``."""
        text = values.format_value(_convert_to_null(value))
        budget = getattr(self._state, "budget", None)
        if budget is not None:
            budget.count_characters(len(text))
        return text

    def test_truth(self, value: Any) -> bool:
        """Return whether a value is true by Jinjava's rules."""
        return values.is_true(_convert_to_null(value))

    def negate_truth(self, value: Any) -> bool:
        """Return the value of ``not value`` by Jinjava's rules."""
        return not values.is_true(_convert_to_null(value))

    def wrap_operand(self, value: Any) -> _Operand:
        """Return a value as an operand of ``or``."""
        return _Operand(_convert_to_null(value))

    def unwrap_operand(self, operand: _Operand) -> Any:
        """Return the value of an operand of ``or``."""
        return operand.value

    def compare_values(self, first: Any, *rest: Any) -> bool:
        """Return the result of a comparison. Operators and operands alternate. As in Java, a chain compares the result with the next."""
        result = _convert_to_null(first)
        for operator, value in zip(rest[::2], rest[1::2], strict=True):
            result = values.compare(operator, result, _convert_to_null(value))
        return bool(result)

    def join_text(self, *parts: Any) -> str:
        """Return ``a ~ b``."""
        return str(values.check_length("".join(values.format_value(_convert_to_null(part)) for part in parts)))

    def open_scope(self) -> None:
        """Begin the scope of a loop."""
        self._state.scopes.append({})

    def close_scope(self) -> None:
        """End the scope of a loop."""
        self._state.scopes.pop()

    def put_value(self, context: Context, name: str, value: Any) -> Any:
        """Set a name in the current scope. Return the value that it has then: null does not hide the value of an outer scope."""
        self._state.scopes[-1][name] = _convert_to_null(value)
        return self.find_value(context, name, value)

    def find_value(self, context: Context, name: str, otherwise: Any = missing) -> Any:
        """Return the value of a name in the innermost scope in which it is not null, or else that of the template, or ``otherwise``."""
        found = next((value for scope in reversed(self._state.scopes) if (value := scope.get(name)) is not None), None)
        if found is not None:
            return found
        outer = context.resolve_or_missing(name)
        return outer if outer is not missing else self.undefined(name=name) if otherwise is missing else otherwise

    def start_loop(self, value: Any, text: int) -> _LoopItems:
        """Return the items of a loop; ``text`` is the length of the literal text in its body."""
        return _LoopItems(values.list_items(_convert_to_null(value)), self.budget, text)

    def start_macro(self, text: int) -> str:
        """Count the call of a macro; return an empty string, because the call is inserted as output."""
        self.budget.count_iteration(text)
        return ""

    def wrap_str_format(self, value: Any) -> Any:
        """Return None: strings have only Java's methods, so there is nothing to wrap."""
        return None


class _Rewriter:
    """Replaces expressions of a parsed template with calls of the environment's methods."""

    def __init__(self, environment: JinjavaEnvironment) -> None:
        self._environment = environment

    def rewrite(self, tree: nodes.Template) -> None:
        """Rewrite a parsed template in place."""
        insert_scopes(tree, self._call)
        for field, value in list(tree.iter_fields()):
            setattr(tree, field, self._visit(value))

    def _visit(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._visit(item) for item in value]
        if not isinstance(value, nodes.Node):
            return value
        if isinstance(value, nodes.Compare):
            return self._rewrite_comparison(value)
        for field, child in list(value.iter_fields()):
            setattr(value, field, self._visit(child))
        rewrite = _REWRITERS.get(type(value))
        return rewrite(self, value) if rewrite else value

    def _call(self, node: nodes.Node, name: str, *arguments: Any) -> nodes.Call:
        expressions = [item if isinstance(item, nodes.Expr) else nodes.Const(item) for item in arguments]
        call = nodes.Call(nodes.EnvironmentAttribute(name), expressions, [], None, None)
        call.set_lineno(node.lineno).set_environment(self._environment)
        return call

    def _rewrite_comparison(self, node: nodes.Compare) -> nodes.Expr:
        arguments: list[Any] = [self._visit(node.expr)]
        for operand in node.ops:
            arguments += [operand.op, self._visit(operand.expr)]
        return self._call(node, "compare_values", *arguments)

    def _rewrite_condition(self, node: nodes.Node) -> nodes.Node:
        test = getattr(node, "test", None)
        if test is not None:
            node.test = self._call(node, "test_truth", test)  # type: ignore[attr-defined]
        if isinstance(node, nodes.CondExpr) and node.expr2 is None:
            node.expr2 = self._build_constant(node, None)
        return node

    def _build_constant(self, node: nodes.Node, value: Any) -> nodes.Const:
        return nodes.Const(value, lineno=node.lineno, environment=self._environment)

    def _choose(self, node: nodes.Node, test: nodes.Node, value: Any, default: Any) -> nodes.CondExpr:
        """Return the expression ``value if test else default``."""
        condition = self._call(node, "test_truth", test)
        other = self._build_constant(node, default)
        return nodes.CondExpr(condition, value, other, lineno=node.lineno, environment=self._environment)

    def _rewrite_and(self, node: nodes.And) -> nodes.Expr:
        return self._choose(node, node.left, self._call(node, "test_truth", node.right), False)

    def _rewrite_or(self, node: nodes.Or) -> nodes.Expr:
        node.left = self._call(node, "wrap_operand", node.left)
        node.right = self._call(node, "wrap_operand", node.right)
        return self._call(node, "unwrap_operand", node)

    def _rewrite_not(self, node: nodes.Not) -> nodes.Expr:
        return self._call(node, "negate_truth", node.node)

    def _rewrite_concat(self, node: nodes.Concat) -> nodes.Expr:
        return self._call(node, "join_text", *node.nodes)

    def _rewrite_filter(self, node: nodes.Filter) -> nodes.Expr:
        if node.name in FILTER_NAMES:
            return node
        if node.name in UNSUPPORTED_FILTERS:
            raise jinja2.TemplateSyntaxError(f"the filter '{node.name}' is not supported here", node.lineno)
        self._environment.warnings.append((node.lineno, f"unknown filter '{node.name}': Starlake renders it as an empty string"))
        return self._build_constant(node, None)

    def _rewrite_test(self, node: nodes.Test) -> nodes.Expr:
        if node.name in TESTS:
            return node
        self._environment.warnings.append((node.lineno, f"unknown test '{node.name}': Starlake treats it as false"))
        return self._build_constant(node, None)

    def _reject_filter_block(self, node: nodes.FilterBlock) -> nodes.Node:
        raise jinja2.TemplateSyntaxError("Starlake's Jinja does not have the tag 'filter'", node.lineno)

    def _rewrite_loop(self, node: nodes.For) -> nodes.Node:
        if node.else_:
            message = "Starlake renders a loop's 'else' in each iteration, and never for an empty loop"
            self._environment.warnings.append((node.lineno, message))
            node.body, node.else_ = [*node.body, *node.else_], []
        if node.test is not None:
            # Jinjava reads "for x in y if z" as a loop over the expression "y if z".
            node.iter = self._choose(node, node.test, node.iter, None)
            node.test = None
        node.iter = self._call(node, "start_loop", node.iter, _measure_text(node.body))
        return node

    def _rewrite_macro(self, node: nodes.Macro) -> nodes.Node:
        # Naming varargs and kwargs makes the macro take any arguments, as Jinjava's macros do.
        names: list[nodes.Expr] = [nodes.Name("varargs", "load"), nodes.Name("kwargs", "load")]
        never = nodes.If(nodes.Const(False), [nodes.Output(names)], [], [])
        count = nodes.Output([self._call(node, "start_macro", _measure_text(node.body))])
        for added in (never, count):
            added.set_lineno(node.lineno).set_environment(self._environment)
        node.body = [never, count, *node.body]
        return node


_REWRITERS: Mapping[type[nodes.Node], Callable[[_Rewriter, Any], nodes.Node]] = {
    nodes.And: _Rewriter._rewrite_and,
    nodes.Concat: _Rewriter._rewrite_concat,
    nodes.CondExpr: _Rewriter._rewrite_condition,
    nodes.Filter: _Rewriter._rewrite_filter,
    nodes.FilterBlock: _Rewriter._reject_filter_block,
    nodes.For: _Rewriter._rewrite_loop,
    nodes.If: _Rewriter._rewrite_condition,
    nodes.Macro: _Rewriter._rewrite_macro,
    nodes.Not: _Rewriter._rewrite_not,
    nodes.Or: _Rewriter._rewrite_or,
    nodes.Test: _Rewriter._rewrite_test,
}


def _measure_text(body: Sequence[nodes.Node]) -> int:
    """Return the length of the literal text in a body, except in inner loops and macros, which count their own."""
    length = 0
    waiting: list[nodes.Node] = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, nodes.TemplateData):
            length += len(node.data)
        elif not isinstance(node, (nodes.For, nodes.Macro)):
            waiting.extend(node.iter_child_nodes())
    return length
