"""Reductions by group, against torch.autograd of the same reductions written out group by group."""

from typing import Any

import pytest
import torch
from oracle import agree, by_tensorad, by_torch, rand

import tensorad as ts

INDEX = torch.tensor([2, 0, 2, 2, 0])  # nothing goes to place 1
REDUCTIONS = ["sum", "prod", "mean", "amax", "amin"]


def same_gradients(function: Any, reference: Any, *arguments: Any) -> None:
    """That tensorad differentiates `function` as torch does `reference`, to second order."""
    values, ours = by_tensorad(function, arguments, order=2)
    expected, theirs = by_torch(reference, arguments, order=2)
    torch.testing.assert_close(values, expected)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


def written_out(reduce: str, include_self: bool) -> Any:
    """scatter_reduce along dimension 0 with INDEX, from the reductions of each place's elements."""

    def function(x: Any, source: Any) -> Any:
        rows = []
        for place, row in enumerate(x):
            members = [*source[place == INDEX]]
            members = [row, *members] if include_self or not members else members
            rows.append(getattr(torch.stack(members), reduce)(0))
        return torch.stack(rows).sin()

    return function


@pytest.mark.parametrize("reduce", REDUCTIONS)
@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("shape", [(), (2,)])
def test_scatter_reduce_and_index_reduce(reduce: str, include_self: bool, shape: Any) -> None:
    x, source = rand(3, *shape), rand(5, *shape, seed=1)
    index = INDEX.reshape(-1, *[1] * len(shape)).expand(5, *shape)
    options = {"include_self": include_self}
    reference = written_out(reduce, include_self)
    same_gradients(lambda x, s: x.scatter_reduce(0, index, s, reduce, **options).sin(), reference, x, source)
    same_gradients(lambda x, s: torch.scatter_reduce(x, 0, index, s, reduce, **options).sin(), reference, x, source)
    if reduce != "sum":
        same_gradients(lambda x, s: torch.index_reduce(x, 0, INDEX, s, reduce, **options).sin(), reference, x, source)
        moved = lambda x, s: x.mT.index_reduce(-1, INDEX, s.mT, reduce, **options).mT.sin()  # noqa: E731
        if shape:
            same_gradients(moved, reference, x, source)


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("zeros", [[0], [0, 2], [0, 2, 3], [0, 1, 2, 3, 4]])
def test_products_with_zeros(include_self: bool, zeros: list[int]) -> None:
    """Right at both orders; torch's own second order is wrong where a group has two."""
    x, source = rand(3), rand(5, seed=1)
    source[zeros] = 0
    reference = written_out("prod", include_self)
    same_gradients(
        lambda x, s: x.scatter_reduce(0, INDEX, s, "prod", include_self=include_self).sin(), reference, x, source
    )
    x[2] = 0
    same_gradients(
        lambda x, s: x.index_reduce(0, INDEX, s, "prod", include_self=include_self).sin(), reference, x, source
    )


def test_scatter_reduce_of_a_part_of_the_source() -> None:
    index = torch.tensor([[1, 0], [1, 1]])
    function = lambda x, s: x.scatter_reduce(1, index, s, "prod").sin()  # noqa: E731
    whole = lambda x, s: x.scatter_reduce(1, index, s[:2, :2], "prod").sin()  # noqa: E731
    same_gradients(function, whole, rand(2, 3), rand(3, 4, seed=1))


def test_scatter_multiplies() -> None:
    x, y = ts.tensor([1.0, 2.0]), ts.tensor([3.0, 4.0])
    with ts.Grad() as g:
        z = x.scatter(0, torch.tensor([1, 1]), y, reduce="multiply")
        w = torch.scatter(x, 0, torch.tensor([0]), 5.0, reduce="multiply")
    assert (z.tolist(), w.tolist()) == ([1, 24], [5, 2])
    assert [each.tolist() for each in g.gradient(z, [x, y])] == [[1, 12], [8, 6]]
    assert g.gradient(w, x).tolist() == [5, 1]


def test_complex_products() -> None:
    x, y = rand(3, dtype=torch.complex128), rand(5, seed=1, dtype=torch.complex128)
    same_gradients(lambda x, s: x.scatter_reduce(0, INDEX, s, "prod").sin(), written_out("prod", True), x, y)


def cut(reduce: str, lengths: list[int], initial: float | None) -> Any:
    """segment_reduce along dimension 0, from the reductions of the segments."""

    def function(data: Any) -> Any:
        rows = []
        for segment in data[: sum(lengths)].split(lengths):
            first = [] if initial is None else [torch.full_like(data[0], initial)]
            members = [*first, *segment]
            if reduce == "mean":
                rows.append(sum(members) / len(segment))
            else:
                name = {"max": "amax", "min": "amin"}.get(reduce, reduce)
                rows.append(getattr(torch.stack(members), name)(0))
        return torch.stack(rows).sin()

    return function


@pytest.mark.parametrize("reduce", ["sum", "mean", "prod", "max", "min"])
@pytest.mark.parametrize("initial", [None, 0.125])
@pytest.mark.parametrize("shape", [(), (2,)])
def test_segment_reduce(reduce: str, initial: float | None, shape: Any) -> None:
    lengths = [2, 1, 3]
    x = rand(6, *shape)
    options: Any = {"initial": initial}
    by_length = lambda x: torch.segment_reduce(x, reduce, lengths=torch.tensor(lengths), **options).sin()  # noqa: E731
    by_offset = lambda x: torch.segment_reduce(x, reduce, offsets=torch.tensor([0, 2, 3, 6]), **options).sin()  # noqa: E731
    same_gradients(by_length, cut(reduce, lengths, initial), x)
    same_gradients(by_offset, cut(reduce, lengths, initial), x)
    if reduce == "prod":
        x[1], x[3], x[4] = 0, 0, 0
        same_gradients(by_length, cut(reduce, lengths, initial), x)


def test_segments_of_each_row() -> None:
    lengths = torch.tensor([[1, 3], [2, 2]])

    def reference(x: Any) -> Any:
        return torch.stack(
            [
                torch.stack([each.prod(0) for each in row.split([*size])])
                for row, size in zip(x, lengths.tolist(), strict=True)
            ]
        ).sin()

    same_gradients(lambda x: torch.segment_reduce(x, "prod", lengths=lengths, axis=1).sin(), reference, rand(2, 4, 3))


def test_empty_segments_and_what_is_in_none() -> None:
    x = rand(4)
    agree(lambda x: torch.segment_reduce(x, "sum", lengths=torch.tensor([0, 3, 0, 1])), x, order=1)
    offsets = torch.tensor([1, 1, 3])
    agree(lambda x: torch.segment_reduce(x, "max", offsets=offsets, initial=-9.0), x, order=1)


def test_equal_extremes_of_a_segment_share() -> None:
    """Of any sign of the cotangent: torch gives each of them all of it if it is negative."""
    x = ts.tensor([2.0, 2.0, 1.0])
    with ts.Grad() as g:
        y = -torch.segment_reduce(x, "max", lengths=torch.tensor([3]))
    assert g.gradient(y, x).tolist() == [-0.5, -0.5, 0]


def test_bincount_is_linear_in_its_weights() -> None:
    places = torch.tensor([0, 2, 2, 5])
    for each in places, places.byte():
        agree_with_sums(lambda w, each=each: each.bincount(w), lambda w: sums_at(places, w, 6), rand(4))
        agree_with_sums(lambda w, each=each: torch.bincount(each, w, 9), lambda w: sums_at(places, w, 9), rand(4))
    assert ts.tensor(places).bincount().tolist() == [1, 0, 2, 0, 0, 1]


def sums_at(places: Any, weights: Any, size: int) -> Any:
    return torch.zeros(size, dtype=weights.dtype).index_add(0, places, weights)


def agree_with_sums(function: Any, reference: Any, weights: Any) -> None:
    """torch has no derivative of bincount."""
    same_gradients(lambda w: function(w).sin(), lambda w: reference(w).sin(), weights)
