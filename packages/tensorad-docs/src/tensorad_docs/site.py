"""What of the site is made by programs: `python -m tensorad_docs.site docs` writes it where mkdocs finds it."""

import sys
from pathlib import Path

from tensorad_docs import rules_page, shown, tutorial_pages
from tensorad_docs.tutorial import tutorials
from tensorad_ipython.page import host

CACHE = Path(".cache/tutorials")


def write(docs: Path, cache: Path | None = None) -> None:
    """Write into `docs` the pages of rules and ops, the tutorials, what other pages include, the script that draws."""
    made = {"rules.md": rules_page.page(), "reference/ops.md": rules_page.names_page(), "assets/view.js": host()}
    made |= shown.written_for(docs)
    made |= {f"tutorials/{name}": text for name, text in tutorial_pages.files(tutorials(), cache).items()}
    for name, text in made.items():
        (docs / name).parent.mkdir(parents=True, exist_ok=True)
        (docs / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]), CACHE)
