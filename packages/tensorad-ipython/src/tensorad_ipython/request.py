"""What `%grad` is asked for: `TARGET wrt SOURCES` and options, taken apart.

The line is cut where Python itself would see a space: brackets and strings hold together, so `out["a b"]` and
`torch.ones(2, 3)` are one word each. The options go to IPython's own parser of arguments, the rest is split at `wrt`.
"""

import argparse
import ast
import io
import tokenize
from dataclasses import dataclass, field
from typing import Any

from IPython.core.error import UsageError

HOW = "`%%grad y wrt x`, `%%grad loss wrt w, b -n 2`; see `%%grad?`"


@dataclass(frozen=True)
class Expression:
    """A Python expression of the line."""

    text: str

    @property
    def name(self) -> str | None:
        """The name that it is, if it is a plain one, as Python spells it."""
        tree = ast.parse(f"({self.text})", mode="eval").body
        return tree.id if isinstance(tree, ast.Name) else None


@dataclass(frozen=True)
class Request:
    """What one line asks for."""

    target: Expression | None
    sources: list[Expression] = field(default_factory=list)
    options: argparse.Namespace = field(default_factory=argparse.Namespace)
    silent: bool = False  # a semicolon at the end asks for no output, as at the end of any cell


def read(line: str, parser: argparse.ArgumentParser) -> Request:
    """What `line` asks for; or a UsageError that says what is wrong with it."""
    given: list[str] = []
    rest: list[tuple[str, int]] = []
    words = _words(line)
    silent = bool(words) and words[-1][0].endswith(";")
    if silent:
        last, column = words.pop()
        words += [(last.rstrip(";"), column)] if last.rstrip(";") else []
    while words:
        word, column = words.pop(0)
        option = _option(word, parser)
        if option is None:
            rest.append((word, column))
            continue
        given.append(word)
        inside = "=" in word or (word[1] != "-" and len(word) > 2)  # --order=2, -n2
        wanted = option.nargs != 0 and not inside and words
        if wanted and (option.nargs != "?" or words[0][0] in (option.choices or ())):
            value, _ = words.pop(0)
            given[-1:] = [f"{word}={value}"] if word.startswith("--") else [word, value]
    options = parser.parse_args(given)
    return Request(*_split(rest), options, silent)


def _words(line: str) -> list[tuple[str, int]]:
    """The words of `line`, and the columns at which they start: where brackets are closed, a space ends a word."""
    words: list[tuple[str, int]] = []
    start = end = depth = 0
    try:
        for token in tokenize.generate_tokens(io.StringIO(line).readline):
            if token.type == tokenize.COMMENT or not token.string.strip():
                continue
            if token.start[1] > end and depth == 0:
                words.append((line[start:end], start))
                start = token.start[1]
            if token.type == tokenize.OP:
                depth = max(0, depth + (token.string in "([{") - (token.string in ")]}"))
            end = token.end[1]
    except (tokenize.TokenError, SyntaxError) as error:
        raise UsageError(f"cannot read `{line}`: {error.args[0]}") from error
    words.append((line[start:end], start))
    return [(word, column) for word, column in words if word]


def _option(word: str, parser: argparse.ArgumentParser) -> Any:
    """The option of `parser` that `word` is; None for a part of an expression."""
    known = parser._option_string_actions
    name = word.partition("=")[0]
    if name in known:
        return known[name]
    if word.startswith("--") and word[2:3].isalpha():
        close = [option for option in known if option.startswith(name)]
        if len(close) == 1:
            return known[close[0]]
        raise UsageError(f"there is no option {name}: there are {', '.join(sorted(known))}; see `%%grad?`")
    return known.get(word[:2]) if word[:1] == "-" and word[2:].isdecimal() else None


def _split(words: list[tuple[str, int]]) -> tuple[Expression | None, list[Expression]]:
    """Target and sources. The `wrt` that splits them is the first that leaves an expression on both of its sides."""
    if not words:
        return None, []
    fault = f"the line has no `wrt`: {HOW}"
    for place, (word, _) in enumerate(words):
        if word != "wrt":
            continue
        target, sources = _joined(words[:place]), _joined(words[place + 1 :])
        if not target or not sources:
            fault = f"{'a source' if target else 'the target'} is missing beside `wrt`: {HOW}"
            continue
        try:
            readable(target)
        except SyntaxError as error:
            fault = f"cannot read the target `{target}`: {error.msg}"
            continue
        try:
            return Expression(target), _listed(sources)
        except SyntaxError as error:
            fault = f"cannot read the sources `{sources}`: {error.msg}"
    raise UsageError(fault)


def readable(text: str) -> None:
    """Nothing, or the SyntaxError for what is no expression that can be evaluated."""
    compile(text, "<the line of %grad>", "eval")


def _joined(words: list[tuple[str, int]]) -> str:
    """The text of `words`, with the spaces that were between them."""
    text = ""
    for word, column in words:
        text = text.ljust(column - words[0][1]) + word
    return text


def _listed(sources: str) -> list[Expression]:
    """The expressions between the commas of `sources`, each once."""
    text = f"({sources})" if sources.endswith(",") else f"({sources},)"
    readable(text)
    tree = ast.parse(text, mode="eval").body
    assert isinstance(tree, ast.Tuple)
    for each in tree.elts:
        if isinstance(each, ast.Starred):
            raise UsageError(f"`{ast.unparse(each)}`: give the list or dict itself, without the star")
    return [Expression(each) for each in dict.fromkeys(ast.get_source_segment(text, each) or "" for each in tree.elts)]
