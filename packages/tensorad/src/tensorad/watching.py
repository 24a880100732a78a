"""Watching a context at work: what is shown each op as it is recorded, and stands around each pull of a rule.

The checks that `Grad(check=...)` asks for are such watchers, and so is forward mode. With none, none of it runs.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from tensorad.errors import ArgumentError
from tensorad.node import Node, recording

if TYPE_CHECKING:
    from tensorad.grad import Grad
    from tensorad.tensor import Tensor

Pull = Callable[[Any, Any], Any]


class Watcher:
    """Something that looks on; subclasses override what they look at."""

    def made(self, tensor: "Tensor", args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """An op was recorded: `tensor.node` is new, and `args` and `kwargs` are what the op was called with."""

    def around(self, node: Node, pulls: Sequence[Pull]) -> Sequence[Pull]:
        """What runs in the place of the pulls of `node` in a backward pass."""
        return pulls


def watchers(check: str | tuple[str, ...]) -> tuple[Watcher, ...]:
    """The watchers that `Grad(check=...)` asks for."""
    names = (check,) if isinstance(check, str) else tuple(check)
    for name in names:
        if name not in CHECKS:
            raise ArgumentError(f"check is one of {', '.join(map(repr, CHECKS))}, or a tuple of them, not {name!r}")
    return tuple([CHECKS[name]() for name in names])


CHECKS: dict[str, Callable[[], Watcher]] = {}


def wrapping(context: "Grad", masked: bool) -> Callable[[Node, Any], Any] | None:
    """What stands around the pulls of a backward pass through `context`; None, as most often, if nothing does."""
    looking = [watcher for each in dict.fromkeys((context, *recording.get())) for watcher in each.watchers]
    if not looking and not masked:
        return None

    def wrap(node: Node, pulls: Any) -> Any:
        if masked:
            pulls = [_masked(pull, node.op.elementwise) for pull in pulls]
        for watcher in looking:
            pulls = watcher.around(node, pulls)
        return pulls

    return wrap


def _masked(pull: Pull, elementwise: bool) -> Pull:
    """`pull`, with zeros wherever the cotangent is exactly zero, or if all of it is, whatever it is multiplied by."""

    def pulled(g: Any, saved: Any) -> Any:
        found = pull(g, saved)
        if found is None or not hasattr(g, "dim"):  # the cotangents of several outputs
            return found
        return torch.where(g == 0 if elementwise else (g == 0).all(), 0, found)

    return pulled
