"""The pages of the site that are tutorials.

Each is the executed notebook as Markdown: prose, code, and below it what the cell showed. Graphs and backward passes
are drawn by the script that draws them in notebooks; checks and solutions are folded; the notebook stands beside the
page, to be downloaded.
"""

import html
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import nbformat

from tensorad_docs.running import executed, two_at_a_time
from tensorad_docs.shown import inline
from tensorad_docs.tutorial import Tutorial, kind_of
from tensorad_ipython.page import embed

HEAD = """# Tutorials

Each is a notebook that runs: prose, a few lines of code, what they show. What is claimed is checked in cells that are
folded away, derivatives against torch.autograd, a closed form or finite differences; a check that fails fails the build
of this site. The exercises have solutions, which are folded too, and run too.

To work in them, download one from its page, or have all of them. They need the package `tensorad-docs`, which brings
the others and JupyterLab: `python -m tensorad_docs open` copies them out and opens JupyterLab, `python -m tensorad_docs
run` runs them. In a clone of the project, `nox -s lab` installs all of it and opens them.

"""
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_STATE = "application/vnd.jupyter.widget-state+json"
_VIEW = "application/vnd.jupyter.widget-view+json"
_SUMMARY = {"check": "How these numbers are checked", "solution": "Solution"}


def markdown(tutorial: Tutorial, book: Any) -> str:
    """The page of a tutorial, from its executed notebook."""
    first, *cells = book.cells
    widgets = book.metadata.get("widgets", {}).get(_STATE, {}).get("state", {})
    download = f"[Download as a notebook]({tutorial.name}.ipynb){{ .download download }}"
    title, _, rest = first.source.partition("\n")
    parts = [title, download, rest.strip()]
    for kind, together in itertools.groupby(cells, kind_of):
        shown = "\n\n".join(part for cell in together for part in _cell(cell, widgets))
        if kind:
            shown = (
                f'<details class="{kind}" markdown="1">\n<summary>{_SUMMARY[kind]}</summary>\n\n{shown}\n\n</details>'
            )
        parts.append(shown)
    return "\n\n".join(parts) + "\n"


def _cell(cell: Any, widgets: dict[str, Any]) -> Iterator[str]:
    if cell.cell_type == "markdown":
        yield cell.source
        return
    yield _fence(cell.source, f'.python .cell data-cell="{cell.execution_count}"')
    for kind, outputs in itertools.groupby(cell.outputs, lambda each: each.output_type):
        if kind == "stream":  # what is printed bit by bit is one text
            yield _text("".join(each.text for each in outputs))
        elif kind == "error":
            yield from (_text("\n".join(each.traceback)) for each in outputs)
        else:
            yield from (_shown(each.data, widgets) for each in outputs)


def _shown(data: dict[str, Any], widgets: dict[str, Any]) -> str:
    """An output by the best of the forms that it has."""
    if _VIEW in data:
        return embed(json.loads(widgets[data[_VIEW]["model_id"]]["state"]["trace"]))
    if "text/html" in data:
        return _html(data["text/html"])
    if "image/svg+xml" in data:
        return _html(inline(data["image/svg+xml"]))
    if "image/png" in data:
        about = html.escape(data["text/plain"])
        return _html(f'<img alt="{about}" src="data:image/png;base64,{data["image/png"].strip()}">')
    return data.get("text/markdown") or _text(data["text/plain"])


def _html(text: str) -> str:
    return f'<div class="output">\n{text.strip()}\n</div>'


def _text(text: str) -> str:
    return _fence(_COLOURS.sub("", text), ".text .output")


def _fence(text: str, attributes: str) -> str:
    ticks = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{ticks} {{ {attributes} }}\n{text.rstrip()}\n{ticks}"


def index(chosen: Iterable[Tutorial]) -> str:
    """The page that leads to the tutorials."""
    return HEAD + "\n".join(
        f"{place}. **[{each.title}]({each.name}.md)** {each.about}" for place, each in enumerate(chosen, 1)
    )


def files(chosen: Sequence[Tutorial], cache: Path | None = None) -> dict[str, str]:
    """The pages of the tutorials, run for it, with their notebooks, and a page that leads to them, by their names."""
    found = {"index.md": index(chosen)}
    books = two_at_a_time(lambda each: executed(each, cache), chosen)
    for each, book in zip(chosen, books, strict=True):
        found[f"{each.name}.md"] = markdown(each, book)
        found[f"{each.name}.ipynb"] = nbformat.writes(each.notebook())
    return found
