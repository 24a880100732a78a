"""`--check` agrees with right rules, not with wrong ones, and leaves everything as it was."""

from typing import Any

import pytest
import torch

import tensorad as ts

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
    draw = "torch.rand(()) * random.random() * float(numpy.random.rand()) * ts.random.uniform(())"
    notebook.run(f"%%grad y wrt x --check\ny = x * {draw}\nif y.item() > 0: torch.rand(())")
    assert "✓ they agree" in notebook.printed
    notebook.run("after = torch.rand(()), random.random(), numpy.random.rand()")
    notebook.run("torch.manual_seed(0), random.seed(0)")
    notebook.run(f"y = x * {draw}\nif y.item() > 0: torch.rand(())\nagain = torch.rand(()), random.random()")
    assert notebook.names["after"][:2] == notebook.names["again"], "a check has moved the streams of random numbers"


def test_a_stream_that_cannot_be_wound_back_is_noticed(notebook: Notebook) -> None:
    notebook.run("own = torch.Generator().manual_seed(1)")
    for how in ("", " torch"):
        notebook.run(f"%%grad y wrt x --check{how}\ny = x * torch.rand((), generator=own)")
        assert "not checked: the cell, run again, gives another y: it changes what it uses" in notebook.printed


def test_what_a_run_changes_is_put_back_and_what_it_prints_is_dropped(notebook: Notebook) -> None:
    notebook.run("runs = []\ncount = 0\nother = ts.tensor([1.0, 2.0])\nnest = {'t': ts.tensor(1.0)}")
    cell = (
        "count += 1\nruns.append(count)\nprint('once')\nother[0] = x\nnest['t'] *= x\ny = x ** 2 * other[0] * nest['t']"
    )
    for how in ("", " torch"):
        notebook.run("other = ts.tensor([1.0, 2.0])\nnest = {'t': ts.tensor(1.0)}\ncount = 0")
        notebook.run(f"%%grad y wrt x --check{how}\n{cell}\nnew = 3\n'value'")
        assert "✓ they agree" in notebook.printed
        assert notebook.names["count"] == 1
        assert set(notebook.names["runs"]) == {1}
        assert notebook.printed.count("once") == 1
        assert notebook.printed.count("'value'") == 1
        assert notebook.names["other"].tolist() == [6.0, 2.0]
        assert not notebook.names["other"].data.requires_grad
        assert notebook.names["nest"]["t"].item() == 6.0
        assert notebook.names["x"].item() == 6.0
        assert notebook.run("g1.gradient(y, x)").item() == 4 * 6.0**3
        assert notebook.run("g1.gradient(y, other)").tolist() == [6.0**3, 0.0]


def test_attributes_of_objects_are_as_a_run_with_nothing_moved_leaves_them(notebook: Notebook) -> None:
    notebook.run("class Box: pass\nbox = Box()")
    notebook.run("%%grad y wrt x --check torch\nbox.square = x ** 2\ny = box.square * 1")
    assert notebook.names["box"].square.item() == 36.0
    assert not notebook.names["box"].square.data.requires_grad


@pytest.mark.parametrize(
    "cell",
    ["t = ts.tensor(2.0)\ny = t ** 2", "t += 1\ny = t ** 2", "t = t * 1\ny = t * t"],
)
@pytest.mark.parametrize("how", ["", " torch"])
def test_a_source_that_the_cell_makes_or_changes(notebook: Notebook, cell: str, how: str) -> None:
    notebook.run("t = ts.tensor(2.0)")
    notebook.run(f"%%grad y wrt t --check{how}\n{cell}")
    assert "not checked: t gets its value when the cell runs: make it in a cell before this one" in notebook.printed


@pytest.mark.parametrize(
    "cell", ["w = w * 0.5\ny = (w - x) ** 2", "w -= 0.5\ny = (w - x) ** 2", "n = n + 1\ny = n * x"]
)
@pytest.mark.parametrize("how", ["", " torch"])
def test_a_run_starts_from_what_the_first_one_started_from(notebook: Notebook, cell: str, how: str) -> None:
    notebook.run("w = ts.tensor(2.0)\nn = 3")
    notebook.run(f"%%grad y wrt x --check{how}\n{cell}")
    assert "✓ they agree" in notebook.printed


@pytest.mark.parametrize(("cell", "words"), [
    ("y = x * first.pop()", "raised IndexError: pop from empty list"),
    ("first[0] += 1\ny = x * first[0]", "gives another y"),
    ("y = x ** 2 if x.item() == 6 else ts.stack([x, x])", "the target has another shape where a source is moved"),
    ("next(iter(first[1:]))\ny = x", None),
])  # fmt: skip
def test_a_cell_that_cannot_run_again(notebook: Notebook, cell: str, words: str | None) -> None:
    notebook.run("first = [1]")
    if words is None:
        assert isinstance(notebook.fails(f"%%grad y wrt x --check\n{cell}"), StopIteration)
        return
    notebook.run(f"%%grad y wrt x --check\n{cell}")
    assert "not checked: the " in notebook.printed
    assert words in notebook.printed
    assert "dx" in notebook.names


def test_what_torch_refuses_is_told(notebook: Notebook) -> None:
    notebook.run("norm = torch.nn.BatchNorm1d(2)\nbatch = ts.tensor([[1.0, 2.0], [3.0, 5.0]])")
    notebook.run("%grad norm(batch).square().sum() wrt batch --check torch")
    assert "not checked: torch.autograd raised RuntimeError" in notebook.printed
    assert not norm_is_recorded(notebook)


def norm_is_recorded(notebook: Notebook) -> bool:
    return any(each.requires_grad for each in notebook.names["norm"].buffers())


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
    notebook.run("%grad model(inputs).sum() wrt inputs, model.weight --check torch")
    assert notebook.printed.count("✓ they agree") == 1
    assert "model.weight: not checked, as to torch.autograd a parameter is a constant here" in notebook.printed


@pytest.mark.parametrize("where", ["0.01", "0.0", "[0.0, 1.0]"])
@pytest.mark.parametrize("function", ["torch.relu(k)", "k.abs()", "torch.where(k > 0, k, 3 * k)"])
def test_a_corner_is_not_called_wrong(notebook: Notebook, where: str, function: str) -> None:
    notebook.run(f"k = ts.tensor({where})")
    notebook.run(f"%grad {function} wrt k --check")
    assert "DISAGREE" not in notebook.printed
    assert ("? they cannot tell" in notebook.printed) == (where != "0.01")


@pytest.mark.parametrize("cell", ["1 / k", "k.sqrt()", "k.log()"])
def test_at_a_pole_nothing_can_be_told_by_differences_and_torch_agrees(notebook: Notebook, cell: str) -> None:
    notebook.run("k = ts.tensor(0.0)")
    notebook.run(f"%grad {cell} wrt k --check")
    assert "? they cannot tell" in notebook.printed
    notebook.run(f"%grad {cell} wrt k --check torch")
    assert "✓ they agree" in notebook.printed


RIGHT = [
    "t.sin()",
    "t.exp()",
    "t ** 3",
    "1 / t",
    "t.log()",
    "t.sqrt()",
    "torch.relu(t)",
    "(t * 1000).sin()",
    "t.sum() + 1e4",
]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("at", ["0.0", "1e-3", "2.3", "-1.7", "1e4", "[1.3, -2.0, 0.7]"])
def test_right_derivatives_are_never_called_wrong(notebook: Notebook, dtype: str, at: str) -> None:
    notebook.run(f"t = ts.tensor({at}, dtype=ts.{dtype})")
    for function in RIGHT:
        for how in ("", " torch"):
            notebook.run(f"%grad {function} wrt t --check{how}")
            assert "DISAGREE" not in notebook.printed, function


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("factor", [-2.0, 4.0, 2.2])
def test_wrong_derivatives_are_never_called_right(notebook: Notebook, dtype: str, factor: float) -> None:
    notebook.run(WRONG.replace("2.05", str(factor)))
    for at in ("1e-3", "0.3", "2.3", "1e4", "[1.3, -2.0, 0.7]"):
        notebook.run(f"t = ts.tensor({at}, dtype=ts.{dtype})")
        for function in ("wrong(t)", "wrong(t).sum() + 1e4"):
            for how in ("", " torch"):
                notebook.run(f"%grad {function} wrt t --check{how}")
                assert "✓" not in notebook.printed, (at, function)
                if dtype in ("float64", "float32") and "1e4" not in at + function:
                    assert "✗ they DISAGREE" in notebook.printed, (at, function)


def test_a_small_wrong_derivative(notebook: Notebook) -> None:
    notebook.run(WRONG.replace("x ** 2", "1e-6 * x").replace("2.05 * x", "-1e-6 * (x / x)"))
    for how in ("", " torch"):
        notebook.run(f"%grad wrong(x) wrt x --check{how}")
        assert "✗ they DISAGREE" in notebook.printed


def test_the_trap_of_where_is_found(notebook: Notebook) -> None:
    notebook.run("k = ts.tensor(0.5)")
    notebook.run("%grad torch.where(k > 0.6, (k - 0.6).sqrt(), k) wrt k --check")
    assert "nan; by finite differences" in notebook.printed
    assert "✗ they DISAGREE" in notebook.printed


@pytest.mark.parametrize("cotangent", ["2", "[1.0, 2.0]", "x", "k * 2"])
def test_cotangents_of_all_kinds(notebook: Notebook, cotangent: str) -> None:
    notebook.run("k = ts.tensor([1.0, 2.0])" if cotangent.startswith(("[", "k")) else "k = ts.tensor(3.0)")
    for how in ("", " torch"):
        notebook.run(f"%grad k ** 2 wrt k --cotangent {cotangent.replace(' ', '')} --check{how}")
        assert notebook.printed.count("✓ they agree") == 1


def test_a_cotangent_that_moves_with_the_sources(notebook: Notebook) -> None:
    notebook.run("%%grad y wrt x --cotangent x*1 --check\ny = x ** 3")
    assert "✓ they agree" in notebook.printed


def test_a_wrong_zero_that_digits_hide_is_not_called_right(notebook: Notebook) -> None:
    for cell in ("ts.stop_gradient(x) ** 2 + 1e6", "ts.stop_gradient(x) * 3 + 1e8"):
        notebook.run(f"%grad {cell} + 0 * x wrt x --check")
        assert "✓" not in notebook.printed


@pytest.mark.parametrize("seed", range(8))
def test_many_small_corners_are_not_called_wrong(notebook: Notebook, seed: int) -> None:
    torch.manual_seed(seed)
    notebook.names |= {"b": ts.tensor(torch.zeros(32)), "weight": torch.randn(8, 32) * 0.1, "data": torch.randn(64, 8)}
    notebook.run("%grad torch.relu(data @ weight + b).mean() wrt b --check")
    assert "DISAGREE" not in notebook.printed
    notebook.names |= {"b": ts.tensor(torch.randn(8, 16) * 1e-3), "t": torch.randn(64, 16)}
    notebook.run("%grad (data @ b - t).abs().mean() wrt b --check")
    assert "DISAGREE" not in notebook.printed


def test_what_torch_does_not_see_is_not_compared(notebook: Notebook) -> None:
    notebook.run("v = ts.tensor([3.0, 1.0, 2.0])")
    for cell in ("torch.sort(v)[0][0]", "v.max(0)[0]", "torch.topk(v, 1)[0].sum()"):
        notebook.run(f"%grad {cell} wrt v --check torch")
        assert "DISAGREE" not in notebook.printed


def test_a_cotangent_that_depends_on_the_sources_at_the_second_order(notebook: Notebook) -> None:
    notebook.run("v = ts.tensor([1.0, 2.0])")
    for option in ("-n 2", "--hessian"):
        for how in ("", " torch"):
            notebook.run(f"%grad v ** 2 wrt v --cotangent v {option} --check{how}")
            assert "DISAGREE" not in notebook.printed
            assert "✓ they agree" in notebook.printed


def test_stop_gradient_stops_torch_too(notebook: Notebook) -> None:
    notebook.run("%grad ts.stop_gradient(x) * x wrt x --check torch")
    assert "✓ they agree" in notebook.printed
    notebook.run("%grad ts.stop_gradient(x) * x wrt x --check")
    assert "✗ they DISAGREE" in notebook.printed  # differences see through it


def test_quiet_or_not_a_disagreement_is_told(notebook: Notebook) -> None:
    notebook.run(WRONG)
    for line in ("%grad wrong(x) wrt x --check -q", "%grad wrong(x) wrt x --check;"):
        notebook.run(line)
        assert "✗ they DISAGREE" in notebook.printed
    for line in ("r = %grad wrong(x) wrt x --check", "for _ in range(2):\n    %grad wrong(x) wrt x --check -q"):
        notebook.run(line)
        assert notebook.printed.count("✗ they DISAGREE") == 1 + ("for" in line)
    notebook.run("%grad x * 2 wrt x --check -q")
    assert notebook.printed == ""


def test_constants_and_empty_tensors(notebook: Notebook) -> None:
    notebook.run("none = ts.zeros(0)")
    notebook.run("%grad none.sum() * 1 wrt none -n 2 --check")
    assert "DISAGREE" not in notebook.printed
    notebook.run("%grad x * 3 wrt x -n 3 --check torch")
    assert notebook.printed.count("✓ they agree") == 3
    notebook.run("%grad x * 3 wrt x -n 3 --check")
    assert notebook.printed.count("✓ they agree") == 2
    assert notebook.printed.count("? they cannot tell") == 1  # that 3 is constant, or too large to see a change of it
    notebook.run("d = ts.tensor(6.0, dtype=ts.float64)\n%grad d * 3 wrt d -n 3 --check")
    assert notebook.printed.count("✓ they agree") == 3


def test_a_cell_that_awaits_is_not_run_again(notebook: Notebook) -> None:
    error = notebook.fails("%%grad y wrt x --check\nimport asyncio\nawait asyncio.sleep(0)\ny = x ** 2")
    assert "--check runs the cell again" in str(error)
    assert "y" not in notebook.names
