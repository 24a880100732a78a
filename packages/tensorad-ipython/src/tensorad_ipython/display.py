"""How notebooks show Tensors, and nests of them: IPython's formatters know, the engine knows nothing of notebooks."""

import html
from itertools import islice
from typing import Any

import tensorad as ts
from tensorad_ipython.result import MOST_ROWS, shown, table
from tensorad_ipython.typeset import kind, symbol, value

_NESTS = (dict, list, tuple)
_LOOKED_AT = 100  # how many items of a nest are looked at, so that a list of ten million numbers costs nothing


def tensor_html(tensor: ts.Tensor) -> str:
    """A Tensor's name, values, shape and dtype."""
    name = f"<math>{symbol(tensor.name).mathml}<mo>=</mo></math>" if tensor.name else ""
    about = f"<small>{html.escape(kind(tensor.data))}</small>"
    style = "display: flex; align-items: center; gap: 0.8em"
    return f"<div class='tensorad' style='{style}'>{name}{shown(tensor)}{about}</div>"


def tensor_latex(tensor: ts.Tensor) -> str:
    """The values of a Tensor as a formula."""
    name = f"{symbol(tensor.name).latex} = " if tensor.name else ""
    return rf"$\displaystyle {name}{value(tensor.data).latex}$"


def tensor_text(tensor: ts.Tensor, printer: Any, cycle: bool) -> None:
    """What `repr` gives; of long ones, the ends."""
    printer.text(value(tensor.data).text)


def nest_html(nest: Any) -> str | None:
    """A nest of Tensors, such as gradients by the names of parameters, as a table; nothing for any other nest."""
    if not _holds_tensors(nest):
        return None
    values, _ = ts.tree.flatten(nest)
    if not all(isinstance(each, ts.Tensor) for each in values):
        return None
    rows = [(symbol(ts.tree.path(nest, index)), each) for index, each in enumerate(values[:MOST_ROWS])]
    left = len(values) - MOST_ROWS
    return table(rows, [f"and {left} more, not shown"] if left > 0 else [])


def _holds_tensors(nest: Any, depth: int = 4) -> bool:
    """Whether one of the first items is a Tensor, or a nest that holds one, not too deep."""
    items = nest.values() if isinstance(nest, dict) else nest
    return any(
        isinstance(each, ts.Tensor) or (depth > 1 and isinstance(each, _NESTS) and _holds_tensors(each, depth - 1))
        for each in islice(items, _LOOKED_AT)
    )


def attach(shell: Any) -> None:
    """Register with the formatters of `shell`."""
    formatters = shell.display_formatter.formatters
    formatters["text/html"].for_type(ts.Tensor, tensor_html)
    formatters["text/latex"].for_type(ts.Tensor, tensor_latex)
    formatters["text/plain"].for_type(ts.Tensor, tensor_text)
    for each in _NESTS:
        formatters["text/html"].for_type(each, nest_html)


def detach(shell: Any) -> None:
    """Take back what `attach` registered."""
    formatters = shell.display_formatter.formatters
    for mime in ("text/html", "text/latex", "text/plain"):
        formatters[mime].pop(ts.Tensor, None)
    for each in _NESTS:
        if formatters["text/html"].type_printers.get(each) is nest_html:
            formatters["text/html"].pop(each)
