"""Every block of the README runs, one after the other as a reader would, and prints what the README says."""

import contextlib
import io
import linecache
import re
import warnings
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"


def test_blocks_print_what_stands_below_them() -> None:
    blocks = re.findall(r"```(\w+)\n(.*?)```", README.read_text(), flags=re.DOTALL)
    magics = [place for place, (_, code) in enumerate(blocks) if code.startswith("%")]  # they run elsewhere, in a shell
    blocks = [block for place, block in enumerate(blocks) if place not in magics and place - 1 not in magics]
    names = [name for name, _ in blocks]
    assert names.count("python") >= 4
    assert names[1::2] == ["text"] * names.count("python"), "each block of Python is followed by its output"
    scope: dict[str, object] = {}
    for (_, code), (_, expected) in zip(blocks[::2], blocks[1::2], strict=True):
        printed = io.StringIO()
        # Under a name of its own, so that messages can quote the line.
        linecache.cache["README.md"] = (len(code), None, code.splitlines(keepends=True), "README.md")
        with contextlib.redirect_stdout(printed), warnings.catch_warnings():
            warnings.simplefilter("error")
            exec(compile(code, "README.md", "exec"), scope)
        assert printed.getvalue() == expected


def test_the_commands_are_sessions_that_exist() -> None:
    sessions = re.findall(r"nox -s (\w+)", README.read_text())
    source = (README.parent / "noxfile.py").read_text()
    assert {"demo", "tests"} <= set(sessions)
    for name in sessions:
        assert re.search(rf"^def {name}\(", source, flags=re.MULTILINE), name
    if not sessions:
        pytest.fail("no command")
