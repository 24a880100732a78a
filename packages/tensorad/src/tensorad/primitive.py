"""Own ops: a function of torch tensors, and its derivative as a pair of functions."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch

from tensorad import tree
from tensorad.errors import ArgumentError, RuleError
from tensorad.node import recording
from tensorad.operands import plain
from tensorad.several import JointOp
from tensorad.tensor import Tensor


class Primitive:
    """A function of torch tensors that the engine does not look into: a node of its own. Made by `primitive`."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self._call: Callable[..., Any] | None = None

    def defvjp(self, fwd: Callable[..., Any], bwd: Callable[[Any, Any], Sequence[Any]]) -> "Primitive":
        """Say how to differentiate: `fwd(*args)` gives (output, residuals), `bwd(g, residuals)` one cotangent each.

        Both are given torch tensors. Where the gradient is itself recorded, they are given Tensors instead, and `fwd`
        runs again on them, so that residuals depend on the arguments and the next order is right too. So both must be
        written in torch functions that have rules, compute the same each time, and take all Tensors as arguments.
        torch's own autograd is off while they run (`torch.func.vjp` works).
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
            if any(isinstance(tensor, Tensor) for tensor in tensors):
                again, residuals = fwd(*tensors)
                if not torch.allclose(plain(again), plain(out), equal_nan=True):
                    raise RuleError(f"fwd of {name} computed something else when it ran again: is it random?")
            cotangents = bwd(g, residuals)
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


def primitive(function: Callable[..., Any]) -> Primitive:
    """Turn a function of torch tensors into an op whose derivative `defvjp` gives.

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
