"""Every block of the pages below runs, one after the other as a reader would, and prints what stands below it."""

import contextlib
import io
import re
import warnings
from pathlib import Path

import pytest

from tensorad_docs.blocks import blocks, run

ROOT = Path(__file__).parents[2]
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
    path = ROOT / page
    program = [block for block in blocks(path.read_text()) if not block.code.startswith("%")]  # magics need a shell
    assert len(program) >= least
    names: dict[str, object] = {}
    for number, block in enumerate(program):
        assert "print" not in block.code or block.output, "a block that prints is followed by its output"
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), warnings.catch_warnings():
            warnings.simplefilter("error")
            run(block, number, path, names)
        assert _MEASURED.sub("...", printed.getvalue()) == _MEASURED.sub("...", block.output)
