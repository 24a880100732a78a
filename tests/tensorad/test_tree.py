"""Nests are taken apart and put together, dataclasses without being registered."""

import collections
import dataclasses
from typing import Any

import pytest

import tensorad as ts

Point = collections.namedtuple("Point", "a b")


@dataclasses.dataclass(frozen=True)
class Layer:
    weight: Any
    bias: Any = 0
    area: Any = dataclasses.field(init=False, default=1)


NESTS = [1, [], (1, [2]), {"b": 1, "a": (2,)}, Point(1, [2]), Layer(1, {"x": 2}), collections.OrderedDict(z=1, y=2)]


@pytest.mark.parametrize("nest", NESTS)
def test_there_and_back(nest: Any) -> None:
    values, structure = ts.tree.flatten(nest)
    assert ts.tree.unflatten(structure, values) == nest
    assert type(ts.tree.unflatten(structure, values)) is type(nest)


def test_dicts_are_taken_in_the_order_of_their_keys_and_keep_their_own() -> None:
    values, structure = ts.tree.flatten({"b": 1, "a": (2, [3])})
    assert values == [2, 3, 1]
    assert list(ts.tree.unflatten(structure, values)) == ["b", "a"]


def test_map_takes_nests_side_by_side() -> None:
    assert ts.tree.map(lambda a, b: a - b, {"w": [5, 6]}, {"w": [1, 2]}) == {"w": [4, 4]}
    with pytest.raises(ValueError, match="key mismatch"):
        ts.tree.map(lambda a, b: a - b, {"w": 5}, {"v": 1})


def test_register() -> None:
    class Pair:
        def __init__(self, a: Any, b: Any) -> None:
            self.a, self.b = a, b

    ts.tree.register(Pair, lambda pair: ([pair.a, pair.b], None), lambda values, _: Pair(*values))
    x = ts.tensor(2.0)
    with ts.Grad() as g:
        y = x * x
    gradient = g.gradient(y, Pair(x, [x]))
    assert (gradient.a.item(), gradient.b[0].item()) == (4, 4)
    with pytest.raises(ts.ArgumentError, match=r"source.*1.* is not a tensorad.Tensor"):
        g.gradient(y, Pair(x, 3))
