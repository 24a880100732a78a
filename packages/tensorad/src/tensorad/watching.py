"""Watching a context at work: forward mode does, and so do the checks of `Grad(check=...)`."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tensorad.node import Node

if TYPE_CHECKING:
    from tensorad.grad import Grad
    from tensorad.tensor import Tensor

Pull = Callable[[Any, Any], Any]


class Watcher:
    """Something that looks on; subclasses override what they look at. Where there is none, none of it runs."""

    def made(self, tensor: "Tensor", args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """An op was recorded: `tensor.node` is new, and `args` and `kwargs` are what the op was called with."""

    def around(self, node: Node, pulls: Sequence[Pull], target: Node) -> Sequence[Pull]:
        """What runs in the place of the pulls of `node` in the backward pass from `target`."""
        return pulls

    def passed(self, owner: "Grad") -> None:
        """A backward pass through what `owner` recorded is over, or was given up."""
