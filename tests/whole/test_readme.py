"""What the README promises beside its blocks, which test_documents.py runs."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"


def test_what_it_leads_to_is_there() -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", README.read_text())
    assert "docs/assets/steps.png" in links
    assert [link for link in links if not (README.parent / link).is_file()] == []


def test_the_commands_are_sessions_that_exist() -> None:
    sessions = re.findall(r"nox -s (\w+)", README.read_text())
    source = (README.parent / "noxfile.py").read_text()
    assert {"demo", "tests"} <= set(sessions)
    for name in sessions:
        assert re.search(rf"^def {name}\(", source, flags=re.MULTILINE), name
    if not sessions:
        pytest.fail("no command")
