"""Functions of torch's lower level, and what is made of them: against torch.autograd, to second order."""

import pytest
import torch
from expressions import bent, cases
from oracle import agree, by_tensorad, by_torch, rand

import tensorad as ts

aten = torch.ops.aten
I = torch.tensor([2, 0, 2])  # noqa: E741
M = torch.tensor([True, False, True])
NAMES = {"aten": aten, "I": I, "M": M}

ROWS = """
torch.alias_copy(x)                                         | 2,3 ;
torch.as_strided_copy(x, (2, 2), (1, 2), 1)                 | 2,3
torch.diagonal_copy(x, 1, -1, 0)                            | 2,3 ; 2,3,3
torch.expand_copy(x, (2, 3)).view(-1)                       | 3 ; 2,1 ;
torch.narrow_copy(x, 1, 1, 2)                               | 2,3
x.narrow_copy(0, 0, 1)                                      | 2,3
torch.permute_copy(x, (1, 0)).view(-1)                      | 2,3
torch.select_copy(x, 1, 0)                                  | 2,3
torch.slice_copy(x, 1, 0, None, 2)                          | 2,3
torch.split_copy(x, 2, 1)                                   | 2,3
torch.split_with_sizes_copy(x, [1, 2], dim=1)               | 2,3
torch.squeeze_copy(x)                                       | 2,1,3
torch.squeeze_copy(x, 1)                                    | 2,1,3
torch.t_copy(x)                                             | 2,3
torch.transpose_copy(x, 0, 1)                               | 2,3
torch.unbind_copy(x, 1)                                     | 2,3
torch.unfold_copy(x, 0, 2, 1)                               | 3,2
torch.unsqueeze_copy(x, 1)                                  | 2,3
torch.view_copy(x, (3, 2))                                  | 2,3
torch.unsafe_split(x, 2, 1)                                 | 2,3
x.unsafe_split(1)                                           | 2,3
torch.unsafe_chunk(x, 2, dim=1)                             | 2,3
torch.unsafe_split_with_sizes(x, [1, 2], 1)                 | 2,3
torch.fill(x, 3.0)                                          | 2,3
torch.fill(x, y)                                            | 2,3 &
aten.slice(x, 1, -2, 9223372036854775807, 1)                | 2,3 ; 2,3,2
aten.slice.Tensor(x, 0, 1)                                  | 2,3
aten.index(x, [None, I])                                    | 2,3
aten._unsafe_index(x, [I, None, I])                         | 3,2,3
aten.index_put(x, [None, I[:2]], y)                         | 2,3 & 2,2 ; 2,3 & 2
aten.index_put(x, [None, I], y, True)                       | 2,3 & 2,3 ; 2,3 & 3
torch._unsafe_index_put(x, [I], y, True)                    | 3,2 & 3,2
torch._unsafe_masked_index(x, M, [I * 4], 7.0)              | 3
aten._unsafe_masked_index(x, M, [None, I * 4], 7.0)         | 2,3
torch._unsafe_masked_index_put_accumulate(x, M, [I * 4], y) | 3 & 3
aten.zero(x) + x                                            | 2,3
aten._to_copy(x, dtype=torch.float32)                       | 2,3
aten._unsafe_view(x, (3, 2))                                | 2,3
aten._reshape_alias(x, (3, 2), (2, 1))                      | 2,3
aten.lift_fresh(x)                                          | 2,3
aten.lift_fresh_copy(x)                                     | 2,3
aten.reflection_pad1d(x, (1, 2))                            | 2,3
aten.replication_pad2d(x, (1, 2, 1, 0))                     | 1,2,3
torch.trapz(x)                                              | 3 ; 2,3
torch.trapz(x, dx=0.5, dim=0)                               | 2,3
torch.trapezoid(x, y)                                       | 2,3 & 3 ; 2,3 & 2,3
torch.cumulative_trapezoid(x)                               | 2,3
torch.cumulative_trapezoid(x, y)                            | 2,3 & 3
torch.gradient(x)                                           | 4 ; 3,4
torch.gradient(x, spacing=0.5, dim=1, edge_order=2)         | 3,4
torch.gradient(x, spacing=(torch.tensor([0., 1., 3., 4.]),), dim=-1) | 4 ; 3,4
"""


@pytest.mark.parametrize(("expression", "shapes"), cases(ROWS))
def test_rows(expression: str, shapes: list[tuple[int, ...]]) -> None:
    arguments = [rand(*shape, seed=seed) for seed, shape in enumerate(shapes)]
    agree(bent(expression, "xy"[: len(shapes)], **NAMES), *arguments)


COMPLEX = """
torch.view_as_real_copy(x)                                  | 2,3
torch.cov(x)                                                | 2,3
"""


@pytest.mark.parametrize(("expression", "shapes"), cases(COMPLEX))
def test_complex_rows(expression: str, shapes: list[tuple[int, ...]]) -> None:
    arguments = [rand(*shape, seed=seed, dtype=torch.complex128) for seed, shape in enumerate(shapes)]
    agree(bent(expression, "xy"[: len(shapes)]), *arguments)


def test_copies_that_torch_does_not_differentiate() -> None:
    x, y = rand(2, 3), rand(3, seed=1)
    pairs = [
        (lambda x, y: aten.copy(x, y).sin() * x, lambda x, y: y.expand(2, 3).sin() * x),
        (lambda x, y: aten.detach_copy(x) * x * y, lambda x, y: x.detach() * x * y),
        (lambda x, y: torch._conj_copy(x * 1j).sin(), lambda x, y: (x * 1j).conj().sin()),
        (
            lambda x, y: torch.view_as_complex_copy(x[:, :2] * 1).sin(),
            lambda x, y: torch.view_as_complex(x[:, :2] * 1).sin(),
        ),
    ]
    for ours, theirs in pairs:
        torch.testing.assert_close(by_tensorad(ours, [x, y], order=2), by_torch(theirs, [x, y], order=2))


def test_a_copy_has_memory_of_its_own() -> None:
    x = ts.tensor([1.0, 2.0])
    assert torch.view_copy(x, (2, 1)).data.data_ptr() != x.data.data_ptr()


def test_bits_are_not_read_as_other_numbers() -> None:
    with pytest.raises(ts.NoRuleError, match="bits"):
        torch.view_copy(ts.ones(2, dtype=torch.float64), torch.float32)


@pytest.mark.filterwarnings("ignore:Sparse CSR")
def test_a_sparse_tensor_is_not_taken_to_pieces() -> None:
    x = ts.tensor(torch.eye(2).to_sparse_csr())
    with pytest.raises(ts.NoRuleError, match="sparse"):
        torch.sparse.sampled_addmm(x, torch.ones(2, 2), torch.ones(2, 2))


def test_drawn_from_a_distribution() -> None:
    x = ts.ones(3)
    with ts.Grad() as g:
        for y in (torch.normal(x, 1.0), torch.normal(0.0, x), torch.normal(x, x), torch.poisson(x)):
            assert y.shape == (3,)
            assert g.gradient(y.sum(), x, unconnected="none") is None


MASKED = "sum mean prod amax amin median norm std var softmax log_softmax softmin logsumexp cumsum cumprod normalize"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MASKED.split())
def test_masked_reductions(name: str) -> None:
    function = getattr(torch.masked, name)
    first = {"norm": (2.0, 1), "normalize": (2.0, 1)}.get(name, (1,))
    mask = torch.tensor([[True, False, True], [True, True, True]])
    agree(lambda x: function(x, *first, mask=mask).sin(), rand(2, 3))


def test_masked_logaddexp() -> None:
    """Where torch's second order is a number, ours is that; elsewhere it is NaN, and ours is 0."""
    function = lambda x, y: torch.masked.logaddexp(x, y, input_mask=M, other_mask=torch.tensor([True, True, False]))  # noqa: E731
    arguments = rand(3), rand(3, seed=1)
    _, ours = by_tensorad(function, arguments, order=2)
    _, theirs = by_torch(function, arguments, order=2)
    torch.testing.assert_close(ours[0], theirs[0])
    for mine, torchs in zip(ours[1], theirs[1], strict=True):
        torch.testing.assert_close(mine, torchs.nan_to_num(0))
