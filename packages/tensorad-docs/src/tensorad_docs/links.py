"""Every link of the built site, followed: `python -m tensorad_docs.links site` names those that lead nowhere.

mkdocs looks at links between Markdown files. This looks at the pages as they are in the end, with what tutorials show
and what the theme adds: files, anchors, scripts, pictures. What leads away from the site is not followed, and nothing
but a link that a reader may choose to follow is allowed to.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_LINKS = ("href", "src", "data", "poster", "action", "xlink:href")


class Page(HTMLParser):
    """The anchors of a page, and its links, each with the kind of element that it stands in."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of an element."""
        found = dict(attrs)
        self.anchors.update(filter(None, [found.get("id"), found.get("name") if tag == "a" else None]))
        if found.get("rel") != "canonical":  # where the site is published
            self.links += [(tag, link) for name in _LINKS if (link := found.get(name))]


def broken(site: Path) -> list[str]:
    """Of the links of the pages in a folder, those that lead nowhere or fetch something from elsewhere, in words."""
    pages: dict[Path, Page] = {}
    site = site.resolve()
    for file in sorted(site.rglob("*.html")):
        if file.name != "404.html":  # which may be shown in place of any page, and has links for where it is published
            pages[file] = Page()
            pages[file].feed(file.read_text(encoding="utf-8"))
    found: list[str] = []
    for file, page in pages.items():
        for tag, link in dict.fromkeys(page.links):
            if wrong := _wrong(tag, link, file, site, pages):
                found.append(f"{file.relative_to(site).as_posix()}: {link} {wrong}")
    return found


def _wrong(tag: str, link: str, file: Path, site: Path, pages: dict[Path, Page]) -> str:
    """What is wrong with a link in a file, in words; empty if it is right."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return "is fetched from elsewhere" if tag != "a" and parts.scheme != "data" else ""
    target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
    target = target / "index.html" if target.is_dir() else target
    if not target.exists() or not target.is_relative_to(site):
        return "leads to no file"
    lost = parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors
    return "leads to no anchor" if lost else ""


if __name__ == "__main__":
    sys.exit("\n".join(broken(Path(sys.argv[1]))) or 0)
