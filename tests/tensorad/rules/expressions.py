"""Tables of expressions, as a user types them, each with the shapes it is to be tried on."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional


def cases(table: str) -> list[Any]:
    """The rows of a table, `expression in x, y, z | shapes of x & y & z ; other shapes`, as parameters of a test."""
    found = []
    for row in table.strip().splitlines():
        expression, _, shapes = row.partition("|")
        for case in shapes.split(";"):
            sizes = [tuple(int(n) for n in shape.split(",") if n.strip()) for shape in case.split("&")]
            found.append(pytest.param(expression.strip(), sizes, id=f"{expression.strip()} | {case.strip()}"))
    return found


def bent(expression: str, names: str = "xyz", **values: Any) -> Callable[..., list[Any]]:
    """The expression's outputs, bent by sin: a linear op alone would have nothing but zeros at second order."""
    function = eval(f"lambda {', '.join(names)}: {expression}", {"torch": torch, "functional": functional, **values})

    def apply(*arguments: Any) -> list[Any]:
        outputs = function(*arguments)
        return [output.sin() for output in (outputs if isinstance(outputs, tuple | list) else [outputs])]

    return apply
