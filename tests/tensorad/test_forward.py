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
