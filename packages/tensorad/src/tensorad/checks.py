"""The checks that `Grad(check=...)` knows, and what stands around the pulls of a backward pass: they, and the mask."""

import functools
import operator
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

import torch

from tensorad.errors import ArgumentError
from tensorad.node import Node, recording
from tensorad.several import Parts
from tensorad.tensor import Tensor
from tensorad.walk import ancestors
from tensorad.watching import Pull, Watcher

if TYPE_CHECKING:
    from tensorad.grad import Grad

# What makes the watcher of each check: imported when it is asked for.
CHECKS = {"nan": "tensorad.nonfinite:NonFinite", "corners": "tensorad.corners:CornerWatcher"}


def watchers(check: str | tuple[str, ...]) -> tuple[Watcher, ...]:
    """The watchers for a name, or for a tuple of names."""
    names = (check,) if isinstance(check, str) else tuple(check)
    for name in names:
        if name not in CHECKS:
            raise ArgumentError(f"check is one of {', '.join(map(repr, CHECKS))}, or a tuple of them, not {name!r}")
    return tuple([resolve_name(CHECKS[name])() for name in names])


def wrapping(context: "Grad", target: Node, masked: bool) -> AbstractContextManager[Callable[[Node, Any], Any] | None]:
    """A span for a backward pass through `context`: it gives what stands around the pulls; None, if nothing does."""
    looking = [watcher for each in dict.fromkeys((context, *recording.get())) for watcher in each.watchers]
    return _Pass(context, target, looking, masked) if looking or masked else _UNSEEN


# For a pass within a pass, that of a checkpoint: what stands around the pulls of the one that is running.
around: ContextVar[Callable[[Node, Any], Any] | None] = ContextVar("around", default=None)
_UNSEEN: AbstractContextManager[None] = nullcontext()  # as most often


class _Pass:
    """A backward pass that is looked at, from its start to its end."""

    def __init__(self, context: "Grad", target: Node, looking: Sequence[Watcher], masked: bool) -> None:
        self.context, self.looking, self.masked = context, looking, masked
        # The order of a pass is one more than that of the passes that recorded what it goes through.
        below = [getattr(node.contexts, "order", 0) for node in ancestors([target])] if looking else [0]
        self.order = max(below) + 1
        if contexts := recording.get():
            contexts.order = self.order

    def __enter__(self) -> Callable[[Node, Any], Any]:
        self.token = around.set(self.wrap)
        return self.wrap

    def __exit__(self, *error: object) -> None:
        around.reset(self.token)
        for watcher in self.looking:
            watcher.passed(self.context, failed=error[0] is not None)

    def wrap(self, node: Node, pulls: Any) -> Any:
        if self.masked:
            pulls = [_masked(pull, node.op.elementwise) for pull in pulls]
        for watcher in self.looking:
            pulls = watcher.around(node, pulls, self.order)
        return pulls


def _masked(pull: Pull, elementwise: bool) -> Pull:
    """`pull`, with zeros wherever the cotangent is exactly zero, or if all of it is, whatever it is multiplied by."""

    def pulled(g: Any, saved: Any) -> Any:
        found = pull(g, saved)
        if not isinstance(found, torch.Tensor | Tensor):  # a part, on its way to the whole
            return found
        if elementwise:
            return torch.where(g == 0, 0, found)
        parts = g.by_place.values() if isinstance(g, Parts) else g if isinstance(g, list) else [g]
        nothing = functools.reduce(operator.and_, [(each == 0).all() for each in parts if each is not None])
        return torch.where(nothing, 0, found)

    return pulled
