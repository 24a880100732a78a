"""`stop_gradient`: a span in which nothing is recorded, or a value that no context can look behind."""

from typing import Any

from tensorad import tree
from tensorad.conversions import note_cut, taken_out
from tensorad.node import Entry
from tensorad.tensor import Tensor


class Stop(Entry):
    """What stands between the contexts around it and what happens inside."""

    def __enter__(self) -> None:
        note_cut("stop_gradient()")
        super().__enter__()


def stop_gradient(value: Any = None) -> Any:
    """As a context, `with stop_gradient():`, a span in which nothing is recorded; as a function, a constant.

    A Grad that is opened inside a `stop_gradient()` block records as usual.

    Args:
        value: a Tensor, or any nest of Tensors and other things, which are handed on; left out, it is the context.

    Returns:
        In the structure of `value`, Tensors of the same values, with no copy of the data, that no context can look
        behind; without a value, what `with` takes.

    Examples:
        >>> import tensorad as ts
        >>> x = ts.tensor(3.0)
        >>> with ts.Grad() as g:
        ...     y = x * ts.stop_gradient(x)
        ...     with ts.stop_gradient():
        ...         z = x * x
        >>> g.gradient(y, x)
        Tensor(3.)
        >>> g.gradient(y * z, x, unconnected="zero")
        Tensor(0.)
    """
    if value is None:
        return Stop()
    return tree.map(
        # Detached, so that where somebody lets torch's own autograd watch, it stops here too.
        lambda each: Tensor(taken_out(each, "stop_gradient()").detach()) if isinstance(each, Tensor) else each,
        value,
    )
