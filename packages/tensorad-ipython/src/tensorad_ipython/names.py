"""The names that the magics leave in the notebook: all of them or, after an error, none."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

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
            restore(self.names, before)
            raise


@contextmanager
def kept(names: dict[str, Any]) -> Generator[None]:
    """Let every name be, afterwards, what it was before."""
    before = dict(names)
    try:
        yield
    finally:
        restore(names, dict.fromkeys(names, _ABSENT) | before)


def restore(names: dict[str, Any], before: dict[str, Any]) -> None:
    """Let `names` be what they were `before`."""
    for name, value in before.items():
        if value is not _ABSENT:
            names[name] = value
        else:
            names.pop(name, None)
