"""Checkpoints: functions whose intermediate values are not kept, and computed again for the backward pass."""

import functools
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from typing import Any

import torch

from tensorad import tree
from tensorad.backward import backward
from tensorad.checks import around
from tensorad.errors import MutationError, RuleError
from tensorad.grad import Grad
from tensorad.node import Contexts, differentiable, next_number, recording
from tensorad.opaque import boundary, depending, opaque
from tensorad.override import as_before
from tensorad.several import bundle
from tensorad.tensor import Tensor


def checkpoint(f: Callable[..., Any]) -> Callable[..., Any]:
    """`f`, without its intermediate values kept for the backward pass: they are computed again when that gets there.

    Each call costs a second one in the backward pass, and the memory of what happens inside of it is only there for
    that time. So a deep model of many checkpoints needs the memory of one of them, and of what goes from each to the
    next. (Chen, Xu, Zhang and Guestrin: Training Deep Nets with Sublinear Memory Cost, 2016; of adjoint programs,
    Griewank and Walther: Evaluating Derivatives, 2008, chapter 12.)

    Args:
        f: a function of Tensors, and of nests of them, which returns Tensors or a nest of them. It may use other
            Tensors, and torch.nn modules, through its closure. torch's random numbers are the same in both calls, and
            so are the `override` blocks; what `f` does beside computing its result, it does twice: in training, batch
            normalization counts each batch twice.

    Returns:
        A function of the same arguments and results, to be used inside a context. Derivatives of any order are right.
        In forward mode, and under a check, which keep no values or look at all of them, `f` simply runs.

    Raises:
        MutationError: by the gradient, if an argument, or something that `f` uses, was changed since: a weight that was
            updated, say. Ask for the gradient before.
        RuleError: by the gradient, if `f` computed something else the second time: with a generator of its own, say.

    Examples:
        >>> import tensorad as ts
        >>> def f(x):
        ...     return x.sin().exp().sin()
        >>> block = ts.checkpoint(f)
        >>> x = ts.tensor(0.0)
        >>> with ts.Grad() as g:
        ...     y = block(block(x))
        >>> g.gradient(y, x).item() == ts.grad(lambda x: f(f(x)))(x).item()
        True
    """

    @functools.wraps(f)
    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        contexts = recording.get()
        if not contexts or contexts.watchers or (contexts.follows and not torch.is_grad_enabled()):
            args, kwargs = tree.map(_held, (args, kwargs))
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
    """A call of a function, to be made again: in the same setting, with the same random numbers."""

    def __init__(self, f: Callable[..., Any], given: list[Any], structure: Any) -> None:
        self.f, self.given, self.structure = f, given, structure
        self.devices = sorted(
            {value.device for value in given if isinstance(value, Tensor) and value.data.is_cuda}, key=str
        )
        self.states = torch.get_rng_state(), [torch.cuda.get_rng_state(device) for device in self.devices]
        self.keys = torch._C._dispatch_tls_local_include_set(), torch._C._dispatch_tls_local_exclude_set()
        self.context = copy_context()  # what is overridden, say
        self.started = next_number()

    def run(self) -> Any:
        """What the function returns for the arguments as they were."""
        args, kwargs = tree.unflatten(self.structure, [_held(value) for value in self.given])
        return self.f(*args, **kwargs)

    def note(self, outputs: list[Tensor]) -> None:
        """Of the first run, what it depends on, and enough to notice that a second one does not do the same."""
        self.sources, since = boundary(outputs, self.started)
        self.version = sum(node.version for node in since)
        self.marks = [_mark(output) for output in outputs]

    def pull(self, g: Sequence[Any], wanted: Sequence[bool]) -> list[Any]:
        """The cotangents of what the run depends on, by running it again, recorded."""
        started, contexts = next_number(), recording.get()
        again, outputs, target = self.context.copy().run(self._again, contexts)
        sources, since = boundary(outputs, started)
        name = getattr(self.f, "__name__", "the function")
        if {*sources} != {*self.sources} or sum(node.version for node in since) != self.version:
            raise MutationError(
                f"checkpoint: what {name} uses was changed before it ran again for the backward pass, a weight that "
                "was updated, say: ask for the gradient before the change"
            )
        if not all(map(_close, self.marks, outputs)):
            raise RuleError(
                f"checkpoint: {name} computed something else when it ran again for the backward pass. It draws random "
                "numbers from a generator of its own, perhaps (use torch's, whose state is kept), or depends on "
                "something that has changed, such as a module's train() and eval()"
            )
        nodes = {source for source, wish in zip(self.sources, wanted, strict=True) if wish}
        node: Any = target.node or target.leaf()
        found = backward(again, node, list(g), nodes, around.get())
        return [found.get(source) for source in self.sources]

    def _again(self, contexts: Contexts) -> tuple[Grad, list[Tensor], Tensor]:
        recording.set(Contexts(contexts.entries))  # it is the user's program that runs, not a rule
        with ExitStack() as setting:
            # The pass that asks runs below torch's autograd, where torch counts changes in place in another way.
            setting.enter_context(torch._C._ForceDispatchKeyGuard(*self.keys))
            setting.enter_context(_random_state(self.states, self.devices))
            setting.enter_context(torch.enable_grad())
            setting.enter_context(as_before())
            again = setting.enter_context(Grad())
            outputs = [each for each in tree.flatten(self.run())[0] if isinstance(each, Tensor)]
            return again, outputs, bundle.call(outputs)


_checkpoint = opaque("checkpoint")


def _held(value: Any) -> Any:
    """A Tensor as it is now: `x += 1` gives the same Tensor a new value."""
    return Tensor(value.data, value.node or value.leaf()) if isinstance(value, Tensor) else value


def _mark(output: Tensor) -> tuple[float, float, int]:
    """Two sums of the finite entries, of which one knows their places, and how many others there are."""
    data = (torch.view_as_real(output.data) if output.dtype.is_complex else output.data).flatten()
    data = data if data.dtype == torch.float32 else data.double()
    finite = data.isfinite()
    data = data.where(finite, 0)
    weights = torch.arange(1, data.numel() + 1, dtype=data.dtype, device=data.device).sin()
    return (data @ weights).item(), data.abs().sum(dtype=torch.float64).item(), int((~finite).sum())


def _close(mark: tuple[float, float, int], output: Tensor) -> bool:
    (placed, size, others), (placed_again, size_again, others_again) = mark, _mark(output)
    rounding = 100 * size * (torch.finfo(output.dtype).eps if differentiable(output.dtype) else 0)
    pairs = (placed, placed_again), (size, size_again)
    return others == others_again and all(one == other or abs(one - other) <= rounding for one, other in pairs)


@contextmanager
def _random_state(states: tuple[Any, list[Any]], devices: list[Any]) -> Generator[None]:
    """A span in which torch's random numbers are those that came after `states`; afterwards, it goes on as before."""
    with torch.random.fork_rng(devices):
        torch.set_rng_state(states[0])
        for device, state in zip(devices, states[1], strict=True):
            torch.cuda.set_rng_state(state, device)
        yield
