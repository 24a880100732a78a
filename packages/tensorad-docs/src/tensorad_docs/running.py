"""Tutorials run, in kernels of their own, from the first cell to the last."""

import asyncio
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from time import perf_counter
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellControlSignal, DeadKernelError

from tensorad_docs.tutorial import Tutorial

_USED = ("torch", "numpy", "scikit-learn", "matplotlib", "graphlay", "ipython", "ipykernel", "anywidget")
SECONDS = 300  # how long a cell may take: only one that hangs ever does


def executed(tutorial: Tutorial, cache: Path | None = None) -> Any:
    """The notebook with its outputs.

    Args:
        tutorial: what to run.
        cache: a folder in which notebooks are kept, and from which one is taken if neither the tutorial nor the
            packages that it uses have changed since.

    Raises:
        CellExecutionError: if a cell raises an error, and is not tagged `raises-exception`. It names the cell.
    """
    kept = cache and cache / f"{tutorial.name}-{_fingerprint(tutorial)}.ipynb"
    if kept and kept.exists():
        return nbformat.read(kept, nbformat.NO_CONVERT)
    book = tutorial.read()
    with tempfile.TemporaryDirectory() as folder:  # for what cells write, and for IPython's own settings and history
        resources = {"metadata": {"path": folder}}
        client = NotebookClient(
            book, timeout=SECONDS, kernel_name="python3", resources=resources, extra_arguments=["--log-level=ERROR"]
        )
        own = os.environ | {"IPYTHONDIR": f"{folder}/.ipython"}
        asyncio.run(client.async_execute(env=own))  # with a loop that is closed again, whatever thread this is
    if kept:
        kept.parent.mkdir(parents=True, exist_ok=True)
        for stale in kept.parent.glob(f"{tutorial.name}-*.ipynb"):
            stale.unlink()
        whole = kept.with_suffix(".part")
        nbformat.write(book, whole)
        whole.replace(kept)  # at once: a build that is interrupted leaves no half of it
    return book


def reports(tutorials: Iterable[Tutorial]) -> Iterator[tuple[bool, str]]:
    """Run tutorials, two at a time: of each, whether all is well, and a line or a traceback that says so."""

    def report(tutorial: Tutorial) -> tuple[bool, str]:
        start = perf_counter()
        try:
            book = executed(tutorial)
        except (CellControlSignal, DeadKernelError) as error:  # it raised an error, hangs, or has killed its kernel
            return False, f"{tutorial.name}: FAILED\n{error}"
        cells = sum(cell.cell_type == "code" for cell in book.cells)
        return True, f"{tutorial.name}: {cells} cells ran in {perf_counter() - start:.0f} s"

    yield from two_at_a_time(report, tutorials)


def two_at_a_time(work: Callable[[Tutorial], Any], tutorials: Iterable[Tutorial]) -> Iterator[Any]:
    """What `work` gives for each tutorial: two kernels fit on a small machine, and one mostly waits."""
    with ThreadPoolExecutor(2) as workers:
        yield from workers.map(work, tutorials)


def _fingerprint(tutorial: Tutorial) -> str:
    """A digest of all that outputs depend on: the tutorial, our code, and the versions of what computes and shows."""
    digest = hashlib.sha256(tutorial.file.read_bytes() + Path(__file__).read_bytes())
    digest.update(" ".join(map(version, _USED)).encode())
    for package in ("tensorad", "tensorad_ipython"):
        for file in sorted(Path(str(files(package))).rglob("*.*")):
            if file.suffix in {".py", ".js", ".css"}:
                digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
