"""How a graph is folded, so that one of thousands of nodes is read as easily as one of ten.

Every group is a span of time: nodes that were made one after the other. So a folded group never is on a path from
itself to itself. Contexts are groups, what a derivative that was asked for has recorded is one, and in large graphs
what a loop repeats, what one function of the user's did, and the parts of what is still too long.
"""

import dis
import functools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from types import CodeType
from typing import TYPE_CHECKING, Any

from tensorad.looking.program import text_of
from tensorad.looking.values import printable
from tensorad.node import Node
from tensorad.site import name_of, name_of_context

if TYPE_CHECKING:
    from tensorad.looking.graph import Recorded

SEEN = 40  # nodes and folded groups that are seen at first; graphs of no more than that are not folded at all
_TOGETHER = 30  # parts of a group: of more, some are put together
_WORTH = 8  # nodes: a loop that made fewer is not folded


@dataclass(eq=False)
class Group:
    """Some of the nodes of a graph, by their numbers, and groups of such.

    Attributes:
        title: what they have in common.
        kind: "whole", "context", "gradient" (what was recorded while a derivative was worked out), "function",
            "repeat" (what a loop did), "round" (of a loop), "part".
        parts: numbers of nodes, and groups, in the order of making.
        open: whether it is unfolded at first.
    """

    title: str
    kind: str
    parts: "list[int | Group]" = field(default_factory=list)
    open: bool = False

    def renumber(self, numbers: dict[int, int]) -> None:
        """Let nodes have other numbers.

        Args:
            numbers: the number until now -> the new one, for each node.
        """
        for part in self.parts:
            if isinstance(part, Group):
                part.renumber(numbers)
        self.parts = [part if isinstance(part, Group) else numbers[part] for part in self.parts]

    @property
    def numbers(self) -> list[int]:
        """The numbers of all nodes in it."""
        return [number for part in self.parts for number in (part.numbers if isinstance(part, Group) else [part])]


def folded(recorded: "Recorded") -> Group:
    """The groups of what was recorded."""
    made = [node for node in recorded.nodes if recorded.made(node)]
    arranger = _Arranger(made, recorded.numbers)
    large = len(recorded.nodes) > SEEN
    whole = Group("", "whole", arranger.by_context(_looped_whole(made) if large else made, 0), open=True)
    _place_leaves(whole, recorded)
    _name_modules(whole, {recorded.numbers[node]: name for node, name in recorded.names.items()
                          if node in recorded.numbers and not recorded.made(node)})  # fmt: skip
    if large:
        _shorten(whole)
    _unfold(whole)
    return whole


def contexts_of(node: Node) -> tuple[Any, ...]:
    """The Grads that recorded it, the outermost first; no forward mode, and nothing that a rule has opened."""
    contexts: Any = node.contexts
    return tuple([entry for entry in contexts.entries if entry in contexts and hasattr(entry, "gradient")])


class _Arranger:
    """Puts nodes, and loops of them, into groups: by context, within these by what was asked for, then by function."""

    def __init__(self, made: Sequence[Node], numbers: dict[Node, int]) -> None:
        self.numbers = numbers
        self.chains = {node: contexts_of(node) for node in made}
        self.boxes = len({*self.chains.values()}) > 1  # if all is of one context, there is nothing to tell apart
        self.grouped = len(made) > SEEN
        self.looping: set[Any] = set()  # the code of the functions whose loops are being taken apart

    def by_context(self, items: Sequence[Any], depth: int) -> list[Any]:
        """Items by the context at that depth, and within each by the next."""
        found: list[Any] = []
        for context, span in _runs(items, lambda item: self._context(item, depth)):
            if context is None:
                found += self._by_question(span, depth)
            else:
                parts = self.by_context(span, depth + 1)
                found.append(Group(printable(name_of_context(context)), "context", parts))
        return found

    def _context(self, item: Any, depth: int) -> Any:
        """The context at that depth of a node, or of all of a loop."""
        chains = [self.chains[node] for node in _nodes([item])] if self.boxes else []
        found = {chain[depth] if len(chain) > depth else None for chain in chains}
        return found.pop() if len(found) == 1 else None

    def _by_question(self, items: Sequence[Any], depth: int) -> list[Any]:
        """What was recorded while a derivative was worked out, by the line that asked for it; the rest by function."""
        found: list[Any] = []
        for asked, span in _runs(items, _asked):
            parts = self._by_function(span, depth)
            found += [Group(text_of(asked) or "a derivative", "gradient", parts)] if asked and len(span) > 1 else parts
        return found

    def _by_function(self, items: Sequence[Any], depth: int) -> list[Any]:
        """Items as numbers and groups, with those together that one function of the user's made."""
        found: list[Any] = []
        for function, span in _runs([each for item in items for each in _worth_folding(item)], _function):
            parts = [self._round(item, depth) if isinstance(item, _Loop) else self.numbers[item] for item in span]
            looping = any(node.site and node.site[0] in self.looping for node in _nodes(span[:1]))
            in_group = function and len(parts) > 1 and self.grouped and not looping
            found += [Group(function, "function", parts)] if in_group else parts
        return found

    def _round(self, loop: "_Loop", depth: int) -> Group:
        """The group of a loop, with a group for each round, unless a round is one node."""
        around = self.looping
        self.looping = around | {node.site[0] for node in _nodes(loop.rounds[0]) if node.site and _in_loop(*node.site)}
        rounds = [self.by_context(each, depth) for each in loop.rounds]
        self.looping = around
        title = f"{len(rounds)} × {_gist([*_nodes(loop.rounds[0])])}"
        if len(rounds[0]) == 1 and isinstance(rounds[0][0], int):
            return Group(title, "repeat", [part for parts in rounds for part in parts])
        alone = all(len(parts) == 1 and parts[0].kind == "function" for parts in rounds)  # a call of a function
        return Group(title, "repeat", [Group(f"round {place}", "round", parts[0].parts if alone else parts)
                                       for place, parts in enumerate(rounds, 1)])  # fmt: skip


@dataclass(eq=False)
class _Loop:
    """What was repeated: the rounds, each a list of nodes and loops in it."""

    rounds: list[list[Any]]
    token: Any


def _looped_whole(nodes: Sequence[Node]) -> list[Any]:
    """Nodes with everything that is repeated put together, loops in loops."""
    items: list[Any] = list(nodes)
    while (fewer := _looped(items)) is not items:
        items = fewer
    return items


def _asked(item: Any) -> Any:
    """The line that asked for the derivative while a node was recorded, or all of a loop."""
    found = {getattr(node.contexts, "site", None) for node in _nodes([item])}
    return found.pop() if len(found) == 1 else None


def _token(item: Any) -> Any:
    return item.token if isinstance(item, _Loop) else (item.op, item.site, len(item.contexts))


def _looped(items: list[Any]) -> list[Any]:
    """`items` with what is repeated, one round right after the other, put together: only the shortest rounds."""
    tokens = [_token(item) for item in items]
    periods = [after - place for place, after in enumerate(_next_places(tokens))]
    twice = lambda at, period: tokens[at : at + period] == tokens[at + period : at + 2 * period]  # noqa: E731
    repeated = [place for place, period in enumerate(periods) if period and twice(place, period)]
    period = min((periods[place] for place in repeated), default=0)
    starts = {place for place in repeated if periods[place] == period}
    found: list[Any] = []
    start = 0
    while start < len(items):
        if start not in starts:
            found.append(items[start])
            start += 1
            continue
        while found and found[-1] is items[start - 1] and tokens[start - 1] == tokens[start - 1 + period]:
            found.pop()  # the round begins further to the left, with what it does several times
            start -= 1
        end = start + period
        while tokens[end : end + period] == tokens[start : start + period]:
            end += period
        rounds = [items[place : place + period] for place in range(start, end, period)]
        found.append(_Loop(rounds, tuple(tokens[start : start + period])))
        start = end
    return found if repeated else items


def _next_places(tokens: list[Any]) -> list[int]:
    """For each place, the next one with the same token; itself, if there is none."""
    last: dict[Any, int] = {}
    found = list(range(len(tokens)))
    for place in reversed(range(len(tokens))):
        found[place] = last.get(tokens[place], place)
        last[tokens[place]] = place
    return found


def _worth_folding(item: Any) -> list[Any]:
    """A loop as it is if it is long; else the nodes that it made."""
    nodes = [*_nodes([item])]
    return [item] if len(nodes) >= _WORTH else nodes


def _gist(nodes: Sequence[Node]) -> str:
    """What a round of a loop does: the function it calls, or else its ops."""
    for node in nodes if len(nodes) > 1 else ():
        if _function(node) and not _in_loop(*node.site):
            return _function(node)
    ops = [f"{count} {name}" if count > 1 else name for name, count in Counter(map(name_of, nodes)).items()]
    return f"({', '.join([*ops[:4], '…'] if len(ops) > 5 else ops)})"


@functools.lru_cache(maxsize=10_000)
def _in_loop(code: CodeType, instruction: int) -> bool:
    """Whether an instruction stands in a loop of its function: whether a jump leads from behind it to before it."""
    jumps = (each for each in dis.get_instructions(code) if each.opname.startswith("JUMP_BACKWARD"))
    return any(each.argval <= instruction < each.offset for each in jumps)


def _nodes(items: Sequence[Any]) -> Iterator[Node]:
    for item in items:
        if isinstance(item, _Loop):
            for each in item.rounds:
                yield from _nodes(each)
        else:
            yield item


def _function(item: Any) -> str:
    """The user's function that made a node, or all of a loop: such as `Block.forward`; empty outside of functions."""
    if isinstance(item, _Loop):
        names = {_function(each) for each in item.rounds[0]}
        return names.pop() if len(names) == 1 else ""
    names = item.site[0].co_qualname.split(".<locals>.") if item.site else []
    return next((name for name in reversed(names) if not name.startswith("<")), "")


def _runs(items: Sequence[Any], key: Callable[[Any], Any]) -> Iterator[tuple[Any, list[Any]]]:
    for value, span in groupby(items, key=key):
        yield value, list(span)


def _place_leaves(whole: Group, recorded: "Recorded") -> None:
    """Put each leaf into the innermost group with all that uses it; into a context only if it was made in there."""
    above = dict(_paths(whole, ()))
    users: dict[int, list[int]] = {recorded.numbers[node]: [] for node in recorded.nodes if not recorded.made(node)}
    for node in recorded.nodes:
        for parent in node.parents if recorded.made(node) else ():
            if parent in recorded.numbers and not recorded.made(parent):
                users[recorded.numbers[parent]].append(recorded.numbers[node])
    born = {number: node.number for node, number in recorded.numbers.items()}
    begun = functools.cache(lambda group: born[group.numbers[0]])
    before: dict[Group, dict[Any, list[int | Group]]] = {}  # by group and by its part that uses them first: the leaves
    for leaf, found in users.items():
        group, path = whole, above[found[0]] if found else ()
        for level in zip(*[above[user] for user in found], strict=False):
            outside = level[0].kind == "context" and born[leaf] < begun(level[0])
            if len({*level}) > 1 or outside:
                break
            group = level[0]
        inside = path[path.index(group) + 1 :] if group in path else path
        first = inside[0] if inside else found[0] if found else None  # None: the target itself
        before.setdefault(group, {}).setdefault(first, []).append(leaf)
    for group, leaves in before.items():
        group.parts = [each for part in group.parts for each in (*leaves.get(part, []), part)] + leaves.get(None, [])


def _paths(group: Group, path: tuple[Group, ...]) -> Iterator[tuple[int, tuple[Group, ...]]]:
    for part in group.parts:
        if isinstance(part, Group):
            yield from _paths(part, (*path, part))
        else:
            yield part, path


def _name_modules(group: Group, leaves: dict[int, str]) -> list[str]:
    """Name what loops and functions did by the module whose parameters they used, if it is one: `blocks.3`."""
    names = [leaves[part] for part in group.parts if isinstance(part, int) and "." in leaves.get(part, "")]
    for part in group.parts:
        if isinstance(part, Group):
            names += _name_modules(part, leaves)
    paths = [name.split(".")[:-1] for name in names]
    common = [level[0] for level in zip(*paths, strict=False) if len({*level}) == 1]
    if group.kind in ("function", "round") and len(common) > 1:
        group.title = f"{'.'.join(common)} ({group.title})"
    return names


def _shorten(group: Group) -> None:
    """Put parts together, wherever a group has too many."""
    for part in group.parts:
        if isinstance(part, Group):
            _shorten(part)
    while len(group.parts) > SEEN:
        count = min(_TOGETHER, -(-len(group.parts) // _TOGETHER))
        size = -(-len(group.parts) // count)
        spans = [group.parts[place : place + size] for place in range(0, len(group.parts), size)]
        group.parts = [Group(_span_title(span), "part", span) if len(span) > 1 else span[0] for span in spans]


def _span_title(parts: Sequence[Any]) -> str:
    rounds = [part.title for part in parts if isinstance(part, Group) and part.kind == "round"]
    if rounds:
        return f"{rounds[0]} to {rounds[-1]}"
    numbers = Group("", "part", [*parts]).numbers
    return f"#{min(numbers)} to #{max(numbers)}"


def _unfold(whole: Group) -> None:
    """Open groups, the outer ones and the small ones first, as long as there is not too much to be seen.

    Of the rounds of a loop, and of parts, only the first: the others are like it.
    """
    seen, todo = len(whole.parts), [part for part in whole.parts if isinstance(part, Group)]
    while todo:
        following: list[Group] = []
        for group in sorted(todo, key=lambda each: (each.kind != "context", len(each.parts))):
            if seen - 1 + len(group.parts) <= SEEN:
                group.open, seen = True, seen - 1 + len(group.parts)
                inside = [part for part in group.parts if isinstance(part, Group)]
                following += [part for part in inside if part.kind not in ("round", "part") or part is inside[0]]
        todo = following
