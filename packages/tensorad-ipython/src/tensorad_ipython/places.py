"""Where something stands in a notebook: `Cell In[5], line 2`, in tensorad's messages as in IPython's tracebacks."""

from typing import Any

from tensorad import site

_outside = site.place


def attach(shell: Any) -> None:
    """Let messages call the cells of `shell` what it calls them itself."""

    def place(file_name: str, number: int) -> str:
        cell = shell.compile.format_code_name(file_name)
        return f"{' '.join(cell)}, line {number}" if cell else _outside(file_name, number)

    site.place = place


def detach() -> None:
    """Let messages name files again."""
    site.place = _outside
