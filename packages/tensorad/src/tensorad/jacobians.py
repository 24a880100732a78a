"""Jacobians: many passes at once, each for a row or a column, batched by torch.vmap over the rules."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from tensorad.arguments import Unconnected, arranged, as_result, checked, result_for
from tensorad.batching import Row, batched
from tensorad.errors import ArgumentError, ShapeError
from tensorad.node import Node, recording
from tensorad.op import OPS
from tensorad.tensor import Tensor

if TYPE_CHECKING:
    from tensorad.grad import Grad


def jacobian(context: "Grad", target: Any, sources: Any, chunk_size: int | None) -> Any:
    """`Grad.jacobian`."""
    wanted, structure, nodes = checked(context, target, sources, None)
    return arranged(by_rows(context, target, wanted, nodes, chunk_size, None), structure, sources, None)


def batch_jacobian(context: "Grad", target: Any, sources: Any, chunk_size: int | None) -> Any:
    """`Grad.batch_jacobian`: a row for each entry of a sample of the target, with the same one in all samples."""
    wanted, structure, nodes = checked(context, target, sources, None)
    refuse_complex([target, *wanted])
    for each in (target, *wanted):
        if not each.ndim or len(each) != len(target):
            raise ShapeError(
                f"samples stand along the first dimension, and the target has shape {tuple(target.shape)}, a source "
                f"{tuple(each.shape)}: they differ in the number of samples"
            )
    node = target.node or target.leaf()
    sample = target.data.new_empty((1, *target.shape[1:]))
    found = one_by_one(lambda seed: context.cotangents(node, seed.expand(target.shape), nodes), sample, chunk_size)
    results: list[Any] = []
    for each in wanted:
        rows = found.get(each.node)
        shape = (len(target), *target.shape[1:], *each.shape[1:])
        matrix = None if rows is None else rows.movedim(0, 1).reshape(shape)
        results.append(_result(context, target, each, matrix, shape, None))
    return arranged(results, structure, sources, None)


def by_rows(
    context: "Grad", target: Tensor, sources: list[Any], nodes: set[Node], chunk_size: int | None,
    unconnected: Unconnected,
) -> list[Any]:  # fmt: skip
    """The derivative of the target by each source, backwards: a row for each entry of the target."""
    refuse_complex([target, *sources])
    node: Any = target.node or target.leaf()
    found = one_by_one(lambda seed: context.cotangents(node, seed, nodes), target.data, chunk_size)
    results: list[Any] = []
    for each in sources:
        rows, shape = found.get(each.node), (*target.shape, *each.shape)
        results.append(
            _result(context, target, each, None if rows is None else rows.reshape(shape), shape, unconnected)
        )
    return results


def by_columns(
    push: Callable[[dict[Any, Any]], dict[Any, Any]], outputs: list[Any], sources: list[Any], chunk_size: int | None
) -> list[list[Any]]:
    """For each output, its derivative by each source, forward: a column for each entry of a source.

    `push` gives the tangents of the outputs, by their place, for that of a source.
    """
    refuse_complex([*outputs, *sources])
    results: list[list[Any]] = [[] for _ in outputs]
    for source in sources:
        node = source.node or source.leaf()
        found = one_by_one(lambda seed, node=node: push({node: seed}), source.data, chunk_size)
        for place, output in enumerate(outputs):
            shape = (*output.shape, *source.shape)
            across = found.get(place)
            matrix = output.data.new_zeros(shape) if across is None else across.movedim(0, -1).reshape(shape)
            results[place].append(as_result(matrix, recording.get()))
    return results


def refuse_complex(tensors: Sequence[Any]) -> None:
    """Raise the error for complex values."""
    if any(each.dtype.is_complex for each in tensors):
        raise ArgumentError(
            "a Jacobian is of real values by real values: take the real and the imaginary part of complex ones, or ask "
            "for a gradient, with a cotangent"
        )


def _result(
    context: "Grad", target: Any, source: Any, matrix: Any, shape: Sequence[int], unconnected: Unconnected
) -> Any:
    """The matrix as the user gets it: zeros, with what a gradient says of that, where no path leads to the source."""
    if matrix is None:
        result_for(context, target, source, None, unconnected, recording.get())
        matrix = source.data.new_zeros(shape)
    return as_result(matrix, recording.get())


def one_by_one(row: Row, like: torch.Tensor, chunk_size: Any) -> dict[Any, Any]:
    """What `row` gives, by key, for each seed of the shape of `like` with a single one in it, stacked."""
    count, contexts = like.numel(), recording.get()
    if chunk_size is not None and (not isinstance(chunk_size, int) or chunk_size < 1):
        raise ArgumentError(f"chunk_size is how many rows go at a time, 1 or more, or None for all, not {chunk_size!r}")
    size = chunk_size or max(count, 1)
    chunks: list[dict[Any, Any]] = []
    for start in range(0, count, size):
        seeds = torch.zeros(min(size, count - start), count, dtype=like.dtype, device=like.device)
        seeds.diagonal(start).fill_(1)
        seeds = seeds.reshape(-1, *like.shape)
        chunks.append(batched(row, [Tensor(seeds) if contexts else seeds]))
    if len(chunks) == 1:
        return chunks[0]
    join = OPS["cat"] if contexts else torch.cat
    return {key: join([chunk[key] for chunk in chunks]) for key in (chunks[0] if chunks else ())}
