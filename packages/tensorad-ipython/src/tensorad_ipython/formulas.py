"""Formulas typeset: from the syntax of a Python expression to LaTeX and MathML.

Signs and common functions as mathematics writes them, matrices side by side, entries of tensors with a dot in a circle;
everything unusual as upright code. It knows how functions are written, and nothing of what they mean.
"""

import ast
import html
from collections.abc import Callable, Mapping

from tensorad.looking.formula import text_of
from tensorad_ipython.typeset import Typeset, in_latex, number, power, symbol, unseen

_SUM, _PRODUCT, _MINUS, _POWER, _WHOLE = range(5)  # how tightly the parts of an expression hold together
_NAMED = "sin cos tan sinh cosh tanh exp log".split()  # functions that LaTeX knows
_SIGNS: dict[type[ast.AST], tuple[str, str]] = {
    ast.Lt: ("<", "<"), ast.LtE: (r"\leq", "≤"), ast.Gt: (">", ">"), ast.GtE: (r"\geq", "≥"), ast.Eq: ("=", "="),
    ast.NotEq: (r"\neq", "≠"), ast.And: (r"\wedge", "∧"), ast.BitAnd: (r"\wedge", "∧"), ast.Or: (r"\vee", "∨"),
    ast.BitOr: (r"\vee", "∨"), ast.Add: ("+", "+"), ast.Sub: ("-", "−"),
}  # fmt: skip
_BRACE = "border: solid; border-width: 0 0 0 1px; border-radius: 6px; border-collapse: separate"  # as in typeset.py
_RAISED = {"T": "T", "mT": "T", "H": "H", "mH": "H"}


def sign(latex: str, mathml: str) -> Typeset:
    """An operator between two things."""
    return Typeset("", f" {latex} ", f"<mo>{html.escape(mathml)}</mo>")


def joined(*parts: Typeset) -> Typeset:
    """Things side by side."""
    return Typeset("", "".join(each.latex for each in parts), "".join(each.mathml for each in parts))


def bracketed(inner: Typeset, around: str = "()") -> Typeset:
    """Things in brackets, which grow with them."""
    left, right = around
    mathml = f"<mrow><mo>{left}</mo>{inner.mathml}<mo>{right}</mo></mrow>"
    return Typeset("", rf"\left{left}{inner.latex}\right{right}", mathml)


def fraction(above: Typeset, below: Typeset) -> Typeset:
    """One thing over another."""
    mathml = f"<mfrac><mrow>{above.mathml}{unseen('/')}</mrow><mrow>{below.mathml}</mrow></mfrac>"
    return Typeset("", rf"\frac{{{above.latex}}}{{{below.latex}}}", mathml)


def code(text: str) -> Typeset:
    """Text as it stands, in letters of one width."""
    mathml = f"<mtext style='font-family: monospace'>{html.escape(text)}</mtext>"
    return Typeset("", rf"\texttt{{{in_latex(text)}}}", mathml)


def upright(name: str) -> Typeset:
    """The name of a function."""
    latex = rf"\{name}" if name in _NAMED else rf"\operatorname{{{in_latex(name)}}}"
    return Typeset("", latex, f"<mi mathvariant='normal'>{html.escape(name)}</mi>")


class Notation:
    """How expressions are typeset in which some names are known.

    Args:
        leaves: what these are typeset as.
        texts: what they are written as, where all of an expression is written as code.
        is_scalar: whether a name stands for a single number.
    """

    def __init__(
        self, leaves: Mapping[str, Typeset], texts: Mapping[str, str], is_scalar: Callable[[str], bool]
    ) -> None:
        self.leaves, self.texts, self.is_scalar = leaves, texts, is_scalar

    def of(self, node: ast.expr, within: int = 0) -> Typeset:
        """An expression, in brackets if it would fall apart where it stands."""
        found, holds = self._found(node)
        return bracketed(found) if holds < within else found

    def product(self, node: ast.expr) -> list[tuple[ast.expr, Typeset]]:
        """The factors of a product, each with the sign that comes after it."""
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.MatMult):
            *first, (last, _) = self.product(node.left)
            return [*first, (last, self._times(node)), (node.right, Typeset("", "", ""))]
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and self._is_tall(node.left):
            *first, (last, _) = self.product(node.left)  # a fraction over something is hard to read
            share = ast.BinOp(ast.Constant(1), ast.Div(), node.right)
            return [*first, (last, self._times(node)), (share, Typeset("", "", ""))]
        return [(node, Typeset("", "", ""))]

    def factor(self, node: ast.expr, first: bool) -> Typeset:
        """One of these factors."""
        return self.of(node, _PRODUCT if first else _MINUS)

    def _found(self, node: ast.expr) -> tuple[Typeset, int]:
        match node:
            case ast.Name(id=name):
                return self.leaves.get(name) or self._named(name), _WHOLE
            case ast.Constant(value=int() | float() | complex() as value) if not isinstance(value, bool):
                return number(value), _WHOLE if not str(value).startswith("-") else _PRODUCT
            case ast.BinOp(left=left, op=ast.Div(), right=right) if not self._is_tall(left):
                return fraction(self.of(left), self.of(right)), _POWER
            case ast.BinOp(left=left, op=ast.Pow(), right=right):
                return power(self.of(left, _WHOLE), _row(self.of(right))), _POWER
            case ast.BinOp(op=ast.Mult() | ast.MatMult() | ast.Div()):
                factors = self.product(node)
                typeset = (joined(self.factor(each, not place), times) for place, (each, times) in enumerate(factors))
                return joined(*typeset), _PRODUCT
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _SIGNS:
                of_sum = isinstance(op, ast.Add | ast.Sub)
                first = self.of(left, _SUM if of_sum else _PRODUCT)
                return joined(first, sign(*_SIGNS[type(op)]), self.of(right, _PRODUCT)), _SUM
            case ast.BoolOp(op=op, values=values):
                return self._listed([self.of(each, _PRODUCT) for each in values], sign(*_SIGNS[type(op)])), _SUM
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _SIGNS:
                return joined(self.of(left), sign(*_SIGNS[type(op)]), self.of(right)), _SUM
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                minus = Typeset("", "-", "<mo form='prefix'>−</mo>")
                return joined(minus, self.of(operand, _PRODUCT)), _PRODUCT
            case ast.UnaryOp(op=ast.Invert() | ast.Not(), operand=operand):
                return joined(Typeset("", r"\neg ", "<mo>¬</mo>"), self.of(operand, _WHOLE)), _MINUS
            case ast.Attribute(value=value, attr=attr) if attr in _RAISED:
                letter = Typeset("", rf"\mathsf{{{_RAISED[attr]}}}", f"<mi mathvariant='normal'>{_RAISED[attr]}</mi>")
                return power(self.of(value, _WHOLE), letter), _POWER
            case ast.Subscript(value=value, slice=ast.Constant(value=int() as place)):
                below = number(place)
                whole = self.of(value, _WHOLE)
                mathml = f"<msub><mrow>{whole.mathml}{unseen('_')}</mrow>{below.mathml}</msub>"
                return Typeset("", f"{{{whole.latex}}}_{{{below.latex}}}", mathml), _WHOLE
            case ast.Tuple(elts=parts) | ast.List(elts=parts) if not any(
                isinstance(each, ast.Starred) for each in parts
            ):
                around = "()" if isinstance(node, ast.Tuple) else "[]"
                alone = sign(",", ",") if around == "()" and len(parts) == 1 else Typeset("", "", "")
                return bracketed(joined(self._listed([self.of(each) for each in parts]), alone), around), _WHOLE
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if not _starred(args):
                return self._call(name, args)
            case _:
                return code(text_of(node, self.texts)), _WHOLE

    def _call(self, name: str, args: list[ast.expr]) -> tuple[Typeset, int]:
        match name, args:
            case "sqrt", [inner]:
                return self._root(inner), _POWER
            case "rsqrt", [inner]:
                return fraction(number(1), self._root(inner)), _POWER
            case "square", [inner]:
                return power(self.of(inner, _WHOLE), number(2)), _POWER
            case "abs", [inner]:
                return bracketed(self.of(inner), "||"), _WHOLE
            case "conj", [inner]:
                found = self.of(inner)
                line = f"<mrow style='border-top: 1px solid'>{found.mathml}</mrow>{unseen('¯')}"
                return Typeset("", rf"\overline{{{found.latex}}}", line), _WHOLE
            case "where", [condition, then, otherwise]:
                return self._cases([(then, condition), (otherwise, None)]), _WHOLE
            case "masked_fill", [value, condition, filling]:
                return self._cases([(filling, condition), (value, None)]), _WHOLE
            case _:
                inner = self._listed([self.of(each) for each in args])
                return joined(upright(name), bracketed(inner)), _WHOLE

    def _root(self, inner: ast.expr) -> Typeset:
        found = self.of(inner)
        mathml = f"<mrow>{unseen('√(')}<msqrt>{found.mathml}</msqrt>{unseen(')')}</mrow>"
        return Typeset("", rf"\sqrt{{{found.latex}}}", mathml)

    def _cases(self, cases: list[tuple[ast.expr, ast.expr | None]]) -> Typeset:
        """What holds where something is so, and what holds elsewhere."""
        rows, lines = list[str](), list[str]()
        for value, condition in cases:
            found = self.of(value)
            when = self.of(condition) if condition else Typeset("", "", "")
            words = "where" if condition else "elsewhere"
            rows.append(rf"{found.latex} & \text{{{words} }}{when.latex}")
            style = "style='text-align: left; padding: 0.15em 0.4em'"
            words = f"<mtext>{words}&#160;</mtext>{when.mathml}{unseen('; ')}"
            lines.append(f"<mtr><mtd {style}>{found.mathml}</mtd><mtd {style}>{words}</mtd></mtr>")
        latex = r" \\ ".join(rows)
        latex = rf"\begin{{cases}} {latex} \end{{cases}}"
        return Typeset("", latex, f"<mtable style='{_BRACE}'>{''.join(lines)}</mtable>")

    @staticmethod
    def _listed(parts: list[Typeset], between: Typeset | None = None) -> Typeset:
        between = between or Typeset("", ", ", "<mo separator='true'>,</mo>")
        return joined(*[each for part in parts for each in (between, part)][1:])

    def _times(self, node: ast.BinOp) -> Typeset:
        """Of matrices, a space; of entries, a dot in a circle; with a number, a dot."""
        if isinstance(node.op, ast.MatMult):
            return Typeset("", r"\,", f"<mspace width='0.25em'/>{unseen(' @ ')}")
        entries = not (self._is_scalar(node.left) or self._is_scalar(node.right))
        return sign(r"\odot", "⊙") if entries else sign(r"\cdot", "·")

    def _is_tall(self, node: ast.expr) -> bool:
        return "<mfrac>" in self.of(node).mathml

    def _is_scalar(self, node: ast.expr) -> bool:
        names = (each.id for each in ast.walk(node) if isinstance(each, ast.Name))
        return all(self.is_scalar(name) for name in names)

    def _named(self, name: str) -> Typeset:
        return symbol(name) if len(name) == 1 else code(name)


def _starred(parts: list[ast.expr]) -> bool:
    return any(isinstance(each, ast.Starred) for each in parts)


def _row(parts: Typeset) -> Typeset:
    return Typeset("", parts.latex, f"<mrow>{parts.mathml}</mrow>")
