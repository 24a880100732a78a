"""Mathematics in three forms: plain text, LaTeX and MathML.

MathML because a browser typesets it by itself: no script is needed, offline too, and text in it is only ever text.
"""

import ast
import html
import re
import unicodedata
from dataclasses import dataclass
from typing import Any

import torch
from torch._tensor_str import printoptions  # pyright: ignore[reportUnknownVariableType]

from tensorad.looking import values
from tensorad.looking.values import shortened

MATRIX_ENTRIES = 36  # what is laid out as a matrix: more entries than that are printed as torch prints them
CODE = 30  # characters of an expression: of longer ones, the middle is left out where they are typeset
LINE = 72  # characters: a notebook that shares the screen is not much wider
TEXT_ENTRIES = 100  # what is printed whole: of more, the ends
# Borders, bent to brackets: real ones stretch only where a font for mathematics is installed.
_BRACKETS = "border: solid; border-width: 0 1px; border-radius: 6px; border-collapse: separate; padding: 0 0.2em"
_GREEK = "alpha beta gamma delta epsilon zeta eta theta iota kappa mu nu xi pi rho sigma tau phi chi psi omega".split()
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_IN_LATEX = {each: rf"\{each}" for each in "#$%&_{}"} | {
    "\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": "{<}", ">": "{>}",
}  # fmt: skip


@dataclass(frozen=True)
class Typeset:
    """A piece of mathematics: as plain text, as LaTeX for a formula, as the inside of a <math> element."""

    text: str
    latex: str
    mathml: str


def symbol(expression: str) -> Typeset:
    """A Python expression: a name as a variable (`theta_1` with its letter and subscript), anything else as code."""
    if not expression.isidentifier():
        shown = shortened(expression, CODE, 9)
        mathml = f"<mtext style='font-family: monospace'>{html.escape(shown)}</mtext>"
        return Typeset(expression, rf"\texttt{{{in_latex(shown)}}}", mathml)
    numbered = re.fullmatch(r"(.*?[^\W\d_])_?(\d+)", expression)
    stem, index = numbered.groups() if numbered else (expression, "")
    if stem in _GREEK:
        letter, latex = unicodedata.lookup(f"GREEK SMALL LETTER {stem}"), rf"\{stem}"
    else:
        letter, latex = stem, in_latex(stem) if len(stem) == 1 else rf"\mathit{{{in_latex(stem)}}}"
    mathml = f"<mi>{html.escape(letter)}</mi>"
    if index:
        latex = f"{latex}_{{{index}}}"
        mathml = f"<msub><mrow>{mathml}{unseen('_')}</mrow><mn>{index}</mn></msub>"
    return Typeset(expression, latex, mathml)


def derivative(target: str, sources: list[str], partial: bool) -> Typeset:
    """The derivative of `target` by each of `sources` in turn, in Leibniz's notation: `d²y/dx²`, `∂²y/∂w∂b`."""
    y, order = symbol(target), len(sources)
    d = Typeset("∂", r"\partial", "<mo form='prefix' rspace='0'>∂</mo>") if partial else _D
    runs = [(symbol(_closed(each)), sources.count(each)) for each in dict.fromkeys(sources)]
    above = _power(d, order)
    below = [(d, _power(x, times)) for x, times in runs]
    named = target.isidentifier()
    of = Typeset(y.text, f" {y.latex}", y.mathml) if named else Typeset("", "", "")
    after = Typeset(f" ({y.text})", rf"\left({y.latex}\right)", f"<mrow><mo>(</mo>{y.mathml}<mo>)</mo></mrow>")
    after = Typeset("", "", "") if named else after
    return Typeset(
        f"{above.text}{of.text}/{''.join(d.text + x.text for d, x in below)}{after.text}",
        rf"\frac{{{above.latex}{of.latex}}}{{{' '.join(f'{d.latex} {x.latex}' for d, x in below)}}}{after.latex}",
        f"<mfrac><mrow>{above.mathml}{of.mathml}{unseen('/')}</mrow>"
        f"<mrow>{''.join(d.mathml + x.mathml for d, x in below)}</mrow></mfrac>{after.mathml}",
    )


_D = Typeset("d", "d", "<mo form='prefix' rspace='0'>d</mo>")


def _power(base: Typeset, order: int) -> Typeset:
    if order == 1:
        return base
    raised = power(base, Typeset("", str(order), f"<mn>{order}</mn>"))
    return Typeset(base.text + str(order).translate(_RAISED), raised.latex, raised.mathml)


def power(base: Typeset, exponent: Typeset) -> Typeset:
    """One thing, and another, of one element, above it on its right."""
    mathml = f"<msup><mrow>{base.mathml}{unseen('^')}</mrow>{exponent.mathml}</msup>"
    return Typeset("", f"{base.latex}^{{{exponent.latex}}}", mathml)


def _closed(expression: str) -> str:
    """`expression` in brackets, unless it holds together without."""
    tree = ast.parse(f"({expression})", mode="eval").body
    return expression if isinstance(tree, _TOGETHER) else f"({expression})"


_TOGETHER = (ast.Name, ast.Attribute, ast.Subscript, ast.Call, ast.Constant, ast.Tuple, ast.List, ast.Dict)


def number(value: Any) -> Typeset:
    """A number, to six significant digits; zero has no sign."""
    if isinstance(value, complex):
        real, imaginary = number(value.real), number(abs(value.imag))
        sign = "-" if value.imag < 0 else "+"
        return Typeset(
            f"{real.text} {sign} {imaginary.text}i",
            f"{real.latex} {sign} {imaginary.latex} i",
            f"<mrow>{real.mathml}<mo>{_minus(sign)}</mo>{imaginary.mathml}<mi>i</mi></mrow>",
        )
    text = values.number(value)
    digits, _, exponent = text.partition("e")
    if not exponent:
        latex = {"inf": r"\infty", "-inf": r"-\infty", "nan": r"\mathrm{NaN}"}.get(text, text)
        shown = {"inf": "∞", "-inf": "−∞", "nan": "NaN"}.get(text, _minus(text))
        return Typeset(text, latex, f"<mn>{shown}</mn>")
    order = str(int(exponent))
    ten = f"<msup><mrow><mn>10</mn>{unseen('^')}</mrow><mn>{_minus(order)}</mn></msup>"
    mathml = f"<mrow><mn>{_minus(digits)}</mn><mo>×</mo>{ten}</mrow>"
    return Typeset(text, rf"{digits} \times 10^{{{order}}}", mathml)


def value(data: torch.Tensor) -> Typeset:
    """The values of a tensor: a number, a matrix where one can be taken in, else what torch prints, shortened."""
    text = printed(data)
    dense = data.layout == torch.strided and not data.is_quantized and not data.is_meta
    if not dense or data.ndim > 2 or not 0 < data.numel() <= MATRIX_ENTRIES:
        return Typeset(text, rf"\texttt{{{in_latex(' '.join(text.split()))}}}", "")
    if data.ndim == 0:
        only = number(data.item())
        return Typeset(text, only.latex, only.mathml)
    rows = [[number(each) for each in row] for row in (data if data.ndim == 2 else data[None]).tolist()]
    latex = r" \\ ".join(" & ".join(each.latex for each in row) for row in rows)
    return Typeset(
        text,
        rf"\begin{{bmatrix}} {latex} \end{{bmatrix}}",
        f"<mrow>{unseen('[')}<mtable style='{_BRACKETS}'>{_matrix_rows(rows)}</mtable>{unseen(']')}</mrow>",
    )


def _matrix_rows(rows: list[list[Typeset]]) -> str:
    lines: list[str] = []
    for place, row in enumerate(rows, 1):
        ends = [", "] * (len(row) - 1) + ["; " if place < len(rows) else ""]
        cells = (f"<mtd>{each.mathml}{unseen(end)}</mtd>" for each, end in zip(row, ends, strict=True))
        lines.append(f"<mtr>{''.join(cells)}</mtr>")
    return "".join(lines)


def printed(data: torch.Tensor) -> str:
    """What torch prints, as a Tensor; of long ones, the ends, and the shape."""
    with printoptions(threshold=TEXT_ENTRIES, linewidth=LINE):
        text = "T" + repr(data)[1:]
    return f"{text[:-1]}, shape={tuple(data.shape)})" if data.numel() > TEXT_ENTRIES else text


def kind(data: torch.Tensor) -> str:
    """Shape, dtype, and device if it is not the usual one: `(2, 3) float32`."""
    words = [str(tuple(data.shape)) if data.ndim else "", str(data.dtype).removeprefix("torch.")]
    return " ".join([*filter(None, words), *([str(data.device)] if data.device.type != "cpu" else [])])


def unseen(text: str) -> str:
    """What a reader needs where the tags are taken away, as from notebooks that are not trusted: `d^2y/dx^2`."""
    return f"<mtext style='display: none'>{text}</mtext>" if text else ""


def _minus(text: str) -> str:
    return text.replace("-", "−")


def in_latex(text: str) -> str:
    """Text that LaTeX takes as text."""
    return "".join(_IN_LATEX.get(each, each) for each in text)
