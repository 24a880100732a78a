"""The notebook's names and the values of its Tensors, as far as the magics write to them, and as they were before."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import tensorad as ts

_ABSENT = object()


class Names:
    """The notebook's names, as far as the magics write to them, and what they have written so far."""

    def __init__(self, names: dict[str, Any]) -> None:
        self.names = names
        self.written: dict[str, int] = {}  # the `id` of each, so that a result is not kept alive here

    def bind(self, values: dict[str, Any]) -> list[str]:
        """Bind `values`; the words for each that took the place of something that was not an earlier result."""
        replaced: list[str] = []
        for name, value in values.items():
            before = self.names.get(name, _ABSENT)
            if before is not _ABSENT and id(before) != self.written.get(name) and before is not value:
                replaced.append(f"{name} was of type {type(before).__name__}, and is now a result of %grad")
            self.names[name], self.written[name] = value, id(value)
        return replaced

    @contextmanager
    def bound(self, values: dict[str, Any]) -> Generator[list[str]]:
        """Bind `values`, for good if what follows succeeds; else the names are what they were before."""
        before = {name: self.names.get(name, _ABSENT) for name in values}
        written = dict(self.written)
        replaced = self.bind(values)
        try:
            yield replaced
        except BaseException:
            self.written = written
            _restore(self.names, before)
            raise


class Snapshot:
    """What the names of a notebook are at one moment, and the values of the Tensors that they stand for.

    A Tensor is given a new value by `t += v` and `t[i] = v`; those in lists, tuples and dicts are looked at too.
    """

    def __init__(self, names: dict[str, Any]) -> None:
        self.names, self.before = names, dict(names)
        self.tensors = [(each, each.data, each.node, getattr(each, "born", 0)) for each in _tensors(names.values())]

    def restore(self) -> None:
        """Let names and Tensors be what they were."""
        _restore(self.names, dict.fromkeys(self.names, _ABSENT) | self.before)
        for tensor, data, node, born in self.tensors:
            tensor.data, tensor.node, tensor.born = data, node, born


def _tensors(values: Any, depth: int = 4) -> list[ts.Tensor]:
    found: list[ts.Tensor] = []
    for value in values:
        if isinstance(value, ts.Tensor):
            found.append(value)
        elif depth > 1 and isinstance(value, list | tuple | dict):
            found += _tensors(value.values() if isinstance(value, dict) else value, depth - 1)
    return found


def _restore(names: dict[str, Any], before: dict[str, Any]) -> None:
    for name, value in before.items():
        if value is not _ABSENT:
            names[name] = value
        else:
            names.pop(name, None)
