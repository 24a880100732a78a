"""The one way an op is called on Tensors.

From an op's signature, `Op` writes, once, the Python function that a person would write by hand for it: take the
operands' data, call torch, and if a context is open, record a Node with just what the rules name. Written out, it costs
half of what the same steps cost in general loops; `Op.source` is its text.
"""

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from types import FunctionType
from typing import Any

from torch import is_grad_enabled

from tensorad.mutation import version
from tensorad.node import Node, differentiable, next_number, recording
from tensorad.operands import cut, leaf_of, options, plain
from tensorad.site import INSIDE, WRITTEN, user_site
from tensorad.tensor import Tensor

CALL = """
def call({parameters}):
    {first} = {data}{rest}
    {out} = function({arguments})
    if not (contexts := recording.get()) or (contexts.follows and not grad_mode()):
        return cut("torch.no_grad()", out) if contexts else Tensor(out)
    parents, shape, dtype = {parents}, out.shape, out.dtype
    if not any(parents) or not differentiable(dtype):
        return cut(op.name, out) if any(parents) else Tensor(out){bound}
    saved = ({saved})
    code = (frame := getframe(1)).f_code
    site = contexts.site or (user_site(frame) if code.co_filename in INSIDE else (code, frame.f_lasti))
    tensor = new(Tensor)  # twice as fast as Tensor(out, node), which numbers values without a node
    tensor.data, tensor.node = out, Node(number(), op, contexts, parents, saved, version(saved), shape, dtype, site)
    for watcher in contexts.watchers:
        watcher.made(tensor, {given})
    return tensor
"""
# What the written calls use, by name.
scope: dict[str, Any] = {each.__name__: each for each in (Node, Tensor, cut, leaf_of, options, plain, user_site)}
scope |= {"INSIDE": INSIDE, "differentiable": differentiable, "getframe": sys._getframe, "new": object.__new__}
scope |= {"number": next_number, "recording": recording, "grad_mode": is_grad_enabled, "version": version}


class Op:
    """A torch function that the engine knows: its `function`, its `rules` (operand -> rule) and its `call` on Tensors.

    A rule's parameters say what it needs, and that is what a node saves: `g` (the cotangent, always first), the op's
    arguments by name, `out`, `<argument>_shape` for the shape alone, or `residuals`; an op with a rule that names
    `residuals` has a function that returns (output, residuals).

    Attributes:
        name: the op's name.
        signature: as `defrule` was given it.
        arguments: what stands between its brackets.
        function: what computes it, on torch tensors.
        rules: operand, or the operands of a joint rule -> the rule.
        operands: the names of the arguments that have a derivative.
        needs: for each rule, what it names beside `g`.
        saves: what a node saves: the names that any rule needs.
        places: whose value each of these is: a place in (*parents, the node itself, nobody).
        call: what answers for it on Tensors.
        joint: whether one rule gives the cotangents of all operands.
        elementwise: whether each entry of the output comes of those at its place.
        linear: whether it is linear in its operands, taken together.
        pushes: as `rules`, in forward mode, where those are not transposed reverse ones.
    """

    # One rule for all operands (see several.py); each entry from those at its place; linear in its operands.
    joint = elementwise = linear = False
    own_tangent = False  # the tangent of the output is what the op makes of the tangents: so for linear ops of ours
    pushes: Mapping[str, Callable[..., Any]] = {}  # as `rules`, in forward mode, where those are no transposed ones

    def __init__(self, signature: str, rules: Mapping[str, Callable[..., Any]], function: Callable[..., Any]) -> None:
        self.name, _, self.arguments = signature.removesuffix(")").partition("(")
        self.signature, self.rules, self.function = signature, rules, function
        self.operands = [name for key in rules for name in key.split()]
        self.needs = [rule.__code__.co_varnames[1 : rule.__code__.co_argcount] for rule in rules.values()]
        self.saves = list(dict.fromkeys(name for names in self.needs for name in names))
        known = dict(zip(self.operands, range(len(self.operands))), out=-2)  # noqa: B905
        self.places = [known.get(name, -1) for name in self.saves]  # into (*parents, node, None)
        # The call is written when it is first used: most programs use few of the hundreds of ops.
        names = scope | {"op": self, "function": function, "write": _write, "__builtins__": __builtins__}
        self.written: Any = FunctionType(_unwritten.__code__, names, self.name)
        self.written.__qualname__ = self.name
        self.call: Callable[..., Any] = self.written

    def __call__(self, *args: Any) -> Any:
        """For rules that need this op: on torch tensors its function, on Tensors its call, so that it is recorded."""
        return (self.call if Tensor in map(type, args) else self.function)(*args)

    @cached_property
    def pulls(self) -> list[Callable[[Any, Any], Any]]:
        """The rules, each taking what it names out of the values that the node saved."""
        return [self.reading(rule) for rule in self.rules.values()]

    def reading(self, rule: Callable[..., Any]) -> Callable[[Any, Any], Any]:
        """A rule as the passes call it, taking what it names out of the values that a node saved.

        Args:
            rule: a function of a cotangent, or a tangent, and of what it names.
        """
        names = rule.__code__.co_varnames[1 : rule.__code__.co_argcount]
        text = f"lambda g, saved: rule(g, {_each('saved[{0}]', map(self.saves.index, names))})"
        return eval(compile(text, WRITTEN, "eval"), {"rule": rule})

    def lift(self, node: Node) -> list[Any]:
        """What the rules are given when they are recorded: saved values, as Tensors that know where they come from.

        Args:
            node: an application of this op.
        """
        owners = (*node.parents, node, None)
        return [Tensor(value, owners[i]) if owners[i] else value for value, i in zip(node.saved, self.places)]  # noqa: B905

    @cached_property
    def source(self) -> str:
        """The source of `call`: CALL, filled in with this op's names."""
        spec = inspect.signature(eval(f"lambda {self.arguments}: 0")).parameters
        declared, names = [str(each) for each in spec.values()], list(spec)
        # What comes after the operands goes through to torch as the user gave it, and is bound to names if it is saved.
        split = 1 + max(map(names.index, self.operands))
        first, rest = names[:split], names[split:]
        bind = f"{_each('{0}_data', rest)} = (lambda {', '.join(declared[split:])}, **_: ({_each('{0}', rest)}))"
        unbound = {*rest}.isdisjoint(name.removesuffix("_shape") for name in self.saves)
        given = lambda name: f"{name}=" * (spec[name].kind is spec[name].KEYWORD_ONLY) + f"{name}_data, "  # noqa: E731
        return CALL.format(
            parameters=_each("{0}", declared[:split]) + "*args, **kwargs" * bool(rest),
            data=_each("{0}.data if type({0}) is Tensor else plain({0})", first),
            first=_each("{0}_data", first),
            rest="\n    args_data, kwargs_data = options(args, kwargs)" if rest else "",
            out="out, residuals" if "residuals" in self.saves else "out",
            arguments="".join(map(given, first)) + "*args_data, **kwargs_data" * bool(rest),
            parents=self._parents(),
            bound="" if unbound else f"\n    {bind}(*args_data, **kwargs_data)",
            saved="".join(map(self._saved, self.saves)),
            given=f"({_each('{0}', first)}{'*args), kwargs' if rest else '), {}'}",
        )

    def _parents(self) -> str:
        """The expression, in the written call, for the nodes of the operands; a parameter is none of its data."""
        form = "({0}.node or {0}.leaf()) if type({0}) is Tensor else None if {0}_data is {0} else leaf_of({0})"
        return f"({_each(form, self.operands)})"

    def _saved(self, name: str) -> str:
        """The expression for a value that rules name: None where the operands of all those rules are constants."""
        value = name if name in ("out", "residuals") else f"{name}_data".replace("_shape_data", "_data.shape")
        users = [f"parents[{place}]" for place, names in enumerate(self.needs) if name in names]
        return f"{value} if {' or '.join(users)} else None, " if len(users) < len(self.needs) else f"{value}, "


def _each(form: str, names: Iterable[Any]) -> str:
    return "".join(f"{form.format(name)}, " for name in names)


def _unwritten(*args: Any, **kwargs: Any) -> Any:
    # It runs with an op's scope for its globals, where these two names are.
    return write(op)(*args, **kwargs)  # noqa: F821 # pyright: ignore[reportUndefinedVariable]


def _write(op: Op) -> Callable[..., Any]:
    """Write the call of `op`, which until now was `_unwritten`, into the function that everybody already holds."""
    exec(compile(op.source, WRITTEN, "exec"), names := dict(op.written.__globals__))
    # The defaults before the code: another thread may be calling.
    op.written.__defaults__, op.written.__code__ = names["call"].__defaults__, names["call"].__code__
    return op.written
