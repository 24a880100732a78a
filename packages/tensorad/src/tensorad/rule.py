"""A rule, to be read: its formula, its source, what it saves, and where torch or JAX differ."""

import ast
import functools
import inspect
import linecache
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType
from typing import Any

import torch

from tensorad import site
from tensorad.call import Op
from tensorad.conventions import CONVENTIONS
from tensorad.errors import ArgumentError
from tensorad.op import OPS, ROWS, find, typed
from tensorad.tensor import TABLE


@dataclass(frozen=True)
class RuleCard:
    """What `tensorad.rule` found: `print` it, or take its parts.

    Attributes:
        name: the op's signature, or the function's name.
        kind: `"op"`, `"linear op"`, `"composed"` (of other ops), `"constant"` (without a derivative) or `"pieces"` (no
            row: differentiated through what torch makes it of).
        formulas: operand -> its cotangent, as a formula of the cotangent `g` of the output.
        saves: what a node saves of a call, by the names of the op's arguments.
        notes: where torch or JAX differ, or the value is a convention.
        source: the row, or the function, as it stands in the file, and the helpers that it names.
        file: that file, such as `rules/elementwise.py`; of a rule that is not the engine's, a place as `train.py:12`.
        internal: whether it is no function of torch's, but an op that rules are written in.
        forward: operand -> its share of the tangent, as a formula of its tangent `t`, where that is not the rule of
            reverse mode, transposed.
    """

    name: str
    kind: str
    formulas: dict[str, str]
    saves: list[str]
    notes: list[str]
    source: str
    file: str
    internal: bool = False
    forward: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        lines = [f"{self.name}: {'internal; ' * self.internal}{_KINDS[self.kind]}"]
        lines += [f"  {operand}: {formula}" for operand, formula in self.formulas.items()]
        lines += [f"  forward, {operand}: {formula}" for operand, formula in self.forward.items()]
        if self.formulas:
            lines.append(f"  saves {', '.join(self.saves) or 'nothing'}")
        lines += [f"  {note}" for note in self.notes]
        if self.source:
            lines += [f"  in {self.file}:", textwrap.indent(self.source, "    ")]
        return "\n".join(lines)


_KINDS = {
    "op": "the cotangent of each operand, for the cotangent g of the output",
    "linear op": "linear; the cotangent of each operand, for the cotangent g of the output",
    "composed": "made of other ops, and differentiated through them",
    "constant": "it has no derivative: its result is a constant",
    "pieces": "it has no row: differentiated through the functions that torch makes it of, if these have one",
}


def rule(function: Any) -> RuleCard:
    """What tensorad knows about the derivative of a function of torch's.

    Args:
        function: such as `torch.sin`, `torch.Tensor.sin`, `tensorad.sin` or `"sin"`.

    Returns:
        A `RuleCard`, to print or to take apart.

    Raises:
        ArgumentError: for a name that is none of torch's, or something that cannot be called.

    Examples:
        >>> import torch, tensorad as ts
        >>> ts.rule(torch.sin)
        sin(input): the cotangent of each operand, for the cotangent g of the output
          input: g · cos(input)
          saves input
          in rules/elementwise.py:
            defrule("sin(input)", input=lambda g, input: g * input.cos())
    """
    call = call_of(function)
    if not (callable(call) and hasattr(call, "__name__")):
        raise ArgumentError(f"{function!r} is no function of torch's that tensorad knows of")
    names = [name for name, each in OPS.items() if each is call]
    # What allows inplace=, say, is not the rule.
    row = inspect.unwrap(ROWS.get(call, inspect.unwrap(call)), stop=ROWS.__contains__)
    row = ROWS.get(row, row)
    if isinstance(row, Op):
        return _of_op(row, names)
    if not names:
        name = (torch.overrides.resolve_name(call) or call.__name__).removeprefix("torch.")
        return RuleCard(name, "pieces", {}, [], _notes([name]), "", "")
    if row is None:
        return RuleCard(typed(names[0]), "constant", {}, [], _notes(names), "", "")
    source = "\n\n".join([_text(row.__code__), *_helpers(row, _innermost(row.__code__, ast.FunctionDef))])
    return RuleCard(typed(names[0]), "composed", {}, [], _notes(names), source, _file(row.__code__))


def call_of(function: Any) -> Any:
    """What answers for a function, or for what is called by that name; the function itself, if it has no row."""
    if isinstance(function, str):
        return OPS.get(function) or next((TABLE.get(each, each) for each in find(function)), None)
    if getattr(function, "__module__", "") == "torch.nn.functional" and function not in TABLE:
        return OPS.get(function.__name__, function)  # Python around a function of that name, which has the row
    return TABLE.get(function, function)


@functools.lru_cache(maxsize=1000)
def formulas_of(op: Op) -> dict[str, str]:
    """The rules of an op as formulas: operand, or operands -> its cotangent."""
    return {", ".join(operands.split()): formula(inspect.unwrap(each)) for operands, each in op.rules.items()}


def card_of(op: Op) -> RuleCard:
    """The same as `rule` of what calls the op, be it one that users can name or not."""
    return _of_op(op, [name for name, each in OPS.items() if ROWS.get(inspect.unwrap(each)) is op or each is op.call])


def _of_op(op: Op, names: list[str]) -> RuleCard:
    forward = {", ".join(operands.split()): formula(each) for operands, each in op.pushes.items()}
    first = inspect.unwrap(next(iter(op.rules.values())))
    source = "\n\n".join([_row(op), *_helpers(first, _innermost(first.__code__, ast.stmt))])
    saved = [name for name in op.saves if name != "wanted"]  # which is told to the rule when it runs
    saves = [name.removesuffix("_shape") + "'s shape" * name.endswith("_shape") for name in saved]
    kind, file = "linear op" if op.linear else "op", _file(first.__code__)
    internal = file.startswith("rules/") and not any(find(name) or find(f"__{name}__") for name in names)
    return RuleCard(typed(op.signature), kind, formulas_of(op), saves, _notes(names), source, file, internal, forward)


def _notes(names: list[str]) -> list[str]:
    about = [row for row in CONVENTIONS if not set(names).isdisjoint(row.ops.split())]
    notes = [f"{row.where}: {row.ours} (torch: {row.torch}; JAX: {row.jax})" for row in about]
    return [note.replace("`", "").replace("**≠**", "≠") for note in notes]


def formula(function: Callable[..., Any]) -> str:
    """The expression of a rule, with helpers that are one expression written out, in the notation of mathematics."""
    return mathematics(expression_of(function))


def expression_of(function: Callable[..., Any]) -> ast.expr:
    """The same as syntax: of a function that is no expression, a call of it."""
    expression = _expression(syntax_of(function))
    if expression is None:
        parameters: list[ast.expr] = [ast.Name(each, ast.Load()) for each in inspect.signature(function).parameters]
        return ast.Call(ast.Name(function.__name__, ast.Load()), parameters, [])
    written = _WrittenOut(function.__globals__).visit(copied(expression))
    return simplified(written if len(mathematics(written)) <= LONGEST else expression)


def syntax_of(function: Callable[..., Any]) -> Any:
    """The lambda, or the definition, that a function was made by; None if its source is not to be had."""
    return _syntax_of(function.__code__)


@functools.lru_cache(maxsize=1000)
def _syntax_of(code: CodeType) -> Any:
    return _innermost(code, ast.Lambda | ast.FunctionDef)


def copied(syntax: Any) -> Any:
    """The same syntax once more, to be changed; `copy.deepcopy` takes five times as long."""
    if isinstance(syntax, list):
        return [copied(each) for each in syntax]
    if not isinstance(syntax, ast.AST):
        return syntax
    return type(syntax)(**{name: copied(value) for name, value in ast.iter_fields(syntax)})


def simplified(expression: ast.expr) -> ast.expr:
    """`x.cos()` as `cos(x)`, `x * 1` as `x`, `-0` as `0`: the same syntax, changed."""
    return ast.fix_missing_locations(_Functions().visit(expression))


def mathematics(expression: ast.expr) -> str:
    """An expression as text, in the notation of mathematics."""
    text = ast.unparse(simplified(expression))
    for python, sign in _SIGNS:
        text = text.replace(python, sign)
    return text


LONGEST = 100  # letters: beyond that, a formula says more with its helpers by their names
_SIGNS = [
    (" ** ", "^"),
    (" | ", " or "),
    (" & ", " and "),
    (" * ", " · "),
    ("<=", "≤"),
    (">=", "≥"),
    ("!=", "≠"),
    ("~", "¬"),
    ("torch.", ""),
    ("math.", ""),
]


def _expression(node: Any) -> Any:
    """What a lambda, or a function that names a few values, returns; None for a function with more to it."""
    if isinstance(node, ast.Lambda):
        return copied(node.body)  # the syntax is kept, and what is made of it is changed
    named: dict[str, ast.expr] = {}
    for each in getattr(node, "body", []):
        if isinstance(each, ast.Return) and each.value:
            return _Replaced(named).visit(copied(each.value))
        if isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name):
            named[each.targets[0].id] = _Replaced(dict(named)).visit(copied(each.value))
        elif not isinstance(each, ast.Expr):  # a docstring
            return None
    return None


class _WrittenOut(ast.NodeTransformer):
    """Calls of helpers that are one expression, replaced by that expression."""

    def __init__(self, names: dict[str, Any]) -> None:
        self.names = names

    def visit_Call(self, node: ast.Call) -> Any:
        self.generic_visit(node)
        helper = _unwrapped(self.names.get(node.func.id)) if isinstance(node.func, ast.Name) else None
        if not inspect.isfunction(helper) or node.keywords or any(isinstance(each, ast.Starred) for each in node.args):
            return node
        expression: Any = _expression(_innermost(helper.__code__, ast.Lambda | ast.FunctionDef))
        parameters = inspect.signature(helper).parameters
        if expression is None or len(parameters) != len(node.args) or "*" in str(inspect.signature(helper)):
            return node
        given: Any = dict(zip(parameters, node.args, strict=True))
        return _WrittenOut(helper.__globals__).visit(_Replaced(given).visit(expression))


class _Replaced(ast.NodeTransformer):
    """Parameters replaced by what was given for them."""

    def __init__(self, given: dict[str, ast.expr]) -> None:
        self.given = given

    def visit_Name(self, node: ast.Name) -> Any:
        return copied(self.given.get(node.id, node))


class _Functions(ast.NodeTransformer):
    def visit_Call(self, node: ast.Call) -> Any:
        self.generic_visit(node)
        method = node.func
        if not isinstance(method, ast.Attribute) or _is_module(method.value):
            return node
        args = [method.value, *node.args]
        if method.attr == "where":  # the condition comes first in a function
            args[:2] = reversed(args[:2])
        return ast.Call(ast.Name(method.attr), args, node.keywords)

    def visit_BinOp(self, node: ast.BinOp) -> Any:
        self.generic_visit(node)
        if isinstance(node.op, ast.Mult) and _is(node.left, 1):
            return node.right
        return node.left if isinstance(node.op, ast.Mult | ast.Div) and _is(node.right, 1) else node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Any:
        self.generic_visit(node)
        return node.operand if isinstance(node.op, ast.USub) and _is(node.operand, 0) else node


def _is(node: ast.expr, number: int) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) is int and node.value == number


def _is_module(node: ast.expr) -> bool:
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name) and node.id in ("torch", "math", "aten", "kernels")


def _unwrapped(value: Any) -> Any:
    return inspect.unwrap(value) if callable(value) else value


def _helpers(function: Any, node: Any) -> list[str]:
    """The source of what is named by `node`, where `function` stands, and by what that names in turn."""
    found: dict[CodeType, str] = {function.__code__: ""}
    todo = [(function, node)]
    for each, part in todo:  # which grows
        inner = dict(zip(each.__code__.co_freevars, each.__closure__ or (), strict=True))
        leaves = [*ast.walk(part)] if part else []
        bound = {leaf.arg for leaf in leaves if isinstance(leaf, ast.arg)}
        for name in [leaf.id for leaf in leaves if isinstance(leaf, ast.Name) and leaf.id not in bound]:
            value = inner[name].cell_contents if name in inner else each.__globals__.get(name)
            helper, text = _own(_unwrapped(value))
            if text and helper.__code__ not in found:
                found[helper.__code__] = text
                todo.append((helper, _innermost(helper.__code__, ast.Lambda | ast.FunctionDef)))
    return [*dict.fromkeys(text for text in found.values() if text)]


def _own(value: Any) -> tuple[Any, str]:
    """A function in a file of rules, and its source; for an op that cannot be asked about by torch's name, its rule."""
    op: Any = ROWS.get(value) if inspect.isfunction(value) else value
    if isinstance(op, Op):
        known = OPS.get(op.name) is op.call and find(op.name)
        return inspect.unwrap(next(iter(op.rules.values()))), "" if known else _row(op)
    ours = inspect.isfunction(value) and ".rules." in (value.__module__ or "")
    return value, _text(value.__code__) if ours else ""


def _row(op: Op) -> str:
    code = inspect.unwrap(next(iter(op.rules.values()))).__code__
    statement = _innermost(code, ast.stmt)
    return _text(code) if statement is None else _segment(code, statement)


@functools.cache
def _syntax(filename: str) -> list[Any]:
    """The pieces of syntax of a file that rules are made of, with their places."""
    tree = ast.parse("".join(linecache.getlines(filename)))
    return [node for node in ast.walk(tree) if isinstance(node, ast.stmt | ast.Lambda)]


def _innermost(code: CodeType, kind: Any) -> Any:
    """The smallest piece of syntax of this kind that holds all of `code`; None if its source is not to be had."""
    spans: Any = [span for span in code.co_positions() if None not in span and span[2:] != (0, 0)]
    start = min((line, column) for line, _, column, _ in spans)
    end = max((line, column) for _, line, _, column in spans)
    holding = [
        node
        for node in _syntax(code.co_filename)
        if isinstance(node, kind)
        and (node.lineno, node.col_offset) <= start
        and end <= (node.end_lineno, node.end_col_offset)
    ]
    return max(holding, key=lambda node: (node.lineno, node.col_offset), default=None)


def _segment(code: CodeType, node: Any) -> str:
    start = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", []))])
    return textwrap.dedent("".join(linecache.getlines(code.co_filename)[start - 1 : node.end_lineno])).rstrip()


def _text(code: CodeType) -> str:
    node = _innermost(code, ast.FunctionDef | ast.Lambda)
    return _segment(code, node) if node else ""


def _file(code: CodeType) -> str:
    path, engine = Path(code.co_filename), Path(__file__).parent
    if path.is_relative_to(engine):
        return path.relative_to(engine).as_posix()
    return site.place(code.co_filename, code.co_firstlineno)
