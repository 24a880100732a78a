"""Forward mode: tangents beside the values, from the rules by transposing them, with no graph kept."""

from typing import Any

import pytest
import torch
from oracle import rand

import tensorad as ts


@pytest.mark.parametrize("transform", [ts.jvp, lambda f, primals, tangents: ts.linearize(f, *primals)[1](*tangents)])
def test_under_no_grad_rules_are_transposed_all_the_same(transform: Any) -> None:
    x, w, t = rand(2, 3), rand(3, 3, seed=1), rand(2, 3, seed=2)
    with torch.no_grad():
        found = transform(lambda x: x @ w, (x,), (t,))
    torch.testing.assert_close((found[1] if isinstance(found, tuple) else found).data, t @ w)


def test_a_segment_that_its_initial_value_takes_has_tangent_zero() -> None:
    def largest(x: Any) -> Any:
        return torch.segment_reduce(x, "max", lengths=torch.tensor([2, 1]), initial=1.0)

    out, tangent = ts.jvp(largest, (torch.tensor([-5.0, -7.0, 3.0]),), (torch.ones(3),))
    assert (out.tolist(), tangent.tolist()) == ([1, 3], [0, 1])
