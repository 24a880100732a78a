"""Own ops: a function of torch tensors, and its derivative as a pair of functions."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch

from tensorad import tree
from tensorad.conversions import watched
from tensorad.errors import ArgumentError, RuleError
from tensorad.node import differentiable, recording
from tensorad.operands import plain
from tensorad.several import JointOp
from tensorad.site import Site, line
from tensorad.tensor import Tensor

# What makes a number of a Tensor; a detach or stop_gradient is no such accident, it says that a constant is meant.
_NUMBERS = {"item()", "tolist()", "numpy()", "float()", "complex()", "__dlpack__()", "tensorad.tensor()"}


class Primitive:
    """A function of torch tensors that the engine does not look into: a node of its own. Made by `primitive`.

    It is called on Tensors, torch tensors and other values, by position, and returns a Tensor.

    Attributes:
        function: what computes it, on torch tensors.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self._call: Callable[..., Any] | None = None

    def defvjp(self, fwd: Callable[..., Any], bwd: Callable[[Any, Any], Sequence[Any]]) -> "Primitive":
        """Say how to differentiate: `fwd(*args)` gives (output, residuals), `bwd(g, residuals)` one cotangent each.

        Both are given torch tensors. Where the gradient is itself recorded, they are given Tensors instead, and `fwd`
        runs again on them, so that residuals depend on the arguments and the next order is right too. So both must be
        written in torch functions that have rules, compute the same each time, and take all Tensors as arguments.
        Where they turn a Tensor into numbers (numpy, `.item()`), the first order is right, and the next one raises.
        torch's own autograd is off while they run (`torch.func.vjp` works). `ts.check_rule` finds what is wrong.

        Args:
            fwd: a function of the arguments: it returns the output, a torch tensor, and whatever `bwd` needs.
            bwd: a function of the cotangent of the output, of its shape and dtype, and of the residuals: it returns a
                tuple with a cotangent for each argument, of that argument's shape; None for a constant. For one
                argument, the bare one will do.

        Returns:
            The primitive itself.

        Raises:
            RuleError: when it is called, or its gradient is asked for: if `fwd` returns no pair, or something else the
                second time; if `bwd` returns another number of cotangents.
        """
        name = getattr(self, "__name__", "primitive")

        def function(tensors: Sequence[Any]) -> tuple[Any, Any]:
            if not recording.get():
                return self.function(*tensors), None
            pair = fwd(*tensors)
            if not isinstance(pair, tuple) or len(pair) != 2:
                raise RuleError(f"fwd of {name} must return a tuple (output, residuals), not a {type(pair).__name__}")
            if not isinstance(pair[0], torch.Tensor):
                raise RuleError(
                    f"fwd of {name} must compute one torch tensor, not a {type(pair[0]).__name__}; a Tensor that it "
                    "uses must be one of its arguments"
                )
            return pair

        def rule(g: Any, tensors: Sequence[Any], out: Any, residuals: Any) -> Sequence[Any]:
            if not any(isinstance(tensor, Tensor) for tensor in tensors):
                return counted(bwd(g, residuals), tensors)
            taken: list[tuple[Any, str, Site]] = []
            token = watched.set(taken)
            try:
                again, residuals = fwd(*tensors)
                if not torch.allclose(plain(again), plain(out), equal_nan=True):
                    raise RuleError(f"fwd of {name} computed something else when it ran again: is it random?")
                cotangents = counted(bwd(g, residuals), tensors)
            finally:
                watched.reset(token)
            if type(residuals) is not Tensor:
                _note_constants(name, fwd, tensors, residuals)
            return _guarded(name, cotangents, taken) if taken else cotangents

        def counted(cotangents: Any, tensors: Sequence[Any]) -> Sequence[Any]:
            cotangents = cotangents if isinstance(cotangents, tuple | list) else (cotangents,)
            if len(cotangents) != len(tensors):
                raise RuleError(f"bwd of {name} returned {len(cotangents)} cotangents for {len(tensors)} arguments")
            return cotangents

        self._call = JointOp(f"{name}(tensors)", {"tensors": rule}, function).call
        return self

    def __call__(self, *args: Any) -> Any:
        for arg in args:
            if not isinstance(arg, Tensor) and any(isinstance(each, Tensor) for each in tree.flatten(arg)[0]):
                raise ArgumentError(
                    f"an argument is a {type(arg).__name__} of Tensors: pass each as an argument of its own"
                )
        if self._call is not None:
            return self._call(args)
        if recording.get():
            name = getattr(self, "__name__", "f")
            raise RuleError(f"{name} has no derivative yet: call {name}.defvjp(fwd, bwd)")
        return Tensor(self.function(*plain(args)))


def _refuse(g: Any, tensors: Sequence[Any], wanted: Sequence[bool], faults: Sequence[str]) -> list[Any]:
    for depended_on, fault in zip(wanted[1:], faults, strict=True):
        if depended_on:
            raise RuleError(fault)
    guarded = [g, *tensors[1:]]
    recorded = any(isinstance(each, Tensor) for each in guarded)
    return [_off_graph.call(guarded, faults) if recorded else g, *[None for _ in faults]]


# The first of `tensors`, which cannot be differentiated by what the others depend on; a fault for each of these.
_off_graph = JointOp("off_graph(tensors, faults)", {"tensors": _refuse}, lambda tensors, faults: tensors[0])


def _guarded(name: str, cotangents: Sequence[Any], taken: list[tuple[Any, str, Site]]) -> Sequence[Any]:
    """The cotangents of a pass that made numbers of Tensors: right as they are, but no derivative of them would be."""
    taken = [each for each in taken if each[1] in _NUMBERS]
    faults = [
        f"the gradient of {name} cannot be differentiated again: something that its rule uses, such as a residual, was "
        f"computed off the graph, by {how} {line(site)}. Compute it in torch functions of the arguments, in fwd, which "
        "runs again on Tensors; or say that it is a constant, with tensorad.stop_gradient(...)"
        for _, how, site in taken
    ]
    if not faults:
        return cotangents
    tensors = [tensor for tensor, _, _ in taken]
    return [
        _off_graph.call([each, *tensors], faults) if isinstance(each, Tensor | torch.Tensor) else each
        for each in cotangents
    ]


def _note_constants(name: str, fwd: Any, tensors: Sequence[Any], residuals: Any) -> None:
    """Tell contexts that record of residuals that are no Tensors, such as what was made of `x.data`: for `why`."""
    given = {id(each) for each in tensors}
    for place, value in enumerate(tree.flatten(residuals)[0]):
        numbers = isinstance(value, torch.Tensor) and differentiable(value.dtype)
        if (numbers or type(value).__module__ == "numpy") and id(value) not in given and hasattr(fwd, "__code__"):
            for context in recording.get():
                context.cuts[fwd.__code__, 0] = f"residual {place} of {name}"


def primitive(function: Callable[..., Any]) -> Primitive:
    """Turn a function of torch tensors into an op whose derivative `defvjp` gives.

    Args:
        function: it takes torch tensors, and other values, by position, and returns a torch tensor.

    Returns:
        A `Primitive`, to be called in its place.

    Raises:
        RuleError: when it is called in a context, if it has no derivative yet.
        ArgumentError: when it is called with a list of Tensors: each is an argument of its own.

    Examples:
        >>> import torch, tensorad as ts
        >>> @ts.primitive
        ... def cube(x):
        ...     return x**3
        >>> _ = cube.defvjp(lambda x: (x**3, x), lambda g, x: (3 * g * x**2,))
        >>> x = ts.tensor(2.0)
        >>> with ts.Grad() as g:
        ...     y = cube(x)
        >>> g.gradient(y, x)
        Tensor(12.)
    """
    return Primitive(function)
