"""`--check`: the derivatives compared with finite differences, or with torch.autograd, on the same cell run again.

The sources are moved where they are: each run finds other data in the very same Tensors. What a run binds is put back,
its output is dropped, and it draws the same random numbers.
"""

import random
import sys
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from IPython.utils.capture import capture_output

import tensorad as ts
from tensorad.operands import plain
from tensorad_ipython.cell import Place
from tensorad_ipython.derivatives import Derivative, Run, run
from tensorad_ipython.names import kept
from tensorad_ipython.request import Request
from tensorad_ipython.result import label_of
from tensorad_ipython.typeset import number


class _CannotTellError(Exception):
    """Why a check has nothing to compare."""


def drawing() -> Callable[[], None]:
    """A function after which the same random numbers are drawn as from here on: torch's, Python's, numpy's."""
    numpy: Any = sys.modules.get("numpy")
    pythons, torchs, numpys = random.getstate(), torch.get_rng_state(), numpy and numpy.random.get_state()

    def again() -> None:
        random.setstate(pythons)
        torch.set_rng_state(torchs)
        if numpy:
            numpy.random.set_state(numpys)

    return again


@dataclass
class Checker:
    """What it takes to run a cell again: `found` is what the first run gave, `redraw` lets it draw the same numbers."""

    request: Request
    order: int
    place: Place
    body: Callable[[], Awaitable[Any]]
    redraw: Callable[[], None]
    found: Run

    async def notes(self) -> list[str]:
        """What the check that was asked for found, in words."""
        after = drawing()  # where the first run has left the generators
        try:
            if self.request.options.check == "torch":
                return await self._by_torch()
            return [note for label in self.found.tensors for note in await self._by_differences(label)]
        except _CannotTellError as error:
            return [f"not checked: {error}"]
        finally:
            after()

    async def _again(self, data: dict[str, torch.Tensor]) -> Run:
        """One more run, with `data` in the sources' tensors."""
        contexts = [ts.Grad(name=f"g{order}") for order in range(1, self.order + 1)]
        with kept(self.place.names), _holding(self.found.tensors, data), capture_output():
            self.place.names.update({str(context.name): context for context in contexts})
            self.redraw()
            try:
                found = await run(self.request, contexts, self.place, self.body)
            except Exception as error:
                raise _CannotTellError(f"the cell, run again, raised {type(error).__name__}: {error}") from error
            for label, tensor in self.found.tensors.items():
                if found.tensors.get(label) is not tensor:
                    raise _CannotTellError(
                        f"{label} is made anew when the cell runs: make it in a cell before this one"
                    )
            return found

    async def _by_differences(self, label: str) -> list[str]:
        """The derivatives by one tensor, against how the orders below them change along a direction."""
        tensor = self.found.tensors[label]
        data = tensor.data
        if not data.numel():  # nothing in it can be moved
            return []
        if data.is_complex() or self.found.target.data.is_complex():
            raise _CannotTellError("finite differences are for real values: --check torch can compare complex ones")
        direction = torch.randn(data.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        direction = direction / direction.norm() if data.ndim else torch.ones((), dtype=torch.float64)
        # With two steps the error is of the fourth order in the step, beside rounding over the step.
        epsilon = torch.finfo(data.dtype).eps
        step = max(epsilon**0.2, _most(data) * epsilon**0.6)

        async def values(length: float) -> list[torch.Tensor]:
            run = await self._again({label: data + (length * direction).to(data)})
            return [_flat(run.below(each), each, run.cotangent) for each in wanted]

        wanted = [each for each in self.found.derivatives if each.by == label]
        ahead, behind = await values(step), await values(-step)
        near_ahead, near_behind = await values(step / 2), await values(-step / 2)
        notes: list[str] = []
        for each, *around in zip(wanted, ahead, behind, near_ahead, near_behind, strict=True):
            coarse, fine = (around[0] - around[1]) / (2 * step), (around[2] - around[3]) / step
            numeric = (4 * fine - coarse) / 3
            given = _along(each, direction)
            rounding = 16 * epsilon * _most(around[0]) / step
            bend = _most(coarse - fine)
            size = max(_most(given), _most(numeric))
            if not _most(given - numeric) <= 4 * (bend + rounding) + 10 * epsilon**0.5 * size:
                verdict = "✗ they DISAGREE"
            elif bend > max(10 * rounding, 0.05 * size):
                verdict = "? too rough to tell: perhaps a corner is near"
            else:
                verdict = "✓ they agree"
            worst = int((given - numeric).abs().argmax()) if given.numel() else 0
            here, there = (number(values[worst].item()).text if given.numel() else "0" for values in (given, numeric))
            along = " along a random direction" if data.ndim else ""
            notes.append(
                f"{label_of(each, self.request, self.found).text}{along}: {here}; "
                f"by finite differences {there}, with step {step:.2g}: {verdict}"
            )
        return notes

    async def _by_torch(self) -> list[str]:
        """All derivatives, against those of torch.autograd, which records what the ops do to the data."""
        if not all(isinstance(tensor, ts.Tensor) for tensor in self.found.tensors.values()):
            raise _CannotTellError("a parameter of a torch module is a constant to torch.autograd here")
        # One leaf for each tensor, which may have several labels.
        copies = {id(each): each.data.detach().clone().requires_grad_() for each in self.found.tensors.values()}
        leaves = {label: copies[id(each)] for label, each in self.found.tensors.items()}
        notes: list[str] = []
        with torch.enable_grad():
            run = await self._again(leaves)
            if not run.target.data.requires_grad:
                raise _CannotTellError("torch.autograd sees no path from the sources to the target")
            below: dict[tuple[int, str | None], torch.Tensor] = {(0, None): run.target.data}
            for each in self.found.derivatives:
                y, x = below[each.order - 1, each.of], leaves[each.by]
                seed = plain(run.cotangent) if each.order == 1 else None
                if each.matrix:
                    rows = [_torchs(entry, x) for entry in y.flatten()]
                    torchs = torch.stack(rows).reshape(*y.shape, *x.shape)
                else:
                    torchs = below[each.order, each.by] = _torchs(y, x, seed)
                apart = _most(each.value.data - torchs.detach())
                allowed = 100 * torch.finfo(x.dtype).eps * max(1.0, _most(torchs.detach()))
                notes.append(
                    f"{label_of(each, self.request, self.found).text}: the largest difference from torch.autograd is "
                    f"{apart:.2g}: " + ("✓ they agree" if apart <= allowed else "✗ they DISAGREE")
                )
        return notes


def _torchs(y: torch.Tensor, x: torch.Tensor, seed: torch.Tensor | None = None) -> torch.Tensor:
    """What torch.autograd finds for the derivative of `y`, or of its sum, by `x`."""
    if not y.requires_grad:
        return torch.zeros_like(x)
    seed = torch.ones_like(y) if seed is None else seed
    (found,) = torch.autograd.grad(y, x, seed, create_graph=True, materialize_grads=True, allow_unused=True)
    return found


def _flat(below: Any, derivative: Derivative, cotangent: Any) -> torch.Tensor:
    """The entries whose change `derivative` tells: all of a matrix, else the sum alone."""
    data = plain(below).detach().double()
    if derivative.matrix:
        return data.flatten()
    seed = plain(cotangent).double() if cotangent is not None and derivative.order == 1 else torch.ones_like(data)
    return (seed * data).sum()[None]


def _along(derivative: Derivative, direction: torch.Tensor) -> torch.Tensor:
    """How fast those entries change along `direction`, says `derivative`."""
    return derivative.value.data.double().reshape(-1, direction.numel()) @ direction.flatten()


def _most(values: torch.Tensor) -> float:
    return float(values.abs().max()) if values.numel() else 0.0


@contextmanager
def _holding(tensors: dict[str, Any], data: dict[str, torch.Tensor]) -> Generator[None]:
    """Let some of `tensors` have other data, for a while."""
    before = {label: (tensor.data, getattr(tensor, "node", None)) for label, tensor in tensors.items()}
    try:
        for label, each in data.items():
            tensors[label].data = each
        yield
    finally:
        for label, tensor in tensors.items():
            tensor.data = before[label][0]
            if isinstance(tensor, ts.Tensor):
                tensor.node = before[label][1]
