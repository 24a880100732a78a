"""IPython and Jupyter support for tensorad: `%load_ext tensorad` brings `%grad`, `%%grad` and rich display.

`%load_ext tensorad_ipython` does the same; `%unload_ext` takes all of it back.
"""

from typing import Any

from tensorad_ipython import completion, display, places
from tensorad_ipython.cell import rewritten
from tensorad_ipython.magics import GradMagics

__version__ = "0.1.0"


def load_ipython_extension(shell: Any) -> None:
    """Give an IPython shell the magics, their completion, and the display of Tensors.

    Args:
        shell: the shell.
    """
    if GradMagics.__name__ in shell.magics_manager.registry:  # by way of the other name
        return
    shell.register_magics(GradMagics)
    shell.input_transformers_post.append(rewritten)
    completion.attach(shell)
    display.attach(shell)
    places.attach(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Undo `load_ipython_extension`; what the magics have put into the notebook stays.

    Args:
        shell: the shell.
    """
    if shell.magics_manager.registry.pop(GradMagics.__name__, None) is None:
        return
    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop("grad", None)
    shell.input_transformers_post.remove(rewritten)
    completion.detach(shell)
    display.detach(shell)
    places.detach()
