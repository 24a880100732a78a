"""`Grad(check="nan")`: the first op that makes a NaN or an infinity, forward or backward, and at which order."""

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import optree
import torch

from tensorad.errors import NonFiniteError
from tensorad.node import Node, recording
from tensorad.operands import plain
from tensorad.several import Outputs
from tensorad.site import line_of, name_of
from tensorad.tensor import Tensor
from tensorad.watching import Pull, Watcher

_SHOWN = 3  # entries in a message
functorch: Any = torch._C._functorch  # pyright: ignore[reportAttributeAccessIssue]


class NonFinite(Watcher):
    """Raises where something that is not finite comes of what was: what only hands it on is not to blame."""

    def made(self, tensor: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Look at the output of an op. What a backward pass records is looked at as the rule that it belongs to."""
        contexts, node = recording.get(), tensor.node
        if contexts.site is None and node is not None:
            data: Any = tensor.data
            outputs = data.values if isinstance(data, Outputs) else [data]
            if found := _made(node, outputs, [*args, *kwargs.values()]):
                names = node.op.arguments.replace("*", "").split(",")
                inputs = {name.partition("=")[0].strip(): plain(arg) for name, arg in zip(names, args, strict=False)}
                raise NonFiniteError(
                    f"{name_of(node)} {line_of(node)} made {_told(*found, inputs)}, in the forward pass"
                )

    def pushed(self, node: Node, tangent: Any, tangents: Sequence[Any]) -> None:
        """Look at a tangent of forward mode."""
        if found := _made(node, [tangent], [tangents, node.saved]):
            raise NonFiniteError(
                f"the tangent of {name_of(node)} {line_of(node)} has {_told(*found, {})}, in forward mode"
            )

    def around(self, node: Node, pulls: Sequence[Pull], order: int) -> Sequence[Pull]:
        """Look at what each rule returns."""
        return [functools.partial(_looked_at, pull, node, order) for pull in pulls]


def _looked_at(pull: Pull, node: Node, order: int, g: Any, saved: Any) -> Any:
    pulled = pull(g, saved)
    if found := _made(node, [pulled], [g, node.saved]):
        names = {name: value for name, value in zip(node.op.saves, node.saved, strict=True) if value is not None}
        inputs = {"the cotangent g": plain(g), **names}
        raise NonFiniteError(
            f"the rule of {name_of(node)} {line_of(node)} made {_told(*found, inputs)}, in the backward pass "
            f"of order {order}"
        )
    return pulled


def _made(node: Node, outputs: Iterable[Any], inputs: Any) -> tuple[str, torch.Tensor] | None:
    """What is not finite in `outputs`, and was in `inputs`: what it is, and where in the first of them that has it.

    Entry by entry where the op works so: a NaN in one entry then hides none in another.
    """
    for output in _tensors(outputs):
        if not output.isfinite().all():
            given = [*_tensors(inputs)]
            given += [output.new_tensor(each) for each in optree.tree_leaves(inputs) if isinstance(each, float)]
            for what, bad, excused in (
                ("a NaN", output.isnan(), [each.isnan() for each in given]),
                ("an infinity", output.isinf(), [~each.isfinite() for each in given]),
            ):
                for each in excused:
                    fits = node.op.elementwise and each.shape == output.shape[output.ndim - each.ndim :]
                    bad = bad & ~(each if fits else each.any())
                if bad.any():
                    return what, bad
    return None


def _tensors(nest: Any) -> Iterable[torch.Tensor]:
    """The floating point and complex tensors in a nest of values; what torch.vmap runs on, of all rows."""
    leaves: list[Any] = optree.tree_leaves(nest)
    for leaf in leaves:
        data = plain(leaf)
        for each in getattr(data, "by_place", {0: data}).values():  # the cotangents of several outputs
            value = plain(each)
            if isinstance(value, torch.Tensor) and (value.is_floating_point() or value.is_complex()):
                while functorch.is_batchedtensor(value):
                    value = functorch.get_unwrapped(value)
                yield value


def _told(what: str, where: torch.Tensor, inputs: dict[str, Any]) -> str:
    """Such as `a NaN in 1 of 4 entries: [2], where input is -1`."""
    places = where.nonzero().tolist()
    entries = ""
    if where.ndim:
        shown = ", ".join(map(str, places[:_SHOWN])) + ", ..." * (len(places) > _SHOWN)
        entries = f" in {len(places)} of {where.numel()} entries: {shown}"
    first = tuple(places[0])
    values = [f"{name} is {_at(value, where.shape, first)}" for name, value in inputs.items()
              if isinstance(value, torch.Tensor | float)]  # fmt: skip
    return f"{what}{entries}" + (f", where {' and '.join(values)}" if values else "")


def _at(value: Any, shape: torch.Size, place: tuple[int, ...]) -> str:
    """The entry of an operand that takes part in the one at `place` of an output, or what is known of all of it."""
    if not isinstance(value, torch.Tensor):
        return str(value)
    (value,) = [*_tensors([value])] or [value]
    try:
        return f"{value.expand(shape)[place].item():.6g}"
    except (RuntimeError, TypeError, ValueError):  # it is of another shape
        if not value.numel():
            return "empty"
        return f"of shape {tuple(value.shape)}, from {value.min().item():.6g} to {value.max().item():.6g}"
