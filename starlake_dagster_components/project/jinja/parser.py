"""Parse expressions with the precedence of Jinjava's operators, which differs from Python's. Jinjava: ExtendedParser."""

from collections.abc import Callable, Mapping

from jinja2 import nodes
from jinja2.parser import Parser

_EQUALITY: Mapping[str, str] = {"eq": "eq", "ne": "ne"}
_ORDER: Mapping[str, str] = {"lt": "lt", "lteq": "lteq", "gt": "gt", "gteq": "gteq"}
_SUM: Mapping[str, type[nodes.BinExpr] | None] = {"add": nodes.Add, "sub": nodes.Sub, "tilde": None}
_PRODUCT: Mapping[str, type[nodes.BinExpr] | None] = {
    "mul": nodes.Mul,
    "div": nodes.Div,
    "floordiv": nodes.FloorDiv,
    "mod": nodes.Mod,
    "pow": nodes.Pow,
}
_VALUES = frozenset({"name", "string", "integer", "float", "lparen", "lbracket", "lbrace"})
"""Tokens with which a value can begin."""
_KEYWORDS = ("name:and", "name:else", "name:if", "name:in", "name:is", "name:not", "name:or")


class JinjavaParser(Parser):
    """Jinja2's parser with these levels, from the loosest: ``or``, ``and``, ``==``, ``<`` and ``in``, ``+ - ~``, ``* / // % **``, signs.

    ``not`` is a sign, as ``-`` is, so ``not a == b`` means ``(not a) == b``. Filters and tests bind more tightly than signs.

    Attributes:
        surprises: the lines on which ``not`` does not apply to the comparison or sum that follows it.
    """

    surprises: list[int]

    def parse(self) -> nodes.Template:
        """Parse the template."""
        self.surprises = []
        return super().parse()

    def parse_not(self) -> nodes.Expr:
        """Parse an operand of ``and`` or ``or``."""
        first = self.stream.current
        found = self._parse_comparison(_EQUALITY, lambda: self._parse_comparison(_ORDER, self.parse_math1))
        if first.test("name:not") and not isinstance(found, nodes.Not):
            self.surprises.append(first.lineno)
        return found

    def _parse_comparison(self, operators: Mapping[str, str], parse_operand: Callable[[], nodes.Expr]) -> nodes.Expr:
        found = parse_operand()
        while True:
            current = self.stream.current
            operator = operators.get(current.type)
            if operator is None and operators is _ORDER:
                negated = current.test("name:not") and self.stream.look().test("name:in")
                operator = "notin" if negated else "in" if current.test("name:in") else None
            if operator is None:
                return found
            self.stream.skip(2 if operator == "notin" else 1)
            found = nodes.Compare(found, [nodes.Operand(operator, parse_operand())], lineno=current.lineno)

    def parse_math1(self) -> nodes.Expr:
        """Parse a sum, difference, or concatenation."""
        return self._parse_operators(_SUM, self.parse_math2)

    def parse_math2(self) -> nodes.Expr:
        """Parse a product, quotient, remainder, or power."""
        return self._parse_operators(_PRODUCT, self.parse_unary)

    def _parse_operators(self, operators: Mapping[str, type[nodes.BinExpr] | None], parse_operand: Callable[[], nodes.Expr]) -> nodes.Expr:
        found = parse_operand()
        while (current := self.stream.current).type in operators:
            next(self.stream)
            kind, right = operators[current.type], parse_operand()
            found = kind(found, right, lineno=current.lineno) if kind else nodes.Concat([found, right], lineno=current.lineno)
        return found

    def parse_unary(self, with_filter: bool = True) -> nodes.Expr:
        """Parse a value with its filters and tests, and the signs before it."""
        current = self.stream.current
        kind = nodes.Not if current.test("name:not") else {"sub": nodes.Neg, "add": nodes.Pos}.get(current.type)
        if kind is not None:
            next(self.stream)
            return kind(self.parse_unary(), lineno=current.lineno)
        return self.parse_filter_expr(self.parse_postfix(self.parse_primary()))

    def parse_test(self, node: nodes.Expr) -> nodes.Expr:
        """Parse ``is NAME`` or ``is not NAME``, and the argument, which is a value with its own filters."""
        line = next(self.stream).lineno
        negated = self.stream.skip_if("name:not")
        name = self.stream.expect("name").value
        current = self.stream.current
        has_argument = current.type in _VALUES and not current.test_any(*_KEYWORDS)
        arguments = [self.parse_filter_expr(self.parse_postfix(self.parse_primary()))] if has_argument else []
        test = nodes.Test(node, name, arguments, [], None, None, lineno=line)
        return nodes.Not(test, lineno=line) if negated else test
