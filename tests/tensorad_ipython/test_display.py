"""What a notebook shows for Tensors, and for nests of them."""

import dataclasses
import html
import re
from typing import Any

import pytest
import torch

import tensorad as ts

Notebook = Any  # conftest.Notebook


def shown(notebook: Notebook, value: object) -> dict[str, str]:
    return notebook.shell.display_formatter.format(value)[0]


def test_a_tensor(notebook: Notebook) -> None:
    forms = shown(notebook, ts.tensor([[1.0, 2.0]], name="w", dtype=ts.float64))
    assert forms["text/plain"] == "Tensor([[1., 2.]], dtype=torch.float64)"
    assert forms["text/latex"] == r"$\displaystyle w = \begin{bmatrix} 1 & 2 \end{bmatrix}$"
    assert "<mn>2</mn>" in forms["text/html"]
    assert "(1, 2) float64" in forms["text/html"]


def test_a_long_tensor_is_shortened_in_every_form(notebook: Notebook) -> None:
    for form in shown(notebook, ts.tensor(torch.zeros(10_000_000))).values():
        assert len(form) < 500


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a\" onload='x", "$x$", "</math><b>"])
def test_names_are_text(notebook: Notebook, name: str) -> None:
    tensor = ts.tensor(1.0, name=name)
    for value in (tensor, {name: tensor}):
        form = shown(notebook, value)["text/html"]
        tags = re.findall(r"<\s*/?\s*(\w+)", form)
        assert set(tags) <= {"div", "math", "mtext", "mo", "mn", "mi", "mrow", "small", "table", "tr", "td", "th"}
        assert html.escape(name) in form or html.escape(repr(name)) in form


def test_nests_of_tensors_are_tables(notebook: Notebook) -> None:
    gradients = {"w": ts.tensor([1.0, 2.0]), "layers": [(ts.tensor(3.0),)]}
    forms = shown(notebook, gradients)
    assert forms["text/html"].count("<tr>") == 2
    assert "[&#x27;layers&#x27;][0][0]" in forms["text/html"]
    assert forms["text/plain"] == "{'w': Tensor([1., 2.]), 'layers': [(Tensor(3.),)]}"


def test_other_nests_are_left_alone(notebook: Notebook) -> None:
    knot: list[object] = [ts.tensor(1.0)]
    knot.append([knot])
    endless: list[object] = []
    endless.append(endless)
    for value in ({}, [], (), [1.0] * 1000, {"a": [1]}, endless, ["words"], (ts.tensor(1.0), "words")):
        assert "text/html" not in shown(notebook, value)


def test_nests_that_hold_themselves(notebook: Notebook) -> None:
    listed: list[object] = [ts.tensor(1.0)]
    listed.append(listed)
    named: dict[str, object] = {"t": ts.tensor(1.0)}
    named["self"] = named
    for value in (listed, named):
        assert "text/html" not in shown(notebook, value)


def test_names_that_are_no_text(notebook: Notebook) -> None:
    tensor = ts.tensor(1.0)
    tensor.name = 5  # pyright: ignore[reportAttributeAccessIssue]
    assert "5" in shown(notebook, tensor)["text/html"]


def test_a_nest_of_many(notebook: Notebook) -> None:
    form = shown(notebook, [ts.tensor(1.0)] * 1000)["text/html"]
    assert form.count("<tr>") == 60
    assert "and 940 more, not shown" in form


def test_results(notebook: Notebook) -> None:
    result = notebook.run("%grad (x ** 2).sin() wrt x -n 2")
    forms = shown(notebook, result)
    assert forms["text/plain"] == repr(result)
    assert forms["text/html"].count("<mfrac>") == 2
    assert r"\frac{d^{2}}{d x^{2}}" in forms["text/latex"]


def test_reading_a_value_is_no_cut(notebook: Notebook) -> None:
    """What is shown is not taken out of the graph, so `why` does not name the line that showed it."""
    with ts.Grad() as g:
        shown(notebook, ts.tensor(2.0) * 1)
    assert not g.cuts


@dataclasses.dataclass
class Pair:
    w: Any
    b: Any


def test_sources_of_other_kinds(notebook: Notebook) -> None:
    notebook.names["pair"] = Pair(ts.tensor(1.0), ts.tensor([2.0]))
    notebook.run("%grad (pair.w * pair.b).sum() wrt pair")
    assert notebook.names["dpair"].w.item() == 2.0
    assert "∂pair.w" in notebook.printed
