"""An op: a torch function, its rules, and the one way it is called on Tensors.

`defrule` adds a row to the table. From the row's signature it writes, once, the Python function that a person would
write by hand for this op: take the operands' data, call torch, and if a context is open, make the Node with just what
the rules name. Written out, it costs half of what the same steps cost in general loops; `Op.source` is its text.
"""

import ast
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch

from tensorad.errors import RuleError
from tensorad.node import GENERATED, INSIDE, Node, caller, leaf, next_number, recording, user_site, version
from tensorad.tensor import TABLE, Tensor, plain, unrecorded

OPS: dict[str, Callable[..., Any]] = {}  # the public name of an op -> its call

Rule = Callable[..., Any]

CALL = """
def call({parameters}):
{data}
    {out} = function({arguments})
    contexts = recording.get()
    if not contexts:
        return unrecorded(out)
{nodes}
    shape, dtype = out.shape, out.dtype
    if not ({any_node}) or not (dtype.is_floating_point or dtype.is_complex):
        return unrecorded(out)
    node = Node()
    node.number = next_number()
    node.op = op
    node.contexts = contexts
    node.parents = ({parents})
    node.saved = saved = ({saved})
    node.version = version(saved)
    node.shape = shape
    node.dtype = dtype
    node.exact = {exact}
    frame = getframe(1)
    code = frame.f_code
    node.name = None
    node.site = contexts.site or (user_site(frame) if code.co_filename in INSIDE else (code, frame.f_lasti))
    tensor = Tensor()
    tensor.data = out
    tensor.node = node
    return tensor
"""


class Op:
    """A torch function that the engine knows: `name`, `function`, `rules` (operand -> rule), `call` and its `source`.

    A rule's parameters say what it needs, and that is what a node saves: `g` (the cotangent, always first), the op's
    arguments by name, `out`, `<argument>_shape` for the shape alone, or `residuals`; an op with a rule that names
    `residuals` has a function that returns (output, residuals).
    """

    def __init__(
        self,
        signature: str,
        rules: Mapping[str, Rule],
        function: Callable[..., Any],
        elementwise: bool = False,
        joint: bool = False,
        outputs: bool = False,
    ) -> None:
        self.name, _, arguments = signature.removesuffix(")").partition("(")
        self.signature, self.rules, self.function = signature, dict(rules), function
        self.elementwise, self.joint, self.outputs = elementwise, joint, outputs
        self.operands = tuple(name for key in self.rules for name in key.split())
        needs = [tuple(inspect.signature(rule).parameters)[1:] for rule in self.rules.values()]
        self.saves = tuple(dict.fromkeys(name for names in needs for name in names))
        self.pulls = tuple(self._pull(rule, names) for rule, names in zip(self.rules.values(), needs, strict=True))
        self.source = self._write(arguments, needs)
        scope: dict[str, Any] = {"op": self, "function": _gathering(function) if outputs else function}
        scope |= {"recording": recording, "next_number": next_number, "INSIDE": INSIDE, "getframe": sys._getframe}  # pyright: ignore[reportPrivateUsage]
        scope |= {each.__name__: each for each in (Node, Tensor, keywords, leaf, plain, unrecorded, user_site, version)}
        exec(compile(self.source, f"{GENERATED}the call of {self.name}>", "exec"), scope)
        # What a rule runs on when it is itself recorded.
        self.lift: Callable[[Node], tuple[Any, ...]] = eval(
            self._write_lift(), {"restored": restored, "parts": _parts, "Outputs": Outputs}
        )
        self.call: Callable[..., Any] = _spreading(scope["call"]) if outputs else scope["call"]

    def _pull(self, rule: Rule, names: Iterable[str]) -> Callable[[Any, tuple[Any, ...]], Any]:
        """`rule`, taking what it names out of the values that the node saved."""
        picked = "".join(f", saved[{self.saves.index(name)}]" for name in names)
        return eval(f"lambda g, saved: rule(g{picked})", {"rule": rule})

    def __call__(self, *args: Any) -> Any:
        """For rules that need this op: on torch tensors its function, on Tensors its call, so that it is recorded."""
        return (self.call if any(isinstance(arg, Tensor) for arg in args) else self.function)(*args)

    def separate(self, g: Any, saved: Sequence[Any], node: Node) -> list[Any]:
        """The one pull of a joint rule as one per operand, each of which gives its share of a common result."""
        pulled = self.pulls[0](g, saved)
        if len(pulled) != len(node.parents):
            raise RuleError(f"the rule of {self.name} returned {len(pulled)} cotangents for {len(node.parents)} operands")
        return [lambda g, saved, each=each: each for each in pulled]

    def _write(self, arguments: str, needs: list[tuple[str, ...]]) -> str:
        """The source of `call`: CALL, filled in with this op's names."""
        lambda_ = ast.parse(f"lambda {arguments}: 0", mode="eval").body
        assert isinstance(lambda_, ast.Lambda)
        declared = lambda_.args
        names = [argument.arg for argument in declared.args]
        names += [declared.vararg.arg] if declared.vararg else []
        names += [argument.arg for argument in declared.kwonlyargs]
        saved_arguments = {name.removesuffix("_shape") for name in self.saves} - {"out", "residuals"}
        if unknown := (saved_arguments | set(self.operands)) - set(names):
            raise RuleError(f"a rule of {self.signature} names {', '.join(sorted(unknown))}: no such argument")

        # The arguments up to the last required operand are parameters of the call; the rest (`dim`, `keepdim`, a bias)
        # goes through to torch as the user gave it, and is bound to names only when something is recorded.
        required = names[: len(declared.args) - len(declared.defaults)]
        split = max((required.index(name) + 1 for name in self.operands if name in required), default=len(required))
        first, rest = names[:split], names[split:]
        data = [f"{name}_data = {name}.data if type({name}) is Tensor else plain({name})" for name in first]
        nodes: list[str] = []
        if rest:
            data += ["args_data, kwargs_data = plain(args), keywords(kwargs)"]
            declared.args = declared.args[split:]
            bind = f"(lambda {ast.unparse(declared)}: ({', '.join(rest)},))"
            if saved_arguments & set(rest):
                nodes += [f"{', '.join(f'{name}_data' for name in rest)}, = {bind}(*args_data, **kwargs_data)"]
            if set(self.operands) & set(rest):
                nodes += [f"{', '.join(rest)}, = {bind}(*args, **kwargs)"]
        for name in self.operands:
            node = "({0}.node or leaf({0})) if type({0}) is Tensor else None".format
            several = f"tuple([{node('each')} for each in {name}])"
            nodes += [f"{name}_node = {several if name == 'tensors' else node(name)}"]
        same = [f"({name}_node is None or {name}_node.shape == shape and {name}_node.dtype == dtype)" for name in self.operands]
        return CALL.format(
            parameters=", ".join(first + ["*args", "**kwargs"] * bool(rest)),
            arguments=", ".join([f"{name}_data" for name in first] + ["*args_data", "**kwargs_data"] * bool(rest)),
            data="    " + "\n    ".join(data),
            out="out, residuals" if "residuals" in self.saves else "out",
            nodes="    " + "\n    ".join(nodes),
            any_node=" or ".join("any(tensors_node)" if name == "tensors" else f"{name}_node" for name in self.operands),
            parents="".join("*tensors_node, " if name == "tensors" else f"{name}_node, " for name in self.operands),
            saved="".join(f"{self._saved(name, needs)}, " for name in self.saves),
            exact=(len(same) == 1 or " and ".join(same)) if self.elementwise else False,
        )

    def _saved(self, name: str, needs: list[tuple[str, ...]]) -> str:
        """The expression for a value that rules name: None where the operands of all those rules are constants."""
        users = [key for key, named in zip(self.rules, needs, strict=True) if name in named]
        value = name.replace("_shape", "_data.shape") if name.endswith("_shape") else f"{name}_data"
        value = {"out": "out.values" if self.outputs else "out", "residuals": name}.get(name, value)
        always = self.joint or len(users) == len(self.rules)
        return value if always else f"{value} if {' or '.join(f'{user}_node' for user in users)} else None"

    def _write_lift(self) -> str:
        """The source of `lift`: what a node saved, with Tensors for tensors, that know where they come from."""

        def lifted(place: int, name: str) -> str:
            value = f"node.saved[{place}]"
            if name == "out":
                return f"parts(restored(Outputs({value}), node))" if self.outputs else f"restored({value}, node)"
            if name == "tensors":
                return f"tuple(map(restored, {value}, node.parents))"
            return f"restored({value}, node.parents[{self.operands.index(name)}])" if name in self.operands else value

        return f"lambda node: ({''.join(f'{lifted(place, name)}, ' for place, name in enumerate(self.saves))})"


def keywords(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments as torch takes them: without Tensors, and under torch's own names."""
    return {_NUMPY_NAMES.get(name, name): plain(value) for name, value in kwargs.items()} if kwargs else kwargs


_NUMPY_NAMES = {"axis": "dim", "keepdims": "keepdim"}


def restored(data: Any, node: Node | None) -> Any:
    """The Tensor of `node` again, from its data; data without a node is a constant and stays as it is."""
    if node is None or data is None:
        return data
    tensor = Tensor()
    tensor.data, tensor.node = data, node
    return tensor


class Outputs:
    """The values of an op with several outputs, standing as one where a node has one output.

    Each output is then a node of its own, the op `part`, whose only parent is the node of the whole.
    """

    def __init__(self, values: Any) -> None:
        self.values = values
        self.shape = tuple(value.shape for value in values)
        self.dtype = values[0].dtype


class Parts:
    """The cotangent of a whole: what its outputs have sent so far, by their place."""

    def __init__(self, by_place: dict[int, Any]) -> None:
        self.by_place = by_place

    def __add__(self, other: "Parts") -> "Parts":
        mine, theirs = self.by_place, other.by_place
        return Parts(mine | theirs | {place: mine[place] + theirs[place] for place in mine.keys() & theirs.keys()})

    def filled(self, shapes: tuple[Any, ...]) -> tuple[Any, ...]:
        """One cotangent per output, zeros where none arrived."""
        some = next(iter(self.by_place.values()))
        return tuple(
            self.by_place[place] if place in self.by_place else some.new_zeros(shape)
            for place, shape in enumerate(shapes)
        )


def _parts(whole: Tensor) -> Any:
    """The outputs that the Outputs in `whole` holds, each a Tensor, in the same kind of tuple or list."""
    values: Any = whole.data.values
    parts = [_part.call(whole, place) for place in range(len(values))]
    for part in parts:
        if part.node and whole.node:
            part.node.contexts = whole.node.contexts
    return type(values)(parts)


def _gathering(function: Callable[..., Any]) -> Callable[..., Outputs]:
    return lambda *args, **kwargs: Outputs(function(*args, **kwargs))


def _spreading(call: Callable[..., Tensor]) -> Callable[..., Any]:
    return lambda *args, **kwargs: _parts(call(*args, **kwargs))


_part = Op("part(whole, place)", {"whole": lambda g, place: Parts({place: g})}, lambda whole, place: whole.values[place])


def spaces() -> tuple[Any, ...]:
    """Where torch keeps functions under one name that mean one thing."""
    return torch, torch.nn.functional, torch.special, torch.Tensor


def find(name: str) -> list[Any]:
    """Every torch callable that `name` means: `sin` is torch.sin and torch.Tensor.sin; `linalg.det` is only itself."""
    if "." in name:
        path, found = name.split("."), torch
        for part in path:
            found = getattr(found, part, None)
        return [found] if found is not None else []
    return [getattr(space, name) for space in spaces() if hasattr(space, name)]


def register(name: str, call: Callable[..., Any], *aliases: str) -> None:
    """Let `call` answer for `name` and `aliases`: as torch's functions, as Tensor methods and as `ts.name`."""
    for each in (name, *aliases):
        for function in find(each):
            TABLE[function] = call
        OPS[each] = call
        if hasattr(torch.Tensor, each):
            setattr(Tensor, each, call)


def defrule(
    signature: str,
    *aliases: str,
    function: Callable[..., Any] | None = None,
    elementwise: bool = False,
    outputs: bool = False,
    joint: tuple[str, Rule] | None = None,
    **rules: Rule,
) -> Op:
    """Add an op to the table: its signature in torch's own names, and a rule per operand that has a derivative.

    A rule is linear in its first parameter `g`, the cotangent of the op's output, and returns the operand's cotangent.
    Its other parameters say what it needs: arguments of the op by name, `out`, or `<argument>_shape`. Broadcasting and
    dtype promotion are undone by the engine. A rule runs on torch tensors, and on Tensors when it is itself recorded,
    so it must be written in functions that have rules.

    Args:
        signature: such as `"sum(input, dim=None, keepdim=False)"`. The name is looked up in torch, torch.nn.functional,
            torch.special and torch.Tensor, unless `function` is given.
        aliases: other names of the same function.
        function: what computes the op on torch tensors; by default torch's own function of that name.
        elementwise: every operand is broadcast to the shape of the output.
        outputs: the function returns several tensors; `g` is then a tuple with one cotangent for each.
        joint: instead of one rule per operand, the operands' names in one string and a rule that returns one cotangent
            for each of them. The name `tensors` stands for an operand that is a list.
        rules: one rule per operand.

    Raises:
        RuleError: if a rule names something that the op does not have, or no function has that name.

    Example:
        >>> import torch, tensorad as ts
        >>> op = ts.defrule("cube(input)", function=lambda x: x**3, input=lambda g, input: 3 * g * input**2)
        >>> x = ts.tensor(2.0)
        >>> with ts.Grad() as g:
        ...     y = ts.cube(x)
        >>> g.gradient(y, x)
        Tensor(12.)
    """
    name = signature.partition("(")[0]
    found = [function] if function else find(name)
    if not found:
        raise RuleError(f"torch has no function {name!r}; pass function= to say what computes it")
    op = Op(signature, dict([joint]) if joint else rules, found[0], elementwise, joint is not None, outputs)
    register(name, op.call, *aliases)
    return op


def composed(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Let the decorated Python function, written in other ops, answer for torch's functions of these names."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        register(names[0], function, *names[1:])
        return function

    return decorate


def constant(*names: str, function: Callable[..., Any] | None = None) -> None:
    """Declare ops whose results have no derivative (comparisons, argmax): never recorded, and so never saved for."""
    for name in names:
        register(name, _constant(name, function or find(name)[0]))


def _constant(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        for context in recording.get():
            context.cuts[caller()] = name
        return _wrapped(function(*plain(args), **keywords(kwargs)))

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"torch's {name}, on Tensors: a constant, since it has no derivative."
    return call


def _wrapped(out: Any) -> Any:
    """Tensors for tensors, in tuples and lists too; sizes, bools and numbers as they are."""
    if isinstance(out, torch.Tensor):
        return unrecorded(out)
    return type(out)(map(_wrapped, out)) if isinstance(out, tuple | list) and type(out) is not torch.Size else out
