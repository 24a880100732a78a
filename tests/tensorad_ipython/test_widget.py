"""The widget without a page: what it says of itself, and what it answers."""

import json
from typing import Any

import pytest

from tensorad_ipython.widget import View

TRACE = {"title": "gradient of y by x", "nodes": [{"id": 1}, {"id": 2}], "steps": [{}, {}]}


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What widgets have sent to their pages."""
    found: list[Any] = []
    monkeypatch.setattr(View, "send", lambda self, content, buffers=None: found.append(content))
    return found


def test_repr() -> None:
    view = View(TRACE)
    assert repr(view) == "View('gradient of y by x', 2 nodes, before step 1 of 2)"
    view.index = 1
    assert repr(view) == "View('gradient of y by x', 2 nodes, step 2 of 2)"
    assert repr(View(TRACE | {"steps": None})) == "View('gradient of y by x', 2 nodes)"


def test_another_trace(sent: list[Any]) -> None:
    asked: list[Any] = []

    def changed(step: int, text: str) -> dict[str, Any]:
        asked.append((step, text))
        if text == "bad":
            raise ValueError("this is no number")
        if text == "silent":
            raise KeyError
        return TRACE | {"title": text}

    view = View(TRACE, changed)
    view._handle_custom_msg({"step": 1, "text": "0.5"}, [])
    assert json.loads(view.trace)["title"] == "0.5"
    view._handle_custom_msg({"step": 1, "text": "bad"}, [])
    view._handle_custom_msg({"step": 0, "text": "silent"}, [])
    assert asked == [(1, "0.5"), (1, "bad"), (0, "silent")]
    assert sent == [{"error": "this is no number"}, {"error": "KeyError"}]
    assert json.loads(view.trace)["title"] == "0.5"


@pytest.mark.parametrize("message", [None, "text", {}, {"step": "1", "text": "2"}, {"step": 1, "text": 2}, {"step": 1}])
def test_other_messages(message: Any, sent: list[Any]) -> None:
    view = View(TRACE, lambda step, text: pytest.fail("it was asked"))
    view._handle_custom_msg(message, [])
    View(TRACE)._handle_custom_msg({"step": 1, "text": "2"}, [])  # nobody has said what follows
    assert sent == []
