"""Derivations typeset: well-formed, with links that lead somewhere, and names that are only ever text."""

import ast
import html
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch

import tensorad as ts
from tensorad_ipython.explained import html_of, latex_of, page_of
from tensorad_ipython.formulas import Notation
from tensorad_ipython.typeset import symbol

EVIL = "<img src=x onerror=alert(1)>\"'$&{}\\"


def scalars() -> Any:
    x, unused = ts.tensor(0.5), ts.tensor(1.0)
    with ts.Grad() as g:
        h = x * x
        y = h.sin() * 3 + x
    return g.explain(y, [x, unused])


def perceptron(name: str = "x") -> Any:
    torch.manual_seed(0)
    w, b, v = (ts.tensor(torch.randn(shape)) for shape in ((4, 3), (3,), (3, 2)))
    x = ts.tensor(torch.randn(5, 4), name=name)
    with ts.Grad() as g:
        hidden = torch.relu(x @ w + b)
        loss = ((hidden @ v).softmax(1).norm() / hidden.std()).mean()
    return g.explain(loss, {"w": w, "b": b, "x": x})


def second() -> Any:
    x = ts.tensor(0.5)
    with ts.Grad() as outer:
        with ts.Grad() as inner:
            y = x.exp() * x
        dx = inner.gradient(y, x)
    return outer.explain(dx, x)


def long() -> Any:
    x = ts.tensor([[1.0, -2.0], [0.5, 1e-7]])
    with ts.Grad() as g:
        y = x
        for _ in range(30):
            y = y.tanh() * x
    return g.explain(y, x, cotangent=torch.ones(2, 2))


EXAMPLES = [scalars, perceptron, second, long, lambda: perceptron(EVIL)]


@pytest.mark.parametrize("make", EXAMPLES)
def test_html_is_well_formed_and_its_links_stay_inside(make: Any) -> None:
    text = html_of(make())
    root = ElementTree.fromstring(text.replace("&nbsp;", " "))
    ids = [each.get("id") for each in root.iter() if each.get("id")]
    links = [each.get("href", "") for each in root.iter("a")]
    assert len({*ids}) == len(ids)
    assert links
    assert {link[1:] for link in links} <= {*ids}
    assert all(link.startswith("#") for link in links)
    allowed = "div hr b i a span br code details summary pre math mrow mi mo mn mtext mspace mfrac msub msup msqrt"
    assert {each.tag for each in root.iter()} <= {*allowed.split(), "mtable", "mtr", "mtd", "mover"}
    assert "color:" not in text.replace("color: inherit", "").replace("color: currentColor", "")


def test_each_output_has_ids_of_its_own() -> None:
    explanation = scalars()
    first, again = (set(re.findall(r"id='(.*?)'", html_of(explanation))) for _ in range(2))
    assert first
    assert first.isdisjoint(again)


def test_names_are_only_ever_text() -> None:
    explanation = perceptron(EVIL)
    for text in (html_of(explanation), page_of(explanation)):
        assert "<img" not in text
        assert html.escape(EVIL[:20]) in text
    page = _Parsed(page_of(explanation))
    assert "img" not in page.tags
    assert not any("onerror" in name for name in page.attributes)


class _Parsed(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.attributes = set[str](), set[str]()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


@pytest.mark.parametrize("make", EXAMPLES)
def test_latex_is_balanced(make: Any) -> None:
    text = latex_of(make())
    bare = re.sub(r"\\textbackslash\{\}|\\[{}$&\\%#_]", "", text)
    assert bare.count("{") == bare.count("}")
    assert text.count(r"\left") - text.count(r"\leftarrow") == text.count(r"\right")
    assert re.findall(r"\\begin\{(.*?)\}", text).__len__() == re.findall(r"\\end\{(.*?)\}", text).__len__()
    assert "$" not in bare
    assert text.startswith("\\begin{align*}\n")
    assert "<" not in re.sub(r"\{<\}", "", text).replace(" < ", "")


def test_latex_of_a_chain() -> None:
    x = ts.tensor(0.5)
    with ts.Grad() as g:
        y = x.sin()
    assert latex_of(g.explain(y, x)).splitlines() == [
        r"\begin{align*}",
        r"\frac{\partial y}{\partial y} &= 1 \\",
        r"\frac{\partial y}{\partial x} &= \frac{\partial y}{\partial y} \cdot \cos\left(x\right) && \text{sin} \\",
        r"\scriptstyle \text{()} &\scriptstyle= \text{()} \cdot \text{()} \\",
        r"&= 1 \cdot \cos\left(0.5\right) = 0.877583",
        r"\end{align*}",
    ]


def test_without_its_tags_it_still_reads() -> None:
    """A notebook that is not trusted takes MathML's tags away and leaves the text between them."""
    text = " ".join(html.unescape(re.sub(r"<[^>]*>", "", html_of(scalars()))).split())
    assert "∂y/∂h=∂y/∂v_3·cos(h)()=()·()=3·cos(0.25)=2.90674by sin: v3 = h.sin()" in text


def plain(text: str) -> str:
    names = {name: symbol(name) for name in "abcx"}
    found = Notation(names, {}, lambda name: name in "ab").of(ast.parse(text, mode="eval").body)
    ElementTree.fromstring(f"<math>{found.mathml}</math>")
    return html.unescape(re.sub(r"<[^>]*>", "", found.mathml)) + " " + found.latex


@pytest.mark.parametrize(
    ("python", "text", "latex"),
    [
        ("a * b", "a·b", r"a \cdot b"),
        ("c * x", "c⊙x", r"c \odot x"),
        ("2 * x", "2·x", r"2 \cdot x"),
        ("a / b", "a/b", r"\frac{a}{b}"),
        ("c @ x", "c @ x", r"c\,x"),
        ("(a + b) * c", "(a+b)·c", r"\left(a + b\right) \cdot c"),
        ("a - (b - c)", "a−(b−c)", r"a - \left(b - c\right)"),
        ("a * (b * c)", "a·(b·c)", r"a \cdot \left(b \cdot c\right)"),
        ("x.mT", "x^T", r"x^{\mathsf{T}}"),
        ("(a + b) ** -a", "(a+b)^−a", r"\left(a + b\right)^{-a}"),
        ("-a * b", "−a·b", r"-a \cdot b"),
        ("a * -b", "a·(−b)", r"a \cdot \left(-b\right)"),
        ("sqrt(a)", "√(a)", r"\sqrt{a}"),
        ("rsqrt(1 - a)", "1/√(1−a)", r"\frac{1}{\sqrt{1 - a}}"),
        ("square(a)", "a^2", "a^{2}"),
        ("abs(a)", "|a|", r"\left|a\right|"),
        ("conj(a)", "a¯", r"\overline{a}"),
        ("erf(a)", "erf(a)", r"\operatorname{erf}\left(a\right)"),
        ("expand(a, (2, 3))", "expand(a,(2,3))",
         r"\operatorname{expand}\left(a, \left(2, 3\right)\right)"),
        ("where((a > 0) & (a <= b), a, 0)", "awhere\xa0(a>0)∧(a≤b); 0elsewhere\xa0; ",
         (r"\begin{cases} a & \text{where }\left(a > 0\right) \wedge \left(a \leq b\right) "
          r"\\ 0 & \text{elsewhere } \end{cases}")),
        ("masked_fill(a, ~(b == 0), 1)", "1where\xa0¬(b=0); aelsewhere\xa0; ", None),
        ("c[0]", "c_0", "{c}_{0}"),
        ("f(*c, key=a)", "f(*c, key=a)", r"\texttt{f(*c, key=a)}"),
        ("a if b else c", "a if b else c", None),
        ("1e-7 * a", "1×10^−7·a", r"1 \times 10^{-7} \cdot a"),
    ],
)  # fmt: skip
def test_formulas(python: str, text: str, latex: str | None) -> None:
    found = plain(python)
    assert found.startswith(f"{text} ")
    assert latex is None or found == f"{text} {latex}"


def test_saving(tmp_path: Path) -> None:
    explanation = scalars()
    assert "<math" in explanation.save(tmp_path / "derivation.html").read_text()
    assert explanation.save(tmp_path / "derivation.tex").read_text() == latex_of(explanation)
