"""Checkpoints: functions whose intermediate values are not kept, and computed again for the backward pass."""

import functools
import math
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from tensorad import tree
from tensorad.backward import backward
from tensorad.errors import RuleError
from tensorad.grad import Grad
from tensorad.node import differentiable, next_number, recording
from tensorad.opaque import boundary, depending, opaque
from tensorad.several import bundle
from tensorad.tensor import Tensor


def checkpoint(f: Callable[..., Any]) -> Callable[..., Any]:
    """`f`, without its intermediate values kept for the backward pass: they are computed again when that gets there.

    Each call costs a second one in the backward pass, and the memory of what happens inside of it is only there for
    that time. So a deep model of many checkpoints needs the memory of one of them, and of what goes from each to the
    next.

    Args:
        f: a function of Tensors, and of nests of them, which returns Tensors or a nest of them. It may use other
        Tensors
            and torch.nn modules, through its closure. torch's random numbers are the same in both calls.

    Returns:
        A function of the same arguments and results, to be used inside a context. Derivatives of any order are right;
        in forward mode, and under a check, which keep no values or look at all of them, `f` simply runs.

    Raises:
        MutationError, RuleError: by the gradient, if an argument was changed in place since, or if `f` computes
        something
            else the second time: with a generator of its own, or with weights that have been updated since.

    Example:
        >>> import tensorad as ts
        >>> block = ts.checkpoint(lambda x: x.sin().exp().sin())
        >>> x = ts.tensor(0.0)
        >>> with ts.Grad() as g:
        ...     y = block(block(x))
        >>> g.gradient(y, x).item() == ts.grad(lambda x: x.sin().exp().sin().sin().exp().sin())(ts.tensor(0.0)).item()
        True
    """

    @functools.wraps(f)
    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        contexts = recording.get()
        if not contexts or contexts.watchers or (contexts.follows and not torch.is_grad_enabled()):
            return f(*args, **kwargs)
        given, structure = tree.flatten((args, kwargs))
        segment = _Segment(f, [_held(value) for value in given], structure)
        values, out_structure = tree.flatten(segment.run())
        tensors = [value for value in values if isinstance(value, Tensor)]
        segment.note(tensors)
        data = [value.data for value in given if isinstance(value, Tensor)]
        kept = iter(depending(_checkpoint, [each.data for each in tensors], segment.sources, segment.pull, data))
        return tree.unflatten(out_structure, [next(kept) if isinstance(each, Tensor) else each for each in values])

    return checkpointed


class _Segment:
    """A call of a function, to be made again."""

    def __init__(self, f: Callable[..., Any], given: list[Any], structure: Any) -> None:
        self.f, self.given, self.structure = f, given, structure
        self.devices = sorted(
            {value.device for value in given if isinstance(value, Tensor) and value.data.is_cuda}, key=str
        )
        self.states = torch.get_rng_state(), [torch.cuda.get_rng_state(device) for device in self.devices]
        self.started = next_number()

    def run(self) -> Any:
        """What the function returns for the arguments as they were."""
        args, kwargs = tree.unflatten(self.structure, [_held(value) for value in self.given])
        return self.f(*args, **kwargs)

    def note(self, outputs: list[Tensor]) -> None:
        """Of the first run, what it depends on, and enough to notice that a second one does not do the same."""
        self.sources = boundary(outputs, self.started)
        self.marks = [_mark(output) for output in outputs]

    def pull(self, g: Sequence[Any], wanted: Sequence[bool]) -> list[Any]:
        """The cotangents of what the run depends on, by running it again, recorded."""
        started = next_number()
        with _random_state(self.states, self.devices), torch.enable_grad(), Grad() as again:
            outputs = [each for each in tree.flatten(self.run())[0] if isinstance(each, Tensor)]
            target = bundle.call(outputs)
        if {*boundary(outputs, started)} != {*self.sources} or not all(map(_close, self.marks, outputs)):
            name = getattr(self.f, "__name__", "the function")
            raise RuleError(
                f"checkpoint: {name} computed something else when it ran again for the backward pass. Either what it "
                "uses has changed since (weights that were updated: ask for the gradient before), or it draws random "
                "numbers from a generator of its own (use torch's, whose state is kept)"
            )
        nodes = {source for source, wish in zip(self.sources, wanted, strict=True) if wish}
        found = backward(again, target.node or target.leaf(), list(g), nodes)
        return [found.get(source) for source in self.sources]


_checkpoint = opaque("checkpoint")


def _held(value: Any) -> Any:
    """A Tensor as it is now: `x += 1` gives the same Tensor a new value."""
    return Tensor(value.data, value.node or value.leaf()) if isinstance(value, Tensor) else value


def _mark(output: Tensor) -> tuple[float, float]:
    data = (torch.view_as_real(output.data) if output.dtype.is_complex else output.data).double()
    return data.sum().item(), data.abs().sum().item()


def _close(mark: tuple[float, float], output: Tensor) -> bool:
    (total, size), (again, _) = mark, _mark(output)
    rounding = torch.finfo(output.dtype).eps if differentiable(output.dtype) else 0
    return abs(total - again) <= 100 * rounding * size or not math.isfinite(total)


@contextmanager
def _random_state(states: tuple[Any, list[Any]], devices: list[Any]) -> Generator[None]:
    """A span in which torch's random numbers are those that came after `states`; afterwards, it goes on as before."""
    with torch.random.fork_rng(devices):
        torch.set_rng_state(states[0])
        for device, state in zip(devices, states[1], strict=True):
            torch.cuda.set_rng_state(state, device)
        yield
