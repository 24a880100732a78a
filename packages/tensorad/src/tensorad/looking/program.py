"""What the user's program calls its values: names and expressions, read from its text and from its variables.

A node knows the instruction that made it, and Python knows which piece of text an instruction is. So a node whose
expression is all that `h = torch.tanh(x @ w)` assigns is `h`, whatever has become of that variable since.
"""

import ast
import functools
import inspect
import linecache
import sys
from collections.abc import Iterator
from itertools import groupby, islice
from types import FrameType
from typing import Any

import torch

from tensorad import tree
from tensorad.node import Node
from tensorad.operands import leaf_of
from tensorad.several import part
from tensorad.site import INSIDE, Site
from tensorad.tensor import Tensor

Span = tuple[int | None, int | None, int | None, int | None]  # line, last line, column, last column
_NESTS = (dict, list, tuple)
_LOOKED_AT = 100  # how many items of a nest are looked at, so that a list of ten million numbers costs nothing


def expression(site: Site | None) -> ast.AST | None:
    """The piece of the program's syntax that ran, if its text is still to be had."""
    if site is None:
        return None
    code, instruction = site
    span: Any = next(islice(code.co_positions(), instruction // 2, None), None)
    return _syntax(code.co_filename, _lines(code.co_filename))[0].get(span)


def text_of(site: Site | None) -> str:
    """The text of that piece, as it stands in the program."""
    found: Any = expression(site)
    return "" if found is None else ast.unparse(found)


def _lines(file_name: str) -> tuple[str, ...]:
    return tuple(linecache.getlines(file_name))


@functools.lru_cache(maxsize=64)
def _syntax(file_name: str, lines: tuple[str, ...]) -> tuple[dict[Span, ast.AST], dict[Span, list[str]]]:
    """By their places in a file: the expressions, and the names that statements assign them to."""
    expressions: dict[Span, ast.AST] = {}
    names: dict[Span, list[str]] = {}
    try:
        whole = ast.parse("".join(lines))
    except SyntaxError:  # not what ran, or not Python any more
        return {}, {}
    for each in ast.walk(whole):
        match each:
            case ast.Assign(targets=[ast.Tuple(elts=several)], value=value):
                names[_span(value)] = [ast.unparse(target) for target in several]
            case ast.Assign(targets=[target, *_], value=value) | ast.NamedExpr(target=target, value=value):
                names[_span(value)] = [ast.unparse(target)]
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                names[_span(value)] = [ast.unparse(target)]
            case ast.AugAssign(target=target):
                names[_span(each)] = [ast.unparse(target)]
                expressions[_span(each)] = each
            case ast.expr():
                expressions[_span(each)] = each
            case _:
                pass
    return expressions, names


def _span(node: Any) -> Span:
    return node.lineno, node.end_lineno, node.col_offset, node.end_col_offset


def assigned(nodes: list[Node]) -> dict[Node, str]:
    """The names that the program gives, by assignments, to what some of `nodes` made; these are in order of making."""
    found: dict[Node, str] = {}
    for site, together in groupby(nodes, key=lambda node: node.site):
        span = next(islice(site[0].co_positions(), site[1] // 2, None), None) if site else None
        names = _syntax(site[0].co_filename, _lines(site[0].co_filename))[1].get(span, []) if site and span else []  # pyright: ignore[reportArgumentType]
        made = list(together)
        parts = [node for node in made if node.op is part]
        if len(names) == 1:
            found |= dict.fromkeys(_results(made), names[0])
        elif parts:
            found |= {node: names[node.saved[1]] for node in parts if node.saved[1] < len(names)}
    return found


def _results(made: list[Node]) -> list[Node]:
    """Of nodes that one expression made, run once or many times, those that are its result."""
    ops = [node.op for node in made]
    last = ops.index(ops[-1]) + 1  # how many nodes one run makes, if its last op is the only one of its kind
    return made[last - 1 :: last] if ops == ops[:last] * (len(ops) // last) else made[-1:]


def argument_names(node: Node) -> Iterator[tuple[Node, str]]:
    """What the expression that made `node` calls its operands, where it calls the op by its name, or by its sign."""
    parameters = [each.strip().partition("=")[0] for each in node.op.arguments.split(",")]
    parents = dict(zip(node.op.operands, node.parents, strict=False))
    given: dict[str, ast.expr] = {}
    match expression(node.site):
        case ast.BinOp(left=left, right=right) if None not in node.parents:  # else it may be turned round
            given = dict(zip(node.op.operands, [left, right], strict=False))
        case ast.Call(func=ast.Attribute(value=value, attr=name), args=args) if name == node.op.name.split(".")[-1]:
            is_module = isinstance(value, ast.Name | ast.Attribute) and ast.unparse(value).split(".")[0] in _MODULES
            given = dict(zip(parameters, args, strict=False)) if is_module else {"input": value}
        case _:
            pass
    for operand, argument in given.items():
        parent = parents.get(operand)
        if parent is not None and isinstance(argument, ast.Name | ast.Attribute):
            yield parent, ast.unparse(argument)


_MODULES = ("torch", "F", "ts", "tensorad", "nn")  # by the names that programs commonly give them


def user_frame() -> FrameType:
    """The frame of the user's line that is running."""
    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame.f_code.co_filename in INSIDE and frame.f_back:
        frame = frame.f_back
    return frame


def variables(frame: FrameType) -> dict[Node, tuple[str, torch.Tensor]]:
    """What the variables of a frame, and of its module, call values that have a node, and these values.

    Names of modules' parameters and of what dicts and lists hold are paths: `model.0.weight`, `params['w']`.
    """
    found: dict[Node, tuple[str, torch.Tensor]] = {}
    for space in (_locals(frame), frame.f_globals):
        labelled = [
            each for name, value in list(space.items()) if not name.startswith("_") for each in _tensors(name, value)
        ]
        for label, tensor in sorted(labelled, key=lambda each: not each[0].isidentifier()):  # `x` rather than `pair[0]`
            node = tensor.node if isinstance(tensor, Tensor) else leaf_of(tensor)
            data = tensor.data if isinstance(tensor, Tensor) else tensor.detach()
            if node is not None:
                found.setdefault(node, (label, data))
    return found


def _locals(frame: FrameType) -> dict[str, Any]:
    space = frame.f_locals
    taken = dict(space)
    if sys.version_info < (3, 13) and frame.f_code.co_flags & inspect.CO_OPTIMIZED:
        space.clear()  # a copy that a function's frame would keep: what is deleted there would stay alive
    return taken


def _tensors(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Tensor | torch.nn.Parameter):
        yield name, value
    elif isinstance(value, torch.nn.Module):
        for path, parameter in value.named_parameters():
            yield f"{name}.{path}", parameter
    elif isinstance(value, _NESTS) and holds_tensors(value):
        try:
            values, paths = tree.flatten(value)[0], tree.paths(value)  # pyright: ignore[reportUnknownArgumentType]
        except RecursionError:  # it holds itself
            return
        for path, each in zip(paths, values, strict=True):
            if isinstance(each, Tensor | torch.nn.Parameter):
                yield name + path, each


def holds_tensors(nest: Any, depth: int = 4) -> bool:
    """Whether one of the first items is a Tensor or a parameter, or a nest that holds one, not too deep."""
    items = nest.values() if isinstance(nest, dict) else nest
    return any(
        isinstance(each, Tensor | torch.nn.Parameter)
        or (depth > 1 and isinstance(each, _NESTS) and holds_tensors(each, depth - 1))
        for each in islice(items, _LOOKED_AT)
    )
