"""`g.why` says how a source reaches a target, or names the line where the path breaks."""

from typing import Any

import pytest
import torch

import tensorad as ts


def test_a_path() -> None:
    x = ts.tensor(2.0, name="x")
    with ts.Grad() as g:
        h = x * 3
        y = torch.sin(h)
    words = g.why(y, x)
    assert words.startswith("the target depends on the source:\n  x\n  mul at test_why.py:")
    assert "('h = x * 3')" in words
    assert "sin at test_why.py" in words
    assert "source itself" in g.why(y, y)


def test_never_used() -> None:
    x, other = ts.tensor(2.0), ts.tensor(1.0, name="other")
    with ts.Grad() as g:
        y = x * x
    assert "the target does not depend on the source in what g recorded" in g.why(y, other)


def in_a_block(block: Any, h: ts.Tensor) -> ts.Tensor:
    with block:
        return h * 2


@pytest.mark.parametrize(
    ("how", "named"),
    [
        (lambda h: ts.stop_gradient(h), "stop_gradient()"),
        (lambda h: h.item(), "item()"),
        (lambda h: h.numpy(), "numpy()"),
        (lambda h: float(h), "float()"),
        (lambda h: h.argmax().to(ts.float32), "argmax"),
        (lambda h: (h > 1).to(ts.float32), "gt"),
        (lambda h: ts.tensor(h), "tensorad.tensor()"),
        (lambda h: h.detach(), "detach"),
        (lambda h: (h * 10).to(torch.int64), "to"),
        (lambda h: h.long() * 1.0, "to"),
        (lambda h: in_a_block(ts.stop_gradient(), h), "stop_gradient()"),
        (lambda h: in_a_block(torch.no_grad(), h), "torch.no_grad()"),
    ],
)
def test_cuts_are_named(how: object, named: str) -> None:
    x = ts.tensor(2.0)
    with ts.Grad() as g:
        h = x * 3
        c = how(h)  # type: ignore[operator]
        y = ts.ones(()) * c + ts.tensor(1.0)
    words = g.why(y, x)
    assert "does not depend" in words
    assert f"{named} at test_why.py:" in words
    assert ("stops the recording" in words) == (named in ("stop_gradient()", "torch.no_grad()"))


def test_made_before_and_after() -> None:
    x = ts.tensor(2.0)
    with ts.Grad():
        h = x * x
        with ts.Grad() as g:
            y = h * 3
        z = h * 4
    assert "which was made before g opened, so it is a constant to g" in g.why(y, x)
    assert "was computed after g (opened at test_why.py" in g.why(z, x)


def test_under_no_context() -> None:
    x = ts.tensor(2.0)
    y = x * x
    with ts.Grad() as g:
        pass
    assert "was made before g (opened at test_why.py" in g.why(y, x)


def test_a_target_that_is_a_constant_names_what_made_it_one() -> None:
    x = ts.tensor(2.0)
    with ts.Grad() as g:
        y = (x > 1) * 2.0
    with pytest.raises(ts.NotRecordedError, match=r"gt at test_why.py:\d+"):
        g.gradient(y, x)


def test_a_leaf_turned_into_a_number() -> None:
    x = ts.tensor(2.0)
    with ts.Grad() as g:
        y = ts.tensor(x.item()) * 2
    assert "item() at test_why.py" in g.why(y, x)


def test_a_value_that_was_computed_before() -> None:
    x = ts.tensor(2.0)
    h = x * x
    with ts.Grad() as g:
        y = h * 3
    assert "made before g opened, an input, or computed under no context (then compute it inside g)" in g.why(y, x)
