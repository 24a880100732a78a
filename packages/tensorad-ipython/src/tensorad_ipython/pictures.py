"""What graphs, steps and explanations are in a notebook: something to click on, and what is left of it without that."""

import ast
from typing import Any

from IPython import get_ipython

from tensorad.errors import ArgumentError, MissingPackageError
from tensorad.looking.explain import Explanation
from tensorad.looking.graph import Graph
from tensorad.looking.steps import Steps
from tensorad_ipython.explained import html_of, latex_of


def bundle(thing: Graph | Steps | Explanation) -> Any:
    """What IPython's displays may choose from, by MIME type, and metadata about it."""
    text = {"text/plain": repr(thing)}
    if isinstance(thing, Explanation):
        return text | {"text/html": html_of(thing), "text/latex": latex_of(thing)}
    if not hasattr(get_ipython(), "kernel"):  # a terminal
        return text
    data, metadata = _view(thing)._repr_mimebundle_() or ({}, {})
    return data | _still(thing.graph if isinstance(thing, Steps) else thing) | text, metadata


def _view(thing: Graph | Steps) -> Any:
    from tensorad_ipython.widget import View

    if isinstance(thing, Graph):
        return View(thing.trace())
    state = {"steps": thing}  # of what was changed, the next change is a change

    def changed(number: int, text: str) -> dict[str, Any]:
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError):
            raise ArgumentError(f"a cotangent is a number or nested lists of numbers, and not {text!r}") from None
        state["steps"] = state["steps"].changed(number, value)
        return state["steps"].trace()

    return View(thing.trace(), changed)


def _still(graph: Graph) -> dict[str, str]:
    """A picture that stays where the notebook is read without a kernel."""
    try:
        return {"image/svg+xml": graph.to_svg()}
    except MissingPackageError:
        return {}
