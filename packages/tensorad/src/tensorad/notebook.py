"""The way to what is not the engine: IPython's way in, and the packages that draw, imported when they are asked for."""

from importlib import import_module
from typing import Any

from tensorad.errors import MissingPackageError

_PACKAGE = "tensorad_ipython"


def needed(module: str, package: str, purpose: str) -> Any:
    """The module `module`; or a MissingPackageError that says what to install for the purpose."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        wanted, missing = module.partition(".")[0], (error.name or "").partition(".")[0]
        if missing != wanted:  # it is there, but something that it needs is not
            raise
        raise MissingPackageError(f"{purpose} needs a package that is not installed: pip install '{package}'") from None


class Shown:
    """Something that is more than text in a notebook, and on a page, where the package for it is installed."""

    def trace(self) -> dict[str, Any]:
        """What a page shows, as plain data."""
        raise NotImplementedError

    def _repr_mimebundle_(self, **_: Any) -> Any:
        try:
            pictures = needed(f"{_PACKAGE}.pictures", "tensorad[ipython]", "a picture in a notebook")
        except MissingPackageError:
            return {"text/plain": repr(self)}
        return pictures.bundle(self)


def page(trace: dict[str, Any]) -> str:
    """A page that stands alone, in which a trace can be unfolded and stepped through."""
    return needed(f"{_PACKAGE}.page", "tensorad[ipython]", "a page").standalone(trace, trace["title"])


def _extension() -> Any:
    try:
        return needed(_PACKAGE, "tensorad-ipython", "%load_ext tensorad")
    except MissingPackageError:
        from IPython.core.error import UsageError

        raise UsageError("`%load_ext tensorad` needs the notebook package: `%pip install tensorad-ipython`") from None


def load_ipython_extension(shell: Any) -> None:
    """Bring `%grad`, `%%grad` and rich display into an IPython shell: what `%load_ext tensorad` calls.

    Args:
        shell: the shell.

    Raises:
        UsageError: IPython's, without the package tensorad-ipython.
    """
    _extension().load_ipython_extension(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Take them away again: what `%unload_ext tensorad` calls.

    Args:
        shell: the shell.

    Raises:
        UsageError: IPython's, without the package tensorad-ipython.
    """
    _extension().unload_ipython_extension(shell)
