"""Nests: lists, tuples, named tuples, dicts and dataclasses of values, in any depth, taken apart and put together.

The work is torch's own `torch.utils._pytree`; what is added is that every dataclass is a nest without being registered.
"""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

from torch.utils import _pytree as pytree


def flatten(nest: Any) -> tuple[list[Any], Any]:
    """The values in `nest`, in order, and its structure, for `unflatten`.

    >>> from tensorad import tree
    >>> values, structure = tree.flatten({"w": [1, 2], "b": 3})
    >>> values
    [1, 2, 3]
    """
    return pytree.tree_flatten(nest, is_leaf=_adopt)


def unflatten(structure: Any, values: Iterable[Any]) -> Any:
    """A nest of the given `structure` that holds `values`.

    >>> from tensorad import tree
    >>> values, structure = tree.flatten({"w": [1, 2], "b": 3})
    >>> tree.unflatten(structure, "xyz")
    {'w': ['x', 'y'], 'b': 'z'}
    """
    return pytree.tree_unflatten(values, structure)


def map(function: Callable[..., Any], nest: Any, *nests: Any) -> Any:
    """A nest of the structure of `nest`, of `function` applied to its values (and to those of `nests`, side by side).

    >>> from tensorad import tree
    >>> tree.map(lambda w, dw: w - dw, {"w": 5, "b": 3}, {"w": 1, "b": 1})
    {'w': 4, 'b': 2}
    """
    return pytree.tree_map(function, nest, *nests, is_leaf=_adopt)


def register(
    kind: type, flatten: Callable[[Any], tuple[list[Any], Any]], unflatten: Callable[[Iterable[Any], Any], Any]
) -> None:
    """Let instances of `kind` be nests: `flatten` gives (values, the rest), `unflatten(values, the rest)` undoes it.

    >>> from tensorad import tree
    >>> class Pair:
    ...     def __init__(self, a, b):
    ...         self.a, self.b = a, b
    >>> tree.register(Pair, lambda pair: ([pair.a, pair.b], None), lambda values, _: Pair(*values))
    >>> tree.flatten(Pair(1, 2))[0]
    [1, 2]
    """
    pytree.register_pytree_node(kind, flatten, unflatten)


def path(nest: Any, index: int) -> str:
    """Where in `nest` the value number `index` stands, such as `['w'][0]`."""
    try:
        return pytree.keystr(pytree.tree_flatten_with_path(nest, is_leaf=_adopt)[0][index][0])
    except ValueError:  # a registered type that does not say what its parts are called
        return f" number {index}"


def _adopt(value: Any) -> bool:
    """Register the type of a dataclass instance when it is first met; never a leaf by itself."""
    kind: Any = type(value)
    if hasattr(kind, "__dataclass_fields__") and kind not in pytree.SUPPORTED_NODES:
        names = [field.name for field in dataclasses.fields(kind)]

        def parts(instance: Any) -> tuple[list[Any], None]:
            return [getattr(instance, name) for name in names], None

        def named(instance: Any) -> tuple[list[Any], None]:
            return [(pytree.GetAttrKey(name), getattr(instance, name)) for name in names], None

        def whole(values: Iterable[Any], _: None) -> Any:
            instance = object.__new__(kind)  # __init__ may compute, or take other arguments than the fields
            for name, part in zip(names, values, strict=True):
                object.__setattr__(instance, name, part)
            return instance

        pytree.register_pytree_node(kind, parts, whole, flatten_with_keys_fn=named)
    return False
