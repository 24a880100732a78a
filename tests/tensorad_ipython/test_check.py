"""`--check` agrees with right rules, not with wrong ones, and leaves everything as it was."""

from typing import Any

import pytest
import torch

Notebook = Any  # conftest.Notebook

WRONG = """
@ts.primitive
def wrong(x):
    return x ** 2
wrong.defvjp(lambda x: (x ** 2, x), lambda g, x: (g * 2.05 * x,))
"""


@pytest.mark.parametrize("how", ["", " torch"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_wrong_rule_is_found(notebook: Notebook, how: str, dtype: str) -> None:
    notebook.run(WRONG + f"v = ts.tensor([1.0, 2.0, 3.0], dtype=ts.{dtype})")
    notebook.run(f"%%grad y wrt v -n 1 --check{how}\ny = (wrong(v) * v).sum()")
    assert "✗ they DISAGREE" in notebook.printed
    notebook.run(f"%%grad y wrt v -n 2 --check{how}\ny = (v ** 2 * v).sum()")
    assert notebook.printed.count("✓ they agree") == 2


@pytest.mark.parametrize("how", ["", " torch"])
@pytest.mark.parametrize("option", ["-n 3", "--jacobian", "--hessian", "-n 2 --cotangent torch.tensor([1.,-2.,3.])"])
def test_right_rules_agree(notebook: Notebook, how: str, option: str) -> None:
    torch.manual_seed(4)
    notebook.run("v = ts.tensor(torch.rand(3))\nw = ts.tensor(torch.rand(3, 3, dtype=torch.float64).float())")
    notebook.run(f"%%grad y wrt v, w {option} --check{how}\ny = torch.tanh(w @ v) * v.exp()")
    assert "✓ they agree" in notebook.printed
    assert "DISAGREE" not in notebook.printed
    assert "too rough" not in notebook.printed


def test_one_tensor_under_two_names(notebook: Notebook) -> None:
    notebook.run("v = ts.tensor([1.0, 2.0])\nu = {'same': v}")
    notebook.run("%%grad y wrt v, u --check torch\ny = (v ** 3).sum()")
    assert notebook.printed.count("✓ they agree") == 2
    notebook.run("%%grad y wrt v, u --check\ny = (v ** 3).sum()")
    assert notebook.printed.count("✓ they agree") == 2


def test_random_numbers_are_drawn_again(notebook: Notebook) -> None:
    notebook.run("import random, numpy")
    cell = "y = x * torch.rand(()) * random.random() * float(numpy.random.rand()) * ts.random.uniform(())"
    notebook.run(f"%%grad y wrt x --check\n{cell}")
    assert "✓ they agree" in notebook.printed
    notebook.run("after = torch.rand(())")
    torch.manual_seed(0)
    torch.rand(())
    ts_draw = torch.rand(())
    assert notebook.names["after"] == torch.rand(()), ts_draw


def test_what_a_run_binds_is_put_back_and_what_it_prints_is_dropped(notebook: Notebook) -> None:
    notebook.run("runs = []\ncount = 0")
    notebook.run("%%grad y wrt x --check\ncount += 1\nruns.append(count)\nprint('once')\ny = x ** 2\nnew = 3\n'value'")
    assert notebook.names["count"] == 1
    assert notebook.names["runs"] == [1, 2, 2, 2, 2]  # what is changed in place is changed again
    assert notebook.printed.count("once") == 1
    assert notebook.printed.count("'value'") == 1
    assert notebook.names["x"].item() == 6.0
    notebook.run("g1.gradient(y, x)")
    assert notebook.names["_"].item() == 12.0


def test_a_source_that_the_cell_makes_itself(notebook: Notebook) -> None:
    notebook.run("%%grad y wrt t --check\nt = ts.tensor(2.0)\ny = t ** 2")
    assert "not checked: t is made anew when the cell runs: make it in a cell before this one" in notebook.printed
    assert notebook.names["dt"].item() == 4.0


def test_a_cell_that_cannot_run_again(notebook: Notebook) -> None:
    notebook.run("first = [1]")
    notebook.run("%%grad y wrt x --check\ny = x * first.pop()")
    assert "not checked: the cell, run again, raised IndexError: pop from empty list" in notebook.printed
    assert notebook.names["dx"].item() == 1.0


def test_complex_values(notebook: Notebook) -> None:
    notebook.run("z = ts.tensor(1 + 2j)")
    notebook.run("%grad (z * z).abs() wrt z --check")
    assert "finite differences are for real values" in notebook.printed
    notebook.run("%grad (z * z).abs() wrt z --check torch")
    assert "✓ they agree" in notebook.printed


def test_parameters(notebook: Notebook) -> None:
    notebook.run("model = torch.nn.Linear(2, 1)\ninputs = ts.tensor([[1.0, 2.0]])")
    notebook.run("%grad model(inputs).sin().sum() wrt model.weight -n 2 --check")
    assert notebook.printed.count("✓ they agree") == 2
    notebook.run("%grad model(inputs).sum() wrt model.weight --check torch")
    assert "a parameter of a torch module is a constant to torch.autograd here" in notebook.printed


def test_a_corner_is_not_called_wrong(notebook: Notebook) -> None:
    notebook.run("k = ts.tensor(0.01)")
    notebook.run("%grad torch.relu(k) wrt k --check")
    assert "too rough to tell" in notebook.printed


def test_constants_and_empty_tensors(notebook: Notebook) -> None:
    notebook.run("none = ts.zeros(0)")
    notebook.run("%grad none.sum() * 1 wrt none -n 2 --check")
    assert "DISAGREE" not in notebook.printed
    notebook.run("%grad x * 3 wrt x -n 3 --check torch")
    assert notebook.printed.count("✓ they agree") == 3
    notebook.run("%grad x * 3 wrt x -n 3 --check")
    assert notebook.printed.count("✓ they agree") == 3


def test_await_runs_again(notebook: Notebook) -> None:
    notebook.run("%%grad y wrt x --check\nimport asyncio\nawait asyncio.sleep(0)\ny = x ** 2")
    assert "✓ they agree" in notebook.printed
