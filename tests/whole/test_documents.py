"""Every block of the pages below runs, one after the other as a reader would, and prints what stands below it."""

import contextlib
import io
import linecache
import re
import textwrap
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Indented where they are folded: in a solution, say.
_BLOCKS = re.compile(r"^( *)```python\n(.*?)^\1```(?:\n\n\1```text\n(.*?)^\1```)?", flags=re.DOTALL | re.MULTILINE)
_MEASURED = re.compile(r"± \S+ \(step \S+\)")  # whose digits differ between machines


@pytest.mark.parametrize(
    ("page", "least"),
    [
        ("README.md", 4),
        ("docs/index.md", 3),
        ("docs/own-rules.md", 6),
        ("docs/functions.md", 8),
        ("docs/wrong.md", 6),
        ("docs/looking.md", 8),
        ("docs/changing.md", 5),
        ("docs/teaching.md", 17),
        ("docs/from-pytorch.md", 4),
        ("docs/from-jax.md", 3),
        ("docs/from-tensorflow.md", 3),
        ("docs/from-micrograd.md", 3),
    ],
    ids=lambda each: str(each),
)
def test_blocks_print_what_stands_below_them(page: str, least: int) -> None:
    found = _BLOCKS.findall((ROOT / page).read_text())
    every = [(textwrap.dedent(code), textwrap.dedent(shown)) for _, code, shown in found]
    blocks = [(code, shown) for code, shown in every if not code.startswith("%")]  # magics run elsewhere, in a shell
    assert len(blocks) >= least
    scope: dict[str, object] = {}
    for number, (code, expected) in enumerate(blocks):
        assert "print" not in code or expected, "a block that prints is followed by its output"
        printed = io.StringIO()
        # Under a name of its own, of which the page's is what is shown, so that messages can quote the line.
        name = f"{number}/{Path(page).name}"
        linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
        with contextlib.redirect_stdout(printed), warnings.catch_warnings():
            warnings.simplefilter("error")
            exec(compile(code, name, "exec"), scope)
        assert _MEASURED.sub("...", printed.getvalue()) == _MEASURED.sub("...", expected)
