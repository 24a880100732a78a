"""Mathematics in its three forms, and what of a tensor is laid out as a matrix."""

import html
import re
import xml.etree.ElementTree as ElementTree

import pytest
import torch

from tensorad_ipython import typeset

UNDERSCORE = "<mtext style='display: none'>_</mtext>"


@pytest.mark.parametrize(
    ("expression", "latex", "mathml"),
    [
        ("x", "x", "<mi>x</mi>"),
        ("loss", r"\mathit{loss}", "<mi>loss</mi>"),
        ("theta", r"\theta", "<mi>θ</mi>"),
        ("theta_1", r"\theta_{1}", f"<msub><mrow><mi>θ</mi>{UNDERSCORE}</mrow><mn>1</mn></msub>"),
        ("w2", "w_{2}", f"<msub><mrow><mi>w</mi>{UNDERSCORE}</mrow><mn>2</mn></msub>"),
        ("hidden_size", r"\mathit{hidden\_size}", "<mi>hidden_size</mi>"),
        ("x_", r"\mathit{x\_}", "<mi>x_</mi>"),
        ("lamda", r"\mathit{lamda}", "<mi>lamda</mi>"),
        ("_1", r"\mathit{\_1}", "<mi>_1</mi>"),
        ("p['w']", r"\texttt{p['w']}", "<mtext style='font-family: monospace'>p[&#x27;w&#x27;]</mtext>"),
        ("a_b$ < {c}", r"\texttt{a\_b\$ {<} \{c\}}", "<mtext style='font-family: monospace'>a_b$ &lt; {c}</mtext>"),
        (
            "<script>alert(1)</script>",
            None,
            "<mtext style='font-family: monospace'>&lt;script&gt;alert(1)&lt;/script&gt;</mtext>",
        ),
    ],
)
def test_symbols(expression: str, latex: str | None, mathml: str) -> None:
    found = typeset.symbol(expression)
    assert found.text == expression
    assert found.mathml == mathml
    assert latex in (None, found.latex)


@pytest.mark.parametrize(
    ("target", "sources", "partial", "text", "latex"),
    [
        ("y", ["x"], False, "dy/dx", r"\frac{d y}{d x}"),
        ("y", ["x"] * 12, False, "d¹²y/dx¹²", r"\frac{d^{12} y}{d x^{12}}"),
        ("y", ["w", "b"], True, "∂²y/∂w∂b", r"\frac{\partial^{2} y}{\partial w \partial b}"),
        ("x ** 3", ["x"], False, "d/dx (x ** 3)", r"\frac{d}{d x}\left(\texttt{x ** 3}\right)"),
    ],
)
def test_derivatives(target: str, sources: list[str], partial: bool, text: str, latex: str) -> None:
    found = typeset.derivative(target, sources, partial)
    assert found.text == text
    assert found.latex == latex
    ElementTree.fromstring(f"<math>{found.mathml}</math>")


@pytest.mark.parametrize(
    ("value", "text", "latex"),
    [
        (216.0, "216", "216"),
        (-0.5, "-0.5", "-0.5"),
        (1e-7, "1e-07", r"1 \times 10^{-7}"),
        (1.25e20, "1.25e+20", r"1.25 \times 10^{20}"),
        (float("inf"), "inf", r"\infty"),
        (float("nan"), "nan", r"\mathrm{NaN}"),
        (3, "3", "3"),
        (True, "True", "True"),
        (1 - 2j, "1 - 2i", "1 - 2 i"),
        (complex(-0.0, -0.0), "0 + 0i", "0 + 0 i"),
        (-0.0, "0", "0"),
    ],
)
def test_numbers(value: complex, text: str, latex: str) -> None:
    found = typeset.number(value)
    assert (found.text, found.latex) == (text, latex)
    ElementTree.fromstring(f"<math>{found.mathml}</math>")


def test_values() -> None:
    assert (
        typeset.value(torch.tensor([[1.0, 2.0], [3.0, 4.0]])).latex == r"\begin{bmatrix} 1 & 2 \\ 3 & 4 \end{bmatrix}"
    )
    row = typeset.value(torch.tensor([1.5, -2.0]))
    assert (row.text, row.latex) == ("Tensor([ 1.5000, -2.0000])", r"\begin{bmatrix} 1.5 & -2 \end{bmatrix}")
    ElementTree.fromstring(f"<math>{row.mathml}</math>")
    assert typeset.value(torch.tensor(4)).latex == "4"


@pytest.mark.parametrize(
    "data",
    [
        torch.zeros(37),
        torch.zeros(2, 2, 2),
        torch.zeros(0),
        torch.zeros(2, 0),
        torch.zeros(2, 2).to_sparse(),
        torch.empty(3, device="meta"),
    ],
)
def test_what_is_no_matrix_is_printed(data: torch.Tensor) -> None:
    found = typeset.value(data)
    assert found.mathml == ""
    assert found.text.startswith("Tensor(")
    assert found.latex.startswith(r"\texttt{Tensor(")


def test_long_ones_are_shortened() -> None:
    assert "..." not in typeset.printed(torch.zeros(100))
    assert typeset.printed(torch.zeros(101)) == "Tensor([0., 0., 0.,  ..., 0., 0., 0.], shape=(101,))"
    assert len(typeset.printed(torch.zeros(1000, 1000))) < 400
    assert "..." not in repr(torch.zeros(101)), "torch's own way to print is what it was"


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (typeset.derivative("y", ["x_1", "x_1"], False), "d^2y/dx_1^2"),
        (typeset.derivative("loss", ["w", "b"], True), "∂^2loss/∂w∂b"),
        (typeset.derivative("x * y", ["x + 1"], True), "∂/∂(x + 1)(x * y)"),
        (typeset.value(torch.tensor([[1.0, -2.0], [0.5, 1e-7]])), "[1, −2; 0.5, 1×10^−7]"),
        (typeset.value(torch.tensor([3.0, 0.0])), "[3, 0]"),
        (typeset.number(2 - 1j), "2−1i"),
    ],
)
def test_without_its_tags_mathematics_still_reads_right(found: typeset.Typeset, text: str) -> None:
    """A notebook that is not trusted takes MathML's tags away and leaves the text between them."""
    assert html.unescape(re.sub(r"<[^>]*>", "", found.mathml)) == text


def test_long_code_is_shortened_where_it_is_typeset() -> None:
    found = typeset.symbol("x[" + "0" * 100 + "].sum()")
    assert len(found.text) == 109
    assert found.mathml.endswith(">x[000000000000000000…00].sum()</mtext>")
    assert typeset.symbol("x[" + "0" * 21 + "].sum()").mathml.count("0") == 21


def test_kinds() -> None:
    assert typeset.kind(torch.tensor(1.0)) == "float32"
    assert typeset.kind(torch.zeros(2, 3, dtype=torch.float64)) == "(2, 3) float64"
    assert typeset.kind(torch.zeros(2, device="meta")) == "(2,) float32 meta"
