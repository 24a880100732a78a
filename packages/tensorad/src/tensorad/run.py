"""One run of a function under a context of its own: what the derivatives of functions are made of."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch

from tensorad import tree
from tensorad.arguments import as_result, fitting, result_for, seed_of, unalias
from tensorad.call import Op
from tensorad.errors import ArgumentError, NotDifferentiableError, UnconnectedWarning
from tensorad.forward import forward
from tensorad.grad import Grad
from tensorad.jacobians import by_columns, by_rows
from tensorad.node import differentiable, recording
from tensorad.operands import leaf_of, lifted, plain
from tensorad.several import bundle
from tensorad.site import levels
from tensorad.tensor import Tensor
from tensorad.walk import ancestors
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
        original = args
        args, self.nest = fresh(f, args, argnums)
        self.sources, self.structure = tree.flatten(self.nest)
        with Grad(f"{transform}({name_of(f)})") as self.context:
            returned, aux = split(f, f(*args, **kwargs), has_aux)
            self.outputs, self.out_structure = outputs_of(f, returned)
            self.target = bundle.call(self.outputs)
        self.nodes = {each.node or each.leaf() for each in self.sources}
        chosen = [original[place] for place in (argnums if isinstance(argnums, tuple) else (argnums,))]
        own = [each for each in tree.flatten(chosen)[0] if isinstance(each, torch.Tensor) and each.requires_grad]
        if own or self.context.cuts:
            self._look_for_mistakes(f, [each for each in own if each.is_leaf])
        self.value, self.aux = released(returned), released(aux)

    def _look_for_mistakes(self, f: Function, parameters: list[torch.Tensor]) -> None:
        """Raise, or warn, where the derivative is zero and another one must have been meant."""
        real = [each for each in self.outputs if differentiable(each.dtype)]
        reached = ancestors([each.node for each in real], lambda node: self.context in node.contexts)
        if (
            self.context.cuts
            and real
            and not any(node in self.nodes or self.context in node.contexts for node in reached)
        ):
            raise not_recorded(self.context, real[0])
        used = [each for each in parameters if leaf_of(each) in reached]
        if used:
            warnings.warn(
                f"{name_of(f)} used {len(used)} parameters of a torch.nn.Module themselves, and not the values it was "
                "given for them, so the derivative by these is zero: call the module as "
                "tensorad.functional_call(module, params, args)",
                UnconnectedWarning,
                stacklevel=levels(),
            )

    def pull(self, cotangents: Any) -> Any:
        """The cotangents of the arguments, for those of the value."""
        given = like_nest("cotangents", cotangents, "the value", self.out_structure)
        contexts = recording.get()
        seeds = [
            seed_of(output, each, contexts, hint="") if differentiable(output.dtype) else None
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


def fresh(f: Function, args: Sequence[Any], argnums: Any) -> tuple[list[Any], Any]:
    """The arguments, with new values in the place of those to differentiate by; and these, or the tuple of them."""
    chosen = argnums if isinstance(argnums, tuple) else (argnums,)
    if not all(isinstance(place, int) for place in chosen):
        raise ArgumentError(f"argnums is the number of an argument, or a tuple of such, not {argnums!r}")
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
        raise ArgumentError(
            f"{what} is {kind_of(value)}, {repr(value)[:40]}: only Tensors can be differentiated by"
        ) from error
    if not differentiable(tensor.dtype):
        raise NotDifferentiableError(
            f"{what} has dtype {tensor.dtype}, and only floating point and complex values have derivatives: write 3.0 "
            "for 3, make it with dtype=tensorad.float32, or keep it out of what is differentiated by (argnums=)"
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
        count = f" of {len(returned)}" if isinstance(returned, tuple) else ""
        raise ArgumentError(f"has_aux: {name_of(f)} returns a pair, and it returned {kind_of(returned)}{count}")
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
        wanted = tree.unflatten(structure, ["..."] * structure.num_leaves)
        raise ArgumentError(f"the {what} are a nest like {of}: {wanted}, and not {kind_of(nest)}: {nest!r}")
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
