"""The magics in real kernels: notebooks whose outputs are kept, an error that stops a run, an interrupt.

To accept what the kernels give now: `TENSORAD_ACCEPT=1 nox -s tests -- tests/tensorad_ipython/test_notebooks.py`.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager, start_new_kernel
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

NOTEBOOKS = Path(__file__).parent / "notebooks"
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
# The last digits of what a check measures differ between machines.
_MEASURED = re.compile(r"(?<=by finite differences )\S+ ± \S+|(?<=from torch.autograd is )[^:]+")
_TIMES = re.compile(r"^(CPU times|Wall time):.*\n", flags=re.MULTILINE)


def run(book: Any) -> None:
    NotebookClient(book, timeout=120, kernel_name="python3").execute()


def outputs(book: Any) -> list[list[dict[str, Any]]]:
    """What each cell shows, without colours, times and numbers of cells that were run."""
    cells = [cell for cell in book.cells if cell.cell_type == "code"]
    return [[shown for shown in map(cleaned, cell.outputs) if shown] for cell in cells]


def cleaned(output: Any) -> dict[str, Any]:
    if output.output_type == "stream":
        text = _TIMES.sub("", output.text)
        return {"output_type": "stream", "name": output.name, "text": text} if text else {}
    if output.output_type == "error":
        trace = _COLOURS.sub("", "\n".join(output.traceback))
        return {"output_type": "error", "ename": output.ename, "evalue": output.evalue, "traceback": trace.splitlines()}
    data = {mime: _MEASURED.sub("...", form) for mime, form in output.data.items()}
    return {"output_type": "display_data", "data": data, "metadata": {}}


@pytest.mark.parametrize("name", ["features", "errors"])
def test_notebooks(name: str) -> None:
    path = NOTEBOOKS / f"{name}.ipynb"
    kept = nbformat.read(path, 4)
    book = nbformat.from_dict(kept)
    run(book)
    found = outputs(book)
    if os.environ.get("TENSORAD_ACCEPT"):
        for cell, shown in zip([cell for cell in kept.cells if cell.cell_type == "code"], found, strict=True):
            cell.outputs, cell.execution_count = [nbformat.from_dict(each) for each in shown], None
        nbformat.write(kept, path)
    assert found == outputs(kept)


def test_an_error_stops_a_run() -> None:
    cells = [
        "import tensorad as ts\n%load_ext tensorad\nx = ts.tensor(6.0)",
        "%%grad y wrt x\ny = x / oops",
        "ran = True",
    ]
    book = nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, cells)))
    with pytest.raises(CellExecutionError, match="name 'oops' is not defined"):
        run(book)
    assert book.cells[2].execution_count is None


@pytest.fixture
def kernel() -> Iterator[tuple[KernelManager, BlockingKernelClient]]:
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        yield manager, client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


@pytest.mark.parametrize("awaits", [False, True])
def test_an_interrupt_in_the_middle_of_a_cell(kernel: tuple[KernelManager, BlockingKernelClient], awaits: bool) -> None:
    manager, client = kernel
    client.execute_interactive(
        "import asyncio, time\nimport tensorad as ts\n%load_ext tensorad\nx = ts.tensor(6.0)",
        timeout=120,
        store_history=False,
    )
    wait = "await asyncio.sleep(3)" if awaits else "time.sleep(60)"  # what awaits is interrupted when it wakes
    seen: list[str] = []

    def hook(message: Any) -> None:
        seen.append(str(message["content"]))
        if message["msg_type"] == "stream":
            manager.interrupt_kernel()

    cell = f"%%grad y wrt x -n 3\nprint('started', flush=True)\n{wait}\ny = x"
    reply = client.execute_interactive(cell, timeout=50, output_hook=hook)
    assert reply["content"]["status"] == "error"
    assert reply["content"]["ename"] in ("KeyboardInterrupt", "CancelledError")
    assert "tensorad_ipython" not in "".join(seen)
    reply = client.execute_interactive(
        "from tensorad.node import recording\nassert not recording.get().entries and 'g1' not in globals()", timeout=50
    )
    assert reply["content"]["status"] == "ok"
