"""The checks that `Grad(check=...)` knows, and what stands around the pulls of a backward pass: they, and the mask."""

import functools
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from tensorad.errors import ArgumentError
from tensorad.node import Node, recording
from tensorad.nonfinite import NonFinite
from tensorad.several import Parts
from tensorad.tensor import Tensor
from tensorad.watching import Pull, Watcher

if TYPE_CHECKING:
    from tensorad.grad import Grad

CHECKS: dict[str, Callable[[], Watcher]] = {"nan": NonFinite}


def watchers(check: str | tuple[str, ...]) -> tuple[Watcher, ...]:
    """The watchers for a name, or for a tuple of names."""
    names = (check,) if isinstance(check, str) else tuple(check)
    for name in names:
        if name not in CHECKS:
            raise ArgumentError(f"check is one of {', '.join(map(repr, CHECKS))}, or a tuple of them, not {name!r}")
    return tuple([CHECKS[name]() for name in names])


def wrapping(context: "Grad", target: Node, masked: bool) -> Callable[[Node, Any], Any] | None:
    """What stands around the pulls of a backward pass through `context`; None, as most often, if nothing does."""
    looking = [watcher for each in dict.fromkeys((context, *recording.get())) for watcher in each.watchers]
    if not looking and not masked:
        return None

    def wrap(node: Node, pulls: Any) -> Any:
        if masked:
            pulls = [_masked(pull, node.op.elementwise) for pull in pulls]
        for watcher in looking:
            pulls = watcher.around(node, pulls, target)
        return pulls

    return wrap


def _masked(pull: Pull, elementwise: bool) -> Pull:
    """`pull`, with zeros wherever the cotangent is exactly zero, or if all of it is, whatever it is multiplied by."""

    def pulled(g: Any, saved: Any) -> Any:
        found = pull(g, saved)
        if not isinstance(found, torch.Tensor | Tensor):  # a part, on its way to the whole
            return found
        if elementwise:
            return torch.where(g == 0, 0, found)
        parts = g.by_place.values() if isinstance(g, Parts) else [g]
        nothing = functools.reduce(operator.and_, [(each == 0).all() for each in parts])
        return torch.where(nothing, 0, found)

    return pulled
