"""A rule as it ran: its expression with the branches that this run took, helpers written out, numbers filled in.

The rule of `sum` has one line for all that sum can do. In one run it has seen one shape and one `dim`, and what is left
of its line for these is a formula that can be read: `expand(g, (5, 2))`. Nothing here knows any derivative: helpers are
read like a program, whose tests are answered with the values of this run.
"""

import ast
import contextlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import torch

from tensorad.call import Op
from tensorad.rule import LONGEST, copied, expression_of, mathematics, syntax_of
from tensorad.several import Outputs, Parts, part
from tensorad.tensor import Tensor

_DEPTH = 6  # helpers of helpers that are written out
_OF_SHAPE = ("shape", "ndim", "dtype", "device")  # what is known of a tensor without its values
_KERNELS = ("aten", "kernels")  # torch's own: a helper around one says more by its name
_BELONGING = "tensorad.rules."


class Ran(NamedTuple):
    """What became of a rule in one run.

    Attributes:
        expression: Python, in which names stand for tensors only, and for functions.
        values: the tensors, by these names.
        scope: the functions and constants, by their names.
        helpers: what of these is left by its name -> what it does.
        runs: whether parts of the expression may be computed once more: not those of a user's own rule.
    """

    expression: ast.expr
    values: dict[str, Any]
    scope: dict[str, Any]
    helpers: dict[str, str]
    runs: bool = True


def as_it_ran(op: Op, place: int, g: Any, saved: Mapping[str, Any]) -> Ran:
    """What the rule for the operand at `place` became, of the cotangent `g` and of what a node has `saved`."""
    if op is part:  # one of several outputs: nothing has come from the others
        outputs = [ast.Constant(0) for _ in saved["whole_shape"]]
        entries: list[Any] = [*outputs[: saved["place"]], ast.Name("g"), *outputs[saved["place"] + 1 :]]
        return Ran(ast.Tuple(entries, ast.Load()), {"g": plain(g)}, {}, {})
    function = [*op.rules.values()][0 if op.joint else place]
    given = {"g": plain(g)} | {name: plain(saved[name]) for name in _parameters(function)[1:]}
    if bwd := _inner(function, "bwd") if function.__module__ == "tensorad.primitive" else None:
        function, given = bwd, dict(zip(_parameters(bwd), [given["g"], given["residuals"]], strict=False))
        known = {f"tensors[{number}]": each for number, each in enumerate(plain(saved["tensors"]))}
    else:
        known = {name: plain(value) for name, value in saved.items() if _holds_tensors(plain(value))}
    for depth in (_DEPTH, 1, 0):
        found = _ran(function, given, known, depth, place if op.joint else None)
        if len(mathematics(copied(found.expression))) <= LONGEST:
            break
    return found  # pyright: ignore[reportPossiblyUnbound]


def plain(value: Any) -> Any:
    """What a rule is given on torch tensors."""
    if isinstance(value, Parts):
        return plain(value.filled())
    if isinstance(value, list | tuple) and type(value) in (list, tuple):
        return type(value)(map(plain, value))
    value = value.data if isinstance(value, Tensor) else value
    return value.values if isinstance(value, Outputs) else value


def _ran(function: Any, given: dict[str, Any], known: dict[str, Any], depth: int, place: int | None) -> Ran:
    """The rule with helpers written out that deep; as it stands, where it cannot be followed.

    In a user's own, nothing is called: what it does besides, it should do once.
    """
    ours = (inspect.unwrap(function).__module__ or "").startswith(_BELONGING)
    reader = _Reader(known | given, depth, ours)
    expression = None
    with contextlib.suppress(Exception), torch.no_grad():  # a tensor without values, say, that a test looks at
        symbols = {name: reader.literal(value, name) for name, value in given.items()}
        late = {name: lambda value=value: value for name, value in given.items()}
        expression = reader.function(function, symbols, late, depth)
    if expression is None:
        reader = _Reader(known | given, 0, ours)
        function = inspect.unwrap(function)
        expression = _Named(reader.scope_of(function), reader, given).visit(expression_of(function))
    if place is not None:
        match expression:
            case ast.Tuple(elts=parts) | ast.List(elts=parts) if len(parts) > place:
                expression = parts[place]
            case _:
                expression = ast.Subscript(expression, ast.Constant(place), ast.Load())
    left = {each.id for each in ast.walk(expression) if isinstance(each, ast.Name)}
    helpers = {name: text for name, text in reader.helpers.items() if name in left}
    return Ran(expression, reader.values, reader.scope, helpers, ours)


def _parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    return function.__code__.co_varnames[: function.__code__.co_argcount]


def _inner(function: Callable[..., Any], name: str) -> Any:
    """What an inner function has from the outer one by this name."""
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    return cells[name].cell_contents if name in cells else None


def _holds_tensors(value: Any) -> bool:
    return bool(_tensors(value))


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, list | tuple):
        return [tensor for each in value for tensor in _tensors(each)]
    return [value] if isinstance(value, torch.Tensor) else []


class _Late:
    """The value of an expression, worked out when a test asks for it."""

    def __init__(
        self, expression: ast.expr, scope: dict[str, Any], names: dict[str, Callable[[], Any]], calls: bool
    ) -> None:
        self.expression, self.scope, self.names, self.calls, self.value = expression, scope, names, calls, []

    def __call__(self) -> Any:
        if not self.calls and any(isinstance(each, ast.Call) for each in ast.walk(self.expression)):
            raise ValueError("a call in a user's own rule")
        if not self.value:
            self.value.append(evaluated(self.expression, self.scope, self.names))
        return self.value[0]


def evaluated(expression: ast.expr, scope: dict[str, Any], names: Mapping[str, Callable[[], Any]]) -> Any:
    """The value of an expression in which constants may be anything."""
    objects = _Objects()
    expression = objects.visit(copied(expression))
    used = {each.id for each in ast.walk(expression) if isinstance(each, ast.Name)}
    code = compile(ast.fix_missing_locations(ast.Expression(expression)), "<as it ran>", "eval")
    return eval(code, scope | objects.found | {name: names[name]() for name in used & names.keys()})


class _Objects(ast.NodeTransformer):
    """Constants that Python's syntax has no way to write, as names."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    def visit_Constant(self, node: ast.Constant) -> Any:
        if node.value is None or isinstance(node.value, int | float | complex | str | type(...)):
            return node
        name = f"constant {len(self.found)}"
        self.found[name] = node.value.value if isinstance(node.value, Opaque) else node.value
        return ast.Name(name, ast.Load())


class _Reader:
    """What is found out while a rule is read: values of names, functions by their names."""

    def __init__(self, values: dict[str, Any], depth: int, calls: bool) -> None:
        self.calls = calls  # whether functions may be called to find out what they return
        self.values = {name: value for name, value in values.items() if _holds_tensors(value)}
        self.scope: dict[str, Any] = {}
        self.helpers: dict[str, str] = {}
        self.depth = depth
        self.complex = any(each.is_complex() for each in _tensors(list(self.values.values())))

    def literal(self, value: Any, name: str) -> ast.expr:
        """A tensor by its name, which is one that it had before, if it had one; anything else as it is."""
        if not _holds_tensors(value):
            return constant(value)
        if self.values.get(name) is not value:
            name = next((known for known, each in self.values.items() if each is value), name)
        if self.values.setdefault(name, value) is not value:
            name += "_"
            self.values[name] = value
        return ast.Name(name, ast.Load())

    @staticmethod
    def scope_of(function: Any) -> dict[str, Any]:
        """What names mean inside a function, but for its own."""
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        return function.__globals__ | {name: cell.cell_contents for name, cell in cells}

    def function(self, function: Any, symbols: dict[str, ast.expr], late: dict[str, Any], depth: int) -> Any:
        """What a function returned, in the symbols of its arguments; None where it is more than a formula."""
        function = inspect.unwrap(function)
        syntax = syntax_of(function)
        frame = _Frame(self, self.scope_of(function), symbols, late, depth)
        if isinstance(syntax, ast.Lambda):
            return frame.visit(copied(syntax.body))
        return None if syntax is None else frame.run(syntax.body)


class _Frame(ast.NodeTransformer):
    """The inside of one call: what its names stand for, as symbols and, late, as values."""

    def __init__(self, reader: _Reader, scope: dict[str, Any], symbols: dict[str, Any], late: Any, depth: int) -> None:
        self.reader, self.scope, self.symbols, self.late, self.depth = reader, scope, symbols, late, depth

    def run(self, body: Sequence[ast.stmt]) -> Any:
        """What the statements return; None if they do not, or do something else than naming and choosing."""
        for each in body:
            match each:
                case ast.Return(value=ast.expr() as value):
                    return self.visit(copied(value))
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    self.bind(name, value)
                case ast.Assign(targets=[ast.Tuple(elts=names)], value=value):
                    if not all(isinstance(name, ast.Name) for name in names):
                        return None
                    parts = [ast.Subscript(value, ast.Constant(place), ast.Load()) for place in range(len(names))]
                    if isinstance(value, ast.Tuple):
                        parts = value.elts
                    symbols = [self.visit(copied(part)) for part in parts]
                    bound = [*zip([ast.unparse(name) for name in names], symbols, map(self.later, parts), strict=True)]
                    for each_bound in bound:
                        self.set(*each_bound)
                case ast.AugAssign(target=ast.Name(id=name), op=op, value=value):
                    self.bind(name, ast.BinOp(ast.Name(name, ast.Load()), op, value))
                case ast.If(test=test, body=then, orelse=otherwise):
                    branch = then if self.value(test) else otherwise
                    if (returned := self.run(branch)) is not None:
                        return returned
                case ast.Expr(value=ast.Constant()):
                    pass
                case _:
                    raise ValueError("more than naming and choosing")
        return None

    def bind(self, name: str, expression: ast.expr) -> None:
        self.set(name, self.visit(copied(expression)), self.later(expression))

    def set(self, name: str, symbol: ast.expr, late: Any) -> None:
        self.symbols, self.late = self.symbols | {name: symbol}, self.late | {name: late}

    def later(self, expression: ast.expr) -> _Late:
        return _Late(expression, self.scope, self.late, self.reader.calls)

    def value(self, expression: ast.expr) -> Any:
        return self.later(expression)()

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, ast.expr) and not isinstance(node, ast.Constant | ast.Name | ast.Starred | ast.Lambda):
            if isinstance(node, ast.IfExp):
                return self.visit(node.body if self.value(node.test) else node.orelse)
            if self.is_plain(node) and not _holds_tensors(value := self.value(node)):
                return constant(value)
        return super().visit(node)

    def is_plain(self, node: ast.expr) -> bool:
        """Whether it can be worked out from numbers and shapes alone."""
        of_shape = {
            id(each.value) for each in ast.walk(node) if isinstance(each, ast.Attribute) and each.attr in _OF_SHAPE
        }
        called = {id(each.func) for each in ast.walk(node) if isinstance(each, ast.Call)}
        bound = {name.id for each in ast.walk(node) if isinstance(each, ast.comprehension)
                 for name in ast.walk(each.target) if isinstance(name, ast.Name)}  # fmt: skip
        if _is_constant(node):
            return False  # in the rule's own text: 1 / 3 stays what it is
        for each in ast.walk(node):
            if isinstance(each, ast.Name) and each.id not in bound:
                if each.id in self.symbols:
                    if not _is_constant(self.symbols[each.id]) and id(each) not in of_shape:
                        return False
                elif not (id(each) in called or isinstance(self.named(each.id), type)):
                    return False
        return True

    def named(self, name: str) -> Any:
        builtins: Any = self.scope.get("__builtins__", {})
        return self.scope.get(
            name, vars(builtins).get(name) if isinstance(builtins, ModuleType) else builtins.get(name)
        )

    def visit_Lambda(self, node: ast.Lambda) -> Any:
        return node

    def visit_Name(self, node: ast.Name) -> Any:
        if node.id in self.symbols:
            return copied(self.symbols[node.id])
        self.reader.scope.setdefault(node.id, self.named(node.id))
        return node

    def visit_Subscript(self, node: ast.Subscript) -> Any:
        """An item of what was saved as a tuple: by the name that it had before, if it had one."""
        whole = self.symbols.get(node.value.id) if isinstance(node.value, ast.Name) else None
        if isinstance(whole, ast.Name) and isinstance(self.value(node.value), tuple | list):
            item = self.value(node)
            if not _holds_tensors(item):
                return constant(item)
            for name, known in self.reader.values.items():
                if known is item:
                    return ast.Name(name, ast.Load())
        return self.generic_visit(node)

    def is_idle(self, mask: ast.expr) -> bool:
        """Whether it is a guard against a division by zero, which was not needed."""
        match self.visit(copied(mask)):
            case ast.Compare(ops=[ast.Eq()], comparators=[ast.Constant(value=0)]):
                return not self.value(mask).any()
            case _:
                return False

    def visit_BinOp(self, node: ast.BinOp) -> Any:
        told = _is_constant(node)
        if isinstance(node.op, ast.Add) and isinstance(node.right, ast.Name | ast.Compare) and self.is_idle(node.right):
            return self.visit(node.left)
        self.generic_visit(node)
        return constant(evaluated(node, {}, {})) if _is_constant(node) and not told else node

    def visit_Call(self, node: ast.Call) -> Any:
        if isinstance(node.func, ast.IfExp):
            node.func = node.func.body if self.value(node.func.test) else node.func.orelse
        if isinstance(node.func, ast.Attribute) and not node.args:
            if node.func.attr == "numel":
                return constant(self.value(node))
            if node.func.attr == "conj" and not self.reader.complex:
                return self.visit(node.func.value)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "masked_fill" and self.is_idle(node.args[0]):
            return self.visit(node.func.value)
        helper = self.named(node.func.id) if isinstance(node.func, ast.Name) else None
        if isinstance(node.func, ast.Name) and node.func.id in self.symbols:
            helper = None
        original, helper = helper, inspect.unwrap(helper) if callable(helper) else None
        if inspect.isfunction(helper) and self.depth and _belongs(helper, self.scope):
            written = self.written_out(node, helper)
            if written is not None:
                return written
        # Without what says how the work is to be done, and not what it is.
        node.args = [each for each in node.args if not _is_means(each)]
        self.generic_visit(node)
        if inspect.isbuiltin(original) and all(map(_is_constant, node.args)) and not node.keywords:
            return constant(evaluated(node, {node.func.id: original}, {}))  # pyright: ignore[reportAttributeAccessIssue]
        if original is not None and (says := _says(helper)):
            self.reader.helpers[node.func.id] = says  # pyright: ignore[reportAttributeAccessIssue]
        return node

    def written_out(self, node: ast.Call, helper: Any) -> Any:
        """What a helper returned; None if it is more than a formula."""
        signature, args = inspect.signature(helper), list[Any]()
        kinds = [each.kind for each in signature.parameters.values()]
        if inspect.Parameter.VAR_POSITIONAL in kinds or inspect.Parameter.VAR_KEYWORD in kinds:
            return None
        for each in node.args:
            if not isinstance(each, ast.Starred):
                args.append((self.visit(copied(each)), self.later(each)))
                continue
            for item in self.value(each.value):
                name = list(signature.parameters)[len(args)]
                args.append((self.reader.literal(item, name), lambda item=item: item))
        keywords = {str(each.arg): (self.visit(copied(each.value)), self.later(each.value))
                    for each in node.keywords}  # fmt: skip
        bound: Any = signature.bind(*args, **keywords)
        given = {name: (constant(each.default), lambda value=each.default: value)
                 for name, each in signature.parameters.items()} | bound.arguments  # fmt: skip
        symbols, late = ({name: pair[which] for name, pair in given.items()} for which in (0, 1))
        try:
            written = self.reader.function(helper, symbols, late, self.depth - 1)
        except ValueError:
            return None
        calls_kernel = written and any(isinstance(each, ast.Name) and each.id in _KERNELS for each in ast.walk(written))
        return None if calls_kernel else written


class _Named(ast.NodeTransformer):
    """The names in an expression that was not followed: what they mean, noted."""

    def __init__(self, scope: dict[str, Any], reader: _Reader, given: dict[str, Any]) -> None:
        self.scope, self.reader, self.given = scope, reader, given

    def visit_Call(self, node: ast.Call) -> Any:
        node.args = [each for each in node.args if not _is_means(each)]
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> Any:
        if node.id in self.given and not _holds_tensors(self.given[node.id]):
            return constant(self.given[node.id])
        if node.id not in self.reader.values and node.id in self.scope:
            self.reader.scope[node.id] = self.scope[node.id]
            if says := _says(self.scope[node.id]):
                self.reader.helpers[node.id] = says
        return node


def _belongs(helper: Any, scope: dict[str, Any]) -> bool:
    """Whether a function is one of those that rules are written in: ours, or one beside the user's rule."""
    return (helper.__module__ or "").startswith(_BELONGING) or helper.__globals__.get("__name__") == scope.get(
        "__name__"
    )


def _says(helper: Any) -> str:
    """The first sentence of what a helper says about itself."""
    helper = inspect.unwrap(helper) if callable(helper) else helper
    if not inspect.isfunction(helper) or not (helper.__module__ or "").startswith(_BELONGING):
        return ""
    return (inspect.getdoc(helper) or "").partition("\n\n")[0].replace("\n", " ")


def _is_constant(symbol: ast.expr) -> bool:
    return not any(isinstance(each, ast.Name) for each in ast.walk(symbol))


def _is_means(argument: ast.expr) -> bool:
    if isinstance(argument, ast.Starred):
        return not (isinstance(argument.value, ast.Name) and argument.value.id in ("g", "out"))
    return isinstance(argument, ast.Name) and argument.id == "wanted"


class Opaque:
    """An object of some kind, such as a function, in the place of a constant: what it is, and not what it holds."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self.text = getattr(value, "__name__", type(value).__name__)

    def __deepcopy__(self, memo: Any) -> "Opaque":
        return self

    def __repr__(self) -> str:
        return self.text


_WRITTEN: Any = (
    int,
    float,
    complex,
    str,
    slice,
    type(...),
    torch.dtype,
    torch.device,
    torch.layout,
    torch.memory_format,
)


def constant(value: Any) -> ast.expr:
    """What is no tensor, as a piece of syntax; 2 for 2.0."""
    if isinstance(value, tuple | list):
        kind = ast.List if isinstance(value, list) else ast.Tuple
        return kind([constant(each) for each in value], ast.Load())
    held: Any = value if value is None or isinstance(value, _WRITTEN) else Opaque(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        held = int(value)
    return ast.Constant(held)
