"""A rule as it ran, written down: in the program's symbols, in shapes, in numbers."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from tensorad.looking.graph import Recorded, operands_of
from tensorad.looking.ran import Opaque, Ran, as_it_ran, evaluated, plain
from tensorad.looking.values import factor, number, shape_of, written
from tensorad.node import Node
from tensorad.rule import copied, mathematics, simplified

_INLINE = 4  # entries of a value that is written into a line of text
_MATRIX = 9  # entries of a value that is laid out as a matrix
Leaves = Mapping[str, str]  # what names in an expression are written as


@dataclass(frozen=True)
class Symbol:
    """What a name in a rule stands for: a value of this run, or the derivative of the target by one.

    Attributes:
        text: what it is called.
        shape: its shape as text, such as `(2, 3)`.
        data: a copy of the value, if it is small; else None.
        of: what the target is called, if it is a derivative; else empty.
        by: what the value is called that it is by, if it is a derivative; else empty.
    """

    text: str
    shape: str
    data: torch.Tensor | None = None
    of: str = ""
    by: str = ""

    @property
    def numbers(self) -> str | None:
        """The value, if it is real, and small enough to be written into a line."""
        # Cotangents of complex values are conjugated for users, and inside they are not: numbers would not agree.
        if self.data is None or self.data.numel() > _INLINE or self.data.is_complex():
            return None
        return factor(written(self.data))


@dataclass(eq=False)
class Formula:
    """What a rule became in one run.

    Attributes:
        expression: the rule as it ran, as syntax: its names are those in `symbols`.
        symbols: the rule's names -> what they stand for.
        shapes: the same expression with shapes in the place of factors.
        notes: what the functions do that are tensorad's own.
        shape: of what it comes to, where that was computed for it; of joint ops only.
    """

    expression: ast.expr
    symbols: dict[str, Symbol]
    shapes: ast.expr
    notes: list[str]
    shape: str | None

    def in_symbols(self) -> str:
        """The rule in the names of the program."""
        return text_of(self.expression, {name: each.text for name, each in self.symbols.items()})

    def in_shapes(self) -> str:
        """The same with the shape of each factor."""
        return text_of(self.shapes, {})

    def in_numbers(self) -> str | None:
        """The same with the values of this run; None where they are too large."""
        numbers = {name: each.numbers for name, each in self.symbols.items()}
        known = {name: each for name, each in numbers.items() if each is not None}
        return text_of(self.expression, known) if len(known) == len(numbers) else None


def formula_of(recorded: Recorded, node: Node, place: int, g: Any, wanted: set[int]) -> Formula:
    """The rule of `node` for the operand at `place`, as it ran for the cotangent `g`.

    `wanted` are the places of the operands whose cotangents were wanted.
    """
    operands = operands_of(node)
    saved = dict(zip(node.op.saves, node.saved, strict=True))
    if "wanted" in saved:
        saved["wanted"] = tuple([each in wanted for each in range(len(operands))])
    ran = as_it_ran(node.op, place, g, saved)
    names = {operand: recorded.symbols[parent] for operand, parent in operands if parent in recorded.symbols}
    names |= {f"tensors[{operand}]": name for operand, name in names.items() if operand.isdigit()}
    names["out"] = recorded.symbols[node]
    used = {part.id for part in ast.walk(ran.expression) if isinstance(part, ast.Name)} & ran.values.keys()
    constants = {name: recorded.constants[key] for name in used if (key := id(ran.values[name])) in recorded.constants}
    symbols = {name: _symbol((constants | names).get(name, name), ran.values[name]) for name in used}
    symbols |= {"g": derivative(recorded, node, g)} if "g" in used else {}
    shapes = _shapes(copied(ran.expression), ran)
    shape = _computed_shape(ran.expression, ran) if node.op.joint else None
    notes = [f"{name}: {text}" for name, text in ran.helpers.items()]
    expression, shapes = (simplified(_Held().visit(part)) for part in (ran.expression, shapes))
    return Formula(expression, symbols, shapes, notes, shape)


def derivative(recorded: Recorded, node: Node, g: Any) -> Symbol:
    """The derivative of the target by a node, with its value."""
    of, by, data = recorded.symbols[recorded.target], recorded.symbols[node], plain(g)
    return Symbol(f"∂{of}/∂{by}", shape_of(data), _small(data), of, by)


def _symbol(name: str, value: Any) -> Symbol:
    return Symbol(name, shape_of(value), _small(value))


def _small(value: Any) -> torch.Tensor | None:
    """A copy of a value that is small enough to be laid out."""
    if not isinstance(value, torch.Tensor) or value.numel() > _MATRIX or value.ndim > 2:
        return None
    dense = value.layout == torch.strided and not value.is_quantized and not value.is_meta
    return value.detach().clone() if dense else None


def _shapes(expression: ast.expr, ran: Ran, top: bool = True) -> ast.expr:
    """An expression with the shapes of its factors in their places, or of the arguments of a function that it is."""
    match expression:
        case ast.BinOp(op=ast.Mult() | ast.MatMult() | ast.Div()):
            expression.left, expression.right = (
                _shapes(side, ran, top=False) for side in (expression.left, expression.right)
            )
        case ast.UnaryOp(op=ast.USub()):
            expression.operand = _shapes(expression.operand, ran, top=False)
        case ast.Constant() | ast.Tuple():
            return _InShapes(ran).visit(expression)
        case ast.Name():
            return _InShapes(ran).visit(expression)
        case ast.Call() if top:
            return _InShapes(ran).visit(expression)
        case _:
            shape = _computed_shape(expression, ran)
            return _InShapes(ran).visit(expression) if shape is None else ast.Name(shape)
    return expression


def _computed_shape(expression: ast.expr, ran: Ran) -> str | None:
    """The shape of what is left of a rule; None where it is there for readers only, and cannot run."""
    values: dict[str, Any] = {name: lambda value=value: value for name, value in ran.values.items()}
    if not ran.runs:
        return None
    try:
        with torch.no_grad():
            return shape_of(evaluated(expression, ran.scope, values))
    except Exception:
        return None


class _Held(ast.NodeTransformer):
    """Objects that an expression holds, let go: their names stay."""

    def visit_Constant(self, node: ast.Constant) -> Any:
        value: Any = node.value
        return ast.Name(value.text, ast.Load()) if isinstance(value, Opaque) else node


class _InShapes(ast.NodeTransformer):
    def __init__(self, ran: Ran) -> None:
        self.ran = ran

    def visit_Name(self, node: ast.Name) -> Any:
        return ast.Name(shape_of(self.ran.values[node.id])) if node.id in self.ran.values else node


def text_of(expression: ast.expr, leaves: Leaves) -> str:
    """An expression as text, with names written as `leaves` says: whatever these are, they stand as they are."""
    writer = _Writer(leaves)
    text = mathematics(writer.visit(copied(expression)))
    for sign in ("ᵀ", "ᴴ"):
        text = text.replace(f".{sign}", sign)
    for place, leaf in enumerate(writer.texts):
        text = text.replace(f"\ue000{place}\ue001", leaf)
    return text


class _Writer(ast.NodeTransformer):
    """Names and constants put aside, so that nothing happens to them while the rest is made into mathematics."""

    def __init__(self, leaves: Leaves) -> None:
        self.leaves, self.texts = leaves, list[str]()

    def leaf(self, text: str) -> ast.Name:
        self.texts.append(text)
        return ast.Name(f"\ue000{len(self.texts) - 1}\ue001", ast.Load())

    def visit_Name(self, node: ast.Name) -> Any:
        return self.leaf(self.leaves.get(node.id, node.id)) if self.is_leaf(node) else node

    def is_leaf(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Name) and (node.id in self.leaves or not node.id.isidentifier())

    def closed(self, node: Any) -> Any:
        """What comes before a suffix: a fraction in brackets."""
        if self.is_leaf(node) and self.leaves.get(node.id, "").startswith("∂"):
            return self.leaf(f"({self.leaves[node.id]})")
        return self.visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        signs = {"T": "ᵀ", "mT": "ᵀ", "H": "ᴴ", "mH": "ᴴ"}
        return ast.Attribute(self.closed(node.value), signs.get(node.attr, node.attr), ast.Load())

    def visit_Subscript(self, node: ast.Subscript) -> Any:
        return ast.Subscript(self.closed(node.value), self.visit(node.slice), ast.Load())

    def visit_BinOp(self, node: ast.BinOp) -> Any:
        first = self.closed if isinstance(node.op, ast.Pow) else self.visit
        return ast.BinOp(first(node.left), node.op, self.visit(node.right))

    def visit_Constant(self, node: ast.Constant) -> Any:
        value: Any = node.value  # of any kind: see ran.py
        if isinstance(value, slice):
            start, stop, step = ("" if each is None else str(each) for each in (value.start, value.stop, value.step))
            return self.leaf(f"{start}:{stop}" + f":{step}" * bool(step))
        if isinstance(value, float) and len(repr(value)) > len(text := number(value)):
            return self.leaf(text)
        return node
