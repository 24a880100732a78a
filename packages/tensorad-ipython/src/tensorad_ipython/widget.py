"""The widget: a recorded graph and its backward pass in a notebook, drawn by the module that pages use too."""

import json
from collections.abc import Callable
from typing import Any

import anywidget
import traitlets

from tensorad_ipython.page import module

Changed = Callable[[int, str], dict[str, Any]]


class View(anywidget.AnyWidget):
    """The widget that notebooks show for graphs and steps: a trace, drawn.

    Args:
        trace: what `Graph.trace()` or `Steps.trace()` gives.
        changed: where the trace is editable, the page sends what the user wrote for the cotangent of a step:
            `changed(step, text)` returns the trace that follows from it, or raises an error, whose words are shown.

    Attributes:
        trace: the trace as text, in JSON; it can be set, and the page follows.
        index: the step that is shown, -1 before the first; it can be set, and follows the page.

    Examples:
        >>> import tensorad as ts
        >>> x = ts.tensor(2.0)
        >>> with ts.Grad() as g:
        ...     y = x * x
        >>> view = View(g.steps(y, x).trace())
        >>> view.index = 0
        >>> view
        View('gradient of y by x', 2 nodes, step 1 of 1)
    """

    _esm = module()
    trace = traitlets.Unicode().tag(sync=True)
    index = traitlets.Int(-1).tag(sync=True)

    def __init__(self, trace: dict[str, Any], changed: Changed | None = None) -> None:
        super().__init__(trace=_text(trace))
        self._changed = changed
        self.on_msg(self._heard)

    def __repr__(self) -> str:
        trace = json.loads(self.trace)
        step = f"step {self.index + 1}" if self.index >= 0 else "before step 1"
        steps = f", {step} of {len(trace['steps'])}" if trace["steps"] else ""
        return f"View({trace['title']!r}, {len(trace['nodes'])} nodes{steps})"

    def _heard(self, widget: Any, content: Any, buffers: Any) -> None:
        """Take what the page sends: `{"step": 3, "text": "0.5"}`."""
        match content:
            case {"step": int(step), "text": str(text)} if self._changed:
                try:
                    self.trace = _text(self._changed(step, text))
                except Exception as error:
                    self.send({"error": str(error) or type(error).__name__})
            case _:
                pass


def _text(trace: dict[str, Any]) -> str:
    return json.dumps(trace, ensure_ascii=False, separators=(",", ":"))
