"""A JupyterLab server, a browser, and notebooks that are opened in it: what is tested is the page that a user sees.

The page is driven by JupyterLab's own commands, and every step waits for a condition, never for a time.
"""

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import BrowserContext, JSHandle, Locator, Page, expect, sync_playwright

SECONDS = 180  # how long anything may take: only a run that hangs ever waits so long
SETTINGS = {
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},  # cells out of sight are on the page too
    "@jupyterlab/completer-extension:manager": {"providerTimeout": SECONDS * 1000},  # a slow kernel is no failure
}
expect.set_options(timeout=SECONDS * 1000)


@dataclass
class Server:
    """A running JupyterLab: its address, its secret, and the folder whose notebooks it opens."""

    url: str
    token: str
    root: Path


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """JupyterLab on a free port, which knows nothing of the user's settings and leaves nothing behind."""
    own, root, token = tmp_path_factory.mktemp("jupyter"), tmp_path_factory.getbasetemp(), secrets.token_hex()
    labconfig = own / "config" / "labconfig"
    labconfig.mkdir(parents=True)
    news = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
    (labconfig / "page_config.json").write_text(json.dumps(news))
    (labconfig / "default_setting_overrides.json").write_text(json.dumps(SETTINGS))
    env = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "IPYTHON"))} | {
        "JUPYTER_CONFIG_DIR": f"{own}/config",
        "JUPYTER_DATA_DIR": f"{own}/data",
        "JUPYTER_RUNTIME_DIR": f"{own}/runtime",
        "JUPYTERLAB_SETTINGS_DIR": f"{own}/settings",
        "JUPYTERLAB_WORKSPACES_DIR": f"{own}/workspaces",
        "IPYTHONDIR": f"{own}/ipython",
    }
    options = [
        "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1", "--ServerApp.port=0",
        f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={root}",
        "--LabApp.expose_app_in_browser=True", "--LabApp.extension_manager=readonly",
    ]  # fmt: skip
    log = own / "log"
    with log.open("w") as output:
        command = [sys.executable, "-m", "jupyterlab", *options]
        process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        yield Server(_address(process, own / "runtime" / f"jpserver-{process.pid}.json", log), token, root)
    finally:
        process.terminate()
        process.wait(SECONDS)


def _address(process: subprocess.Popen[bytes], file: Path, log: Path) -> str:
    """The address that the server writes into `file` once it listens."""
    last = time.monotonic() + SECONDS
    while time.monotonic() < last and process.poll() is None:
        try:
            return json.loads(file.read_text())["url"]
        except (FileNotFoundError, json.JSONDecodeError):  # it is not there yet, or not all of it
            time.sleep(0.1)
    pytest.fail(f"JupyterLab does not start:\n{log.read_text()}")


@pytest.fixture(scope="session")
def browser() -> Iterator[BrowserContext]:
    """The system's chromium, without a window. One for all tests: it keeps JupyterLab's files."""
    path = os.environ.get("TENSORAD_CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, timeout=SECONDS * 1000)
        context = chromium.new_context(viewport={"width": 1100, "height": 900})
        context.set_default_timeout(SECONDS * 1000)
        yield context
        chromium.close()


class Notebook:
    """A notebook that is open in JupyterLab, with a kernel that is ready."""

    def __init__(self, page: Page, path: str, screenshots: Path) -> None:
        self.page, self.screenshots = page, screenshots
        find = """path => window.jupyterapp
            && [...window.jupyterapp.shell.widgets("main")].find(widget => widget.context?.path === path)"""
        self.panel: JSHandle = page.wait_for_function(find, arg=path)
        self.run("""
            await app.restored;
            app.shell.activateById(panel.id);
            await panel.context.ready;
            await panel.sessionContext.ready;
            await panel.sessionContext.session.kernel.info;
        """)
        page.wait_for_function("window.jupyterapp.commands.isEnabled('notebook:run-all-cells')")

    def run(self, script: str) -> Any:
        """What `script` returns, which may await; `app` is JupyterLab, `panel` is the notebook in it."""
        # Playwright itself would wait for ever.
        return self.panel.evaluate(f"""panel => Promise.race([
            (async app => {{ {script} }})(window.jupyterapp),
            new Promise((_, fail) => setTimeout(() => fail(new Error("it takes too long")), {SECONDS * 1000})),
        ])""")

    def run_all(self) -> bool:
        """Run all cells; whether all of them ran without an error."""
        return self.run("return await app.commands.execute('notebook:run-all-cells')")

    def run_cell(self, cell: int) -> None:
        """Run one cell."""
        self.run(f"panel.content.activeCellIndex = {cell}; await app.commands.execute('notebook:run-cell')")

    def cell(self, cell: int) -> Locator:
        """A cell of the page."""
        return self.page.locator(".jp-NotebookPanel .jp-Cell").nth(cell)

    def output(self, cell: int) -> Locator:
        """What stands below a cell: its outputs, one after another."""
        return self.cell(cell).locator(".jp-OutputArea-output")

    def screenshot(self, name: str) -> None:
        """Keep a picture of the notebook, for people to look at."""
        self.page.evaluate("document.activeElement?.blur()")  # no cursor, which comes and goes
        self.page.locator(".jp-NotebookPanel").screenshot(path=self.screenshots / f"{name}.png")


@pytest.fixture
def screenshots(tmp_path: Path) -> Path:
    """Where pictures go: the folder that TENSORAD_SCREENSHOTS names, else the test's own."""
    folder = Path(os.environ.get("TENSORAD_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def new_page(browser: BrowserContext) -> Iterator[Callable[[], Page]]:
    """A function that gives a new page.

    Whatever a test does, the page must ask nothing of any other machine, open no dialog and have no error.
    """
    asked: list[str] = []
    dialogs: list[str] = []
    errors: list[str] = []
    pages: list[Page] = []

    def dismiss(dialog: Any) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    def open_page() -> Page:
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("websocket", lambda socket: asked.append(socket.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("dialog", dismiss)
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert asked, "the requests are not seen"
    assert not [url for url in asked if not re.match(r"(http|ws)://127\.0\.0\.1:|data:|blob:|file:", url)]
    assert not dialogs
    assert not errors


@pytest.fixture
def opened(
    server: Server, new_page: Callable[[], Page], tmp_path: Path, screenshots: Path
) -> Iterator[Callable[..., Notebook]]:
    """A function that opens a notebook of these cells, below the last of which HTML may be `shown` already."""
    notebooks: list[Notebook] = []

    def open_notebook(*cells: str, shown: str = "") -> Notebook:
        file = tmp_path / "notebook.ipynb"
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}  # else JupyterLab asks which
        content = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(each) for each in cells], metadata=kernel)
        if shown:
            content.cells[-1].outputs = [nbformat.v4.new_output("display_data", {"text/html": shown, "text/plain": ""})]
        nbformat.write(content, file)
        path = file.relative_to(server.root).as_posix()
        page = new_page()
        # A workspace of its own: one that is shared opens the notebooks of earlier tests again.
        page.goto(f"{server.url}lab/workspaces/{tmp_path.name}/tree/{path}?token={server.token}")
        notebooks.append(Notebook(page, path, screenshots))
        return notebooks[-1]

    yield open_notebook
    for notebook in notebooks:
        notebook.run("await panel.sessionContext.shutdown()")
