"""Values in one line: the numbers themselves where they are few, what they are like where they are many."""

from collections.abc import Iterable
from typing import Any

import torch

from tensorad.several import Parts, Shapes
from tensorad.tensor import Tensor

FEW = 8  # entries that are written out


def number(value: complex) -> str:
    """Six significant digits, and no sign for zero."""
    return f"{value + 0.0:.6g}" if isinstance(value, float | complex) else str(value)


def printable(text: str) -> str:
    """Text without what would move a cursor, end a line, or not fit into a file."""
    return "".join(each if each.isprintable() else "�" for each in text)


def shortened(text: str, most: int, end: int) -> str:
    """At most so many letters of a text: of more, the middle is left out, and so many are left at its end."""
    return text if len(text) <= most else f"{text[: most - end - 1]}…{text[-end:]}"


def factor(text: str) -> str:
    """A number as a factor: a negative one in brackets."""
    return f"({text})" if text.startswith("-") else text


def shown(value: Any) -> str:
    """A tensor in one line, or the tensors that an op with several outputs has; their cotangents too."""
    if isinstance(value, Parts):
        return "; ".join(f"{place}: {shown(each)}" for place, each in sorted(value.by_place.items()))
    if isinstance(value, list | tuple):
        return "; ".join([shown(each) if each is not None else "nothing" for each in value])  # pyright: ignore[reportUnknownVariableType]
    data = value.data if isinstance(value, Tensor) else value
    if data.is_meta or data.is_quantized or data.layout != torch.strided:
        return f"{shape_of(data)} {str(data.layout).removeprefix('torch.')}".strip()
    if data.numel() <= FEW and data.ndim <= 2:
        return written(data)
    return f"{shape_of(data)}, {_described(data)}"


def written(data: torch.Tensor) -> str:
    """All entries, as nested lists: what `tensorad.tensor` takes."""

    def text(nest: Any) -> str:
        return f"[{', '.join(map(text, nest))}]" if isinstance(nest, list) else number(nest)

    return text(data.detach().tolist())


def _described(data: torch.Tensor) -> str:
    """The smallest entry, the largest and the mean; of complex numbers, their sizes; and how many are not finite."""
    if not data.numel():
        return "empty"
    if not (data.is_floating_point() or data.is_complex()):
        return f"{number(data.min().item())} … {number(data.max().item())}"
    finite = data[data.isfinite()]
    strange = data.numel() - finite.numel()
    words = f", {strange} not finite" * (strange > 0)
    if not finite.numel():
        return words.removeprefix(", ")
    sizes, name = (finite.abs(), "sizes ") if data.is_complex() else (finite, "")
    low, high, mean = sizes.min().item(), sizes.max().item(), sizes.double().mean().item()
    low, high, mean = (f"{each + 0.0:.4g}" for each in (low, high, mean))  # zero has no sign
    return f"{name}all {low}{words}" if low == high else f"{name}{low} … {high}, mean {mean}{words}"


def shape_of(value: Any) -> str:
    """Such as `(2, 3)`; of several outputs, the shapes of all."""
    shape = getattr(value, "shape", value)
    if isinstance(value, list | tuple) and not isinstance(value, torch.Size | Shapes):
        shape = Shapes([each.shape for each in _present(value)])  # pyright: ignore[reportUnknownArgumentType]
    return ", ".join(str(tuple(each)) for each in shape) if isinstance(shape, Shapes) else str(tuple(shape))


def _present(values: Iterable[Any]) -> list[Any]:
    return [each for each in values if each is not None]
