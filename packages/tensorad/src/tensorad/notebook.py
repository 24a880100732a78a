"""`%load_ext tensorad`: IPython's way in. The extension is a package of its own, imported only when it is asked for."""

from importlib import import_module
from typing import Any


def _extension() -> Any:
    try:
        return import_module("tensorad_ipython")
    except ModuleNotFoundError as error:
        if error.name != "tensorad_ipython":  # it is there, but something that it needs is not
            raise
        from IPython.core.error import UsageError

        raise UsageError("`%load_ext tensorad` needs the notebook package: `%pip install tensorad-ipython`") from None


def load_ipython_extension(shell: Any) -> None:
    """Bring `%grad`, `%%grad` and rich display into an IPython shell: what `%load_ext tensorad` calls."""
    _extension().load_ipython_extension(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Take them away again: what `%unload_ext tensorad` calls."""
    _extension().unload_ipython_extension(shell)
