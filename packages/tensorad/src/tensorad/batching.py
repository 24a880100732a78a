"""One pass for many rows at once: torch.vmap over the rules, also where the pass is recorded to be differentiated.

torch.vmap shows a program one row and runs it on all of them, on tensors that lose their meaning at its end. So what it
does cannot be recorded op by op. It is recorded as a single op, whose derivative is again such a pass: reverse mode
through the program of one row, for all rows at once.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch._functorch.predispatch import lazy_load_decompositions

from tensorad.backward import backward
from tensorad.checks import around
from tensorad.errors import RuleError, TensorADError
from tensorad.forward import Recorder
from tensorad.node import Contexts, Node, next_number, recording
from tensorad.opaque import boundary, depending, opaque
from tensorad.operands import plain
from tensorad.several import bundle
from tensorad.tensor import Tensor

functorch: Any = torch._C._functorch  # pyright: ignore[reportAttributeAccessIssue]
Row = Callable[..., dict[Any, Any]]
_pass = opaque("batched pass")


def batched(row: Row, inputs: Sequence[Any]) -> dict[Any, Any]:
    """What `row` gives, by key, for each row of `inputs`, stacked along a first dimension.

    `inputs` are torch tensors, or Tensors where contexts are open, and so is what `row` is given and what it gives; it
    may leave out keys, or give None for them, the same ones for every row. It must draw no random numbers.
    """
    if len(inputs[0]) == 1:
        found = row(*[each[0] for each in inputs])
        return {key: each.unsqueeze(0) for key, each in found.items() if each is not None}
    if not recording.get():
        return _on_all(row, inputs)
    started = next_number()
    with Recorder():  # so that a forward mode around does not forget at once how it was made
        found = row(*[Tensor(plain(each)[0]) for each in inputs])
    keys = [key for key, each in found.items() if each is not None]
    sources, _ = boundary([found[key] for key in keys], started)
    token = recording.set(Contexts(()))
    try:
        data = plain([*inputs])
        values = _on_all(row, data)
    finally:
        recording.reset(token)
    own = [each.node or each.leaf() for each in inputs]

    def pull(g: Sequence[Any], wanted: Sequence[bool]) -> list[Any]:
        asked = {source for source, wish in zip(sources, wanted[len(own) :], strict=True) if wish}
        back = _backwards(row, len(inputs), keys, asked)
        found = batched(back, [*inputs, *g] if recording.get() else [*data, *g])
        return [*map(found.get, range(len(own))), *(found[each].sum(0) if each in found else None for each in sources)]

    tensors = depending(_pass, [values[key] for key in keys], [*own, *sources], pull, data)
    return dict(zip(keys, tensors, strict=True))


def _on_all(row: Row, inputs: Sequence[torch.Tensor]) -> dict[Any, Any]:
    # What torch.vmap does, without the tenth of a millisecond in which it takes nests apart and looks at its options.
    lazy_load_decompositions()
    count = len(inputs[0])
    level = functorch._vmap_increment_nesting(count, "same")
    try:
        found = row(*[functorch._add_batch_dim(each, 0, level) for each in inputs])
        return {key: functorch._remove_batch_dim(plain(value), level, count, 0)
                for key, value in found.items() if value is not None}  # fmt: skip
    except RuntimeError as error:
        if isinstance(error, TensorADError):
            raise
        raise RuleError(
            "a rule cannot run on many rows at once, as it looks at the numbers of its arguments, or leaves torch: "
            "chunk_size=1 takes the rows one by one"
        ) from error
    finally:
        functorch._vmap_decrement_nesting()


def _backwards(row: Row, count: int, keys: Sequence[Any], sources: set[Node]) -> Row:
    """Reverse mode through `row`: from `count` inputs and a cotangent for each key to those of inputs and `sources`."""

    def back(*each: Any) -> dict[Any, Any]:
        inputs = [value if isinstance(value, Tensor) else Tensor(value) for value in each[:count]]
        own: list[Any] = [value.node or value.leaf() for value in inputs]
        with Recorder() as recorder:
            found = row(*inputs)
            target = bundle.call([found[key] for key in keys])
        cotangents: dict[Any, Any] = {}
        if target.node:
            cotangents = backward(recorder, target.node, list(each[count:]), {*own, *sources}, around.get())
        return {**{source: cotangents.get(source) for source in sources},
                **{place: cotangents.get(node) for place, node in enumerate(own)}}  # fmt: skip

    return back
