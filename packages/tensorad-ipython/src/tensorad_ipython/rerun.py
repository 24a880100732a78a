"""Running a cell again, with other data in its sources, and leaving the notebook as if that had not happened.

Names, Tensors and random numbers are put back. What a cell changes in other ways (files, attributes of objects, arrays)
is left as the last run left it, and the last run is one with nothing moved.
"""

import random
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from IPython.utils.capture import capture_output

import tensorad as ts
from tensorad_ipython.cell import Place, finished
from tensorad_ipython.derivatives import Run, run
from tensorad_ipython.names import Snapshot
from tensorad_ipython.request import Request


class CannotCheckError(Exception):
    """Why running the cell again tells nothing about the run that there was."""


@dataclass
class Start:
    """What there was before a cell ran: `names`, and what the next random numbers would be."""

    names: Snapshot
    redraw: Callable[[], None]

    @classmethod
    def now(cls, names: dict[str, Any]) -> "Start":
        """What there is now."""
        return cls(Snapshot(names), drawing())

    def restore(self) -> None:
        """Let it be again."""
        self.names.restore()
        self.redraw()


def drawing() -> Callable[[], None]:
    """A function after which the same random numbers are drawn as from here on: torch's, Python's, numpy's."""
    numpy: Any = sys.modules.get("numpy")
    pythons, torchs, numpys = random.getstate(), torch.get_rng_state(), numpy and numpy.random.get_state()
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []

    def again() -> None:
        random.setstate(pythons)
        torch.set_rng_state(torchs)
        if numpy:
            numpy.random.set_state(numpys)
        if gpus:
            torch.cuda.set_rng_state_all(gpus)

    return again


class Rerun:
    """As a context, a time in which the cell of a run can be run `again`; afterwards all is as that run has left it."""

    def __init__(self, request: Request, contexts: list[ts.Grad], place: Place, body: Any, start: Start, found: Run):
        self.request, self.contexts, self.place, self.body = request, contexts, place, body
        self.start, self.found = start, found

    def __enter__(self) -> "Rerun":
        for label, tensor in self.found.tensors.items():
            node = getattr(tensor, "node", None)
            if node and not node.contexts.isdisjoint(self.contexts):
                raise _made_anew(label)
        self.end = Start.now(self.place.names)
        try:
            self._compare(self.again({}))
        except BaseException:
            self.end.restore()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        try:
            if error[0] is None or error[0] is CannotCheckError:  # not after an interrupt
                with suppress(CannotCheckError):
                    self.again({})
        finally:
            self.end.restore()

    def again(self, data: dict[str, torch.Tensor]) -> Run:
        """One more run, with `data` in the tensors of these labels; its target and cotangent are torch tensors."""
        contexts = [ts.Grad(name=context.name) for context in self.contexts]
        self.start.restore()
        with _holding(self.found.tensors, data), capture_output():
            self.place.names.update({str(context.name): context for context in contexts})
            try:
                found = finished(run(self.request, contexts, self.place, self.body))
            except Exception as error:
                raise CannotCheckError(f"the cell, run again, raised {type(error).__name__}: {error}") from error
            # As data, which a source that is the target too has only as long as it is held.
            found.target, found.cotangent = _data(found.target), _data(found.cotangent)
            return found

    def _compare(self, again: Run) -> None:
        """That a run with nothing moved gives the same, of the very same tensors."""
        for label, tensor in self.found.tensors.items():
            if again.tensors.get(label) is not tensor:
                raise _made_anew(label)
        first, second = self.found.target.data, again.target.detach()
        if first.shape != second.shape or not torch.allclose(first, second, rtol=1e-5, equal_nan=True):
            name = self.request.target.text if self.request.target else ""
            raise CannotCheckError(f"the cell, run again, gives another {name}: it changes what it uses")


def _data(value: Any) -> Any:
    return value.data if isinstance(value, ts.Tensor) else value


def _made_anew(label: str) -> CannotCheckError:
    return CannotCheckError(f"{label} gets its value when the cell runs: make it in a cell before this one")


@contextmanager
def _holding(tensors: dict[str, Any], data: dict[str, torch.Tensor]) -> Generator[None]:
    """Let some of `tensors` have other data, for a while."""
    before = {label: tensors[label].data for label in data}
    try:
        for label, each in data.items():
            tensors[label].data = each
        yield
    finally:
        for label, each in before.items():
            tensors[label].data = each
