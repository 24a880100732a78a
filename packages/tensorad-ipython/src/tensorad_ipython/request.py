"""What `%grad` is asked for: `TARGET wrt SOURCES` and options, taken apart.

The line is cut where Python itself would see a space: brackets and strings hold together, so `out["a b"]` and
`torch.ones(2, 3)` are one word each. The options go to IPython's own parser of arguments, the rest is split at `wrt`.
"""

import argparse
import ast
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from IPython.core.error import UsageError

HOW = "`%%grad y wrt x`, `%%grad loss wrt w, b -n 2`; see `%%grad?`"


@dataclass(frozen=True)
class Expression:
    """A Python expression of the line: its text, and the column of the line at which it starts."""

    text: str
    column: int

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


def read(line: str, parser: argparse.ArgumentParser) -> Request:
    """What `line` asks for; or a UsageError that says what is wrong with it."""
    given: list[str] = []
    rest: list[Expression] = []
    words = iter(_words(line.rstrip().rstrip(";")))
    following = next(words, None)
    while (word := following) is not None:
        following = next(words, None)
        option = _option(word.text, parser)
        if option is None:
            rest.append(word)
            continue
        given.append(word.text)
        inside = "=" in word.text or (word.text[1] != "-" and len(word.text) > 2)  # --order=2, -n2
        optional = option.nargs == "?" and (following is None or following.text not in (option.choices or ()))
        if option.nargs != 0 and not inside and not optional and following is not None:
            given[-1:] = (
                [f"{word.text}={following.text}"] if word.text.startswith("--") else [word.text, following.text]
            )
            following = next(words, None)
    options = parser.parse_args(given)
    return Request(*_split(rest), options)


def _words(line: str) -> Iterator[Expression]:
    """The words of `line`: where brackets are closed, a space ends one."""
    start = end = depth = 0
    try:
        for token in tokenize.generate_tokens(io.StringIO(line).readline):
            if token.type == tokenize.COMMENT or not token.string.strip():
                continue
            if token.start[1] > end and depth == 0:
                if end > start:
                    yield Expression(line[start:end], start)
                start = token.start[1]
            if token.type == tokenize.OP:
                depth = max(0, depth + (token.string in "([{") - (token.string in ")]}"))
            end = token.end[1]
    except (tokenize.TokenError, SyntaxError) as error:
        raise UsageError(f"cannot read `{line}`: {error.args[0]}") from error
    if end > start:
        yield Expression(line[start:end], start)


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


def _split(words: list[Expression]) -> tuple[Expression | None, list[Expression]]:
    """Target and sources. The `wrt` that splits them is the first that leaves an expression on both of its sides."""
    if not words:
        return None, []
    fault = f"the line has no `wrt`: {HOW}"
    for place, word in enumerate(words):
        if word.text != "wrt":
            continue
        if not words[:place] or not words[place + 1 :]:
            fault = f"{'the target' if not words[:place] else 'a source'} is missing beside `wrt`: {HOW}"
            continue
        target, sources = _joined(words[:place]), _joined(words[place + 1 :])
        try:
            ast.parse(target.text, mode="eval")
        except SyntaxError as error:
            fault = f"cannot read the target `{target.text}`: {error.msg}"
            continue
        try:
            return target, _listed(sources)
        except SyntaxError as error:
            fault = f"cannot read the sources `{sources.text}`: {error.msg}"
    raise UsageError(fault)


def _joined(words: list[Expression]) -> Expression:
    text, first = "", words[0].column
    for word in words:
        text = text.ljust(word.column - first) + word.text
    return Expression(text, first)


def _listed(sources: Expression) -> list[Expression]:
    """The expressions between the commas of `sources`."""
    tree = ast.parse(f"({sources.text},)" if not sources.text.endswith(",") else f"({sources.text})", mode="eval").body
    assert isinstance(tree, ast.Tuple)
    listed: dict[str, Expression] = {}
    for each in tree.elts:
        if isinstance(each, ast.Starred):
            raise UsageError(f"`{ast.unparse(each)}`: give the list or dict itself, without the star")
        text = ast.get_source_segment(f"({sources.text},)", each) or ""
        before = f"({sources.text}".encode()[: each.col_offset].decode()
        listed.setdefault(text, Expression(text, sources.column + len(before) - 1))
    return list(listed.values())
