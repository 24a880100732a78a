"""Mathematics in three forms: plain text, LaTeX and MathML.

MathML because a browser typesets it by itself: no script is needed, offline too, and text in it is only ever text.
"""

import contextlib
import html
import re
import unicodedata
from dataclasses import dataclass
from typing import Any

import torch
from torch._tensor_str import printoptions  # pyright: ignore[reportUnknownVariableType]

MATRIX_ENTRIES = 36  # what is laid out as a matrix: more entries than that are printed as torch prints them
TEXT_ENTRIES = 100  # what is printed whole: of more, the ends
# Borders, bent to brackets: real ones stretch only where a font for mathematics is installed.
_BRACKETS = "border: solid; border-width: 0 1px; border-radius: 6px; border-collapse: separate; padding: 0 0.2em"
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
        code = "".join(_IN_LATEX.get(each, each) for each in expression)
        return Typeset(expression, rf"\texttt{{{code}}}", f"<mtext style='font-family: monospace'>{html.escape(expression)}</mtext>")
    stem, index = re.fullmatch(r"(.*?)_?(\d*)", expression).groups()  # type: ignore[union-attr]
    if not stem.strip("_"):
        stem, index = expression, ""
    letter, latex = stem, "".join(_IN_LATEX.get(each, each) for each in stem)
    if stem.isascii() and stem.islower() and len(stem) > 1:
        with contextlib.suppress(KeyError):
            letter, latex = unicodedata.lookup(f"GREEK SMALL LETTER {stem}"), rf"\{stem}"
    if letter == stem and len(stem) > 1:
        latex = rf"\mathit{{{latex}}}"
    mathml = f"<mi>{html.escape(letter)}</mi>"
    if index:
        latex, mathml = f"{latex}_{{{index}}}", f"<msub>{mathml}<mn>{index}</mn></msub>"
    return Typeset(expression, latex, mathml)


def derivative(target: str, sources: list[str], partial: bool) -> Typeset:
    """The derivative of `target` by each of `sources` in turn, in Leibniz's notation: `d²y/dx²`, `∂²y/∂w∂b`."""
    y, d, order = symbol(target), "∂" if partial else "d", len(sources)
    latex_d, mathml_d = r"\partial" if partial else "d", f"<mo form='prefix' rspace='0'>{d}</mo>"
    runs = [(symbol(each), sources.count(each)) for each in dict.fromkeys(sources)]
    named = target.isidentifier()
    above = f"{d}{_raised(order)}" + (y.text if named else "")
    below = "".join(f"{d}{x.text}{_raised(times)}" for x, times in runs)
    latex_above = f"{_power(latex_d, order)} {y.latex}" if named else _power(latex_d, order)
    latex_below = " ".join(f"{latex_d} {_power(x.latex, times)}" for x, times in runs)
    mathml_above = (f"<msup>{mathml_d}<mn>{order}</mn></msup>" if order > 1 else mathml_d) + y.mathml * named
    mathml_below = "".join(
        mathml_d + (f"<msup><mrow>{x.mathml}</mrow><mn>{times}</mn></msup>" if times > 1 else x.mathml)
        for x, times in runs
    )
    return Typeset(
        f"{above}/{below}" + ("" if named else f" ({y.text})"),
        rf"\frac{{{latex_above}}}{{{latex_below}}}" + ("" if named else rf"\left({y.latex}\right)"),
        f"<mfrac><mrow>{mathml_above}</mrow><mrow>{mathml_below}</mrow></mfrac>"
        + ("" if named else f"<mrow><mo>(</mo>{y.mathml}<mo>)</mo></mrow>"),
    )


def number(value: Any) -> Typeset:
    """A number, to six significant digits; zero has no sign."""
    if isinstance(value, complex):
        real, imaginary = number(value.real), number(abs(value.imag))
        sign = "-" if value.imag < 0 else "+"
        return Typeset(
            f"{real.text} {sign} {imaginary.text}i",
            f"{real.latex} {sign} {imaginary.latex} i",
            f"<mrow>{real.mathml}<mo>{'−' if sign == '-' else '+'}</mo>{imaginary.mathml}<mi>i</mi></mrow>",
        )
    text = f"{value + 0.0:.6g}" if isinstance(value, float) else str(value)
    digits, _, exponent = text.partition("e")
    if not exponent:
        latex = {"inf": r"\infty", "-inf": r"-\infty", "nan": r"\mathrm{NaN}"}.get(text, text)
        shown = {"inf": "∞", "-inf": "−∞", "nan": "NaN"}.get(text, text.replace("-", "−"))
        return Typeset(text, latex, f"<mn>{shown}</mn>")
    power = str(int(exponent))
    shown = f"<mn>{digits.replace('-', '−')}</mn><mo>×</mo>"
    return Typeset(
        text,
        rf"{digits} \times 10^{{{power}}}",
        f"<mrow>{shown}<msup><mn>10</mn><mn>{power.replace('-', '−')}</mn></msup></mrow>",
    )


def value(data: torch.Tensor) -> Typeset:
    """The values of a tensor: a number, a matrix where one can be taken in, else what torch prints, shortened."""
    text = printed(data)
    dense = data.layout == torch.strided and not data.is_quantized and not data.is_meta
    if not dense or data.ndim > 2 or not 0 < data.numel() <= MATRIX_ENTRIES:
        code = "".join(_IN_LATEX.get(each, each) for each in " ".join(text.split()))
        return Typeset(text, rf"\texttt{{{code}}}", "")
    if data.ndim == 0:
        return Typeset(text, number(data.item()).latex, number(data.item()).mathml)
    rows = [[number(each) for each in row] for row in (data if data.ndim == 2 else data[None]).tolist()]
    latex = r" \\ ".join(" & ".join(each.latex for each in row) for row in rows)
    cells = "".join(f"<mtr>{''.join(f'<mtd>{each.mathml}</mtd>' for each in row)}</mtr>" for row in rows)
    return Typeset(
        text,
        rf"\begin{{bmatrix}} {latex} \end{{bmatrix}}",
        f"<mtable style='{_BRACKETS}'>{cells}</mtable>",
    )


def printed(data: torch.Tensor) -> str:
    """What torch prints, as a Tensor; of long ones, the ends."""
    with printoptions(threshold=TEXT_ENTRIES):
        return "T" + repr(data)[1:]


def kind(data: torch.Tensor) -> str:
    """Shape, dtype, and device if it is not the usual one: `(2, 3) float32`."""
    words = [str(tuple(data.shape)) if data.ndim else "", str(data.dtype).removeprefix("torch.")]
    return " ".join([*filter(None, words), *([str(data.device)] if data.device.type != "cpu" else [])])


def _raised(order: int) -> str:
    return str(order).translate(_RAISED) if order > 1 else ""


def _power(base: str, order: int) -> str:
    return f"{base}^{{{order}}}" if order > 1 else base
