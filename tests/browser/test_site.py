"""The site as it is built, in a browser: every page, search, what can be clicked on; from files and from a sub-path."""

import functools
import json
import math
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import Page, expect

from tensorad_docs.blocks import blocks, run
from tensorad_docs.tutorial import tutorials

ROOT = Path(__file__).parents[2]
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built in a folder of its own; tutorials that `nox -s docs` ran are not run again."""
    folder = tmp_path_factory.mktemp("published") / "under" / "a-name"
    shutil.copytree(ROOT / "docs", folder / "docs")
    (ROOT / ".cache").mkdir(exist_ok=True)
    for name in ("mkdocs.yml", "CHANGELOG.md", "packages", ".cache"):
        (folder / name).symlink_to(ROOT / name)
    for command in (["tensorad_docs.site", "docs"], ["mkdocs", "build", "--strict", "--quiet"]):
        environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
        subprocess.run([sys.executable, "-m", *command], cwd=folder, check=True, env=environment)
    return folder / "site"


class Handler(SimpleHTTPRequestHandler):
    """A server of files that does not write a line for each."""

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture(scope="session", params=["http", "file"])
def address(request: pytest.FixtureRequest, site: Path) -> Iterator[str]:
    """Where the site begins: below a folder of a server, as on GitHub Pages, and in a folder of files."""
    if request.param == "file":
        yield site.as_uri()
        return
    root = site.parents[2]
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=root))
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/{site.relative_to(root).as_posix()}"
        server.shutdown()


def test_every_page(address: str, site: Path, new_page: Callable[[], Page], screenshots: Path) -> None:
    page = new_page()
    troubles: list[str] = []
    page.on("console", lambda said: troubles.append(f"{said.type}: {said.text}") if said.type != "log" else None)
    page.on("requestfailed", lambda request: troubles.append(f"no answer: {request.url}"))
    page.on(
        "response", lambda answer: troubles.append(f"{answer.status}: {answer.url}") if answer.status > 399 else None
    )
    names = [file.relative_to(site).as_posix() for file in site.rglob("*.html") if file.name != "404.html"]
    assert len(names) > 30
    for name in sorted(names):
        page.set_viewport_size(DESK)
        page.goto(f"{address}/{name}")
        expect(page.locator("article h1").first).to_be_visible()
        expect(page.locator(".tensorad-fallback")).to_have_count(0)
        formulas = page.locator(".arithmatex")
        assert page.locator(".arithmatex > :is(.katex, .katex-display)").count() == formulas.count(), name
        assert not page.locator(".katex-error").count(), name
        assert not page.evaluate("document.documentElement.scrollWidth > innerWidth"), f"{name} is too wide"
        picture = name.removesuffix(".html").replace("/", "-")
        page.screenshot(path=screenshots / f"page-{picture}.png", full_page=True)
        page.emulate_media(color_scheme="dark")
        page.set_viewport_size(PHONE)
        assert not page.evaluate("document.documentElement.scrollWidth > innerWidth"), f"{name} is too wide for a phone"
        page.screenshot(path=screenshots / f"page-{picture}-phone-dark.png")
        page.emulate_media(color_scheme="light")
        assert not troubles, name


def test_search(address: str, new_page: Callable[[], Page]) -> None:
    page = new_page()
    page.goto(f"{address}/index.html")
    page.get_by_role("textbox", name="Search").click()
    page.get_by_role("textbox", name="Search").press_sequentially("gradient")
    found = page.locator(".md-search-result__link")
    expect(found.filter(has_text="Your first gradient").first).to_be_visible()
    expect(page.locator(".md-search-result__meta")).to_contain_text("matching documents")


def test_light_and_dark(address: str, new_page: Callable[[], Page]) -> None:
    page = new_page()
    page.goto(f"{address}/index.html")
    page.evaluate("localStorage.clear()")  # what a reader has chosen before is remembered
    page.reload()
    board = page.locator(".tensorad-board").first
    expect(board).to_have_css("background-color", "rgb(255, 255, 255)")
    page.locator("label[title=Dark]").click()
    expect(page.locator("body")).to_have_attribute("data-md-color-scheme", "slate")
    expect(board).to_have_css("background-color", re.compile(r"rgb\(\d\d, \d\d, \d\d\)"))


def test_the_stepper_at_home(address: str, new_page: Callable[[], Page], screenshots: Path) -> None:
    page = new_page()
    page.goto(f"{address}/index.html")
    board = page.locator(".tensorad-board.stepped")
    expect(board).to_have_count(1)
    count = board.locator(".count")
    onward = board.get_by_role("button", name="one step on")
    steps = int(count.inner_text().split("/")[1])
    for step in range(1, steps + 1):
        onward.click()
        expect(count).to_have_text(f"{step} / {steps}")
        if step == 2:
            board.screenshot(path=screenshots / "stepper.png", animations="disabled")  # the README has it
    expect(onward).to_have_attribute("aria-disabled", "true")
    shown = board.get_by_role("region", name="gradients so far").locator(".value").inner_text()
    assert float(shown) == pytest.approx(math.cos(2) * 2 + math.sin(2) + math.cos(2), rel=1e-5)


def test_notebooks_to_download(site: Path, new_page: Callable[[], Page]) -> None:
    page = new_page()
    for tutorial in tutorials():
        page.goto((site / f"tutorials/{tutorial.name}.html").as_uri())
        link = page.get_by_role("link", name="Download as a notebook").get_attribute("href")
        assert nbformat.read(site / "tutorials" / str(link), nbformat.NO_CONVERT) == tutorial.notebook()


@pytest.fixture(scope="session")
def program() -> dict[str, Any]:
    """The names of the page's own program, once all of its blocks have run."""
    page = ROOT / "docs/looking.md"
    names: dict[str, Any] = {"print": lambda *_: None}
    for number, block in enumerate(blocks(page.read_text())):
        run(block, number, page, names)
        if "g.steps(y, [x, w])" in block.code:
            break
    return names


def test_a_backward_pass_on_a_page(
    site: Path, program: dict[str, Any], new_page: Callable[[], Page], screenshots: Path
) -> None:
    page = new_page()
    page.goto((site / "looking.html").as_uri())
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
    page.goto((site / "looking.html").as_uri())
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
