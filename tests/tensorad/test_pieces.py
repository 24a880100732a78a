"""Functions without a rule: what torch makes them of is differentiated, and what cannot be is named."""

from typing import Any

import pytest
import torch
from oracle import agree, rand
from torch.nn import functional

import tensorad as ts
from tensorad.pieces import through_pieces
from tensorad.tensor import TABLE

COMPOSED_BY_TORCH = {
    "in C++": lambda x: torch.cov(x),
    "in C++, of many": lambda x: torch.gradient(x, spacing=0.5)[0],
    "in C++, complex": lambda x: torch.corrcoef(torch.complex(x, x.flip(0))),
    "nn.functional, in Python": lambda x: functional.interpolate(x[None], scale_factor=2.0),
    "nn.functional, two in one": lambda x: functional.adaptive_max_pool1d(x, 2, return_indices=True)[0],
    "by lists": lambda x: torch.nn.utils.rnn.pad_sequence([x[0], x[1, :2]]),
    "by masks": lambda x: torch.masked.softmax(x, 1, mask=torch.tensor([True, False, True, True])),
}


@pytest.mark.parametrize("name", COMPOSED_BY_TORCH)
def test_a_function_that_torch_composes_of_others(name: str) -> None:
    function = COMPOSED_BY_TORCH[name]

    def seeded(x: Any) -> Any:
        torch.manual_seed(0)
        return function(x)

    agree(seeded, rand(3, 4))


def change_in_place(x: Any, y: Any) -> Any:
    """As torch's C++ functions do it on results of their own."""
    total = (x * y).add_(x).mul_(3)
    return total.sigmoid_()


def cut_in_place(x: Any, y: Any) -> Any:
    total = x * y
    total[0].add_(1)
    return total


def pieces(function: Any) -> Any:
    """`function` of torch tensors, as one that Tensors go through piece by piece."""
    call = through_pieces(function)
    return lambda *args: call(*args) if any(isinstance(arg, ts.Tensor) for arg in args) else function(*args)


def test_changes_in_place_below_are_new_values() -> None:
    agree(pieces(change_in_place), rand(3, seed=1), rand(3, seed=2))


def test_a_change_in_place_of_a_view_is_refused() -> None:
    x = ts.tensor([1.0, 2.0])
    with ts.Grad(), pytest.raises(ts.NoRuleError, match="in place"):
        pieces(cut_in_place)(x, x)
    assert x.tolist() == [1.0, 2.0]


def test_the_pieces_of_a_promoting_change_keep_the_dtype() -> None:
    def function(x: Any) -> Any:
        return (x * 1).add_(x.double())

    agree(pieces(function), rand(3, dtype=torch.float32), rtol=1e-5, atol=1e-6)


def test_integers_need_no_rule() -> None:
    x = ts.tensor([3, 1, 2])
    assert torch._convert_indices_from_coo_to_csr not in TABLE
    with ts.Grad():
        out = torch._convert_indices_from_coo_to_csr(x.sort().values, 4)
    assert isinstance(out, ts.Tensor)
    assert out.tolist() == [0, 0, 1, 2, 3]


def test_queries_answer_as_torch_does() -> None:
    x = ts.tensor([1.0, 2.0])
    assert [torch.is_floating_point(x), torch.is_complex(x), torch.is_same_size(x, x)] == [True, False, True]
    assert [x.is_nested, x.is_sparse_csr] == [False, False]


def test_a_primitive_without_a_rule_is_named_with_the_function() -> None:
    x = ts.tensor([1.0, 2.0])
    with ts.Grad() as g, pytest.raises(ts.NoRuleError, match=r"torch.special.airy_ai .*aten.special_airy_ai"):
        torch.special.airy_ai(x)
    with ts.Grad() as g:
        y = x * x
    assert g.gradient(y, x).tolist() == [2.0, 4.0]


def test_torchs_errors_pass_through() -> None:
    x = ts.tensor([1.0, 2.0])
    with ts.Grad() as g:
        with pytest.raises(TypeError, match="must be int, not str"):
            torch.cov(x, correction="a")
        with pytest.raises(RuntimeError, match="fweights"):
            torch.cov(x, fweights=torch.ones(3, dtype=torch.int64))
        y = x * 3
    assert g.gradient(y, x).tolist() == [3.0, 3.0]


def test_a_user_s_row_is_used_below_too() -> None:
    def twice_the_slope(input: Any) -> Any:
        return torch.special.airy_ai(input)

    op = ts.defrule("special.airy_ai(input)", function=twice_the_slope, input=lambda g, input: 2 * g)
    try:
        x = ts.tensor([1.0])
        with ts.Grad() as g:
            y = pieces(lambda x: torch.ops.aten.special_airy_ai(x) * 3)(x)
        assert g.gradient(y, x).tolist() == [6.0]
    finally:
        for table in (TABLE, ts.op.OPS):
            for key in [key for key, value in table.items() if value is op.call]:
                del table[key]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own
def test_conjugates_in_pieces_are_no_others_than_elsewhere() -> None:
    """Where torch hands pieces on, it leaves out what makes a lazy t.conj() real; the rules that run there need it."""

    def singular_values(z: Any) -> Any:
        torch.manual_seed(0)
        return torch.svd_lowrank(z, 2)[1]

    z, t = rand(3, 3, dtype=torch.complex128), rand(3, 3, seed=1, dtype=torch.complex128)
    found = ts.jvp(singular_values, (z,), (t,))[1]
    torch.testing.assert_close(found.data, torch.func.jvp(singular_values, (z,), (t,))[1])
