"""What `%grad` found, as one result: shown in text, LaTeX and HTML, and unpacked like a tuple, order by order."""

import html
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tensorad_ipython import typeset
from tensorad_ipython.derivatives import Derivative, Run
from tensorad_ipython.request import Request
from tensorad_ipython.typeset import Typeset, kind, printed, value

MOST_ROWS = 60


@dataclass(eq=False, repr=False)
class Result:
    """What `%grad` returns: the target and its derivatives, `y, dx, d2x = result`, `result[1]`.

    It shows itself as text, LaTeX and HTML.

    Attributes:
        values: the target, and for each order a derivative in the structure of the source, or, if there are several
            sources, a tuple of these.
        rows: what is shown: what each tensor is, and the tensor.
        notes: the words below them.
    """

    values: tuple[Any, ...]
    rows: list[tuple[Typeset, Any]]
    notes: list[str] = field(default_factory=list)

    def __getitem__(self, order: int) -> Any:
        return self.values[order]

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values)

    def __repr__(self) -> str:
        width = max(len(label.text) for label, _ in self._shown)
        lines = [
            f"{label.text.ljust(width)} = " + printed(tensor.data).replace("\n", "\n" + " " * (width + 3))
            for label, tensor in self._shown
        ]
        return "\n".join([*lines, *self._words])

    def _repr_latex_(self) -> str:
        rows = r" \\[1ex] ".join(f"{label.latex} &= {value(tensor.data).latex}" for label, tensor in self._shown)
        return rf"$\displaystyle \begin{{aligned}} {rows} \end{{aligned}}$"

    def _repr_html_(self) -> str:
        return table(self._shown, self._words)

    @property
    def _shown(self) -> list[tuple[Typeset, Any]]:
        return self.rows[:MOST_ROWS]

    @property
    def _words(self) -> list[str]:
        return [*left_out(len(self.rows)), *self.notes]


def left_out(rows: int) -> list[str]:
    """The note for so many rows, if they are more than are shown."""
    return [f"and {rows - MOST_ROWS} more, not shown"] if rows > MOST_ROWS else []


def label_of(derivative: Derivative, request: Request, run: Run) -> Typeset:
    """What `derivative` is called: with a `d` if all there is are one scalar and its derivatives, else with a `∂`."""
    only = len(run.tensors) == 1 and run.tensors[derivative.by].data.numel() == 1 and run.target.data.numel() == 1
    by = [derivative.of, derivative.by] if derivative.matrix and derivative.of else [derivative.by] * derivative.order
    return typeset.derivative(request.target.text if request.target else "", by, partial=not only)


def result_of(request: Request, run: Run, notes: list[str]) -> Result:
    """The result that is shown and returned for what `request` asked for."""
    assert request.target is not None
    rows = [(typeset.symbol(request.target.text), run.target)]
    rows += [(label_of(each, request, run), each.value) for each in run.derivatives]
    return Result(run.values, rows, notes)


def table(rows: list[tuple[Typeset, Any]], notes: list[str]) -> str:
    """A table in HTML: what each tensor is, its values, its shape and dtype. The notebook's own colours are kept."""
    style = "vertical-align: middle; padding: 0.3em; font-weight: normal; white-space: nowrap; text-align"
    lines = []
    for label, tensor in rows:
        lines.append(
            f"<tr><th scope='row' style='{style}: right'><math displaystyle='true'>{label.mathml}<mo>=</mo></math></th>"
            f"<td style='{style}: left'>{shown(tensor)}</td>"
            f"<td style='{style}: left'><small>{html.escape(kind(tensor.data))}</small></td></tr>"
        )
    below = "".join(f"<div><small>{html.escape(note)}</small></div>" for note in notes)
    # As wide as it is: JupyterLab would squeeze it into the page, formulas over numbers.
    whole = f"<table style='table-layout: auto; width: auto'>{''.join(lines)}</table>"
    return f"<div class='tensorad' style='overflow-x: auto'>{whole}{below}</div>"


def shown(tensor: Any) -> str:
    """The values in HTML: typeset, or as torch prints them."""
    values = value(tensor.data)
    if values.mathml:
        return f"<math>{values.mathml}</math>"
    style = "margin: 0; text-align: left; white-space: pre; flex: none; overflow: visible"
    return f"<pre style='{style}'>{html.escape(values.text)}</pre>"
