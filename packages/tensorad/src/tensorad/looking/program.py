"""What the user's program calls its values: names and expressions, read from its text and from its variables.

A node knows the instruction that made it, and Python knows which piece of text an instruction is. So a node whose
expression is all that `h = torch.tanh(x @ w)` assigns is `h`, whatever has become of that variable since. Names are a
courtesy: where there is any doubt, there is none.
"""

import ast
import functools
import inspect
import linecache
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from types import CodeType, FrameType
from typing import Any

import torch

from tensorad import tree
from tensorad.node import Node
from tensorad.operands import leaf_of
from tensorad.several import part
from tensorad.site import INSIDE, Site, line_number, parsed
from tensorad.tensor import Tensor

Span = tuple[int | None, int | None, int | None, int | None]  # line, last line, column, last column
_NESTS = (dict, list, tuple)
_LOOKED_AT = 100  # how many items of a nest are looked at, so that a list of ten million numbers costs nothing
_MOST = 10_000  # items of a nest that holds Tensors: of more, none is named
_MODULES = ("torch", "F", "ts", "tensorad", "nn")  # by the names that programs commonly give them
_OPERATORS: dict[str, type[ast.operator]] = {
    "add": ast.Add, "sub": ast.Sub, "mul": ast.Mult, "matmul": ast.MatMult, "div": ast.Div, "pow": ast.Pow,
}  # fmt: skip


def expression(site: Site | None) -> ast.AST | None:
    """The piece of the program's syntax that ran, if its text is still to be had."""
    return None if site is None else _expression(*site)


@functools.lru_cache(maxsize=100_000)
def _expression(code: CodeType, instruction: int) -> ast.AST | None:
    return _syntax(code.co_filename)[0].get(_spans(code)[instruction // 2])


@functools.lru_cache(maxsize=1000)
def _spans(code: CodeType) -> tuple[Span, ...]:
    return tuple(code.co_positions())


@functools.lru_cache(maxsize=100_000)
def text_of(site: Site | None) -> str:
    """The text of that piece; of what is no Python, as a magic, its line."""
    found: Any = expression(site)
    if found is None and site is not None and not _syntax(site[0].co_filename)[0]:
        return linecache.getline(site[0].co_filename, line_number(*site)).strip()
    return "" if found is None else ast.unparse(found)


_parsed: dict[str, tuple[list[str], Any]] = {}  # by the names of files: the lines, and what was read in them


def _syntax(file_name: str) -> tuple[dict[Span, ast.AST], dict[Span, list[str | None]]]:
    """By their places in a file: the expressions, and the names that statements assign them to."""
    lines = linecache.getlines(file_name)
    if file_name not in _parsed or _parsed[file_name][0] is not lines:
        _parsed[file_name] = lines, _read(lines)
    return _parsed[file_name][1]


def _read(lines: Sequence[str]) -> tuple[dict[Span, ast.AST], dict[Span, list[str | None]]]:
    expressions: dict[Span, ast.AST] = {}
    names: dict[Span, list[str | None]] = {}
    if (whole := parsed(lines)) is None:
        return {}, {}
    for each in ast.walk(whole):
        match each:
            case ast.Assign(targets=[ast.Tuple(elts=several) | ast.List(elts=several)], value=value):
                starred = any(isinstance(target, ast.Starred) for target in several)
                names[_span(value)] = [] if starred else [_name(target) for target in several]
            case ast.Assign(targets=[target, *_], value=value) | ast.NamedExpr(target=target, value=value):
                names[_span(value)] = [_name(target)]
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                names[_span(value)] = [_name(target)]
            case ast.AugAssign(target=target, op=op, value=value):
                names[_span(each)] = [_name(target)]
                read: Any = target
                expressions[_span(each)] = ast.BinOp(read, op, value)
            case ast.expr():
                expressions[_span(each)] = each
            case _:
                pass
    return expressions, names


def _span(node: Any) -> Span:
    return node.lineno, node.end_lineno, node.col_offset, node.end_col_offset


def _name(target: ast.expr) -> str | None:
    return ast.unparse(target) if isinstance(target, ast.Name | ast.Attribute | ast.Subscript) else None


def assigned(nodes: list[Node]) -> dict[Node, str]:
    """The names that the program gives, by assignments, to what some of `nodes` made; these are in order of making."""
    found: dict[Node, str] = {}
    for site, together in groupby(nodes, key=lambda node: node.site):
        names = _syntax(site[0].co_filename)[1].get(_spans(site[0])[site[1] // 2], []) if site else []
        made = list(together)
        if not names or not all(_fits(node) for node in made):
            continue
        parts = [node for node in made if node.op is part]
        if len(names) == 1 and not parts:
            found |= {node: names[0] for node in _results(made) if names[0]}
        elif len(names) > 1:
            for node in parts:
                if node.saved[1] < len(names) and (name := names[node.saved[1]]) and _is_last(node, made):
                    found[node] = name
    return found


def _fits(node: Node) -> bool:
    """Whether the syntax that was found can be what made a node: the file may have been written anew since."""
    operator = _OPERATORS.get(node.op.name)
    found = expression(node.site)
    return not (operator and isinstance(found, ast.BinOp)) or isinstance(found.op, operator)


def _results(made: list[Node]) -> list[Node]:
    """Of nodes that one expression made, run once or many times, those that are its result."""
    if getattr(made[0].contexts, "site", None):  # a derivative: what was recorded on its way is not what was returned
        gradients = [node for node in made if node.op.name == "gradient"]
        return gradients if len(gradients) == 1 else []
    ops = [node.op for node in made]
    last = ops.index(ops[-1]) + 1  # how many nodes one run makes, if its last op is the only one of its kind
    results = made[last - 1 :: last] if ops == ops[:last] * (len(ops) // last) else made[-1:]
    match expression(made[0].site):
        # `sum([a, b, c])` is one expression too, and its partial sums are not what it returns.
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name != ops[-1].name.split(".")[-1]:
            return [node for node in results if _is_last(node, made)]
        case _:
            return results


def _is_last(node: Node, made: list[Node]) -> bool:
    """Whether nothing that the same expression made is computed from it."""
    return not any(node in other.parents for other in made)


def argument_names(node: Node) -> Iterator[tuple[Node, str]]:
    """What the expression that made `node` calls its operands, where it calls the op by its name, or by its sign."""
    parameters = [each.strip().partition("=")[0] for each in node.op.arguments.split(",")]
    parents = dict(zip(node.op.operands, node.parents, strict=False))
    given: dict[str, ast.expr] = {}
    match expression(node.site):
        case ast.BinOp(left=left, right=right) if None not in node.parents and _fits(node):  # else it may be turned
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


def user_frame() -> FrameType:
    """The frame of the user's line that is running."""
    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame.f_code.co_filename in INSIDE and frame.f_back:
        frame = frame.f_back
    return frame


def spaces(frame: FrameType) -> list[dict[str, Any]]:
    """The variables of a frame, and those of its module, by name: not those that are nobody's business, as `_x`."""
    found = (_locals(frame), frame.f_globals)
    return [{name: value for name, value in list(space.items()) if not name.startswith("_")} for space in found]


def constants(found: Sequence[dict[str, Any]]) -> dict[int, str]:
    """What variables, the nearest first, call torch tensors, by the `id` of these."""
    named = ((name, value) for space in reversed(found) for name, value in space.items())
    return {id(value): name for name, value in named if type(value) is torch.Tensor}


def variables(spaces: Sequence[dict[str, Any]]) -> dict[Node, tuple[str, torch.Tensor]]:
    """What variables, the nearest first, call values that have a node, and these values.

    Names of modules' parameters and of what dicts and lists hold are paths: `model.0.weight`, `params['w']`.
    """
    found: dict[Node, tuple[str, torch.Tensor]] = {}
    for space in spaces:
        labelled = [each for name, value in space.items() for each in _held(name, value)]
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


def _held(name: str, value: Any) -> list[tuple[str, Any]]:
    """The Tensors and parameters that a variable holds, by what it calls them."""
    try:
        return [(label, each) for label, each in _labelled(name, value)
                if isinstance(each, Tensor) or (isinstance(each, torch.nn.Parameter) and each.is_leaf)]  # fmt: skip
    except Exception:  # whatever strange objects a program has: nobody has asked about this one
        return []


def _labelled(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Tensor | torch.nn.Parameter):
        yield name, value
    elif isinstance(value, torch.nn.Module):
        for path, parameter in value.named_parameters():
            if not isinstance(parameter, torch.nn.UninitializedParameter):
                yield f"{name}.{path}", parameter
    elif isinstance(value, _NESTS) and holds_tensors(value) and _fewer_than(_MOST, value):
        for path, each in zip(tree.paths(value), tree.flatten(value)[0], strict=True):
            yield name + path, each


def holds_tensors(nest: Any) -> bool:
    """Whether one of the first items is a Tensor or a parameter, or a nest that holds one, not too deep."""
    level: list[Any] = [nest]
    for _ in range(4):
        items = [each for one in level for each in islice(one.values() if isinstance(one, dict) else one, _LOOKED_AT)]
        if any(isinstance(each, Tensor | torch.nn.Parameter) for each in items[: 10 * _LOOKED_AT]):
            return True
        level = [each for each in items[: 10 * _LOOKED_AT] if isinstance(each, _NESTS)][:_LOOKED_AT]
    return False


def _fewer_than(most: int, nest: Any) -> bool:
    """Whether a nest, which may hold itself, has fewer items than that in all."""
    todo, seen, count = [nest], set[int](), 0
    for one in todo:  # which grows
        if id(one) in seen:
            return False  # it holds itself, or another one twice: written out, it may be endless
        seen.add(id(one))
        count += len(one)
        if count >= most:
            return False
        todo += [each for each in (one.values() if isinstance(one, dict) else one) if isinstance(each, _NESTS) and each]
    return True
