"""Every block of docs/own-rules.md runs, one after the other, and prints what stands below it."""

import contextlib
import io
import linecache
import re
import warnings
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/own-rules.md"
_BLOCKS = re.compile(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", flags=re.DOTALL)
_MEASURED = re.compile(r"± \S+ \(step \S+\)")  # whose digits differ between machines


def test_blocks_print_what_stands_below_them() -> None:
    blocks = _BLOCKS.findall(PAGE.read_text())
    assert len(blocks) >= 6
    scope: dict[str, object] = {}
    for code, expected in blocks:
        printed = io.StringIO()
        # Under a name of its own, so that messages can quote the line.
        linecache.cache[PAGE.name] = (len(code), None, code.splitlines(keepends=True), PAGE.name)
        with contextlib.redirect_stdout(printed), warnings.catch_warnings():
            warnings.simplefilter("error")
            exec(compile(code, PAGE.name, "exec"), scope)
        assert _MEASURED.sub("...", printed.getvalue()) == _MEASURED.sub("...", expected)
