"""A change in place is noticed, and the error names the line that saved and the one that changed."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

import tensorad as ts

torch.optim.SGD([torch.nn.Parameter(torch.ones(1))]).step()  # the first step of all leaves a cycle of torch's own


def zeroed(x: Any) -> None:
    x.data.zero_()


def part_assigned(x: Any) -> None:
    x.data[0] = 3.0


def augmented(x: Any) -> None:
    x.data += 1.0


def written_into(x: Any) -> None:
    torch.sin(x.data, out=x.data)


@pytest.mark.parametrize("change", [zeroed, part_assigned, augmented, written_into])
def test_a_change_in_another_function_is_noticed(change: Callable[[Any], None]) -> None:
    x = ts.tensor([1.0, 2.0])
    with ts.Grad() as g:
        y = x.sin()
    change(x)
    with pytest.raises(ts.MutationError, match=r"sin saved at test_mutation.py:\d+ \('y = x.sin\(\)'\)"):
        g.gradient(y, x)


def message(g: ts.Grad, y: Any, x: Any) -> str:
    try:
        g.gradient(y, x)
    except ts.MutationError as error:
        return str(error)
    pytest.fail("no error")


def test_both_lines_are_named() -> None:
    x = ts.tensor([1.0, 2.0])
    with ts.Grad() as g:
        y = x.sin()
    x.data.zero_()
    words = message(g, y, x)
    assert "saved at test_mutation.py" in words
    assert "('y = x.sin()')" in words
    assert "as it seems at test_mutation.py" in words
    assert "('x.data.zero_()')" in words
    assert "t.clone()" in words


def test_the_step_of_an_optimizer() -> None:
    layer = torch.nn.Linear(2, 2)
    x = ts.tensor([1.0, 2.0])
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    with ts.Grad() as g:
        y = layer(x).sum()
    layer.weight.grad = torch.ones(2, 2)
    optimizer.step()
    with pytest.raises(ts.MutationError, match=r"as it seems at test_mutation.py:\d+ \('optimizer.step\(\)'\)"):
        g.gradient(y, x)


def test_what_comes_after_the_question_is_not_suspected() -> None:
    x = ts.tensor([1.0, 2.0])
    with ts.Grad() as g:
        y = x.sin()
    change = x.data
    zeroed(x)
    with pytest.raises(ts.MutationError, match=r"in place since\. So its derivative"):
        g.gradient(y, x)
    change.zero_()


def test_a_program_that_cannot_be_read() -> None:
    scope: dict[str, Any] = {"ts": ts}
    exec("x = ts.tensor(1.0)\nwith ts.Grad() as g:\n    y = x.sin()\nx.data.zero_()", scope)
    assert "was changed in place since. So its derivative" in message(scope["g"], scope["y"], scope["x"])
