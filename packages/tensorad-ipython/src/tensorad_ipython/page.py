"""Recorded graphs on a page without a kernel: as a fragment of a page of documentation, or as one file of its own.

The same JavaScript module draws them as in a notebook. Nothing is fetched from anywhere, by http or from a file.
"""

import html
import json
from functools import cache
from importlib.resources import files
from typing import Any

# What would end a script, or a line of one, where it stands in a page.
_ESCAPED = {each: f"\\u{ord(each):04x}" for each in "<>&\u2028\u2029"}


@cache
def module() -> str:
    """The JavaScript module that draws, as one text: dagre, which lays graphs out, the style, and `view.js`.

    Its default export is what anywidget asks for: an object with `render`.
    """
    return f"{_static('dagre.min.js')}\nconst STYLE = {_json(_static('view.css'))};\n{_static('view.js')}"


def embed(trace: dict[str, Any]) -> str:
    """A fragment of HTML with `trace` in it, which the script of `host()` turns into a picture.

    Args:
        trace: what `Graph.trace()` or `Steps.trace()` gives.

    Returns:
        One `div`, with the trace as JSON and a sentence for readers without JavaScript.

    Examples:
        >>> import tensorad as ts
        >>> x = ts.tensor(2.0)
        >>> with ts.Grad() as g:
        ...     y = x * x
        >>> embed(g.graph(y).trace())[:28]
        '<div class="tensorad-view"><'
    """
    still = trace | {"editable": False}  # there is nobody who would run the rest again
    steps = f", {len(trace['steps'])} steps back" if trace.get("steps") else ""
    words = f"{trace['title']}: a graph of {len(trace['nodes'])} nodes{steps}. It is drawn by JavaScript."
    fallback = f'<p class="tensorad-fallback">{html.escape(words)}</p>'
    return f'<div class="tensorad-view"><script type="application/json">{_json(still)}</script>{fallback}</div>'


def host() -> str:
    """A classic script for a page: it draws every fragment of `embed()` there is, on pages of mkdocs-material too.

    Returns:
        JavaScript, to stand in a `script` element, or in a file that the page loads.
    """
    return f"(() => {{\n{_static('host.js')}\nmountTraces({_json(module())});\n}})();\n"


def standalone(trace: dict[str, Any], title: str) -> str:
    """A whole page with nothing but `trace`: one file that works offline, light or dark as its reader likes it.

    `Graph.save` and `Steps.save` write it to a file.

    Args:
        trace: what `Graph.trace()` or `Steps.trace()` gives.
        title: the title of the page.
    """
    style = """  :root { --tensorad-height: calc(100vh - 11rem); }
  body { margin: 1rem auto; padding: 0 1rem; max-width: 90rem; font-family: system-ui, sans-serif; }"""
    return document(title, style, f"{embed(trace)}\n<script>\n{host()}</script>")


def document(title: str, style: str, body: str) -> str:
    """A page that stands alone, light or dark as its reader likes it.

    Args:
        title: its title.
        style: what stands in its style sheet beside that.
        body: what stands in its body, HTML.
    """
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>
  :root {{ color-scheme: light dark; }}
{style}
</style>
</head>
<body>
{body}
</body>
</html>
"""


def _static(name: str) -> str:
    text = files("tensorad_ipython").joinpath("static", name).read_text(encoding="utf-8")
    # The map of the minified library is not served.
    return "\n".join(line for line in text.splitlines() if not line.startswith("//# sourceMappingURL"))


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.translate(str.maketrans(_ESCAPED))
