"""The one way an op is called on Tensors.

From an op's signature, `Op` writes, once, the Python function that a person would write by hand for it: take the
operands' data, call torch, and if a context is open, make the Node with just what the rules name. Written out, it costs
half of what the same steps cost in general loops; `Op.source` is its text.
"""

import ast
import builtins
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from types import FunctionType
from typing import Any

from tensorad.errors import RuleError
from tensorad.node import Node, leaf, next_number, recording, version
from tensorad.outputs import Parts, gathering, lifted, spreading
from tensorad.site import GENERATED, INSIDE, user_site
from tensorad.tensor import Tensor, keywords, plain, restored, unrecorded

Rule = Callable[..., Any]

CALL = """
{bind}
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
    node.name = None
    frame = getframe(1)
    code = frame.f_code
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
        self.operands: tuple[str, ...] = tuple(name for key in self.rules for name in key.split())
        self.needs = [parameters(rule)[1:] for rule in self.rules.values()]
        self.saves = tuple(dict.fromkeys(name for names in self.needs for name in names))
        self._arguments = arguments
        if not self.operands or not signature.endswith(")"):
            raise RuleError(f"{signature!r}: a row is 'name(arguments)' with at least one rule")
        names = eval(f"lambda {arguments}: 0").__code__.co_varnames
        if unknown := {*self._saved_arguments(), *self.operands} - set(names):
            raise RuleError(f"a rule of {signature} names {', '.join(sorted(unknown))}: no such argument")
        # The call is written when it is first used: most programs use few of the hundreds of ops.
        scope: dict[str, Any] = {each.__name__: each for each in (Node, Tensor, keywords, leaf, plain, unrecorded)}
        scope |= {"version": version, "user_site": user_site, "INSIDE": INSIDE, "getframe": sys._getframe}
        scope |= {"recording": recording, "next_number": next_number, "op": self, "written": _written}
        scope |= {"__builtins__": builtins, "function": gathering(function) if outputs else function}
        self._call = FunctionType(_unwritten.__code__, scope, self.name)
        self._call.__qualname__ = self.name
        self.call: Callable[..., Any] = spreading(self._call, part.call) if outputs else self._call
        self.call.__doc__ = f"torch's `{signature}`, on Tensors."

    @cached_property
    def pulls(self) -> tuple[Callable[[Any, Sequence[Any]], Any], ...]:
        """The rules, each taking what it names out of the values that the node saved."""
        picked = ["".join(f", saved[{self.saves.index(name)}]" for name in names) for names in self.needs]
        rules = zip(self.rules.values(), picked, strict=True)
        return tuple(eval(f"lambda g, saved: rule(g{values})", {"rule": rule}) for rule, values in rules)

    @cached_property
    def lift(self) -> Callable[[Node], tuple[Any, ...]]:
        """What a rule runs on when it is recorded: what a node saved, with Tensors that know where they come from."""

        def expression(place: int, name: str) -> str:
            value = f"node.saved[{place}]"
            if name == "out":
                return f"lifted({value}, node, part.call)" if self.outputs else f"restored({value}, node)"
            if name == "tensors":
                return f"tuple(map(restored, {value}, node.parents))"
            return f"restored({value}, node.parents[{self.operands.index(name)}])" if name in self.operands else value

        values = "".join(f"{expression(place, name)}, " for place, name in enumerate(self.saves))
        return eval(f"lambda node: ({values})", {"restored": restored, "lifted": lifted, "part": part})

    def __call__(self, *args: Any) -> Any:
        """For rules that need this op: on torch tensors its function, on Tensors its call, so that it is recorded."""
        return (self.call if Tensor in map(type, args) else self.function)(*args)

    def separate(self, g: Any, saved: tuple[Any, ...], node: Node) -> list[Any]:
        """The one pull of a joint rule as one per operand, each of which gives its share of a common result."""
        pulled = self.pulls[0](g, saved)
        if len(pulled) != len(node.parents):
            raise RuleError(f"{self.name}: its rule returned {len(pulled)} cotangents for {len(node.parents)} operands")
        return [lambda g, saved, each=each: each for each in pulled]

    def _saved_arguments(self) -> set[str]:
        return {name.removesuffix("_shape") for name in self.saves} - {"out", "residuals"}

    @cached_property
    def source(self) -> str:
        """The source of `call`: CALL, filled in with this op's names."""
        lambda_ = ast.parse(f"lambda {self._arguments}: 0", mode="eval").body
        assert isinstance(lambda_, ast.Lambda)
        declared, saved_arguments = lambda_.args, self._saved_arguments()
        variable = [declared.vararg] if declared.vararg else []
        names = [argument.arg for argument in declared.args + variable + declared.kwonlyargs]
        # Required arguments and operands are parameters of the call. The rest (`keepdim`) goes through to torch as the
        # user gave it, and is bound to names only when something is recorded; `dim` too, since numpy's `axis` means it.
        count = len(declared.args) - len(declared.defaults)
        defaults = dict(zip(names[count:], map(ast.unparse, declared.defaults), strict=False))
        split = max([count, *(names.index(name) + 1 for name in self.operands if name in defaults)])
        split = names.index("dim") if "dim" in names[:split] else split
        first, rest = names[:split], names[split:]
        parameters = [f"{name}={defaults[name]}" if name in defaults else name for name in first]
        data = [f"{name}_data = {name}.data if type({name}) is Tensor else plain({name})" for name in first]
        nodes: list[str] = []
        bind = ""
        if rest:
            data += ["args_data, kwargs_data = args and plain(args), kwargs and keywords(kwargs)"]
            declared.args = declared.args[split:]
            declared.defaults = declared.defaults[max(split - count, 0) :]
            bind = f"bind = lambda {ast.unparse(declared)}: ({', '.join(rest)},)"
            if saved_arguments & set(rest):
                nodes += [f"{', '.join(f'{name}_data' for name in rest)}, = bind(*args_data, **kwargs_data)"]
            if set(self.operands) & set(rest):
                nodes += [f"{', '.join(rest)}, = bind(*args, **kwargs)"]
        node = "({0}.node or leaf({0})) if type({0}) is Tensor else None".format
        each = f"tuple([{node('each')} for each in tensors])"
        nodes += [f"{name}_node = {each if name == 'tensors' else node(name)}" for name in self.operands]
        like_out = "({0}_node is None or {0}_node.shape == shape and {0}_node.dtype == dtype)".format
        exact = " and ".join(map(like_out, self.operands))
        exact = exact if len(self.operands) > 1 else "{}_node.dtype == dtype".format(*self.operands)
        tests = ("any(tensors_node)" if name == "tensors" else f"{name}_node" for name in self.operands)
        return CALL.format(
            bind=bind,
            parameters=", ".join(parameters + ["*args", "**kwargs"] * bool(rest)),
            arguments=", ".join([f"{name}_data" for name in first] + ["*args_data", "**kwargs_data"] * bool(rest)),
            data="    " + "\n    ".join(data),
            out="out, residuals" if "residuals" in self.saves else "out",
            nodes="    " + "\n    ".join(nodes),
            any_node=" or ".join(tests),
            parents="".join("*tensors_node, " if name == "tensors" else f"{name}_node, " for name in self.operands),
            saved="".join(f"{self._saved(name)}, " for name in self.saves),
            exact=exact if self.elementwise else "False",
        )

    def _saved(self, name: str) -> str:
        """The expression for a value that rules name: None where the operands of all those rules are constants."""
        users = [key for key, named in zip(self.rules, self.needs, strict=True) if name in named]
        value = name.replace("_shape", "_data.shape") if name.endswith("_shape") else f"{name}_data"
        value = {"out": "out.values" if self.outputs else "out", "residuals": name}.get(name, value)
        always = self.joint or len(users) == len(self.rules)
        return value if always else f"{value} if {' or '.join(f'{user}_node' for user in users)} else None"


def _unwritten(*args: Any, **kwargs: Any) -> Any:
    # It runs with an op's scope for its globals, where these two names are.
    return written(op)(*args, **kwargs)  # noqa: F821 # pyright: ignore[reportUndefinedVariable]


def _written(op: Op) -> Callable[..., Any]:
    """Write the call of `op`, which until now was `_unwritten`, into the function that everybody already holds."""
    call: Any = op._call
    scope: dict[str, Any] = dict(call.__globals__)
    exec(compile(op.source, f"{GENERATED}the call of {op.name}>", "exec"), scope)
    # The code comes last: another thread may be calling, and must find all that it needs.
    call.__globals__["bind"] = scope.get("bind")
    call.__defaults__ = scope["call"].__defaults__
    call.__code__ = scope["call"].__code__
    return call


def parameters(rule: Rule) -> tuple[str, ...]:
    """The names of the parameters of `rule`."""
    code = getattr(rule, "__code__", None)
    return code.co_varnames[: code.co_argcount] if code else tuple(inspect.signature(rule).parameters)


part = Op("part(whole, place)", {"whole": lambda g, place: Parts({place: g})}, lambda whole, place: whole.values[place])
