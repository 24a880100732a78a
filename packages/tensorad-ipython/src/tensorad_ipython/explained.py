"""A derivation typeset: in HTML, where each factor leads to its rule, and in LaTeX.

Everything is in the one piece of HTML that is shown: formulas in MathML, which browsers typeset by themselves, the
rules at its foot, links within it. Colours are those of the page around it.
"""

import ast
import html
import secrets
from collections.abc import Iterator, Sequence

from tensorad.looking.explain import Chain, Equation, Explanation, Term, UsedRule
from tensorad.looking.formula import Symbol, text_of
from tensorad_ipython.formulas import Notation, bracketed, code, fraction, joined, sign
from tensorad_ipython.page import document
from tensorad_ipython.typeset import Typeset, in_latex, symbol, unseen, value

_WHOLE = "display: block; overflow-x: auto; line-height: 1.5; padding: 0.2em 0"
_GRID = (
    "display: grid; grid-template-columns: max-content max-content; gap: 0.15em 0.45em; align-items: center; "
    "margin: 0.6em 0"
)
_LINK = (
    "color: inherit; text-decoration: none; border-bottom: 1px dotted currentColor; display: inline-block; "
    "padding-bottom: 0.1em"
)
_LINE = "border: 0 solid; border-top-width: 1px; opacity: 0.2; margin: 0.8em 0"
_QUIET = "opacity: 0.7; font-size: 85%"
_NOTES = "padding-left: 1.4em; white-space: normal; max-width: 50em"
_PAGE = "  body { font: 16px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 60em; padding: 0 1em }"
_LOWERED = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_D = Typeset("∂", r"\partial ", "<mo form='prefix' lspace='0' rspace='0'>∂</mo>")
_EQUALS = sign("=", "=")


def html_of(explanation: Explanation) -> str:
    """What a notebook shows of a derivation."""
    return _Layout(explanation).whole()


def page_of(explanation: Explanation) -> str:
    """A page that stands alone."""
    return document(explanation.title, _PAGE, html_of(explanation))


def latex_of(explanation: Explanation) -> str:
    """The same as LaTeX: it needs the packages amsmath and amssymb."""
    rows = [_chain(each).latex for each in explanation.chains]
    rows.append(rf"{leaf(explanation.start[0]).latex} &= {_start(explanation).latex}")
    for each in explanation.shown():
        rows += [rf"& \text{{{in_latex(each)}}}"] if isinstance(each, str) else _latex_rows(each)
    return "\\begin{align*}\n" + " \\\\\n".join(rows) + "\n\\end{align*}"


def leaf(each: Symbol) -> Typeset:
    """A value by its name, or a derivative as a fraction."""
    if each.by:
        return fraction(joined(_D, _name(each.of)), joined(_D, _name(each.by)))
    return _name(each.text)


def _name(name: str) -> Typeset:
    """What the program calls a value, with the number that it was given as a subscript."""
    stem = name.rstrip("₀₁₂₃₄₅₆₇₈₉")
    if not stem or stem == name:
        return symbol(name)
    base, index = symbol(stem), name[len(stem) :].translate(_LOWERED)
    base = bracketed(base) if stem[-1].isdigit() else base
    mathml = f"<msub><mrow>{base.mathml}{unseen('_')}</mrow><mn>{index}</mn></msub>"
    return Typeset(name, rf"{{{base.latex}}}_{{{index}}}", mathml)


def _formula(term: Term, leaves: dict[str, Typeset]) -> Notation:
    texts = {name: each.text for name, each in term.ran.symbols.items()}
    return Notation(leaves, texts, lambda name: name not in term.ran.symbols or term.ran.symbols[name].shape == "()")


def _in_symbols(term: Term) -> Notation:
    return _formula(term, {name: leaf(each) for name, each in term.ran.symbols.items()})


def _in_shapes(term: Term) -> Notation:
    names = {each.id for each in ast.walk(term.ran.shapes) if isinstance(each, ast.Name) and not each.id.isidentifier()}
    return Notation({name: _words(name) for name in names}, {}, lambda name: name == "()" or name.isidentifier())


def _in_numbers(term: Term) -> Notation | None:
    """None where the values are too large to be laid out."""
    leaves = {name: _number(each) for name, each in term.ran.symbols.items()}
    known = {name: each for name, each in leaves.items() if each is not None}
    return _formula(term, known) if len(known) == len(leaves) else None


def _number(each: Symbol) -> Typeset | None:
    if each.data is None or each.data.is_complex():  # conjugated for users, and inside not: numbers would not agree
        return None
    found = value(each.data)
    negative = each.data.ndim == 0 and found.latex.startswith("-")
    return (bracketed(found) if negative else found) if found.mathml else None


def _words(text: str) -> Typeset:
    return Typeset(text, rf"\text{{{in_latex(text)}}}", f"<mtext>{html.escape(text)}</mtext>")


def _value_of(each: Symbol, text: str) -> Typeset:
    """A value as a number or a matrix, or described by `text`."""
    found = None if each.data is None else value(each.data)
    return found if found and found.mathml else _words(text)


def _start(explanation: Explanation) -> Typeset:
    symbol, text, words = explanation.start
    return _with_words(_value_of(symbol, text), words)


def _chain(chain: Chain) -> Typeset:
    """The chain rule as a whole: the products of the factors, or how many there are."""
    if not chain.paths:
        words = str(chain).removeprefix(chain.source.text)
        return Typeset("", rf"{leaf(chain.source).latex} &\text{{{in_latex(words)}}}",
                       f"{leaf(chain.source).mathml}<mtext>{html.escape(words)}</mtext>")  # fmt: skip
    space = Typeset("", r"\,", "<mspace width='0.3em'/>")
    products = [joined(*[part for each in path for part in (space, leaf(each))][1:]) for path in chain.paths]
    total = joined(*[part for product in products for part in (sign("+", "+"), product)][1:])
    source = leaf(chain.source)
    return Typeset("", f"{source.latex} &= {total.latex}", f"{source.mathml}{_EQUALS.mathml}{total.mathml}")


def _signed(typeset: Sequence[Typeset], terms: Sequence[Term], more: str) -> list[Typeset]:
    """Terms with the signs before them, in brackets where they need some."""
    found: list[Typeset] = []
    for place, (each, term) in enumerate(zip(typeset, terms, strict=True)):
        each = bracketed(each) if len(terms) > 1 and term.is_sum else each
        found += [each] if not place else [sign("+", "+"), each]
    return [*found, sign("+", "+"), _words(more)] if more else found


def _with_words(typeset: Typeset, words: str) -> Typeset:
    return joined(typeset, _words(f", {words}")) if words else typeset


def _shape_row(equation: Equation) -> Typeset:
    summed = f"summed to {equation.symbol.shape}"
    parts = [_with_words(_in_shapes(each).of(each.ran.shapes), summed * each.fitted.startswith("summed"))
             for each in equation.shown_terms()]  # fmt: skip
    return joined(*_signed(parts, equation.shown_terms(), equation.more))


def _number_row(equation: Equation) -> Typeset:
    """The value, and before it the terms in numbers, where they can be laid out and say more than that."""
    result = _value_of(equation.symbol, equation.numbers.rpartition(" = ")[2])
    terms = equation.shown_terms()
    formulas = [_in_numbers(each) for each in terms]
    if None in formulas or (len(terms) == 1 and isinstance(terms[0].ran.expression, ast.Name) and not terms[0].fitted):
        return result
    parts = [_with_words(formula.of(each.ran.expression), "summed" * each.fitted.startswith("summed"))
             for formula, each in zip(formulas, terms, strict=True) if formula]  # fmt: skip
    return joined(*_signed(parts, terms, equation.more), _EQUALS, result)


def _latex_rows(equation: Equation) -> Iterator[str]:
    """The three rows of an equation, beside the first the ops."""
    name = leaf(equation.symbol).latex
    if not equation.terms:
        yield rf"{name} &= 0 && \text{{nothing arrives here}}"
        return
    parts = [_with_words(_in_symbols(each).of(each.ran.expression), each.fitted) for each in equation.shown_terms()]
    symbols = joined(*_signed(parts, equation.shown_terms(), equation.more)).latex
    ops = ", ".join(dict.fromkeys(str(each.node.op) for each in equation.shown_terms()))
    yield rf"{name} &= {symbols} && \text{{{in_latex(ops)}}}"
    yield rf"\scriptstyle {_words(equation.symbol.shape).latex} &\scriptstyle= {_shape_row(equation).latex}"
    yield rf"&= {_number_row(equation).latex}"


class _Layout:
    """The HTML of a derivation, with ids that no other output on the page has."""

    def __init__(self, explanation: Explanation) -> None:
        self.explanation = explanation
        self.id = f"d{secrets.token_hex(4)}"
        self.shown = list(explanation.shown())
        self.places = {(each.symbol.of, each.symbol.by) for each in self.shown if isinstance(each, Equation)}
        self.places.add((explanation.start[0].of, explanation.start[0].by))

    def whole(self) -> str:
        """All of it."""
        start = self.explanation.start[0]
        above = "".join(f"<div style='margin: 0.4em 0'>{_math(_chain(each))}</div>" for each in self.explanation.chains)
        rows = [self.row(leaf(start), _math(_EQUALS, _start(self.explanation)), self.place(start))]
        rows += [part for each in self.shown for part in self.equation(each)]
        rules = "".join(self.rule(number, each) for number, each in enumerate(self.explanation.rules))
        words = "Rules: <i>g</i> is the derivative of the target by the output"
        heading = f"<hr style='{_LINE}'/><div style='{_QUIET}'>{words}</div>"
        title = f"<b>{html.escape(self.explanation.title)}</b>"
        return (
            f"<div class='tensorad' style='{_WHOLE}'><div>{title}</div>{above}<hr style='{_LINE}'/>"
            f"<div style='{_GRID}'>{''.join(rows)}</div>{heading + rules if rules else ''}</div>"
        )

    def place(self, each: Symbol) -> str:
        """The id of the equation of a derivative."""
        return f"{self.id}-e-{each.by.encode().hex()}"

    def row(self, left: Typeset | None, right: str, place: str = "", style: str = "") -> str:
        """The two sides of an equation, with what begins the right one."""
        named = f" id='{place}'" if place else ""
        left_side = _math(left) if left else ""
        return (f"<div{named} style='text-align: right; {style}'>{left_side}</div>"
                f"<div style='white-space: nowrap; {style}'>{right}</div>")  # fmt: skip

    def equation(self, equation: Equation | str) -> Iterator[str]:
        """Its rows: symbols, shapes, numbers, and whose rules these are."""
        apart = "padding-top: 1em"
        if isinstance(equation, str):
            yield self.row(_words("⋮"), html.escape(equation), style=f"{apart}; {_QUIET}")
            return
        name, place = leaf(equation.symbol), self.place(equation.symbol)
        if not equation.terms:
            nothing = _math(_EQUALS, Typeset("", "0", "<mn>0</mn>"))
            yield self.row(name, f"{nothing} <span style='{_QUIET}'>nothing arrives here</span>", place, apart)
            return
        terms = equation.shown_terms()
        linked = [f"{self.term(each, len(terms) > 1 and each.is_sum)}" for each in terms]
        plus = _math(sign("+", "+"))
        more = f" {plus} <span style='{_QUIET}'>{equation.more}</span>" if equation.more else ""
        yield self.row(name, f"{_math(_EQUALS)}{plus.join(linked)}{more}", place, apart)
        shapes = _math(_EQUALS, _shape_row(equation))
        yield self.row(_words(equation.symbol.shape), shapes, style=_QUIET)
        yield self.row(None, _math(_EQUALS, _number_row(equation)))
        about = dict.fromkeys(line for each in terms for line in self.about(each))
        yield self.row(None, "<br/>".join(about), style=f"{_QUIET}; {_NOTES}")

    def term(self, term: Term, in_brackets: bool) -> str:
        """A term: its factors lead to the rule, and a derivative to the equation that it was found by."""
        formula = _in_symbols(term)
        parts: list[str] = []
        factors = formula.product(term.ran.expression)
        for place, (node, times) in enumerate(factors):
            typeset = formula.factor(node, not place) if len(factors) > 1 else formula.of(node)
            known = term.ran.symbols.get(node.id) if isinstance(node, ast.Name) else None
            target = self.place(known) if known and (known.of, known.by) in self.places else f"{self.id}-r{term.rule}"
            about = f"how {known.text} was found" if known and known.by else f"the rule of {term.node.op}"
            parts.append(self.link(target, _math(typeset), about) + (_math(times) if times.mathml else ""))
        words = f"<span style='{_QUIET}'>, {html.escape(term.fitted)}</span>" if term.fitted else ""
        text = f"{''.join(parts)}{words}"
        return f"{_math(_words('('))}{text}{_math(_words(')'))}" if in_brackets else text

    def about(self, term: Term) -> Iterator[str]:
        """Whose rule it is, where that was computed, and what its helpers do."""
        op = self.link(f"{self.id}-r{term.rule}", html.escape(str(term.node.op)), f"the rule of {term.node.op}")
        made = f"<code>{html.escape(term.made)}</code>" if term.made else ""
        yield f"by {op}: {made} {html.escape(term.node.line.partition(' (')[0])}"
        yield from (f"<code>{html.escape(name)}</code>: {html.escape(text)}"
                    for name, _, text in (note.partition(": ") for note in term.ran.notes))  # fmt: skip

    def link(self, target: str, inner: str, about: str) -> str:
        """Something that leads to another place of the same output."""
        return f"<a href='#{target}' title='{html.escape(about)}' style='{_LINK}'>{inner}</a>"

    def rule(self, number: int, rule: UsedRule) -> str:
        """A rule as it is written for all runs, and its source to be unfolded."""
        formulas = "".join(
            f"<div style='padding-left: 1.4em'>{html.escape(operand)}: {_math(_rule(expression))}</div>"
            for operand, expression in rule.expressions.items()
        )
        style = "margin: 0.3em 0; white-space: pre; overflow-x: auto; text-align: left; font-size: 85%"
        folded = f"<summary style='{_QUIET}; cursor: pointer'>{html.escape(rule.card.file)}</summary>"
        source = f"<pre style='{style}'>{html.escape(rule.card.source)}</pre>"
        source = f"<details style='padding-left: 1.4em'>{folded}{source}</details>" if rule.card.source else ""
        name = f"<code>{html.escape(rule.card.name)}</code>"
        return f"<div id='{self.id}-r{number}' style='margin: 0.5em 0'>{name}{formulas}{source}</div>"


def _rule(expression: ast.expr) -> Typeset:
    """A rule in the names of its op."""
    names = {each.id for each in ast.walk(expression) if isinstance(each, ast.Name)}
    called = {
        each.func.id for each in ast.walk(expression) if isinstance(each, ast.Call) and isinstance(each.func, ast.Name)
    }
    leaves = {name: symbol(name) for name in names - called}
    if len(text_of(expression, {})) > 60:  # it is a program more than a formula
        return code(text_of(expression, {}))
    return Notation(leaves, {}, lambda name: True).of(expression)


def _math(*parts: Typeset) -> str:
    return f"<math displaystyle='true'>{joined(*parts).mathml}</math>"
