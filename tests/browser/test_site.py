"""The page on looking inside, as the site has it: built by mkdocs, opened in a browser, walked through."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built in a folder of its own."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "docs", folder / "docs")
    shutil.copy(ROOT / "mkdocs.yml", folder)
    (folder / "packages").symlink_to(ROOT / "packages")
    for command in (
        ["tensorad_docs.rules_page", "docs/rules.md"],
        ["tensorad_docs.shown", "docs"],
        ["mkdocs", "build", "--strict", "--quiet"],
    ):
        subprocess.run([sys.executable, "-m", *command], cwd=folder, check=True, env={"NO_MKDOCS_2_WARNING": "1"})
    return folder / "site"


@pytest.fixture(scope="session")
def program() -> dict[str, Any]:
    """The names of the page's own program, once all of its blocks have run."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/looking.md").read_text(), flags=re.DOTALL)
    names: dict[str, Any] = {"print": lambda *_: None}
    steps = next(place for place, block in enumerate(blocks) if "g.steps(y, [x, w])" in block)
    for block in blocks[: steps + 1]:
        exec(block, names)
    return names


def test_a_backward_pass_on_a_page(
    site: Path, program: dict[str, Any], new_page: Callable[[], Page], screenshots: Path
) -> None:
    page = new_page()
    page.goto((site / "looking/index.html").as_uri())
    board = page.locator(".tensorad-board.stepped").first
    expect(board.locator(".title")).to_have_text("gradient of y by x, w")
    steps = int(board.locator(".count").inner_text().split("/")[1])
    assert steps == len(program["g"].steps(program["y"], [program["x"], program["w"]]))
    for _ in range(steps):
        board.get_by_role("button", name="one step on").click()
    rows = board.get_by_role("region", name="gradients so far")
    assert rows.locator("dt").all_inner_texts() == ["x", "w"]
    found = [json.loads(text) for text in rows.locator(".value").all_inner_texts()]
    by_x, by_w = program["g"].gradient(program["y"], [program["x"], program["w"]])
    assert found == [pytest.approx(by_x.tolist()), pytest.approx(by_w.item())]
    expect(board.locator(".edit")).to_have_count(0)  # there is nobody who would run it again
    board.screenshot(path=screenshots / "site-steps.png")


def test_graphs_on_a_page(site: Path, new_page: Callable[[], Page], screenshots: Path) -> None:
    page = new_page()
    page.goto((site / "looking/index.html").as_uri())
    expect(page.locator(".tensorad-board")).to_have_count(4)
    expect(page.locator(".tensorad-fallback:visible")).to_have_count(0)
    nested = page.locator(".tensorad-board").nth(1)
    expect(nested.locator(".frame.context")).to_have_count(2)
    expect(nested.locator(".frame.gradient")).to_have_count(1)
    folded = page.locator(".tensorad-board").nth(2)
    before = folded.locator(".thing").count()
    folded.get_by_role("button", name=re.compile(r"^blocks.1 \(round 2\)")).click()
    expect(folded.locator(".thing")).to_have_count(before + 7)
    folded.screenshot(path=screenshots / "site-folded.png")
    page.locator("label[for=__palette_1], [data-md-component=palette] label").first.click()
    page.screenshot(path=screenshots / "site-dark.png")
