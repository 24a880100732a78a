"""How notebooks show Tensors, and nests of them: IPython's formatters know, the engine knows nothing of notebooks."""

import html
from typing import Any
from weakref import WeakKeyDictionary

import tensorad as ts
from tensorad.looking.program import holds_tensors
from tensorad_ipython.result import MOST_ROWS, left_out, shown, table
from tensorad_ipython.typeset import kind, printed, symbol, value

_NESTS = (dict, list, tuple)


def tensor_html(tensor: ts.Tensor) -> str:
    """A Tensor's name, values, shape and dtype."""
    name = f"<math>{symbol(str(tensor.name)).mathml}<mo>=</mo></math>" if tensor.name else ""
    about = f"<small>{html.escape(kind(tensor.data))}</small>"
    style = "display: flex; flex-wrap: wrap; align-items: center; gap: 0.2em 0.8em; overflow-x: auto"
    return f"<div class='tensorad' style='{style}'>{name}{shown(tensor)}{about}</div>"


def tensor_latex(tensor: ts.Tensor) -> str:
    """The values of a Tensor as a formula."""
    name = f"{symbol(str(tensor.name)).latex} = " if tensor.name else ""
    return rf"$\displaystyle {name}{value(tensor.data).latex}$"


def tensor_text(tensor: ts.Tensor, printer: Any, cycle: bool) -> None:
    """What `repr` gives; of long ones, the ends."""
    printer.text(printed(tensor.data))


def nest_html(nest: Any) -> str | None:
    """A nest of Tensors, such as gradients by the names of parameters, as a table; nothing for any other nest."""
    if not holds_tensors(nest):
        return None
    try:
        values, paths = ts.tree.flatten(nest)[0], ts.tree.paths(nest)
    except RecursionError:  # it holds itself
        return None
    if not all(isinstance(each, ts.Tensor) for each in values):
        return None
    rows = [(symbol(path), each) for path, each in zip(paths, values[:MOST_ROWS], strict=False)]
    return table(rows, left_out(len(values)))


_FORMATTERS = [
    ("text/html", ts.Tensor, tensor_html),
    ("text/latex", ts.Tensor, tensor_latex),
    ("text/plain", ts.Tensor, tensor_text),
    *(("text/html", kind_of_nest, nest_html) for kind_of_nest in _NESTS),
]
_before: WeakKeyDictionary[Any, list[Any]] = WeakKeyDictionary()  # what there was for the same types, by shell


def attach(shell: Any) -> None:
    """Register with the formatters of `shell`."""
    formatters = shell.display_formatter.formatters
    _before[shell] = [formatters[mime].for_type(each, function) for mime, each, function in _FORMATTERS]


def detach(shell: Any) -> None:
    """Let `shell` show things as it did before `attach`."""
    formatters = shell.display_formatter.formatters
    for (mime, each, function), before in zip(_FORMATTERS, _before.pop(shell), strict=True):
        if formatters[mime].type_printers.get(each) is function:  # else somebody has put another in its place
            formatters[mime].pop(each)
            if before is not None:
                formatters[mime].for_type(each, before)
