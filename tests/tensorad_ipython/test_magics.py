"""`%%grad` and `%grad`: the derivatives, the names, and cells that run as IPython runs them."""

import math
import re
import signal
from typing import Any

import pytest
import torch
from IPython.core.error import UsageError

import tensorad as ts
from tensorad.node import recording

Notebook = Any  # conftest.Notebook


def values(notebook: Notebook, *names: str) -> list[float]:
    return [notebook.names[name].item() for name in names]


def test_the_example_of_the_design(notebook: Notebook) -> None:
    notebook.run("%%grad y wrt x -n 3\ny = x ** 3")
    assert values(notebook, "y", "dx", "d2x", "d3x") == [216.0, 108.0, 36.0, 6.0]
    assert notebook.printed.strip().splitlines()[-6:] == [
        "Out[2]: ",
        "y       = Tensor(216.)",
        "dy/dx   = Tensor(108.)",
        "d²y/dx² = Tensor(36.)",
        "d³y/dx³ = Tensor(6.)",
        "names: dx, d2x, d3x; contexts: g1, g2, g3",
    ]
    assert [notebook.names[name].name for name in ("g1", "g2", "g3")] == ["g1", "g2", "g3"]
    notebook.run("again = g2.gradient(dx, x), g3.gradient(d2x, x)")
    assert [each.item() for each in notebook.names["again"]] == [36.0, 6.0]


def test_every_order_against_torch(notebook: Notebook) -> None:
    torch.manual_seed(1)
    data = torch.rand(2, 3, dtype=torch.float64)
    notebook.names["v"] = ts.tensor(data)
    notebook.run("%%grad y wrt v -n 4\ny = torch.sin(v) * torch.exp(v / 2)")
    leaf = data.clone().requires_grad_()
    expected = torch.sin(leaf) * torch.exp(leaf / 2)
    for name in ("dv", "d2v", "d3v", "d4v"):
        (expected,) = torch.autograd.grad(expected.sum(), leaf, create_graph=True)
        assert torch.allclose(notebook.names[name].data, expected, rtol=1e-12)


def test_the_result_unpacks_by_order(notebook: Notebook) -> None:
    notebook.run("y, first, second = %grad torch.exp(x) wrt x -n 2")
    assert values(notebook, "y", "first", "second") == pytest.approx([math.exp(6)] * 3)
    assert notebook.run("%grad x ** 2 wrt x")[1].item() == 12.0


def test_expressions_for_target_and_sources(notebook: Notebook) -> None:
    notebook.run("params = {'a b': ts.tensor([1.0, 2.0]), 'c': [ts.tensor(3.0)]}")
    line = "%%grad out['y'] wrt params['a b'], params, x -q --into G"
    assert notebook.run(f"{line}\nout = {{'y': (params['a b'] * params['c'][0] * x).sum()}}") is None
    one, both, by_x = notebook.names["G"]
    assert one.tolist() == [18.0, 18.0]
    assert both["a b"].tolist() == [18.0, 18.0]
    assert both["c"][0].item() == 18.0
    assert by_x is notebook.names["dx"]
    assert by_x.item() == 9.0
    notebook.run("%%grad (x * x).sum() wrt x\npass")
    assert values(notebook, "dx") == [12.0]


def test_sources_that_the_magic_cannot_name_are_said_to_need_into(notebook: Notebook) -> None:
    notebook.run("p = {'w': ts.tensor(2.0)}")
    notebook.run("%grad p['w'] ** 2 wrt p['w']")
    assert "--into NAME keeps what is not named: by p['w']" in notebook.printed
    notebook.run("%grad p['w'] ** 3 wrt p -n 2 --into d")
    assert "--into NAME" not in notebook.printed
    assert notebook.names["d"]["w"].item() == 12.0
    assert notebook.names["d2"]["w"].item() == 12.0
    assert notebook.names["d2p"]["w"].item() == 12.0


def test_parameters_of_a_module(notebook: Notebook) -> None:
    notebook.run("model = torch.nn.Linear(2, 1)\ninputs = ts.tensor([[1.0, 2.0]])")
    notebook.run(
        "%%grad loss wrt dict(model.named_parameters()) --into grads --check\nloss = model(inputs).square().sum()"
    )
    model, inputs = notebook.names["model"], notebook.names["inputs"].data
    expected = torch.autograd.grad(model(inputs).square().sum(), list(model.parameters()))
    assert torch.allclose(notebook.names["grads"]["weight"].data, expected[0])
    assert torch.allclose(notebook.names["grads"]["bias"].data, expected[1])
    assert notebook.printed.count("✓ they agree") == 2


def test_contexts_alone(notebook: Notebook) -> None:
    result = notebook.run("%%grad -n 2\ny = x ** 3\ndx = g1.gradient(y, x)\ng2.gradient(dx, x)")
    assert result.item() == 36.0
    assert "Out[2]: Tensor(36.)" in notebook.printed
    assert notebook.names["_"] is result
    assert notebook.names["Out"][2] is result
    assert notebook.run("%%grad\ng1.gradient(x * x, x)").item() == 12.0


def test_jacobian(notebook: Notebook) -> None:
    torch.manual_seed(2)
    matrix, vector = torch.rand(3, 2, dtype=torch.float64), torch.rand(2, dtype=torch.float64)
    notebook.names |= {"a": ts.tensor(matrix), "v": ts.tensor(vector)}
    result = notebook.run("%%grad y wrt v, a --jacobian --into J --check\ny = (a @ v).sin()")
    by_vector, by_matrix = torch.autograd.functional.jacobian(lambda v, a: (a @ v).sin(), (vector, matrix))
    assert torch.allclose(notebook.names["Jv"].data, by_vector)
    assert torch.allclose(notebook.names["Ja"].data, by_matrix)
    assert notebook.names["J"][0] is notebook.names["Jv"]
    assert result[1] == (notebook.names["Jv"], notebook.names["Ja"])
    assert "dv" not in notebook.names
    assert notebook.printed.count("✓ they agree") == 2


def test_hessian_of_several_sources(notebook: Notebook) -> None:
    torch.manual_seed(3)
    w, b = torch.rand(2, 2, dtype=torch.float64), torch.rand(2, dtype=torch.float64)
    notebook.names |= {"w": ts.tensor(w), "b": ts.tensor(b)}
    notebook.run("%%grad y wrt w, b --hessian --check torch\ny = ((w @ b).exp() * b).sum()")
    expected = torch.autograd.functional.hessian(lambda w, b: ((w @ b).exp() * b).sum(), (w, b))
    for found, row in zip((notebook.names["Hw"], notebook.names["Hb"]), expected, strict=True):
        for block, torchs in zip(found, row, strict=True):
            assert torch.allclose(block.data, torchs)
    assert notebook.printed.count("✓ they agree") == 6
    notebook.run("%%grad y wrt b --hessian\ny = (b ** 3).sum()")
    assert torch.allclose(notebook.names["Hb"].data, torch.diag(6 * b))
    assert torch.allclose(notebook.names["db"].data, 3 * b**2)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # which torch.func uses
@pytest.mark.parametrize("target", [(), (2,), (2, 3), (0,)])
@pytest.mark.parametrize("source", [(), (2,), (2, 3), (0,)])
def test_matrices_of_all_shapes(notebook: Notebook, target: tuple[int, ...], source: tuple[int, ...]) -> None:
    torch.manual_seed(5)
    data, weight = torch.rand(source, dtype=torch.float64), torch.rand(target, dtype=torch.float64)
    notebook.names |= {"s": ts.tensor(data), "w": weight, "t": ts.tensor(0.5, dtype=ts.float64)}
    notebook.run("%grad (s * t).sin().sum() * w wrt s, t --jacobian --into J")
    t = torch.tensor(0.5, dtype=torch.float64)
    assert [each.shape for each in notebook.names["J"]] == [(*target, *source), target]
    if weight.numel():  # else torch.func fails
        expected = torch.func.jacrev(lambda s, t: (s * t).sin().sum() * weight, (0, 1))(data, t)
        for found, torchs in zip(notebook.names["J"], expected, strict=True):
            assert torch.allclose(found.data, torchs)
    notebook.run("%grad (s * t).sin().sum() wrt s, t --hessian --into H")
    expected = torch.func.hessian(lambda s, t: (s * t).sin().sum(), (0, 1))(data, t)
    for row, torchs_row in zip(notebook.names["H2"], expected, strict=True):
        for found, torchs in zip(row, torchs_row, strict=True):
            assert found.shape == torchs.shape
            assert torch.allclose(found.data, torchs)


def test_everything_can_be_differentiated_by_a_context_around_it(notebook: Notebook) -> None:
    notebook.run("v = ts.tensor([1.0, 2.0])")
    line = "    _, {} = %grad v ** 3 wrt v{}\n"
    notebook.run("with ts.Grad() as outer:\n" + line.format("J", " --jacobian") + line.format("d", ""))
    notebook.run("with outer:\n    total, same = (J.sum() * v).sum(), (d * v.sum()).sum()")
    expected = torch.autograd.functional.jacobian(lambda v: (3 * v**2).sum() * v.sum(), torch.tensor([1.0, 2.0]))
    assert torch.allclose(notebook.run("outer.gradient(total, v)").data, expected)
    assert torch.allclose(notebook.run("outer.gradient(same, v)").data, expected)


def test_the_order_may_be_an_expression(notebook: Notebook) -> None:
    notebook.run("k = 3")
    notebook.run("%grad x ** 3 wrt x -n k")
    assert values(notebook, "d3x") == [6.0]


def test_cotangent(notebook: Notebook) -> None:
    notebook.run("v = ts.tensor([1.0, 2.0])\nc = torch.tensor([3.0, 4.0])")
    notebook.run("%%grad y wrt v -n 2 --cotangent c*2 --check torch\ny = v ** 3")
    assert notebook.names["dv"].tolist() == [18.0, 96.0]
    assert notebook.names["d2v"].tolist() == [36.0, 96.0]
    assert notebook.printed.count("✓ they agree") == 2
    notebook.run("%grad --cotangent (c + 1) v ** 2 wrt v")
    assert notebook.names["dv"].tolist() == [8.0, 20.0]


def test_what_is_differentiated_is_said(notebook: Notebook) -> None:
    notebook.run("v = ts.tensor([1.0, 2.0])")
    notebook.run("%grad v ** 3 wrt v -n 2")
    assert "v ** 3 has 2 entries: what is differentiated is their sum" in notebook.printed
    assert "--hessian has all second derivatives" in notebook.printed


# Names


def test_a_name_that_is_taken_is_said(notebook: Notebook) -> None:
    notebook.run("dx = 'mine'\ng1 = 5")
    notebook.run("%grad x ** 2 wrt x")
    assert "dx was of type str, and is now a result of %grad" in notebook.printed
    assert "g1 was of type int, and is now a result of %grad" in notebook.printed
    notebook.run("%grad x ** 2 wrt x")
    assert "is now a result" not in notebook.printed
    notebook.run("%reload_ext tensorad\n%grad x ** 2 wrt x")
    assert "is now a result" not in notebook.printed
    notebook.run("g1 = 'mine'")
    notebook.run("%%grad\n1")
    assert "g1 was of type str, and is now a result of %grad" in notebook.printed
    notebook.run("with ts.Grad() as g1:\n    pass")
    notebook.run("%%grad\n1")
    assert "g1 was of type Grad, and is now a result of %grad" in notebook.printed
    notebook.run("dx = dx * 2")
    notebook.run("%grad x ** 2 wrt x")
    assert "dx was of type Tensor" in notebook.printed


@pytest.mark.parametrize("cell", ["y = x ** 2\n1 / 0", "y = 3.0", "y = torch.sin(x)\nmissing", "z = 1"])
def test_after_an_error_nothing_is_half_bound(notebook: Notebook, cell: str) -> None:
    notebook.run("g1 = 'mine'")
    notebook.fails(f"%%grad y wrt x -n 2\n{cell}")
    assert notebook.names["g1"] == "mine"
    assert not {"g2", "dx", "d2x"} & set(notebook.names)


def test_an_error_at_the_second_order_binds_nothing(notebook: Notebook) -> None:
    notebook.run(
        "@ts.primitive\ndef once(x):\n    return x * 2\n"
        "def backwards(g, residuals):\n    if isinstance(g, ts.Tensor) and once.count:\n"
        "        raise ValueError('twice')\n    return (g * 2,)\n"
        "once.count = 0\nonce.defvjp(lambda x: (x * 2, ()), backwards)"
    )
    notebook.run("%grad once(x) wrt x")
    del notebook.names["dx"]
    notebook.run("once.count = 1")
    assert str(notebook.fails("%grad once(x) wrt x -n 2")) == "twice"
    assert "dx" not in notebook.names


def test_the_contexts_are_those_of_this_cell_whatever_it_calls_g1(notebook: Notebook) -> None:
    for other in ("%grad x * x wrt x", "g1 = 5", "del g1"):
        notebook.run(f"%%grad y wrt x\n{other}\ny = x ** 3")
        assert notebook.run("g1.gradient(y, x)").item() == 108.0


def test_unicode_names(notebook: Notebook) -> None:
    notebook.run("θ = ts.tensor(2.0)\n𝑥 = ts.tensor(3.0)")
    notebook.run("%grad θ ** 2 * 𝑥 wrt θ, 𝑥")
    assert values(notebook, "dθ", "dx") == [12.0, 4.0]  # Python itself takes 𝑥 for x


def test_names_called_wrt(notebook: Notebook) -> None:
    notebook.run("wrt = ts.tensor(5.0)")
    notebook.run("%grad wrt ** 2 + wrt wrt wrt")
    assert values(notebook, "dwrt") == [11.0]
    notebook.run("%grad wrt wrt wrt")
    assert values(notebook, "dwrt") == [1.0]


def test_a_hundred_sources(notebook: Notebook) -> None:
    names = [f"s{index}" for index in range(100)]
    notebook.run("\n".join(f"{name} = ts.tensor({index}.0)" for index, name in enumerate(names)))
    notebook.run(f"%%grad y wrt {', '.join(names)} -n 2\ny = sum(each ** 2 for each in ({', '.join(names)}))")
    assert values(notebook, *(f"d{name}" for name in names)) == [2.0 * index for index in range(100)]
    assert "and 141 more, not shown" in notebook.printed


def test_fifty_orders(notebook: Notebook) -> None:
    notebook.run("%%grad y wrt x -n 50\ny = x ** 3")
    assert values(notebook, "d3x", "d4x", "d50x") == [6.0, 0.0, 0.0]
    assert "contexts: g1, g2, g3, ..., g50" in notebook.printed


def test_ten_million_entries(notebook: Notebook) -> None:
    notebook.run("v = ts.tensor(torch.zeros(10_000_000))")
    result = notebook.run("%%grad y wrt v\ny = v + 1")
    assert len(notebook.printed) < 1000
    assert len(result._repr_html_()) < 5000
    assert isinstance(notebook.fails("%grad v * 2 wrt v --jacobian"), UsageError)


# Cells run as IPython runs them


def test_other_magics_and_shell_lines_inside(notebook: Notebook) -> None:
    notebook.run("%%grad y wrt x\nhere = %pwd\nlines = !echo six\ny = x ** 2 if lines == ['six'] else None")
    assert values(notebook, "dx") == [12.0]
    assert isinstance(notebook.names["here"], str)


def test_inside_other_magics(notebook: Notebook) -> None:
    notebook.run("%%time\n%%grad y wrt x\ny = x ** 2")
    assert values(notebook, "dx") == [12.0]
    assert "dy/dx = Tensor(12.)" in notebook.printed
    assert "Wall time" in notebook.printed
    notebook.run("%%capture shown\n%%grad y wrt x\nprint('hello')\ny = x ** 3")
    assert values(notebook, "dx") == [108.0]
    assert notebook.names["shown"].stdout.startswith("hello")
    notebook.run("%%grad\n%%time\nz = g1.gradient(x * x, x)")
    assert values(notebook, "z") == [12.0]


def test_await(notebook: Notebook) -> None:
    notebook.run("%%grad y wrt x\nimport asyncio\nawait asyncio.sleep(0)\ny = x ** 2")
    assert values(notebook, "dx") == [12.0]
    assert notebook.run("%%grad\nawait asyncio.sleep(0, result=7)") == 7
    error = notebook.fails("%%grad y wrt x\nawait asyncio.sleep(0)\n1 / 0")
    assert isinstance(error, ZeroDivisionError)
    assert "line 3" in notebook.printed


def test_a_cell_that_awaits_gives_other_programs_something_to_await(notebook: Notebook) -> None:
    notebook.shell.run_cell_magic("grad", "", "import asyncio\nawait asyncio.sleep(0)").close()
    assert not recording.get().entries


def test_the_last_expression(notebook: Notebook) -> None:
    notebook.run("%%grad y wrt x\ny = x ** 2\n'shown too'")
    assert notebook.printed.index("'shown too'") < notebook.printed.index("dy/dx")
    assert notebook.names["__"] == "shown too"
    notebook.run("%%grad y wrt x\ny = x ** 2\ny")
    assert notebook.printed.count("Tensor(36.)") == 1


@pytest.mark.parametrize(
    ("interactivity", "shown"),
    [("all", ["1", "2", "3"]), ("last_expr", ["3"]), ("none", []), ("last_expr_or_assign", ["3"])],
)
def test_interactivity(notebook: Notebook, interactivity: str, shown: list[str]) -> None:
    notebook.shell.ast_node_interactivity = interactivity
    try:
        notebook("%%grad\n1\n2\n3")
        assert re.findall(r"Out\[2\]: (.*)", notebook.printed) == shown
        notebook("%%grad\nassigned = 8")
        assert ("Out[3]: 8" in notebook.printed) == (interactivity == "last_expr_or_assign")
    finally:
        notebook.shell.ast_node_interactivity = "last_expr"


def test_silence(notebook: Notebook) -> None:
    for cell in (
        "%%grad y wrt x -q\ny = x ** 2\ny",
        "%%grad y wrt x\ny = x ** 2;",
        "%grad x * x wrt x;",
        "%grad -q x*x wrt x",
    ):
        notebook.run(cell)
        assert notebook.printed == ""
        assert values(notebook, "dx") == [12.0]


def test_what_is_assigned_is_never_none(notebook: Notebook) -> None:
    for line in ("y, slope = %grad x ** 2 wrt x -q", "y, slope = %grad x ** 2 wrt x;"):
        notebook.run(line)
        assert notebook.names["slope"].item() == 12.0
        assert notebook.printed == ""


def test_an_empty_cell_is_the_line_form(notebook: Notebook) -> None:
    notebook.run("%%grad x ** 2 wrt x\n\n")
    assert values(notebook, "dx") == [12.0]


def test_a_line_in_a_function_sees_the_functions_names(notebook: Notebook) -> None:
    notebook.run("def slope(t):\n    _, found = %grad sum(t ** n for n in range(3)) wrt t\n    return found")
    assert notebook.run("slope(ts.tensor(4.0))").item() == 9.0
    notebook.run("def fails(t):\n    %grad missing wrt t")
    notebook.fails("fails(x)")
    assert "tensorad_ipython" not in notebook.printed


def test_inside_a_function(notebook: Notebook) -> None:
    notebook.run("def slope(t):\n    result = %grad t ** 2 wrt t\n    return result[1]")
    assert notebook.run("slope(ts.tensor(4.0))").item() == 8.0
    assert "dt" not in notebook.names
    assert "g1" not in notebook.names


# Errors


def test_the_users_own_error_at_the_users_own_line(notebook: Notebook) -> None:
    error = notebook.fails("%%grad y wrt x\ny = x ** 2\n\n1 / 0")
    assert isinstance(error, ZeroDivisionError)
    assert "Cell In[2], line 4\n" in notebook.printed
    assert "----> 4 1 / 0" in notebook.printed
    assert "tensorad_ipython" not in notebook.printed
    assert "run_cell_magic" not in notebook.printed


def test_the_line_is_right_below_other_magics_and_blank_lines(notebook: Notebook) -> None:
    notebook.fails("%%time\n%%grad y wrt x\n\n\ny = 1 / 0")
    assert "Cell In[2], line 5\n" in notebook.printed


def test_frames_of_the_users_functions_are_shown(notebook: Notebook) -> None:
    notebook.run("def inner(t):\n    raise KeyError('mine')")
    notebook.fails("%%grad y wrt x\ny = inner(x)")
    assert "Cell In[3], line 2" in notebook.printed
    assert "Cell In[2], line 2, in inner(t)" in notebook.printed
    assert "tensorad_ipython" not in notebook.printed


def test_an_error_of_syntax(notebook: Notebook) -> None:
    error = notebook.fails("%%grad y wrt x\n\ny = = x")
    assert isinstance(error, SyntaxError)
    assert "Cell In[2], line 3" in notebook.printed
    assert "tensorad_ipython" not in notebook.printed


def test_an_error_in_the_magics_own_line(notebook: Notebook) -> None:
    error = notebook.fails("%%grad z wrt x\ny = x")
    assert isinstance(error, NameError)
    assert "----> 1 %%grad z wrt x" in notebook.printed
    assert "tensorad_ipython" not in notebook.printed


@pytest.mark.parametrize(
    ("cell", "kind", "words"),
    [
        ("%%grad 3.0 wrt x\ny = x", ts.ArgumentError, "the target is not a tensorad.Tensor but of type float"),
        ("%%grad y wrt 6.0\ny = x", ts.ArgumentError, "the source['6.0'] is not a tensorad.Tensor"),
        (
            "%%grad y wrt n\ny = x * 2\nn = ts.tensor(1)",
            ts.NotDifferentiableError,
            "the source['n'] has dtype torch.int64",
        ),
        ("%%grad old wrt x\npass", ts.NotRecordedError, "was made before g1 (opened at Cell In[3], line 1"),
        ("%%grad y wrt x --cotangent torch.ones(3)\ny = x * 2", ts.ShapeError, "the cotangent has shape (3,)"),
    ],
)
def test_what_tensorad_refuses(notebook: Notebook, cell: str, kind: type, words: str) -> None:
    notebook.run("old = x * 2")
    assert isinstance(notebook.fails(cell), kind)
    assert words in notebook.printed
    assert "arguments.py" not in notebook.printed  # the engine's own frames


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("y wrt x -n 0", "-n 0: the order is a whole number, 1 or more"),
        ("y wrt x -n 1.5", "-n 1.5: the order is a whole number"),
        ("y wrt x -n", "-n"),
        ("y wrt x -n 2+", "cannot read `2+`"),
        ("y wrt", "a source is missing"),
        ("wrt x", "the target is missing"),
        ("y x", "has no `wrt`"),
        ("y + wrt x", "cannot read the target `y +`"),
        ("y wrt x,, z", "cannot read the sources `x,, z`"),
        ("y wrt *xs", "without the star"),
        ("(y wrt x", "cannot read `(y wrt x`"),
        ("y wrt $x", "cannot read the sources `$x`"),
        ("y) wrt (x", "cannot read"),
        ("y wrt x --oder 2", "there is no option --oder"),
        ("y wrt x --jacobian -n 2", "--jacobian is of the first order: leave out -n"),
        ("y wrt x --hessian -n 3", "--hessian is of the second order: leave out -n"),
        ("y wrt x --jacobian --cotangent y", "one at a time"),
        ("y wrt x --jacobian --hessian", "one at a time"),
        ("y wrt x --into 3d", "--into 3d: that is no name"),
        ("y wrt x --cotangent +", "cannot read `+`"),
        ("--into d", "--into needs a target and sources"),
        ("--check", "--check needs a target and sources"),
    ],
)
def test_what_the_magic_refuses(notebook: Notebook, line: str, words: str) -> None:
    error = notebook.fails(f"%%grad {line}\ny = x ** 2")
    assert isinstance(error, UsageError)
    assert words in str(error)
    assert "y" not in notebook.names, "the cell ran all the same"


def test_stop_iteration_is_the_users_own(notebook: Notebook) -> None:
    for cell in ("%%grad y wrt x\ny = next(iter([]))", "%grad next(iter([])) wrt x"):
        assert isinstance(notebook.fails(cell), StopIteration)
        assert "coroutine" not in notebook.printed
        assert "tensorad_ipython" not in notebook.printed


@pytest.mark.parametrize("into", ["dx", "d2x", "g1", "g2", "x", "y"])
def test_into_does_not_take_a_name_that_the_line_needs(notebook: Notebook, into: str) -> None:
    error = notebook.fails(f"%%grad y wrt x -n 2 --into {into}\ny = x ** 2")
    assert f"--into {into}: {into} is a name that this line itself needs" in str(error)
    assert "y" not in notebook.names


def test_a_source_called_like_a_context_is_refused(notebook: Notebook) -> None:
    notebook.run("g1 = ts.tensor(3.0)")
    assert "g1 is the name of a context here" in str(notebook.fails("%grad g1 ** 2 wrt g1"))
    assert notebook.names["g1"].item() == 3.0


def test_complex_matrices_are_refused(notebook: Notebook) -> None:
    notebook.run("z = ts.tensor([1 + 1j])")
    for option in ("--jacobian", "--hessian"):
        assert "complex" in str(notebook.fails(f"%grad (z * z).abs().sum() wrt z {option}"))
    notebook.run("%grad z ** 2 wrt z")
    assert "complex: this is torch's gradient" in notebook.printed


def test_a_gradient_of_zero_says_why(notebook: Notebook) -> None:
    notebook.run("unused = ts.tensor(1.0)")
    notebook.run("%%grad y wrt x, unused\ny = x ** 2")
    assert "unused: the target does not depend on the source in what g1 recorded" in notebook.printed
    notebook.run("%%grad y wrt x\ny = ts.tensor(x.item()) * 2 * unused")
    assert "x: the target does not depend on the source" in notebook.printed
    assert "item() at Cell In[4], line 2" in notebook.printed
    notebook.run("%grad (x - 6) ** 2 wrt x")
    assert "the target" not in notebook.printed


def test_a_line_without_a_target(notebook: Notebook) -> None:
    assert "needs a target" in str(notebook.fails("%grad"))
    assert "needs a target" in str(notebook.fails("%grad -n 2"))


def test_an_interrupt(notebook: Notebook) -> None:
    notebook.run("import signal, time")
    error = notebook.fails(
        "%%grad y wrt x -n 3\ny = x ** 2\nsignal.raise_signal(signal.SIGINT)\nfor _ in range(100):\n    time.sleep(0.1)"
    )
    assert isinstance(error, KeyboardInterrupt)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert "g1" not in notebook.names
    assert "tensorad_ipython" not in notebook.printed


def test_no_context_is_open_afterwards_in_a_cell_that_leaves_in_odd_ways(notebook: Notebook) -> None:
    for last in ("raise SystemExit", "raise GeneratorExit", "assert False"):
        notebook.fails(f"%%grad y wrt x -n 2\ny = x\n{last}")
    assert not recording.get().entries


def test_warnings_point_to_the_line(notebook: Notebook) -> None:
    notebook.run("with ts.Grad() as earlier:\n    z = x * 2")
    with pytest.warns(ts.UnconnectedWarning) as caught:
        notebook.run("%%grad y wrt x\ny = z.sin()")
    assert "Compute it inside the block of g1" in str(caught[0].message)
    assert caught[0].lineno == 1
    assert notebook.shell.compile.format_code_name(caught[0].filename) == ("Cell", "In[3]")


# Help


def test_help(notebook: Notebook) -> None:
    notebook.run("%%grad --help\n")
    text = notebook.printed
    for word in (
        "-n N",
        "--jacobian",
        "--hessian",
        "--cotangent EXPR",
        "--check",
        "--into NAME",
        "-q",
        "TARGET wrt SOURCE, ...",
    ):
        assert word in text
    assert "%grad torch.sin(x) wrt x" in text
    notebook.run("%grad -h")
    assert notebook.printed == text
    notebook.run("%%grad --help\ny = x")
    assert notebook.printed == text
    assert "y" not in notebook.names


def test_the_question_mark(notebook: Notebook) -> None:
    info = notebook.shell.object_inspect("%%grad")
    assert info["found"]
    assert "--cotangent EXPR" in info["docstring"]


def test_the_graph_and_the_steps(notebook: Notebook) -> None:
    notebook.run("%%grad y wrt x --graph --steps\nh = x * x\ny = h.sin()")
    lines = [line.partition("  at ")[0] for line in notebook.printed.splitlines()]
    start = lines.index("#1  x = leaf, shape ()")
    assert lines[start : start + 3] == [
        "#1  x = leaf, shape ()", "#2  h = mul(input=#1, other=#1), shape ()", "#3  y = sin(input=#2), shape ()",
    ]  # fmt: skip
    steps = lines.index("0  y = sin, cotangent 1")
    assert start < steps < lines.index("names: dx; contexts: g1")
    assert lines[steps + 1].startswith("     h receives ∂y/∂y · cos(h) = 1 · cos(36)")
    assert any(line.startswith("gradient by x: ") for line in lines)


def test_what_is_shown_is_of_the_last_order(notebook: Notebook) -> None:
    notebook.run("w = ts.tensor(2.0)")
    notebook.run("%%grad y wrt x, w -n 2 --steps\ny = x ** 3 * w")
    assert notebook.printed.count("gradient by x: ") == 1  # of dx
    assert notebook.printed.count("no steps: ") == 1  # of dw, which does not depend on w
    assert "dx = gradient, cotangent 1" in notebook.printed
    assert "gradient by x: 72" in notebook.printed
    notebook.run("%%grad y wrt x --cotangent (2 * torch.ones(())) --steps\ny = x * 3")
    assert "cotangent 2" in notebook.printed
    notebook.run("v = ts.tensor([1., 2.])")
    notebook.run("%grad (v * x).sum() wrt v --steps")
    assert "gradient by v: [6, 6]" in notebook.printed


def test_pictures_can_be_silenced_and_need_a_target(notebook: Notebook) -> None:
    notebook.run("%%grad y wrt x --graph -q\ny = x * x")
    assert notebook.printed == ""
    assert "--graph needs a target and sources" in str(notebook.fails("%%grad --graph\ny = x"))
    assert "--steps is of one pass" in str(notebook.fails("%%grad y wrt x --jacobian --steps\ny = x"))


def test_the_text_of_a_cell_gives_names_and_expressions(notebook: Notebook) -> None:
    notebook.run("%%grad y wrt x --explain\ndef f(v):\n    inner = v * v\n    return inner.sin()\ny = f(x)")
    assert "by sin: y = inner.sin() at Cell In[2], line 4" in notebook.printed
    assert "∂y/∂inner = ∂y/∂y · cos(inner)" in notebook.printed


def test_a_change_in_place_is_found_in_a_cell(notebook: Notebook) -> None:
    """Each statement of a cell is compiled by itself, and a line with a magic is no Python."""
    lines = ["w = torch.nn.Parameter(torch.ones(2))", "with ts.Grad() as g:", "    y = (w * x).sum()"]
    lines += ["with torch.no_grad():", "    w.mul_(0.5)", "g.gradient(y, x)", "w.add_(1)"]
    notebook.run("import torch, tensorad as ts\nx = ts.tensor([1.0, 2.0])")
    waiting = ["import asyncio", "await asyncio.sleep(0)", *lines]
    for cell in map("\n".join, (lines, ["%precision 3", *lines], ["%%grad", *lines], waiting)):
        error = notebook.fails(cell)
        assert re.search(r"as it seems at Cell In\[\d+\], line \d \('w\.mul_\(0\.5\)'\)\. So", str(error)), error
