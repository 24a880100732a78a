"""One run of a function under a context of its own: what the derivatives of functions are made of."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from tensorad import tree
from tensorad.arguments import as_result, fitting, result_for, seed_of, unalias
from tensorad.call import Op
from tensorad.errors import ArgumentError, NotDifferentiableError
from tensorad.forward import forward
from tensorad.grad import Grad
from tensorad.jacobians import by_columns, by_rows
from tensorad.node import differentiable, recording
from tensorad.operands import lifted, plain
from tensorad.several import bundle
from tensorad.tensor import Tensor
from tensorad.why import not_recorded

Function = Callable[..., Any]
Argnums = int | tuple[int, ...]
_argument = Op("argument(input)", {"input": lambda g: g}, lambda data: data).call


class Run:
    """A run of `f` on fresh values for the arguments `argnums`, recorded, to be asked for derivatives both ways.

    Attributes:
        value: what `f` returned; beyond the open contexts, nothing that it was computed from is kept with it.
        aux: what it returned beside that, as a tuple of one or none.
        outputs, sources: the Tensors in the value, and in the arguments.
    """

    def __init__(
        self, transform: str, f: Function, args: Sequence[Any], kwargs: Any, argnums: Argnums, has_aux: bool
    ) -> None:
        args, self.nest = fresh(f, args, argnums)
        self.sources, self.structure = tree.flatten(self.nest)
        with Grad(f"{transform}({name_of(f)})") as self.context:
            returned, aux = split(f, f(*args, **kwargs), has_aux)
            self.outputs, self.out_structure = outputs_of(f, returned)
            self.target = bundle.call(self.outputs)
        self.nodes = {each.node or each.leaf() for each in self.sources}
        for output in self.outputs:
            recorded = output.node in self.nodes or (output.node and self.context in output.node.contexts)
            if self.context.cuts and not recorded:
                raise not_recorded(self.context, output)
        self.value, self.aux = released(returned), released(aux)

    def pull(self, cotangents: Any) -> Any:
        """The cotangents of the arguments, for those of the value."""
        given = like_nest("cotangents", cotangents, "the value", self.out_structure)
        contexts = recording.get()
        seeds = [
            seed_of(output, each, contexts) if differentiable(output.dtype) else None
            for output, each in zip(self.outputs, given, strict=True)
        ]
        found = self.context.cotangents(self.target.node or self.target.leaf(), seeds, self.nodes)
        results = [result_for(self.context, self.target, each, found.get(each.node), "zero", contexts)
                   for each in self.sources]  # fmt: skip
        unalias(results, given)
        return tree.unflatten(self.structure, results)

    def push(self, tangents: Any) -> Any:
        """The tangents of the value, for those of the arguments."""
        found = self._pushed(directions(self.sources, self.structure, tangents))
        results = list(map(tangent_of, self.outputs, found))
        unalias(results, tree.flatten(tangents)[0])
        return tree.unflatten(self.out_structure, results)

    def _pushed(self, tangents: dict[Any, Any]) -> list[Any]:
        target = self.target.node
        return (target and forward(self.context, target, tangents)) or [None] * len(self.outputs)

    def jacobian(self, across: bool, chunk_size: int | None) -> Any:
        """The derivative of each output by each source: backwards, row by row, or forward, column by column."""
        if across:
            pushed = lambda tangents: dict(enumerate(self._pushed(tangents)))  # noqa: E731
            found = by_columns(pushed, self.outputs, self.sources, chunk_size)
        else:
            found = [by_rows(self.context, output, self.sources, self.nodes, chunk_size, "zero")
                     for output in self.outputs]  # fmt: skip
        matrices = [tree.unflatten(self.structure, row) for row in found]
        return tree.unflatten(self.out_structure, matrices)


def fresh(f: Function, args: Sequence[Any], argnums: Argnums) -> tuple[list[Any], Any]:
    """The arguments, with new values in the place of those to differentiate by; and these, or the tuple of them."""
    chosen = argnums if isinstance(argnums, tuple) else (argnums,)
    for place in chosen:
        if not -len(args) <= place < len(args):
            raise ArgumentError(f"argnums={argnums!r}, and {name_of(f)} was called with {len(args)} arguments")
    args, sources = list(args), list(args)
    for place in {place % len(args) for place in chosen}:
        values, structure = tree.flatten(args[place])
        renewed = [
            _renewed(value, f"argument {place}{tree.path(args[place], index)}") for index, value in enumerate(values)
        ]
        sources[place] = tree.unflatten(structure, renewed)
        # Others of the same value for the function, which may write x *= 2: that would put another value into a source.
        args[place] = tree.unflatten(structure, [Tensor(each.data, each.leaf()) for each in renewed])
    return args, tuple([sources[place] for place in chosen]) if isinstance(argnums, tuple) else sources[argnums]


def _renewed(value: Any, what: str) -> Tensor:
    """A new value, the same to the open contexts, and a leaf to those to come."""
    try:
        tensor = lifted(value) if isinstance(value, Tensor | torch.Tensor) else torch.as_tensor(plain(value))
    except (TypeError, ValueError, RuntimeError) as error:
        raise ArgumentError(f"{what} is no Tensor, and nothing to make one of, but {value!r}") from error
    if not differentiable(tensor.dtype):
        raise NotDifferentiableError(
            f"{what} has dtype {tensor.dtype}, and only floating point and complex values have derivatives: make it "
            "with dtype=tensorad.float32, or name other arguments in argnums="
        )
    renewed = _argument(tensor)
    if isinstance(value, Tensor) and value.name:
        renewed.name = value.name
    return renewed


def split(f: Function, returned: Any, has_aux: bool) -> tuple[Any, tuple[Any, ...]]:
    """What `f` returned, and what it returned beside that, as a tuple of one or none."""
    if not has_aux:
        return returned, ()
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise ArgumentError(f"has_aux: {name_of(f)} returns a pair, and it returned {kind_of(returned)}")
    return returned[0], (returned[1],)


def outputs_of(f: Function, returned: Any) -> tuple[list[Tensor], Any]:
    """The Tensors in what `f` returned, constants among them, and its structure."""
    values, structure = tree.flatten(returned)
    for index, value in enumerate(values):
        if not isinstance(value, Tensor | torch.Tensor | int | float | complex):
            raise ArgumentError(
                f"{name_of(f)} returns Tensors, or a nest of them, and its result{tree.path(returned, index)} is "
                f"{kind_of(value)}"
            )
    return [
        value if isinstance(value, Tensor) else Tensor(torch.as_tensor(plain(value))) for value in values
    ], structure


def directions(sources: list[Any], structure: Any, tangents: Any) -> dict[Any, Any]:
    """The tangents that were given, by the nodes of the sources."""
    given = like_nest("tangents", tangents, "the primals", structure)
    contexts = recording.get()
    checked = [fitting("tangent", each, source, contexts) for each, source in zip(given, sources, strict=True)]
    return {source.node or source.leaf(): tangent for source, tangent in zip(sources, checked, strict=True)}


def tangent_of(output: Tensor, tangent: Any) -> Tensor:
    """The tangent of an output as a result; zeros where nothing arrived."""
    return as_result(torch.zeros_like(output.data) if tangent is None else tangent, recording.get())


def like_nest(what: str, nest: Any, of: str, structure: Any) -> list[Any]:
    """The values of `nest`, which has the given structure."""
    values, found = tree.flatten(nest)
    if found != structure:
        raise ArgumentError(f"the {what} are a nest like {of}, {structure}, and not {found}")
    return values


def released(nest: Any) -> Any:
    """`nest` with its Tensors on their own, where no context is open that might ask what they were computed from."""
    if recording.get():
        return nest
    return tree.map(lambda each: Tensor(each.data) if isinstance(each, Tensor) and each.node else each, nest)


def name_of(f: Function) -> str:
    return getattr(f, "__name__", type(f).__name__)


def kind_of(value: Any) -> str:
    shape = f" of shape {tuple(value.shape)}" if isinstance(value, Tensor | torch.Tensor) else ""
    return f"a {type(value).__name__}{shape}"
