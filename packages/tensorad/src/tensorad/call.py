"""The one way an op is called on Tensors.

From an op's signature, `Op` writes, once, the Python function that a person would write by hand for it: take the
operands' data, call torch, and if a context is open, make the Node with just what the rules name. Written out, it costs
half of what the same steps cost in general loops; `Op.source` is its text.
"""

import ast
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
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
        self.operands: tuple[str, ...] = tuple(name for key in self.rules for name in key.split())
        needs = [tuple(inspect.signature(rule).parameters)[1:] for rule in self.rules.values()]
        self.saves = tuple(dict.fromkeys(name for names in needs for name in names))
        self.pulls = tuple(self._pull(rule, names) for rule, names in zip(self.rules.values(), needs, strict=True))
        self.source = self._write(arguments, needs)
        scope: dict[str, Any] = {"op": self, "function": gathering(function) if outputs else function}
        scope |= {"recording": recording, "next_number": next_number, "INSIDE": INSIDE, "getframe": sys._getframe}  # pyright: ignore[reportPrivateUsage]
        scope |= {each.__name__: each for each in (Node, Tensor, keywords, leaf, plain, unrecorded, user_site, version)}
        exec(compile(self.source, f"{GENERATED}the call of {self.name}>", "exec"), scope)
        # What a rule runs on when it is itself recorded.
        self.lift: Callable[[Node], tuple[Any, ...]] = eval(
            self._write_lift(), {"restored": restored, "lifted": lambda values, node: lifted(values, node, part.call)}
        )
        self.call: Callable[..., Any] = spreading(scope["call"], part.call) if outputs else scope["call"]

    def _pull(self, rule: Rule, names: Iterable[str]) -> Callable[[Any, tuple[Any, ...]], Any]:
        """`rule`, taking what it names out of the values that the node saved."""
        picked = "".join(f", saved[{self.saves.index(name)}]" for name in names)
        return eval(f"lambda g, saved: rule(g{picked})", {"rule": rule})

    def __call__(self, *args: Any) -> Any:
        """For rules that need this op: on torch tensors its function, on Tensors its call, so that it is recorded."""
        return (self.call if Tensor in map(type, args) else self.function)(*args)

    def separate(self, g: Any, saved: tuple[Any, ...], node: Node) -> list[Any]:
        """The one pull of a joint rule as one per operand, each of which gives its share of a common result."""
        pulled = self.pulls[0](g, saved)
        if len(pulled) != len(node.parents):
            raise RuleError(f"{self.name}: its rule returned {len(pulled)} cotangents for {len(node.parents)} operands")
        return [lambda g, saved, each=each: each for each in pulled]

    def _write(self, arguments: str, needs: list[tuple[str, ...]]) -> str:
        """The source of `call`: CALL, filled in with this op's names."""
        lambda_ = ast.parse(f"lambda {arguments}: 0", mode="eval").body
        assert isinstance(lambda_, ast.Lambda)
        declared = lambda_.args
        variable = [declared.vararg] if declared.vararg else []
        names = [argument.arg for argument in declared.args + variable + declared.kwonlyargs]
        saved_arguments = {name.removesuffix("_shape") for name in self.saves} - {"out", "residuals"}
        if unknown := (saved_arguments | set(self.operands)) - set(names):
            raise RuleError(f"a rule of {self.signature} names {', '.join(sorted(unknown))}: no such argument")

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
        return CALL.format(
            bind=bind,
            parameters=", ".join(parameters + ["*args", "**kwargs"] * bool(rest)),
            arguments=", ".join([f"{name}_data" for name in first] + ["*args_data", "**kwargs_data"] * bool(rest)),
            data="    " + "\n    ".join(data),
            out="out, residuals" if "residuals" in self.saves else "out",
            nodes="    " + "\n    ".join(nodes),
            any_node=" or ".join(
                "any(tensors_node)" if name == "tensors" else f"{name}_node" for name in self.operands
            ),
            parents="".join("*tensors_node, " if name == "tensors" else f"{name}_node, " for name in self.operands),
            saved="".join(f"{self._saved(name, needs)}, " for name in self.saves),
            exact=exact if self.elementwise else "False",
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
                return f"lifted({value}, node)" if self.outputs else f"restored({value}, node)"
            if name == "tensors":
                return f"tuple(map(restored, {value}, node.parents))"
            return f"restored({value}, node.parents[{self.operands.index(name)}])" if name in self.operands else value

        return f"lambda node: ({''.join(f'{lifted(place, name)}, ' for place, name in enumerate(self.saves))})"


part = Op("part(whole, place)", {"whole": lambda g, place: Parts({place: g})}, lambda whole, place: whole.values[place])
