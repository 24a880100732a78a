"""What a page without a kernel is given: traces that stay data, and scripts that stay whole."""

import json
import re
from html.parser import HTMLParser

from tensorad_ipython.page import embed, host, module, standalone

HOSTILE = "</script><!-- <img src=x onerror=alert(1)> & \u2028\u2029 \"'"
TRACE = {"title": HOSTILE, "nodes": [{"id": 1, "name": HOSTILE}], "steps": [{}], "editable": True}


class Elements(HTMLParser):
    """The elements of a page, and the text in each script."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.scripts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.found.append(tag)

    def handle_data(self, data: str) -> None:
        if self.found and self.found[-1] == "script" and data.strip():
            self.scripts.append(data)


def test_fragment() -> None:
    fragment = embed(TRACE)
    elements = Elements(fragment)
    assert elements.found == ["div", "script", "p"]
    assert not re.search("[\u2028\u2029]", elements.scripts[0])
    assert json.loads(elements.scripts[0]) == TRACE | {"editable": False}  # there is no kernel that could run the rest


def test_standalone() -> None:
    page = standalone(TRACE, HOSTILE)
    assert Elements(page).found == "html head meta meta title style body div script p script".split()
    assert not re.search(r"""(src|href)=["']?http|url\(|@import""", page.replace("url(#${this.mark}", ""))


def test_module() -> None:
    text = module()
    assert text.startswith('"use strict";var dagre=')
    assert text.rstrip().endswith("export default { render };")
    assert "sourceMappingURL" not in text
    assert "innerHTML" not in text
    assert not re.search("[<&]", host().split("mountTraces(")[-1]), "the module would end a script that it stands in"
