"""A graph as a picture: where its parts stand is worked out by graphlay, what they look like is here."""

from itertools import pairwise
from typing import Any
from xml.etree import ElementTree as Xml

from tensorad.looking.folding import Group
from tensorad.looking.seen import Seen
from tensorad.looking.values import shortened
from tensorad.notebook import needed

_LINE, _LETTER, _PADDING, _HEADER = 15, 6.6, 10, 18  # in pixels, for text of 11 pixels
_LONGEST = 44  # letters in a line: of a longer one, the middle is left out
_STYLE = """
.tensorad-graph { font: 11px ui-sans-serif, system-ui, sans-serif; background: #ffffff; color: #1f2933 }
.tensorad-graph text { fill: currentColor; text-anchor: middle }
.tensorad-graph .small { font-size: 10px; opacity: 0.75 }
.tensorad-graph .box { fill: none; stroke: currentColor; stroke-opacity: 0.35; stroke-dasharray: 4 3 }
.tensorad-graph .title { text-anchor: start; font-size: 10px; font-weight: 600; opacity: 0.8 }
.tensorad-graph .edge { fill: none; stroke: currentColor; stroke-opacity: 0.55; stroke-width: 1.2 }
.tensorad-graph .arrow { fill: currentColor; fill-opacity: 0.7 }
.tensorad-graph .node rect { fill: #dbe7f5; stroke: #3b6ea5 }
.tensorad-graph .leaf rect { fill: #f3eee3; stroke: #8a7a50 }
.tensorad-graph .source rect { fill: #fbe3c0; stroke: #b3701c; stroke-width: 2 }
.tensorad-graph .target rect { fill: #d6eedb; stroke: #2f7d45; stroke-width: 2 }
.tensorad-graph .folded rect { fill: #ebe6f5; stroke: #6a4fa0; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
  .tensorad-graph { background: #14181d; color: #e3e8ee }
  .tensorad-graph .node rect { fill: #1e3248; stroke: #6ea3d8 }
  .tensorad-graph .leaf rect { fill: #2f2b20; stroke: #b7a573 }
  .tensorad-graph .source rect { fill: #4a3213; stroke: #e0a04d }
  .tensorad-graph .target rect { fill: #173b22; stroke: #63b67b }
  .tensorad-graph .folded rect { fill: #2c2440; stroke: #a48bd8 }
}
"""


def svg(seen: Seen) -> str:
    """What is to be seen of a graph, as the text of an SVG file."""
    graphlay = needed("graphlay", "tensorad[pictures]", "a picture of a graph")
    drawing = graphlay.Graph()
    place: dict[Any, int] = {}
    around: list[int] = []  # the open groups
    for event, _, thing in seen.nested():
        if event == "close":
            around.pop()
            continue
        inside = {"parent": around[-1]} if around else {}
        width, height = _size(_lines_of(seen, thing) if event == "thing" else [_short(thing.title)])
        place[thing] = drawing.node(len(place), width=width, height=height, **inside)
        if event == "open":
            around.append(place[thing])
    for ends in seen.edges:
        drawing.edge(place[ends[0]], place[ends[1]])
    spacing = {"layer_gap": 30, "node_gap": 24, "dummy_gap": 14, "compound_header": _HEADER, "compound_padding": 12}
    options = {"direction": "topbottom", "routing": {"style": "diagonal"}, "spacing": spacing}
    layout = graphlay.layout(drawing, options=options)
    return _drawn(seen, place, layout)


def _drawn(seen: Seen, place: dict[Any, int], layout: Any) -> str:
    boxes = [(each["center"]["x"], each["center"]["y"], each["size"]["width"], each["size"]["height"])
             for each in layout.nodes]  # fmt: skip
    points = [[(point["x"], point["y"]) for point in edge["points"]] for edge in layout.edges]
    corners = [(x + side * width / 2, y + side * height / 2) for x, y, width, height in boxes for side in (-1, 1)]
    corners += [point for line in points for point in line]
    left, top = (min(values) - 8 for values in zip(*corners, strict=True))
    right, bottom = (max(values) + 8 for values in zip(*corners, strict=True))
    size: Any = {"width": f"{right - left:.0f}", "height": f"{bottom - top:.0f}"}
    view = f"{left:.1f} {top:.1f} {right - left:.1f} {bottom - top:.1f}"
    root = Xml.Element("svg", xmlns="http://www.w3.org/2000/svg", role="img", viewBox=view, **size)
    root.set("class", "tensorad-graph")  # of which all of the style is: the picture may stand inside a page
    _add(root, "title", text=f"the graph of {seen.graph.title}")
    _add(root, "style", text=_STYLE)
    for thing, number in place.items():
        if thing not in seen.things:
            _open_group(root, thing, boxes[number])
    for ends, line in zip(seen.edges, points, strict=True):
        _edge(root, line, seen.edge_label(ends))
    for thing in seen.things:
        _thing(root, seen, thing, boxes[place[thing]])
    return Xml.tostring(root, encoding="unicode")


def _open_group(root: Xml.Element, group: Group, box: tuple[float, float, float, float]) -> None:
    x, y, width, height = box
    element, left, top = _add(root, "g"), f"{x - width / 2 + 8:.1f}", f"{y - height / 2 + 13:.1f}"
    _rectangle(element, box, 8, {"class": "box"})
    _add(element, "text", {"class": "title"}, left, top, _short(group.title))


def _edge(root: Xml.Element, line: list[tuple[float, float]], label: str) -> None:
    """A smooth line through the points, with an arrow at its end, and the operand's name before that."""
    (x, y), last = line[0], line[-1]
    path = f"M{x:.1f} {y:.1f}"
    for (x0, y0), (x1, y1) in pairwise(line):
        middle = (y0 + y1) / 2
        path += f"C{x0:.1f} {middle:.1f} {x1:.1f} {middle:.1f} {x1:.1f} {y1:.1f}"
    _add(root, "path", {"class": "edge", "d": path})
    x, y = last
    _add(root, "path", {"class": "arrow", "d": f"M{x:.1f} {y:.1f}l-3.5 -7h7z"})
    if label:
        _add(root, "text", {"class": "small"}, f"{x + 5 + _LETTER * len(label) / 2:.1f}", f"{y - 5:.1f}", label)


def _thing(root: Xml.Element, seen: Seen, thing: int | Group, box: tuple[float, float, float, float]) -> None:
    x, y, _, height = box
    element = _add(root, "g", {"class": seen.kind(thing)})
    _add(element, "title", text=thing.title if isinstance(thing, Group) else str(seen.graph.nodes[thing - 1]))
    if seen.kind(thing) == "folded":  # a pile
        _rectangle(element, (x + 3, y + 3, box[2], height), 6)
    _rectangle(element, box, height / 2 if seen.kind(thing) in ("leaf", "source") else 6)
    for place, line in enumerate(_lines_of(seen, thing)):
        style = {"class": "small"} if place else {}
        _add(element, "text", style, f"{x:.1f}", f"{y - height / 2 + _PADDING / 2 + _LINE * (place + 0.75):.1f}", line)


def _rectangle(parent: Xml.Element, box: tuple[float, float, float, float], round_by: float, more: Any = None) -> None:
    x, y, width, height = box
    sides = {"x": x - width / 2, "y": y - height / 2, "width": width, "height": height, "rx": round_by}
    _add(parent, "rect", {name: f"{value:.1f}" for name, value in sides.items()} | (more or {}))


def _add(parent: Xml.Element, tag: str, more: Any = None, x: str = "", y: str = "", text: str = "") -> Xml.Element:
    element = Xml.SubElement(parent, tag, {**(more or {}), **({"x": x, "y": y} if x else {})})
    element.text = text or None
    return element


def _lines_of(seen: Seen, thing: int | Group) -> list[str]:
    return [_short(line) for line in seen.label(thing)]


def _short(line: str) -> str:
    return shortened(line, _LONGEST, 11)


def _size(lines: list[str]) -> tuple[float, float]:
    return max(map(len, lines)) * _LETTER + 2 * _PADDING, len(lines) * _LINE + _PADDING
