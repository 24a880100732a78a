"""Indexing, assignment, gather and scatter, masks: against torch.autograd, to second order."""

import numpy as np
import pytest
import torch
from expressions import bent, cases
from oracle import agree, by_tensorad, rand, slope

import tensorad as ts

I = torch.tensor([2, 0, 2])  # places, one of them twice  # noqa: E741
P = torch.tensor([1, 0])  # places, each once
J = torch.tensor([[0, -1], [1, 0]])
K = torch.tensor([[0, 1, 1], [1, 0, 1]])  # a place in dimension 0 for each element of a (2, 3)
M = torch.tensor([True, False, True])
MM = torch.tensor([[True, False, True], [False, False, True]])
NAMES = {"I": I, "P": P, "J": J, "K": K, "M": M, "MM": MM, "np": np}


def put(x, index, value):
    """`x[index] = value` as an expression, for Tensors and torch tensors alike."""
    x = x.clone()
    x[index] = value
    return x


ROWS = """
x[0]                                                    | 3 ; 3,2 ; 2,0
x[-1]                                                   | 3 ; 3,2
x[1:]                                                   | 3 ; 3,2
x[::2]                                                  | 3,2 ; 0,2
x[5:]                                                   | 3,2
x[:, 0]                                                 | 3,2 ; 3,2,2
x[..., -1]                                              | 3 ; 3,2,2
x[0, ..., 1]                                            | 3,2 ; 3,2,2
x[None]                                                 | 3,2 ;
x[:, None, 1:, None]                                    | 3,2
x[...]                                                  | 3,2 ;
x[()]                                                   | 3,2 ;
x[1, 0]                                                 | 3,2
x[1][0]                                                 | 3,2
x[np.int64(1), 0]                                       | 3,2
x[torch.tensor(1)]                                      | 3,2
x[0, torch.tensor(-1)]                                  | 3,2 ; 3,2,2
x[True]                                                 | 3,2 ;
x[False]                                                | 3
x[torch.tensor(True)]                                   | 3
x[True, I]                                              | 3,2
x[I, torch.tensor(True)]                                | 3,2
x[I]                                                    | 3 ; 3,2 ; 4,2,2 ; 3,0
x[J]                                                    | 3 ; 3,2
x[I, P[I // 2]]                                         | 3,2 ; 3,2,2
x[:, I]                                                 | 2,3 ; 2,3,2
x[..., I]                                               | 3 ; 2,3 ; 2,2,3
x[1, :, I]                                              | 2,2,3
x[:, 1, I]                                              | 2,2,3
x[I, :, P[I // 2]]                                      | 3,2,2
x[I, None, 1:]                                          | 3,2
x[None, I, ..., None, 0]                                | 3,2 ; 3,2,2
x[J[:, :1], I]                                          | 2,3 ; 2,3,2
x[torch.tensor([], dtype=torch.long)]                   | 3 ; 3,2
x[[]]                                                   | 3,2
x[:, []]                                                | 3,2
x[(0, 0, 1),]                                           | 3,2
x[:, (1, 1)]                                            | 3,2
x[range(2)]                                             | 3,2
x[[0, 0, 1]]                                            | 3 ; 3,2
x[:, [1, 0]]                                            | 3,2
x[[0, 2], [1, 1]]                                       | 3,2
x[:, [[0, 1], [1, 1]]]                                  | 3,2
x[[True, False, True]]                                  | 3,2
x[1, [True, False]]                                     | 3,2
x[np.array([0, 0, 2])]                                  | 3,2
x[:, np.array([True, False])]                           | 3,2
x[M]                                                    | 3 ; 3,2
x[~M & M]                                               | 3,2
x[MM]                                                   | 2,3 ; 2,3,2
x[:, MM]                                                | 2,2,3
x[..., M]                                               | 2,3 ; 3
x[P, M[:2]]                                             | 2,2
x[:, M, 0]                                              | 2,3,2
x[MM, [0, 0, 1]]                                        | 2,3,2
x[M, :, I[:2]]                                          | 3,2,3
x[I, ..., MM]                                           | 3,2,2,3
[row * 2 for row in x]                                  | 3,2 ; 3
put(x, 0, y)                                            | 3 &  ; 3,2 & 2 ; 3,2 & 1 ; 3,2 & 1,2 ; 3,2 &
put(x, slice(1, None), y)                               | 3,2 & 2,2 ; 3,2 & 2 ; 3,2 & 1,1,2,2
put(x, (slice(None), 0), y)                             | 3,2 & 3 ; 3,2 & 1
put(x, (..., None, 1), y)                               | 3,2 & 3,1
put(x, ..., y)                                          | 3,2 & 2
put(x, P, y)                                            | 3 & 2 ; 3,2 & 2,2 ; 3,2 & 2,1
put(x, [2, 0], y)                                       | 3,2 & 2
put(x, (slice(None), P), y)                             | 3,2 & 3,2
put(x, (P, P), y)                                       | 3,2 & 2 ; 3,2 &
put(x, M, y)                                            | 3 & 2 ; 3 & ; 3,2 & 2,2
put(x, MM, y)                                           | 2,3 & 3 ; 2,3 &
put(x, (slice(None), M), 7.5)                           | 2,3
put(torch.zeros(3, dtype=torch.float64) + 0 * x[0], 1, x[1]) | 3
x.index_put((P,), y)                                    | 3 & 2 ; 3,2 & 2,2 ; 3,2 & 2
torch.index_put(x, (I,), y, accumulate=True)            | 3 & 3 ; 3,2 & 2
torch.index_put(x, indices=(MM,), values=y)             | 2,3 & 3
torch.index_select(x, 0, I)                             | 3 ; 3,2
x.index_select(dim=-1, index=I)                         | 2,3
x.index_select(1, I)                                    | 0,3
x.index_select(0, torch.tensor(0))                      |  ; 3,2
torch.index_add(x, 0, I, y)                             | 3 & 3 ; 3,2 & 3,2
x.index_add(-1, I, y, alpha=2)                          | 2,3 & 2,3
x.index_add(0, torch.tensor(0), y)                      |  &
torch.index_add(x, axis=0, index=I, source=y)           | 3,2 & 3,2
torch.index_copy(x, 0, P, y)                            | 3,2 & 2,2
x.index_copy(1, P, y)                                   | 3,2 & 3,2
torch.index_fill(x, 0, I, 2.5)                          | 3,2
x.index_fill(1, I, y)                                   | 2,3 &
torch.select_scatter(x, y, 0, 1)                        | 3,2 & 2
x.select_scatter(y, dim=-1, index=-1)                   | 3,2 & 3
torch.slice_scatter(x, y, start=1)                      | 3,2 & 2,2
x.slice_scatter(y, 1, 0, 4, 2)                          | 2,5 & 2,2
torch.diagonal_scatter(x, y)                            | 3,3 & 3 ; 2,3 & 2
x.diagonal_scatter(y, -1, dim1=2, dim2=0)               | 3,2,3 & 2,2
torch.gather(x, 0, K)                                   | 2,3 ; 3,4
x.gather(dim=-1, index=K)                               | 2,3 ; 4,2
x.gather(0, K[:0])                                      | 2,3
x.gather(0, torch.tensor(0))                            |
torch.scatter_add(x, 0, K, y)                           | 2,3 & 2,3 ; 2,4 & 2,3
x.scatter_add(1, K, y)                                  | 2,3 & 2,3
torch.scatter(x, 1, K[:, :2], y)                        | 2,3 & 2,2
x.scatter(0, K, 2.5)                                    | 2,3
torch.scatter(x, 0, K, value=2.5)                       | 2,3
torch.scatter(x, dim=0, index=P[None], src=y)           | 2,3 & 1,2
torch.scatter_reduce(x, 0, K, y, "sum")                 | 2,3 & 2,3
x.scatter_reduce(0, K, y, "sum", include_self=False)    | 3,3 & 2,3
x.scatter_reduce(1, K, src=y, reduce="mean")            | 2,3 & 2,3
x.scatter_reduce(0, K, y, "mean", include_self=False)   | 3,3 & 2,3
x.scatter_reduce(0, K, y, reduce="amax")                | 3,3 & 2,3
x.scatter_reduce(1, K, y, "amin", include_self=False)   | 2,3 & 2,3
torch.as_strided(x, (3, 2), (1, 2))                     | 6 ; 2,3
x.as_strided((2, 2), (1, 1), 1)                         | 4
torch.take(x, I)                                        | 3 ; 3,2
x.take(J)                                               | 3,2
x.put(I, y, accumulate=True)                            | 3,2 & 3
x.put(P, y)                                             | 3 & 2 ; 3,2 & 2 ; 3,2 & 2,1
torch.take_along_dim(x, K, dim=0)                       | 2,3 ; 2,1
x.take_along_dim(x.argsort(1), -1)                      | 2,3
torch.take_along_dim(x, K - 1, dim=0)                   | 2,3
torch.take_along_dim(x, K)                              | 3,2
x.take_along_dim(indices=J[:, :1], dim=1)               | 2,3
torch.masked_fill(x, MM, 2.5)                           | 2,3 ; 3 ;
x.masked_fill(M, y)                                     | 2,3 &
x.masked_fill(mask=MM, value=-1)                        | 2,3
torch.masked_select(x, MM)                              | 2,3 ; 3 ; 2,1 ; 2,2,3
x.masked_select(M)                                      | 2,3 ; 0,3
torch.masked_scatter(x, MM, y)                          | 2,3 & 3 ; 2,3 & 2,4 ; 3 & 5
x.masked_scatter(M, y)                                  | 2,3 & 4
"""


@pytest.mark.parametrize(("expression", "sizes"), cases(ROWS))
def test_agrees_with_torch(expression, sizes):
    arguments = [rand(*size, seed=seed) for seed, size in enumerate(sizes)]
    agree(bent(expression, "xyz"[: len(sizes)], put=put, **NAMES), *arguments)


COMPLEX_ROWS = """
x[0, 1:]                          | 2,3
x[I % 2]                          | 2,3
put(x, 0, y)                      | 2,3 & 3
put(x, 0, y.real)                 | 2,3 & 3
x.gather(0, K)                    | 2,3
x.scatter_add(0, K, y)            | 2,3 & 2,3
x.masked_fill(MM, 1j)             | 2,3
x[MM]                             | 2,3
"""


@pytest.mark.parametrize(("expression", "sizes"), cases(COMPLEX_ROWS))
def test_complex_agrees_with_torch(expression, sizes):
    arguments = [torch.complex(rand(*size, seed=seed), rand(*size, seed=9)) for seed, size in enumerate(sizes)]
    agree(bent(expression, "xyz"[: len(sizes)], put=put, **NAMES), *arguments)


@pytest.mark.parametrize(
    "expression",
    ["x[1:, ..., 0]", "x[I]", "x[:, [1, 1]]", "x[MM.T]", "put(x, 1, x[0])", "x.gather(1, K.T)", "x.take(J)",
     "x.masked_select(MM.T)", "x.index_select(0, I)", "x.scatter(0, K[:, :2], x[:2])"],
)  # fmt: skip
def test_third_order(expression):
    agree(bent(expression, "x", put=put, **NAMES), rand(3, 2), order=3)


@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")
@pytest.mark.parametrize("index", [[[0, 1], [1, 0]], [[0, 1, 0]], [torch.tensor([0, 0]), torch.tensor([1, 1])]])
def test_lists_that_torch_may_read_as_tuples(index):
    agree(lambda x: x[index].sin(), rand(3, 2))


INDICES = {
    "int": lambda: ts.tensor(1),
    "places": lambda: ts.tensor([2, 0, 2]),
    "mask": lambda: ts.tensor([True, False, True]),
    "in a tuple": lambda: (ts.tensor([0, 1]), ts.tensor(1)),
    "in a list": lambda: [ts.tensor(0), ts.tensor(1)],
    "in a slice": lambda: slice(ts.tensor(1), ts.tensor(3)),
    "slices and places": lambda: (slice(ts.tensor(1), None), ts.tensor([0, 0])),
}


@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")
@pytest.mark.parametrize("name", INDICES)
def test_indices_that_are_tensors(name):
    index = INDICES[name]()
    x = ts.tensor(rand(3, 2))
    with ts.Grad() as g:
        y = x[index] * x[index]
    raw = x.data.clone().requires_grad_()
    torch_index = {"in a tuple": (torch.tensor([0, 1]), 1), "in a slice": slice(1, 3)}
    torch_index |= {"in a list": [torch.tensor(0), torch.tensor(1)], "slices and places": (slice(1, None), [0, 0])}
    picked = raw[torch_index[name] if name in torch_index else index.data]  # noqa: SIM401 - not each has data
    assert y.data.equal(picked.detach() * picked.detach())
    (expected,) = torch.autograd.grad((picked * picked).sum(), raw)
    torch.testing.assert_close(g.gradient(y, x).data, expected)


@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")  # torch takes a Tensor for a list before it asks us
def test_a_torch_tensor_indexed_by_a_tensor():
    raw = torch.tensor([1.0, 2.0, 3.0])
    x = ts.tensor([1.0, 2.0])
    with ts.Grad() as g:
        y = raw[ts.tensor([2, 0])] * x * raw[:2][x > 1]
    assert y.tolist() == [6, 4]
    assert g.gradient(y, x).tolist() == [6, 2]


def test_a_negative_step_is_torchs_error():
    with pytest.raises(ValueError, match="step"):
        ts.ones(3)[::-1]


def test_an_index_out_of_bounds_is_torchs_error():
    for index in (3, (0, 0), torch.tensor([4])):
        with pytest.raises(IndexError):
            ts.ones(3)[index]


def test_a_list_changed_later_does_not_matter():
    index = [0, 1]
    x = ts.tensor([1.0, 2.0, 3.0])
    with ts.Grad() as g:
        y = x[index]
    index[1] = 2
    assert g.gradient(y, x).tolist() == [1, 1, 0]


def test_an_index_tensor_changed_later_is_noticed():
    index = torch.tensor([0, 1])
    x = ts.tensor([1.0, 2.0, 3.0])
    with ts.Grad() as g:
        y = x[index]
    index[1] = 2
    with pytest.raises(ts.MutationError):
        g.gradient(y, x)


def test_rows_one_at_a_time():
    x = ts.tensor(torch.ones(2000, 3))
    with ts.Grad() as g:
        total = 0.0
        for number in range(len(x)):
            total = total + x[number] * number
    assert g.gradient(total, x)[:, 0].tolist() == list(range(2000))


def test_assignment_to_zeros():
    x = ts.tensor(5.0)
    with ts.Grad() as g:
        b = ts.zeros(3)
        b[0] = x
    assert b.tolist() == [5, 0, 0]
    assert g.gradient(b, x).tolist() == 1


def test_assignment_makes_a_new_value():
    x = ts.tensor([1.0, 2.0, 3.0])
    with ts.Grad() as g:
        b = x * 2
        before = b * b
        b[1] = b[0] * b[2]
        after = b * 1
    assert before.tolist() == [4, 16, 36]
    assert after.tolist() == [2, 12, 6]
    assert g.gradient(before, x).tolist() == [8, 16, 24]
    assert g.gradient(after, x).tolist() == [2 + 12, 0, 2 + 4]


def test_assignment_does_not_reach_the_data():
    data = torch.ones(3)
    x = ts.tensor(data)
    held = x.data
    x[0] = 5.0
    assert held.tolist() == [1, 1, 1]
    assert x.tolist() == [5, 1, 1]


def test_augmented_assignment_to_a_part():
    x = ts.tensor([1.0, 2.0])
    with ts.Grad() as g:
        b = ts.ones(2, 2)
        b[0] += x
        b[:, 1] *= x
    assert b.tolist() == [[2, 3], [1, 2]]
    assert g.gradient(b, x).tolist() == [1 + 3, 1 + 1]


def test_assignment_with_masks_and_places():
    x = ts.tensor([1.0, -2.0, 3.0])
    with ts.Grad() as g:
        b = x * 1
        b[b < 0] = 0.0
        b[[0, 2]] = b[[2, 0]] * 10
        b[ts.tensor([1])] = x[:1]
    assert b.tolist() == [30, 1, 10]
    assert g.gradient(b, x).tolist() == [11, 0, 10]


def test_assignment_in_a_loop():
    x = ts.tensor(0.5, dtype=ts.float64)
    with ts.Grad() as g2:
        with ts.Grad() as g1:
            b = ts.ones(6, dtype=ts.float64)
            for place in range(1, 6):
                b[place] = b[place - 1] * x
            last = b[5]
        first = g1.gradient(last, x)
    torch.testing.assert_close(first.data, torch.tensor(5 * 0.5**4, dtype=torch.float64))
    torch.testing.assert_close(g2.gradient(first, x).data, torch.tensor(20 * 0.5**3, dtype=torch.float64))


def test_assignment_converts_the_value():
    x = ts.tensor(2.5, dtype=ts.float64)
    with ts.Grad() as g:
        b = ts.zeros(2)
        b[0] = x
        c = ts.zeros(2, dtype=ts.int64)
        c[0] = x
    assert (b.dtype, c.tolist(), c.node) == (torch.float32, [2, 0], None)
    assert g.gradient(b, x).item() == 1
    assert g.gradient(b, x).dtype == torch.float64


def test_assignment_of_a_wrong_shape_is_torchs_error():
    b = ts.zeros(3)
    with pytest.raises(RuntimeError):
        b[:2] = ts.ones(3)


def test_a_source_larger_than_its_index():
    # torch computes the value and refuses the gradient; the part that is not used gets zeros.
    index = torch.tensor([[1, 0]])
    x, y = ts.tensor([[1.0, 2.0], [3.0, 4.0]]), ts.tensor([[5.0, 6.0, 7.0], [8.0, 9.0, 10.0]])
    for function in (torch.scatter_add, torch.scatter):
        with ts.Grad() as g:
            z = function(x, 0, index, y)
        assert g.gradient(z, y).tolist() == [[1, 1, 0], [0, 0, 0]]
        assert g.gradient(z, x).tolist() == ([[1, 1], [1, 1]] if function is torch.scatter_add else [[1, 0], [0, 1]])


def test_scatter_with_reduce():
    x, y = ts.tensor([1.0, 2.0]), ts.tensor([3.0, 4.0])
    index = torch.tensor([1, 1])
    with ts.Grad() as g:
        z = x.scatter(0, index, y, reduce="add")
        w = torch.scatter(x, 0, index, 5.0, reduce="add")
    assert (z.tolist(), w.tolist()) == ([1, 9], [1, 12])
    assert [each.tolist() for each in g.gradient(z, [x, y])] == [[1, 1], [1, 1]]
    assert g.gradient(w, x).tolist() == [1, 1]


def test_scatter_reduce_splits_ties():
    x, y = ts.tensor([3.0, 2.0]), ts.tensor([3.0, 3.0, 1.0])
    with ts.Grad() as g:
        z = x.scatter_reduce(0, torch.tensor([0, 0, 1]), y, "amax")
    dx, dy = g.gradient(z, [x, y])
    assert z.tolist() == [3, 2]
    torch.testing.assert_close(dx.data, torch.tensor([1 / 3, 1]))
    torch.testing.assert_close(dy.data, torch.tensor([1 / 3, 1 / 3, 0]))


def test_as_strided_needs_a_contiguous_tensor():
    with pytest.raises(ts.NoRuleError, match="contiguous"):
        ts.ones(2, 3).T.as_strided((2,), (1,))


def test_as_strided_scatter():
    """Against finite differences: torch gives the input the cotangent of just what was written over."""
    x, y = rand(3, 3), rand(2, 2, seed=1)
    directions = [rand(3, 3, seed=2), rand(2, 2, seed=3)]
    function = bent("torch.as_strided_scatter(x, y, (2, 2), (1, 2), 1)", "xy")
    _, [gradients] = by_tensorad(function, [x, y])
    found = sum((g * d).sum().item() for g, d in zip(gradients, directions, strict=True))
    assert found == pytest.approx(slope(function, [x, y], directions), rel=1e-6)


def test_a_value_filled_in_twice_at_one_place():
    """Once as 2 and once as -1, at which torch's own gradient fails."""
    x, value = ts.ones(3), ts.tensor(5.0)
    with ts.Grad() as g:
        y = x.index_fill(0, torch.tensor([-1, 2, 0]), value)
    assert y.tolist() == [5, 1, 5]
    assert [each.tolist() for each in g.gradient(y, [x, value])] == [[0, 1, 0], 2]


def test_overlapping_windows_with_as_strided():
    x = ts.tensor([1.0, 2.0, 3.0, 4.0])
    with ts.Grad() as g:
        windows = x[1:].as_strided((2, 2), (1, 1))
    assert windows.tolist() == [[2, 3], [3, 4]]
    assert g.gradient(windows, x).tolist() == [0, 1, 2, 1]


def test_where_of_a_condition_alone_gives_places():
    (places,) = torch.where(ts.tensor([1.0, -1.0, 2.0]) > 0)
    assert places.tolist() == [0, 2]


def test_saved_for_indexing_is_the_index_not_the_tensor():
    x = ts.tensor(torch.ones(10, 10))
    with ts.Grad():
        for y in (x[0], x[:, 1:3], x[[0, 1]], x.select(0, 1), x.narrow(0, 1, 2), x.reshape(-1), x.permute(1, 0)):
            tensors = [value for value in y.node.saved if isinstance(value, torch.Tensor) and value.ndim > 1]
            assert not tensors, y.node
