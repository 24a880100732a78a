"""Taking the line of the magic apart."""

import pytest
from IPython.core.error import UsageError

from tensorad_ipython.magics import GradMagics
from tensorad_ipython.request import Request, read


def asked(line: str) -> Request:
    return read(line, GradMagics.grad.parser)


@pytest.mark.parametrize(
    ("line", "target", "sources", "options"),
    [
        ("y wrt x", "y", ["x"], {}),
        ("  y   wrt  x ", "y", ["x"], {}),
        ("x ** 3 wrt x", "x ** 3", ["x"], {}),
        ("x @ w wrt w, x,", "x @ w", ["w", "x"], {}),
        ("y wrt x, x", "y", ["x"], {}),
        (
            "out['a  b'] wrt d[\"wrt it's\"], (a, b), {'k': c}",
            "out['a  b']",
            ['d["wrt it\'s"]', "(a, b)", "{'k': c}"],
            {},
        ),
        ("(y if wrt_ else z) wrt x", "(y if wrt_ else z)", ["x"], {}),
        ("-n 2 y wrt x --check", "y", ["x"], {"order": "2", "check": "differences"}),
        ("y wrt x --check torch -n3", "y", ["x"], {"order": "3", "check": "torch"}),
        ("--check y wrt x", "y", ["x"], {"check": "differences"}),
        ("y wrt x --order=4 -q # words", "y", ["x"], {"order": "4", "quiet": True}),
        ("y wrt x --ord 4 --jac", "y", ["x"], {"order": "4", "jacobian": True}),
        ("--cotangent (a + b) y wrt x", "y", ["x"], {"cotangent": "(a + b)"}),
        ("y wrt x --cotangent torch.ones(2, 3) --into d", "y", ["x"], {"cotangent": "torch.ones(2, 3)", "into": "d"}),
        ("-x ** 2 wrt x", "-x ** 2", ["x"], {}),
        ("x - n wrt x, n", "x - n", ["x", "n"], {}),
        ("x -m wrt x", "x -m", ["x"], {}),
        ("lambda wrt: 3 wrt x", "lambda wrt: 3", ["x"], {}),
        ("wrt wrt x", "wrt", ["x"], {}),
        ("y wrt wrt", "y", ["wrt"], {}),
        ("y + wrt wrt x", "y + wrt", ["x"], {}),
        ("a.wrt wrt b.wrt", "a.wrt", ["b.wrt"], {}),
        ("θ ** 2 wrt θ, é", "θ ** 2", ["θ", "é"], {}),
        ("f'{x!r} wrt' wrt x", "f'{x!r} wrt'", ["x"], {}),
        ("y wrt x;", "y", ["x"], {}),
        ("y wrt (z := x)", "y", ["z := x"], {}),
    ],
)
def test_lines(line: str, target: str, sources: list[str], options: dict[str, object]) -> None:
    request = asked(line)
    assert request.target is not None
    assert request.target.text == target
    assert [each.text for each in request.sources] == sources
    assert {name: value for name, value in vars(request.options).items() if value} == options


def test_no_target() -> None:
    assert asked("").target is None
    assert asked("-n 2").options.order == "2"
    assert asked("-n 2").target is None


def test_names() -> None:
    assert [each.name for each in asked("y wrt x, d['x'], (z := x), θ, 𝑥").sources] == ["x", None, None, "θ", "x"]


@pytest.mark.parametrize(
    "line", ["y", "y wrt", "wrt", "wrt x", "y wrt x wrt", "y z wrt x", "y wrt x)(", "'y wrt x", "y wrt x = 3"]
)
def test_lines_that_cannot_be_read(line: str) -> None:
    with pytest.raises(UsageError):
        asked(line)
