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

    def pushed(self, node: Node, tangent: Any, tangents: Sequence[Any]) -> None:
        """Forward mode has the tangent of what `node` made, from those of its operands."""

    def around(self, node: Node, pulls: Sequence[Pull], order: int) -> Sequence[Pull]:
        """What runs in the place of the pulls of `node` in a backward pass of that order."""
        return pulls

    def passed(self, owner: "Grad", failed: bool) -> None:
        """A backward pass through what `owner` recorded is over, or has failed."""
