"""Nests: lists, tuples, named tuples, dicts and dataclasses of values, in any depth, taken apart and put together.

The work is optree's, which leaves no cycles behind (torch's own pytree leaves one at each call) and takes a few
microseconds; what is added is that every dataclass is a nest without being registered.
"""

from collections.abc import Callable, Iterable
from typing import Any

import optree

_NAMESPACE = "tensorad"


def flatten(nest: Any) -> tuple[list[Any], Any]:
    """The values in `nest`, dicts in the order of their sorted keys, and its structure, for `unflatten`.

    Args:
        nest: lists, tuples, named tuples, dicts (an OrderedDict in its own order), deques, dataclasses, and what
            `register` has been told of, in any depth. What is none of these is a value, None too.

    Returns:
        The list of the values, and the structure.

    Examples:
        >>> from tensorad import tree
        >>> values, structure = tree.flatten({"b": 1, "w": [2, 3]})
        >>> values
        [1, 2, 3]
    """
    values, structure = optree.tree_flatten(nest, none_is_leaf=True, namespace=_NAMESPACE)
    if _adopted_any(values):
        return flatten(nest)
    return values, structure


def unflatten(structure: Any, values: Iterable[Any]) -> Any:
    """A nest of the given `structure` that holds `values`.

    Args:
        structure: what `flatten` gave.
        values: as many as there are places in it, in the order of `flatten`.

    Raises:
        ValueError: optree's, for another number of values.

    Examples:
        >>> from tensorad import tree
        >>> values, structure = tree.flatten({"b": 1, "w": [2, 3]})
        >>> tree.unflatten(structure, "xyz")
        {'b': 'x', 'w': ['y', 'z']}
    """
    return optree.tree_unflatten(structure, values)


def map(function: Callable[..., Any], nest: Any, *nests: Any) -> Any:
    """A nest of the structure of `nest`, of `function` applied to its values (and to those of `nests`, side by side).

    Args:
        function: of as many values as there are nests.
        nest: a nest, as for `flatten`.
        nests: more of the same structure.

    Raises:
        ValueError: optree's, if the nests differ in structure.

    Examples:
        >>> from tensorad import tree
        >>> tree.map(lambda w, dw: w - dw, {"w": 5, "b": 3}, {"w": 1, "b": 1})
        {'w': 4, 'b': 2}
    """
    flatten(nest)  # adopts the dataclasses in it
    return optree.tree_map(function, nest, *nests, none_is_leaf=True, namespace=_NAMESPACE)


def register(
    kind: type, flatten: Callable[[Any], tuple[list[Any], Any]], unflatten: Callable[[Iterable[Any], Any], Any]
) -> None:
    """Let instances of a class be nests. Named tuples and dataclasses are, without being registered.

    Args:
        kind: the class.
        flatten: takes an instance, gives (values, the rest): values may be nests, the rest is compared by `==`.
        unflatten: `unflatten(values, the rest)` makes an instance of these again.

    Raises:
        ValueError: optree's, for a class that is registered already.

    Examples:
        >>> from tensorad import tree
        >>> class Pair:
        ...     def __init__(self, a, b):
        ...         self.a, self.b = a, b
        >>> def flatten(pair):
        ...     return [pair.a, pair.b], None
        >>> tree.register(Pair, flatten, lambda values, _: Pair(*values))
        >>> tree.flatten(Pair(1, 2))[0]
        [1, 2]
    """
    optree.register_pytree_node(kind, flatten, lambda rest, values: unflatten(values, rest), namespace=_NAMESPACE)


def path(nest: Any, index: int) -> str:
    """Where in `nest` the value number `index` stands, such as `['w'][0]`.

    Args:
        nest: a nest, as for `flatten`.
        index: the number of the value, in the order of `flatten`.

    Raises:
        IndexError: if there is no such value.

    Examples:
        >>> from tensorad import tree
        >>> tree.path({"b": 1, "w": [2, 3]}, 2)
        "['w'][1]"
    """
    return paths(nest)[index]


def paths(nest: Any) -> list[str]:
    """Where each of the values in `nest` stands, in the order of `flatten`.

    Args:
        nest: a nest, as for `flatten`.

    Examples:
        >>> from tensorad import tree
        >>> tree.paths({"b": 1, "w": [2, 3]})
        ["['b']", "['w'][0]", "['w'][1]"]
    """
    flatten(nest)  # adopts the dataclasses in it
    return [each.codify("") for each in optree.tree_accessors(nest, none_is_leaf=True, namespace=_NAMESPACE)]


_adopted: set[type] = set()


def _adopted_any(values: list[Any]) -> bool:
    """Register the types of dataclass instances among `values`, met for the first time; whether there were any."""
    new = {kind for kind in {type(value) for value in values} if hasattr(kind, "__dataclass_fields__")}
    for kind in new - _adopted:
        _adopt(kind)
    return bool(new)


def _adopt(kind: Any) -> None:
    _adopted.add(kind)
    names = tuple(kind.__dataclass_fields__)

    def parts(instance: Any) -> tuple[list[Any], None, tuple[str, ...]]:
        return [getattr(instance, name) for name in names], None, names

    def whole(_: Any, values: Iterable[Any]) -> Any:
        instance: Any = object.__new__(kind)  # __init__ may compute, or take other arguments than the fields
        for name, part in zip(names, values, strict=True):
            object.__setattr__(instance, name, part)
        return instance

    unflatten: Any = whole
    optree.register_pytree_node(kind, parts, unflatten, path_entry_type=optree.GetAttrEntry, namespace=_NAMESPACE)
