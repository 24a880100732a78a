"""An IPython shell with the extension loaded, in which tests run cells and read what a user would see."""

import gc
import random
from collections.abc import Callable, Iterator

import pytest
import torch
from IPython.core.interactiveshell import ExecutionResult, InteractiveShell
from traitlets.config import Config

from tensorad.node import recording


class Notebook:
    """A shell: `notebook(cell)` runs a cell, `printed` is all that it has shown in text, errors included."""

    def __init__(self, shell: InteractiveShell, read: Callable[[], str]) -> None:
        self.shell, self.names, self._read, self.printed = shell, shell.user_ns, read, ""

    def __call__(self, cell: str) -> ExecutionResult:
        self._read()
        result = self.shell.run_cell(cell, store_history=True)
        self.printed = self._read()
        return result

    def run(self, cell: str) -> object:
        """The value of a cell that must not fail."""
        result = self(cell)
        result.raise_error()
        return result.result

    def fails(self, cell: str) -> BaseException:
        """The error of a cell that must fail; no context is left open."""
        result = self(cell)
        error = result.error_in_exec or result.error_before_exec
        assert error is not None
        assert not recording.get().entries
        return error


@pytest.fixture(scope="session")
def shell() -> Iterator[InteractiveShell]:
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    config.IPCompleter.use_jedi = False  # which adds words of its own, for Python
    shell = InteractiveShell.instance(config=config)
    yield shell
    InteractiveShell.clear_instance()


@pytest.fixture
def notebook(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> Iterator[Notebook]:
    gc.freeze()  # a reset collects garbage: not among all of torch, each time
    shell.reset(new_session=True)
    gc.unfreeze()
    random.seed(0)
    torch.manual_seed(0)
    notebook = Notebook(shell, lambda: "".join(capsys.readouterr()))
    notebook.run("import torch, tensorad as ts\n%load_ext tensorad\nx = ts.tensor(6.0)\n")
    yield notebook
    shell.run_cell("%unload_ext tensorad")
    assert not recording.get().entries, "a context is open after the test"
